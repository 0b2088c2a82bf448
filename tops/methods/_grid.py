"""Cells of a regular grid over every image: what the uniform, pooling and downsampling controls share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tops.methods._units import groups

if TYPE_CHECKING:
    from torch import Tensor

    from tops.signals import PruningPoint


def cells(point: PruningPoint, *, proportional: bool) -> tuple[Tensor, Tensor]:
    """Partition the tokens into ``point.keep`` nearly square cells, the same number in every tile of an image.

    Parameters
    ----------
    point : PruningPoint
        A cut before the language model, where every unit is a full rectangle of tokens.
    proportional : bool
        See :func:`tops.methods._units.groups`.

    Returns
    -------
    cell : Tensor, (N,) int64
        Cell of each token, numbered from 0 in the prompt order of their centres; -1 in a tile that got none.
    centre : Tensor, (keep,) int64
        Ascending positions of the tokens nearest to the centre of their cell.
    """
    import torch

    from tops.selection.grids import grid_cells

    tokens = point.tokens
    owner = torch.full_like(tokens.index, -1)
    centres: list[Tensor] = []
    for group in groups(point, proportional=proportional):
        row, column = tokens.row[group.positions], tokens.col[group.positions]
        row, column = row - row.amin(1, keepdim=True), column - column.amin(1, keepdim=True)
        shapes = list(zip((row.amax(1) + 1).tolist(), (column.amax(1) + 1).tolist(), strict=True))
        for shape in dict.fromkeys(shapes):
            # Full rectangles of one shape in reading order: what holds for the first holds for all.
            alike = [i for i, other in enumerate(shapes) if other == shape]
            r, c = row[alike[0]], column[alike[0]]
            cell = grid_cells(*shape, group.keep).to(r.device)[r, c]
            places = group.positions[alike]
            first = sum(len(done) for done in centres) + group.keep * torch.arange(len(alike), device=r.device)
            owner[places] = cell + first[:, None]
            centres.append(places[:, _nearest_to_centre(cell, r, c, group.keep)].flatten())
    centre = torch.cat(centres)
    rank = centre.argsort().argsort()
    return torch.where(owner < 0, owner, rank[owner]), centre.sort().values


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
