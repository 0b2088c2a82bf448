"""TRIM: keep the patches that the question picks out, and one mean of all others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from tops.budget import Cut, PromptShape, Schedule
from tops.methods._cuts import before_model, refuse_budget
from tops.methods._units import everything, groups, in_order_of_units
from tops.methods.base import BudgetField, Positions
from tops.signals import PruningPoint, Signal
from tops.tokens import Selection

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class TRIM:
    """TRIM (Song et al., COLING 2025, arXiv 2409.10994), without its fine-tuning.

    A patch scores the softmax over patches of **minus** its plain product with the question in CLIP's joint space; the
    paper writes a cosine, the official code (``FreedomIntelligence/TRIM`` at ``f5a232d``) and its author the product
    and the minus. The mean of the encoder features of all other patches follows as one token. Tiles of
    LLaVA-NeXT, which the official code does not serve, are treated one by one; that is ours.

    Parameters
    ----------
    budget : Budget, int or float
        Tokens per image, shared among its tiles. The means count: T tokens are T - 1 patches and one mean per tile.
    count : {"budget", "outliers"}
        ``outliers``: the official automatic rule instead of a budget, all scores above ``Q3 + 1.5 (Q3 - Q1)``, about a
        fifth of the patches; the count then follows the image.
    """

    name: ClassVar[str] = "trim"
    title: ClassVar[str] = "TRIM"
    signals: ClassVar[frozenset[Signal]] = frozenset({Signal.ENCODER, Signal.TEXT_TOWER})

    budget: BudgetField = BudgetField()
    count: Literal["budget", "outliers"] = "budget"
    positions: Positions | None = None

    def __post_init__(self) -> None:
        if self.count == "outliers":
            refuse_budget(self.budget, "TRIM with count=outliers")

    def schedule(self, shape: PromptShape) -> Schedule:
        """One cut before the language model; with ``outliers`` the count announced is an upper bound."""
        if self.count == "outliers":
            return Schedule(shape.visual, shape.depth, (Cut(0, shape.visual),))
        return before_model(self.budget, shape, self.title)

    def select(self, point: PruningPoint) -> Selection:
        """Of each tile the kept patches in prompt order, then their mean."""
        import torch

        from tops.selection import top_k_lowest_index
        from tops.selection.merging import mean_of_rest

        if self.count == "budget" and point.keep >= len(point.tokens):
            return everything(point.tokens)
        vision = point.vision
        opposed = self.opposed(point)
        hidden = vision.packed(vision.encoder_features()[:, 1:])
        parts: list[tuple[Tensor, Tensor, Tensor]] = []
        for units, at, keep in self._batches(point, opposed):
            local = hidden[at]
            chosen = top_k_lowest_index(opposed[at], keep).sort(1).values if keep else at[:, :0]
            rows = local.gather(1, chosen[..., None].expand(-1, -1, local.shape[-1]))
            # The mean stands where the tile ends.
            anchors = torch.cat([at.gather(1, chosen), at[:, -1:]], 1)
            parts.append((units, anchors, torch.cat([rows, mean_of_rest(local, chosen)], 1)))
        indices, vectors = in_order_of_units(parts)
        return Selection(indices, vision.project(vectors))

    def opposed(self, point: PruningPoint) -> Tensor:
        """(N,) float32: minus the product of each patch with the question; its softmax over a tile is the score."""
        text = point.text.clip_embeddings(point.text.question.replace("<image>", " "), segments=False).float()[0]
        joint = point.vision.packed(point.vision.joint_embeddings()).float()
        return -(joint @ text.to(joint.device))

    def _batches(self, point: PruningPoint, scores: Tensor) -> list[tuple[Tensor, Tensor, int]]:
        """Units, positions of their tokens, and how many patches each keeps."""
        import torch

        from tops.selection.outliers import quartile_outliers

        batches = groups(point, proportional=isinstance(self.budget.value, float))
        if self.count == "budget":
            return [(group.units, group.positions, group.keep - 1) for group in batches]
        out = []
        for group in batches:
            for unit, at in zip(torch.split(group.units, 1), group.positions, strict=True):
                # The official expression: the product can fall below the count and lose one patch.
                keep = int(len(at) * (quartile_outliers(scores[at].softmax(0)) / len(at)))
                out.append((unit, at[None], keep))
        return out
