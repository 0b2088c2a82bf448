"""Regular grids of cells."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from tops.selection.checks import check_count


def grid_cells(rows: int, columns: int, k: int) -> Tensor:
    """A partition of a grid into exactly k nearly square cells: bands of rows, each cut into columns.

    Parameters
    ----------
    rows, columns : int
        Size of the grid.
    k : int
        Cells, 1..rows * columns.

    Returns
    -------
    Tensor, (rows, columns) int64
        Cell of each place, numbered 0..k-1 in reading order; no cell is empty.

    Raises
    ------
    BudgetError
        ``k`` outside 1..rows * columns.
    """
    check_count(k, rows * columns)
    bands = min(rows, k, max(1, round(math.sqrt(k * rows / columns))))
    bands = max(bands, math.ceil(k / columns))
    band = torch.arange(rows) * bands // rows
    # Bands with one cell more than the others are spread evenly.
    first = torch.arange(bands + 1) * k // bands
    width = first.diff()[band]
    return first[band][:, None] + torch.arange(columns)[None] * width[:, None] // columns
