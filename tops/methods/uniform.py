"""Control: a regular grid of tokens, which ignores what the image shows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from tops.methods._grid import cells
from tops.methods.base import BeforeModel
from tops.methods.units import Group

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Uniform(BeforeModel):
    """The tokens at the centres of a regular grid of cells, exactly as many as the budget, before the language model.

    Parameters
    ----------
    budget : Budget, int or float
        Tokens per image.
    """

    title: ClassVar[str] = "Uniform grid"
    role: ClassVar[str] = "control"

    def choose(self, group: Group) -> Tensor:
        """(G, keep) int64: the token nearest to the centre of every cell."""
        return cells(group)[1]
