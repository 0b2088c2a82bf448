"""Control: average pooling of neighbouring tokens to the same count."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from tops.budget import PromptShape, Schedule
from tops.methods._cuts import before_model
from tops.methods._grid import cells
from tops.methods.base import BudgetField, Positions
from tops.signals import PruningPoint, Signal
from tops.tokens import Selection

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Pooling:
    """The mean of the projected tokens of every cell of a regular grid, one token per cell, at the cell's centre.

    Parameters
    ----------
    budget : Budget, int or float
        Tokens per image.
    """

    name: ClassVar[str] = "pooling"
    title: ClassVar[str] = "Average pooling"
    signals: ClassVar[frozenset[Signal]] = frozenset()

    budget: BudgetField = BudgetField()
    positions: Positions | None = None

    def schedule(self, shape: PromptShape) -> Schedule:
        """One cut before the language model."""
        return before_model(self.budget, shape, self.title)

    def select(self, point: PruningPoint) -> Selection:
        """The pooled tokens, in prompt order of the cells' centres."""
        return pooled(point, proportional=isinstance(self.budget.value, float))


def pooled(point: PruningPoint, *, proportional: bool) -> Selection:
    """Cell means in the dtype of the tokens, accumulated in float32."""
    import torch

    cell, centre = cells(point, proportional=proportional)
    features = point.tokens.features
    inside = cell >= 0
    total: Tensor = torch.zeros(len(centre), features.shape[1], dtype=torch.float32, device=features.device)
    total.index_add_(0, cell[inside], features[inside].float())
    mean = total / torch.bincount(cell[inside], minlength=len(centre))[:, None]
    return Selection(centre, mean.to(features.dtype))
