"""Dropping duplicates in rounds from a ranked list (VisPruner)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from tops.errors import BudgetError
from tops.selection.checks import check_features, check_scores
from tops.selection.similarity import ONE, fixed_point_similarity

MOST = 8  # tokens that one round drops: a literal of the official code


@dataclass(frozen=True)
class Round:
    """One round on B lists of R tokens.

    Attributes
    ----------
    likeness : Tensor, (B, ceil(R / 2)) float32
        Largest cosine of every token on an even place of the list with those on odd places, in the list's order.
    dropped : Tensor, (B, k) int64
        Tokens that go, the most duplicated first.
    left : Tensor, (B, R - k) int64
        The list of the next round: what is left of the even places by falling likeness, then the odd places.
    """

    likeness: Tensor
    dropped: Tensor
    left: Tensor


def duplicate_rounds(features: Tensor, ranked: Tensor, keep: int) -> Iterator[Round]:
    """Rounds until ``keep`` tokens are left of each list.

    Parameters
    ----------
    features : Tensor, (B, N, d)
        Any float dtype; compared in exact fixed point, since the order of all similarities steers later rounds.
    ranked : Tensor, (B, R) int64
        Tokens in the order that decides which are compared: places 0, 2, 4, ... with places 1, 3, 5, ...
    keep : int
        0..R.

    Notes
    -----
    Source: VisPruner, arXiv 2412.01818, section 3.3, and its official code, which fails where a list is odd or shorter
    than twice the tokens that a round drops. Here the even places of an odd list are one more than the odd ones, and a
    round drops at most the even places.
    """
    similarity = fixed_point_similarity(features)
    entry = torch.arange(len(ranked), device=ranked.device)[:, None, None]
    while ranked.shape[1] > keep:
        even, odd = ranked[:, ::2], ranked[:, 1::2]
        if not odd.shape[1]:  # a single token is left, and nothing to compare it with
            yield Round(even.float() * 0, even, odd)
            return
        likeness = similarity[entry, even[..., None], odd[:, None]].amax(-1)
        order = likeness.sort(dim=1, descending=True, stable=True).indices
        count = min(MOST, ranked.shape[1] - keep, even.shape[1])
        by_likeness = even.gather(1, order)
        ranked = torch.cat([by_likeness[:, count:], odd], 1)
        yield Round(likeness.double().div(ONE).float(), by_likeness[:, :count], ranked)


def select_important_diverse(features: Tensor, scores: Tensor, k: int, *, important: float) -> Tensor:
    """The best tokens by score, and of the others those that are left when duplicates are dropped in rounds.

    Parameters
    ----------
    features : Tensor, (B, N, d)
        Any float dtype.
    scores : Tensor, (B, N)
        Ties go to the lowest index.
    k : int
        Tokens to keep, 1..N.
    important : float
        Share of them that is kept by score alone, in [0, 1]; truncated to whole tokens.

    Returns
    -------
    Tensor, (B, k) int64
        By falling score, then the diverse ones in the order of the last list.

    Raises
    ------
    BudgetError
        ``k`` outside 1..N, or ``important`` outside [0, 1].
    NonFiniteError
        NaN or infinity.
    """
    if not 0 <= important <= 1:
        raise BudgetError(f"important={important} is a share of the tokens to keep; it must lie in [0, 1]")
    check_features(features, k)
    check_scores("scores", scores, features)
    order = scores.sort(dim=1, descending=True, stable=True).indices
    count = int(k * important)
    left = order[:, count:]
    if count == k:
        return order[:, :k]
    for step in duplicate_rounds(features, left, k - count):
        left = step.left
    return torch.cat([order[:, :count], left], 1)
