"""Cells of a regular grid over every image: what the uniform, pooling and downsampling controls share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tops.methods.units import Group

if TYPE_CHECKING:
    from torch import Tensor


def cells(group: Group) -> tuple[Tensor, Tensor]:
    """Partition the tokens of every unit into ``group.keep`` nearly square cells.

    Parameters
    ----------
    group : Group
        Of a cut before the language model, where every unit is a full rectangle of tokens.

    Returns
    -------
    cell : Tensor, (G, n) int64
        Cell of each token, numbered from 0 in each unit.
    centre : Tensor, (G, keep) int64
        Place in the unit of the token nearest to the centre of each cell.
    """
    import torch

    from tops.selection.grids import grid_cells

    tokens = group.point.tokens
    row, column = tokens.row[group.positions], tokens.col[group.positions]
    row, column = row - row.amin(1, keepdim=True), column - column.amin(1, keepdim=True)
    shapes = list(zip((row.amax(1) + 1).tolist(), (column.amax(1) + 1).tolist(), strict=True))
    owner = torch.empty_like(row)
    centre = torch.empty(len(row), group.keep, dtype=torch.int64, device=row.device)
    for shape in dict.fromkeys(shapes):
        # Full rectangles of one shape in reading order: what holds for the first holds for all.
        alike = [i for i, other in enumerate(shapes) if other == shape]
        r, c = row[alike[0]], column[alike[0]]
        cell = grid_cells(*shape, group.keep).to(r.device)[r, c]
        owner[alike] = cell
        centre[alike] = _nearest_to_centre(cell, r, c, group.keep)
    return owner, centre


def _nearest_to_centre(cell: Tensor, row: Tensor, column: Tensor, k: int) -> Tensor:
    """For every cell the place, (k,) int64, of the token nearest to the mean of its rows and columns."""
    import torch

    place = torch.stack([row, column], 1).double()
    total = torch.zeros(k, 2, dtype=torch.float64, device=cell.device).index_add_(0, cell, place)
    count = torch.bincount(cell, minlength=k)[:, None]
    distance = (place - (total / count)[cell]).square().sum(1)
    # Sorted by cell, then distance, then reading order: the first of each cell is its centre.
    order = distance.argsort(stable=True)
    order = order[cell[order].argsort(stable=True)]
    return order[count.flatten().cumsum(0) - count.flatten()]
