"""Dropping duplicates: tokens least like a few pivots (DART)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from tops.errors import BudgetError
from tops.selection.checks import check_finite
from tops.selection.similarity import cosine_similarity
from tops.selection.topk import top_k_lowest_index


def largest_norms(keys: Tensor, k: int) -> Tensor:
    """The k tokens whose keys have the largest L1 norm over all heads, largest first.

    Parameters
    ----------
    keys : Tensor, (KV, N, head_dim)
        Keys after RoPE. Norms are taken in float32: bfloat16 could not tell most of them apart.
    k : int
        1..N.

    Returns
    -------
    Tensor, (k,) int64
    """
    return top_k_lowest_index(keys.float().abs().sum((0, 2)), k)


def pick_dissimilar(states: Tensor, pivots: Tensor, candidates: Tensor, counts: Sequence[int]) -> Tensor:
    """Each pivot in turn takes the candidates least like it, by cosine, from what the earlier ones left.

    Parameters
    ----------
    states : Tensor, (L, d)
        Vectors of the whole sequence; compared in float32.
    pivots : Tensor, (P,) int64
        Places in the sequence, in the order in which they take.
    candidates : Tensor, (N,) int64
        Places that may be taken; a pivot among them is not.
    counts : sequence of int
        How many each pivot takes.

    Returns
    -------
    Tensor, (sum(counts),) int64
        Places taken, pivot by pivot, least similar first; ties to the lowest place.

    Raises
    ------
    BudgetError
        If there are fewer candidates than the pivots take.
    NonFiniteError
        NaN or infinity in the states.

    Notes
    -----
    Source: *DART*, arXiv 2502.11494, and its official code (ZichenWen1/DART).
    """
    check_finite("states", states)
    free = ~torch.isin(candidates, pivots)
    available = int(free.sum())
    if sum(counts) > available:
        raise BudgetError(
            f"{len(counts)} pivots take {sum(counts)} tokens, but {available} are there; lower the budget"
        )
    similarity = cosine_similarity(states[pivots], states[candidates])
    taken: list[Tensor] = []
    for row, count in zip(similarity, counts, strict=True):
        order = row.masked_fill(~free, torch.inf).sort(stable=True).indices[:count]
        free[order] = False
        taken.append(candidates[order])
    return torch.cat(taken)
