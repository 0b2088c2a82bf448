"""Pruning methods that only tests need: fixed choices whose outcome can be worked out by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from tops.budget import Budget, Cut, PromptShape, Schedule
from tops.methods.base import Method, Positions
from tops.signals import PruningPoint
from tops.tokens import Selection


@dataclass(frozen=True)
class Fixed(Method):
    """Keeps at each layer the tokens whose original number lies in a fixed random set; may rewrite all rows."""

    name: ClassVar[str] = "fixed"
    title: ClassVar[str] = "Fixed"

    layers: tuple[int, ...] = (0, 2, 4)
    share: float = 0.6
    positions: Positions | None = None
    rewrite: bool = False
    with_newlines: bool = False
    look: Callable[[PruningPoint], object] | None = None
    budget: Budget = field(default_factory=lambda: Budget(1.0))

    def schedule(self, shape: PromptShape) -> Schedule:
        """Cuts that promise one token; what is kept is recorded, not what was promised."""
        return Schedule(shape.visual, shape.depth, tuple(Cut(layer, 1) for layer in self.layers))

    def select(self, point: PruningPoint) -> Selection:
        """The fixed set of this layer."""
        if self.look is not None:
            self.look(point)
        index = point.tokens.index
        keep = torch.nonzero(self.kept(point.layer)[index.cpu()])[:, 0].to(index.device)
        if not len(keep):
            keep = torch.zeros(1, dtype=torch.int64, device=index.device)
        return Selection(keep, point.tokens.features[keep] if self.rewrite else None)

    def kept(self, layer: int) -> Tensor:
        """(4096,) bool."""
        return torch.rand(4096, generator=torch.Generator().manual_seed(100 + layer)) < self.share


def keep_all(positions: Positions, layers: tuple[int, ...] = (0, 2, 4)) -> Fixed:
    """Keeps everything, yet through the real gather: every row is written anew."""
    return Fixed(layers, 2.0, positions, rewrite=True, with_newlines=True)


@dataclass(frozen=True)
class Given(Method):
    """Returns what it is told: one selection per layer."""

    name: ClassVar[str] = "given"
    title: ClassVar[str] = "Given"

    answers: dict[int, Callable[[PruningPoint], Selection]]
    positions: Positions | None = None
    budget: Budget = field(default_factory=lambda: Budget(1.0))

    def schedule(self, shape: PromptShape) -> Schedule:
        """One cut per answer."""
        return Schedule(shape.visual, shape.depth, tuple(Cut(layer, 1) for layer in sorted(self.answers)))

    def select(self, point: PruningPoint) -> Selection:
        """The answer."""
        return self.answers[point.layer](point)
