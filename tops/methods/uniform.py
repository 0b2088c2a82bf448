"""Control: a regular grid of tokens, which ignores what the image shows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from tops.budget import PromptShape, Schedule
from tops.methods._cuts import before_model
from tops.methods._grid import cells
from tops.methods.base import BudgetField, Positions
from tops.signals import PruningPoint, Signal
from tops.tokens import Selection


@dataclass(frozen=True)
class Uniform:
    """The tokens at the centres of a regular grid of cells, exactly as many as the budget, before the language model.

    Parameters
    ----------
    budget : Budget, int or float
        Tokens per image.
    """

    name: ClassVar[str] = "uniform"
    title: ClassVar[str] = "Uniform grid"
    signals: ClassVar[frozenset[Signal]] = frozenset()

    budget: BudgetField = BudgetField()
    positions: Positions | None = None

    def schedule(self, shape: PromptShape) -> Schedule:
        """One cut before the language model."""
        return before_model(self.budget, shape, self.title)

    def select(self, point: PruningPoint) -> Selection:
        """The centre token of every cell, in prompt order."""
        _, centre = cells(point, proportional=isinstance(self.budget.value, float))
        return Selection(centre)
