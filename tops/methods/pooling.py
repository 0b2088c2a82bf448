"""Control: average pooling of neighbouring tokens to the same count."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from tops.methods._grid import cells
from tops.methods.base import BeforeModel
from tops.methods.units import Group, Rows


@dataclass(frozen=True)
class Pooling(BeforeModel):
    """The mean of the projected tokens of every cell of a regular grid, one token per cell, at the cell's centre.

    Parameters
    ----------
    budget : Budget, int or float
        Tokens per image.
    """

    title: ClassVar[str] = "Average pooling"
    role: ClassVar[str] = "control"

    def choose(self, group: Group) -> Rows:
        """One row a cell, (G, keep, d): its mean in the dtype of the tokens, accumulated in float32."""
        return pooled(group)


def pooled(group: Group) -> Rows:
    """The means of the cells of every unit, each in the place of its centre."""
    import torch

    cell, centre = cells(group)
    values = group["features"]
    total = values.new_zeros(*centre.shape, values.shape[-1], dtype=torch.float32)
    total.scatter_add_(1, cell[..., None].expand_as(values), values.float())
    size = torch.zeros_like(centre, dtype=torch.float32).scatter_add_(1, cell, torch.ones_like(cell).float())
    return Rows(centre, (total / size[..., None]).to(values.dtype))
