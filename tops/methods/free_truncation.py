"""Control: keep the first tokens. No scoring at all, so no method with the same cut can be faster."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from tops.budget import PromptShape, Schedule
from tops.methods._cuts import before_model
from tops.methods._units import select_per_unit
from tops.methods.base import BudgetField, Positions
from tops.signals import PruningPoint, Signal
from tops.tokens import Selection


@dataclass(frozen=True)
class FreeTruncation:
    """The first tokens of every image, tile or frame in reading order: the speed limit of pruning before the model.

    Parameters
    ----------
    budget : Budget, int or float
        Tokens per image.
    """

    name: ClassVar[str] = "free_truncation"
    title: ClassVar[str] = "Free truncation"
    signals: ClassVar[frozenset[Signal]] = frozenset()

    budget: BudgetField = BudgetField()
    positions: Positions | None = None

    def schedule(self, shape: PromptShape) -> Schedule:
        """One cut before the language model."""
        return before_model(self.budget, shape, self.title)

    def select(self, point: PruningPoint) -> Selection:
        """The first tokens, in prompt order."""
        import torch

        return select_per_unit(
            point,
            lambda group: torch.arange(group.keep, device=group.positions.device).expand(len(group.units), -1),
            proportional=isinstance(self.budget.value, float),
        )
