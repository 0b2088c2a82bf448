"""Control: random tokens. A method that does not beat it has learnt nothing about the image."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import ClassVar

from tops.budget import PromptShape, Schedule
from tops.methods._cuts import before_model
from tops.methods._units import Group, select_per_unit
from tops.methods.base import BudgetField, Positions
from tops.signals import PruningPoint, Signal
from tops.tokens import Selection


@dataclass(frozen=True)
class Random:
    """As many tokens of every image as the budget allows, drawn uniformly before the language model.

    The draw depends on the seed and the sample's name alone: the same in a batch and on every device. Without a name,
    every prompt of one shape gets the same draw.

    Parameters
    ----------
    budget : Budget, int or float
        Tokens per image.
    seed : int
        Report several, at least five.
    """

    name: ClassVar[str] = "random"
    title: ClassVar[str] = "Random"
    signals: ClassVar[frozenset[Signal]] = frozenset()

    budget: BudgetField = BudgetField()
    seed: int = 0
    positions: Positions | None = None

    def schedule(self, shape: PromptShape) -> Schedule:
        """One cut before the language model."""
        return before_model(self.budget, shape, self.title)

    def select(self, point: PruningPoint) -> Selection:
        """A random set, in prompt order."""
        import torch

        digest = hashlib.sha256(f"{self.seed}\0{point.sample}".encode()).digest()
        # The generator lives on the CPU: other devices draw other numbers from the same seed.
        generator = torch.Generator().manual_seed(int.from_bytes(digest[:7]))

        def draw(group: Group) -> torch.Tensor:
            noise = torch.rand(group.positions.shape, generator=generator)
            return noise.argsort(dim=1)[:, : group.keep].to(group.positions.device)

        return select_per_unit(point, draw, proportional=isinstance(self.budget.value, float))
