"""LLaVA-PruMerge and PruMerge+: patches that CLS attends to, a uniform supplement, and everything else merged in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from tops.budget import Cut, PromptShape, Schedule
from tops.errors import ConfigurationError
from tops.methods._cuts import before_model, refuse_budget
from tops.methods._units import everything, groups, in_order_of_units
from tops.methods.base import BudgetField, Positions
from tops.signals import PruningPoint, Signal
from tops.tokens import Selection

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class PruMergePlus:
    """LLaVA-PruMerge+ (Shang, Cai et al., ICCV 2025, arXiv 2403.15388), training-free.

    Scores are the CLS row of a single-head attention over all channels of the last tower layer's queries and keys. Each
    chosen patch takes in its 32 neighbours by key, weighted by score; one extra token sums up the patches not chosen.
    Sums are not normalised and tokens stay in order of selection, by score and then by place, as in the official code
    (``42Shawn/LLaVA-PruMerge`` at ``097c041``; the paper writes a weighted average). Tiles of LLaVA-NeXT, which the
    official code does not serve, are treated one by one; that is ours.

    Parameters
    ----------
    budget : Budget, int or float
        Tokens per image, shared among its tiles, extra tokens included.
    rule : {"fixed", "literal", "adaptive"}
        ``fixed``: half by score, half uniform, each patch once, gaps refilled by score: exactly the budget.
        ``literal``: the official non-adaptive branch at ``ratio = T / 2N``, T slots and the extra token, in which a
        patch may fill two slots and as many others vanish; so the budget is exceeded by one per tile. ``adaptive``: the
        repository's default, the outliers of the scores and a supplement; the count follows the image and the budget
        is left out.
    supplement : bool
        False is PruMerge without the plus: scores alone.
    neighbours : int
        Patches merged into each chosen one.
    """

    name: ClassVar[str] = "prumerge_plus"
    title: ClassVar[str] = "PruMerge+"
    signals: ClassVar[frozenset[Signal]] = frozenset({Signal.CLS, Signal.ENCODER})

    budget: BudgetField = BudgetField()
    rule: Literal["fixed", "literal", "adaptive"] = "fixed"
    supplement: bool = True
    neighbours: int = 32
    positions: Positions | None = None

    def __post_init__(self) -> None:
        if self.rule not in ("fixed", "literal", "adaptive"):
            raise ConfigurationError(f"PruMerge+: rule={self.rule!r} is not one of fixed, literal, adaptive")
        if self.rule == "adaptive":
            refuse_budget(self.budget, "PruMerge+ with rule=adaptive")

    def schedule(self, shape: PromptShape) -> Schedule:
        """One cut before the language model; with ``adaptive`` the count announced is an upper bound."""
        if self.rule == "adaptive":
            return Schedule(shape.visual, shape.depth, (Cut(0, shape.visual),))
        return before_model(self.budget, shape, self.title)

    def select(self, point: PruningPoint) -> Selection:
        """Of each tile the merged patches in order of selection, then the extra token."""
        import torch

        from tops.selection.merging import merge_neighbours

        if self.rule != "adaptive" and point.keep >= len(point.tokens):
            return everything(point.tokens)
        vision = point.vision
        hidden = vision.packed(vision.encoder_features()[:, 1:])
        scores, keys = self.scores_keys(point)
        parts: list[tuple[Tensor, Tensor, Tensor]] = []
        for group in groups(point, proportional=isinstance(self.budget.value, float)):
            size = 1 if self.rule == "adaptive" else len(group.units)
            for unit, at in zip(torch.split(group.units, size), torch.split(group.positions, size), strict=True):
                chosen, rest = self._choose(scores[at], group.keep)
                merged, extra = merge_neighbours(
                    hidden[at], keys[at], scores[at], chosen, rest, neighbours=self.neighbours
                )
                anchors = torch.cat([at.gather(1, chosen), at[:, -1:]], 1)
                parts.append((unit, anchors, torch.cat([merged, extra], 1)))
        indices, rows = in_order_of_units(parts)
        return Selection(indices, vision.project(rows))

    def scores_keys(self, point: PruningPoint) -> tuple[Tensor, Tensor]:
        """(N,) and (N, c) float32: single-head CLS attention of the last layer, CLS in its softmax, and the keys."""
        import torch

        vision = point.vision
        keys = vision.encoder_keys(layer="last").transpose(1, 2).flatten(2).float()
        query = vision.encoder_cls_query(layer="last").flatten(1).float()
        attention = (torch.einsum("uc,utc->ut", query, keys) * keys.shape[-1] ** -0.5).softmax(-1)
        return vision.packed(attention[:, 1:]), vision.packed(keys[:, 1:])

    def _choose(self, scores: Tensor, keep: int) -> tuple[Tensor, Tensor]:
        """Chosen patches (B, K) in output order and the others (B, M) ascending."""
        from tops.selection.supplement import choose_adaptive, choose_fixed, choose_literal

        if self.rule == "adaptive":
            return choose_adaptive(scores, supplement=self.supplement)
        if self.rule == "literal":
            return choose_literal(scores, keep, supplement=self.supplement)
        return choose_fixed(scores, keep - 1, supplement=self.supplement)
