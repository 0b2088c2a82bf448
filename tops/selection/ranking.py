"""Choosing by score: top-k with defined ties, outliers of a distribution, regular grids."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from tops.selection.checks import check_count, check_finite


def select_highest(scores: Tensor, k: int) -> Tensor:
    """The k highest scores, best first; ties go to the lowest index on every device.

    Parameters
    ----------
    scores : Tensor, (N,) or (B, N)
        Compared in float32 at least, so that half-precision inputs are not rounded further.
    k : int
        Tokens to keep, 1..N.

    Returns
    -------
    Tensor, (k,) or (B, k) int64

    Raises
    ------
    BudgetError
        ``k`` outside 1..N.
    NonFiniteError
        NaN or infinity in the scores.
    """
    check_count(k, scores.shape[-1])
    check_finite("scores", scores)
    return scores.float().argsort(dim=-1, descending=True, stable=True)[..., :k]


def quartile_outliers(scores: Tensor) -> int:
    """How many scores lie strictly above Q3 + 1.5 (Q3 - Q1), with linearly interpolated quartiles.

    Parameters
    ----------
    scores : Tensor, (N,)
        Any float dtype, computed in float32.

    Notes
    -----
    Source: PruMerge (arXiv 2403.15388, section 3.2) and TRIM (arXiv 2409.10994, section 3.2).
    """
    values = scores.float()
    q1, q3 = torch.quantile(values, torch.tensor([0.25, 0.75], device=values.device))
    return int((values > q3 + 1.5 * (q3 - q1)).sum())


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
