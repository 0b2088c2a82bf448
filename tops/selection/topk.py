"""The k largest scores with deterministic ties."""

from __future__ import annotations

import torch
from torch import Tensor

from tops.selection.checks import check_count, check_finite


def top_k_lowest_index(scores: Tensor, k: int, *, largest: bool = True) -> Tensor:
    """Indices of the k largest scores, best first; among equals the lowest index first.

    ``torch.topk`` promises no order among equals, and its choice differs between devices.

    Parameters
    ----------
    scores : Tensor, (..., N)
        Any real dtype.
    k : int
        1..N.
    largest : bool
        False: the k smallest, smallest first.

    Returns
    -------
    Tensor, (..., k) int64
        On the device of ``scores``.

    Raises
    ------
    BudgetError
        ``k`` outside 1..N.
    NonFiniteError
        NaN or infinity among the scores.
    """
    check_count(k, scores.shape[-1])
    check_finite("scores", scores)
    return torch.sort(scores, dim=-1, descending=largest, stable=True).indices[..., :k]
