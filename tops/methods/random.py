"""Control: random tokens. A method that does not beat it has learnt nothing about the image."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from tops.methods.base import BeforeModel
from tops.methods.units import Group

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Random(BeforeModel):
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

    title: ClassVar[str] = "Random"
    role: ClassVar[str] = "control"

    seed: int = 0

    def choose_each(self, batches: Sequence[Group]) -> list[Tensor]:  # type: ignore[override]
        """(G, keep) int64 for every group: places by the rank of their noise."""
        import torch

        digest = hashlib.sha256(f"{self.seed}\0{batches[0].point.sample}".encode()).digest()
        # The generator lives on the CPU: other devices draw other numbers from the same seed.
        generator = torch.Generator().manual_seed(int.from_bytes(digest[:7]))
        noise = [torch.rand(group.positions.shape, generator=generator) for group in batches]
        return [
            drawn.argsort(dim=1)[:, : group.keep].to(group.positions.device)
            for drawn, group in zip(noise, batches, strict=True)
        ]
