"""TOPS: token optimal preservation sets, before the language model and inside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from tops.budget import PromptShape, Schedule
from tops.errors import ConfigurationError
from tops.methods._encoder import patch_features
from tops.methods._tops_schedules import STAGE_ONE, cut_layers, stage_two_weights, tops_schedule
from tops.methods.base import BeforeModel
from tops.methods.units import Group, Scope
from tops.signals import PruningPoint, Signal

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class TOPS(BeforeModel):
    """TOPS (arXiv 2606.27161): keep the tokens that are relevant, cover the rest and differ from one another.

    Stage I (Algorithm 1) chooses among the projected tokens with CLS attention as relevance; Stage II (Algorithm 2)
    chooses again at decoder layers among the hidden states, with the attention of the text raters as relevance. Where
    the paper leaves a choice open the default is the one argued for in ``tops/docs/open-questions.md``, and the other
    readings are options here.

    Parameters
    ----------
    budget : Budget, int or float
        Tokens per image as a layer average, or a keep ratio. ``Budget(64, "as_printed")`` takes Tables 9 and 10.
    principles : str
        Non-empty subset of "RCD": relevance, coverage, diversity (Table 5).
    stage1_principles : str or None
        The same for Stage I alone; None takes those of ``principles`` in both stages.
    normalisation : {"mean", "minmax"}
        Algorithms 1 and 2, or section 4.1.
    alpha, lam : float or None
        Weights of diversity and coverage in Stage II; None for the published ones (Tables 7 and 8).
    stage1_alpha, stage1_lam : float
        The same in Stage I (section C.2).
    stages : {"both", "first", "second"}
        Which stages run (Table 6).
    cut_layers : tuple of int or None
        Stage II cuts, each before the layer named; None for the published ones, scaled to the depth of the model.
    counts : tuple of int or None
        Tokens per image after each cut, Stage I first; None solves for the budget (Table 17 needs exact ones).
    rater : {"dynamic", "last_token", "all_mean", "sparsevlm"}
        Text tokens whose attention counts: those whose attention to the image is at least average, at each cut; the
        last one; all; or those SparseVLM's rule chooses once on the embeddings (Table 16).
    attention_layer : {"own", "previous"}
        Attention of the layer about to run on its present input, or of the one before as it ran.
    heads : {"mean", "max"}
        How heads become one score, in both stages.
    cls_layer : {"feature", "last"}
        Vision layer of the CLS attention: the one whose output the projector reads, or the one after it.
    stage1_features : {"projected", "encoder"}
        What Stage I measures similarity on.
    per_tile : bool
        Stage I in each tile or frame with an equal share, or over all tokens of the prompt.
    newlines : {"drop", "candidates"}
        Newline tokens go when tokens are pruned, or compete with the patches.
    positions : {"contiguous", "original"} or None
        Position ids after a cut; None for the backbone's own (contiguous, as in Algorithm 2; original under mRoPE).
    """

    name: ClassVar[str] = "tops"
    title: ClassVar[str] = "TOPS"
    signals: ClassVar[frozenset[Signal]] = frozenset({Signal.SALIENCY})
    later: ClassVar[frozenset[str]] = frozenset({"stage1_principles"})  # not in the keys of cells that leave it out

    principles: str = "RCD"
    normalisation: Literal["mean", "minmax"] = "mean"
    alpha: float | None = None
    lam: float | None = None
    stage1_alpha: float = STAGE_ONE[0]
    stage1_lam: float = STAGE_ONE[1]
    stages: Literal["both", "first", "second"] = "both"
    cut_layers: tuple[int, ...] | None = None
    counts: tuple[int, ...] | None = None
    rater: Literal["dynamic", "last_token", "all_mean", "sparsevlm"] = "dynamic"
    attention_layer: Literal["own", "previous"] = "own"
    heads: Literal["mean", "max"] = "mean"
    cls_layer: Literal["feature", "last"] = "feature"
    stage1_features: Literal["projected", "encoder"] = "projected"
    per_tile: bool = True
    newlines: Literal["drop", "candidates"] = "drop"
    stage1_principles: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("principles", "stage1_principles"):
            letters = getattr(self, name)
            if letters is not None and (not letters or not set(letters) <= set("RCD")):
                raise ConfigurationError(f"TOPS: {name}={letters!r} must be letters of 'RCD', at least one")

    @property
    def with_newlines(self) -> bool:
        """Whether newline tokens are candidates."""
        return self.newlines == "candidates"

    @property
    def own_counts(self) -> bool:
        """Whether ``counts`` are given."""
        return self.counts is not None

    def check_budget(self) -> None:
        """Refuse a missing budget, unless ``counts`` are to be compared with it."""
        if self.counts is None:
            super().check_budget()

    def cuts(self, shape: PromptShape) -> Schedule:
        """Stage I at layer 0 with twice the budget, then Stage II, so that the layer average is the budget."""
        layers = () if self.stages == "first" else cut_layers(shape, self.cut_layers, self.title)
        first = self.stages != "second"
        return tops_schedule(self.allowance, shape, first=first, layers=layers, counts=self.counts, title=self.title)

    def scope_at(self, point: PruningPoint) -> Scope:
        """Tiles and frames in Stage I, where ``per_tile`` says so; everything in Stage II."""
        return "unit" if point.layer == 0 and self.per_tile else "prompt"

    def values(self, point: PruningPoint) -> Mapping[str, Tensor]:
        """Features and relevance of the stage at hand."""
        if point.layer:
            return {"relevance": self._text_relevance(point)}
        return {"features": self._stage1_features(point), "relevance": self._cls_relevance(point)}

    def choose(self, group: Group) -> Tensor:
        """(G, keep) int64: Algorithm 1 at layer 0, Algorithm 2 at every later cut."""
        from tops.selection import select_tops

        alpha, lam = self._weights(group.point.shape) if group.point.layer else (self.stage1_alpha, self.stage1_lam)
        first = self.stage1_principles if group.point.layer == 0 else None
        return select_tops(
            group["features"], group["relevance"], group.keep, alpha=alpha, lam=lam,
            principles=first or self.principles, normalisation=self.normalisation,
        )  # fmt: skip

    def _weights(self, shape: PromptShape) -> tuple[float, float]:
        alpha, lam = stage_two_weights(shape, self.allowance.tokens(shape))
        return (alpha if self.alpha is None else self.alpha), (lam if self.lam is None else self.lam)

    def _stage1_features(self, point: PruningPoint) -> Tensor:
        if self.stage1_features == "projected":
            return point.tokens.features
        return patch_features(point)

    def _cls_relevance(self, point: PruningPoint) -> Tensor:
        vision = point.vision
        if self.cls_layer == "feature" and self.heads == "mean":
            return vision.saliency()
        if self.cls_layer == "feature":
            rows = vision.cls_attention()[:, :, 1:]
        else:
            query, keys = vision.encoder_cls_query(layer="last").float(), vision.encoder_keys(layer="last").float()
            scores = (keys @ query[..., None])[..., 0] * query.shape[-1] ** -0.5
            rows = scores.softmax(-1)[:, :, 1:]
        return vision.packed(rows.mean(1) if self.heads == "mean" else rows.amax(1))

    def _text_relevance(self, point: PruningPoint) -> Tensor:
        slots = point.text_slots
        if not len(slots):
            raise ConfigurationError(
                "TOPS: no text follows the last image of the prompt, so there is no rater for Stage II; use the chat "
                "template, or stages=first"
            )
        if self.rater == "last_token":
            slots = slots[-1:]
        elif self.rater == "sparsevlm":
            slots = slots[self._sparsevlm_raters(point)]
        attention = point.attention(slots, layer=self.attention_layer)[:, :, point.visual_slots]
        rows = attention.mean(0) if self.heads == "mean" else attention.amax(0)
        if self.rater == "dynamic":
            mass = rows.sum(-1)
            # The mean of equal numbers may round to more than each of them.
            rows = rows[mass >= mass.mean().minimum(mass.max())]
        return rows.mean(0)

    def _sparsevlm_raters(self, point: PruningPoint) -> Tensor:
        from tops.selection.raters import select_raters

        if "raters" not in point.memory:
            point.memory["raters"] = select_raters(point.vision.embeddings(), point.text.embeddings())
        return point.memory["raters"]
