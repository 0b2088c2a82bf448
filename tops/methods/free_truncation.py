"""Control: keep the first tokens. No scoring at all, so no method with the same cut can be faster."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from tops.methods.base import BeforeModel
from tops.methods.units import Group

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class FreeTruncation(BeforeModel):
    """The first tokens of every image, tile or frame in reading order: the speed limit of pruning before the model.

    Parameters
    ----------
    budget : Budget, int or float
        Tokens per image.
    """

    title: ClassVar[str] = "Free truncation"
    role: ClassVar[str] = "control"

    def choose(self, group: Group) -> Tensor:
        """(G, keep) int64: the first places."""
        import torch

        return torch.arange(group.keep, device=group.positions.device).expand(len(group), -1)
