"""The highest scores with a uniform supplement (PruMerge+)."""

from __future__ import annotations

import torch
from torch import Tensor

from tops.errors import BudgetError
from tops.selection.checks import check_count, check_finite
from tops.selection.outliers import quartile_outliers
from tops.selection.topk import top_k_lowest_index


def choose_adaptive(scores: Tensor, *, supplement: bool) -> tuple[Tensor, Tensor]:
    """As many tokens as stand out, and every ``stride``-th other one.

    Parameters
    ----------
    scores : Tensor, (1, N)
        One unit: the count follows the scores.
    supplement : bool
        Add the uniform tokens.

    Returns
    -------
    chosen : Tensor, (1, K) int64
        By falling score, then the supplement ascending.
    rest : Tensor, (1, M) int64
        The others, ascending.

    Raises
    ------
    BudgetError
        If no score stands out, or so many that the official rule has no stride.
    """
    n = scores.shape[1]
    ratio = quartile_outliers(scores[0]) / n
    top = int(n * ratio)  # the product can fall below the count and lose one token, as in the official code
    if not top:
        raise BudgetError("no score stands out, so the adaptive rule keeps no token; give a budget (rule=fixed)")
    chosen = top_k_lowest_index(scores, top)
    if supplement:
        stride = int(int(1 / ratio) / 3)
        if not stride:
            raise BudgetError(
                f"{top} of {n} scores stand out, more than a third: the adaptive supplement has no stride; "
                "give a budget (rule=fixed)"
            )
        places = torch.arange(0, n - 1, stride, device=scores.device)
        chosen = torch.cat([chosen, places[~torch.isin(places, chosen)][None]], 1)
    return chosen, _others(chosen, n)


def choose_literal(scores: Tensor, slots: int, *, supplement: bool) -> tuple[Tensor, Tensor]:
    """The official non-adaptive branch at ``ratio = slots / 2N``: half by score, half uniform, repeats included.

    Parameters
    ----------
    scores : Tensor, (B, N)
        One row a unit.
    slots : int
        1..N; reached exactly where 2N is a multiple of it.
    supplement : bool
        False: all slots by score.

    Returns
    -------
    chosen : Tensor, (B, K) int64
        By falling score, then the uniform ones; a token may appear twice.
    rest : Tensor, (B, N - K) int64
        Others, ascending; for each repeat the lowest one is missing, as the official helper loses it.
    """
    n = scores.shape[1]
    check_count(slots, n)
    ratio = slots / (2 * n) if supplement else slots / n
    chosen = top_k_lowest_index(scores, max(1, int(n * ratio)))
    if supplement:
        step = int(1 / ratio)
        places = torch.arange(int(step / 2), n - 1, step, device=scores.device)
        chosen = torch.cat([chosen, places.expand(len(scores), -1)], 1)
    left = torch.ones_like(scores, dtype=torch.bool).scatter_(1, chosen, False)
    place = torch.arange(n, device=scores.device).expand_as(scores)
    # Others last and ascending: the front, where chosen tokens are, takes the overhang of the repeats.
    return chosen, torch.where(left, place, place - n).sort(1).values[:, chosen.shape[1] :]


def choose_fixed(scores: Tensor, k: int, *, supplement: bool) -> tuple[Tensor, Tensor]:
    """Exactly k different tokens: about half uniform, the others by score.

    Parameters
    ----------
    scores : Tensor, (B, N)
        One row a unit.
    k : int
        0..N - 1; the caller's extra token makes it k + 1.
    supplement : bool
        False: all by score.

    Returns
    -------
    chosen : Tensor, (B, k) int64
        By falling score, then what only the uniform grid chose, ascending.
    rest : Tensor, (B, N - k) int64
        The others, ascending.
    """
    batch, n = scores.shape
    check_finite("scores", scores)
    if not k:
        return scores.new_empty(batch, 0, dtype=torch.long), torch.arange(n, device=scores.device).expand(batch, -1)
    check_count(k, n)
    rank = top_k_lowest_index(scores, n).argsort(1)
    top, uniform = k, torch.zeros(n, dtype=torch.bool, device=scores.device)
    if supplement:
        ratio = (k + 1) / (2 * n)
        top, step = int(n * ratio), int(1 / ratio)
        places = torch.arange(int(step / 2), n - 1, step, device=scores.device)
        uniform[places] = True
    by_score = rank.masked_fill(uniform, n).argsort(dim=1, stable=True)[:, : k - int(uniform.sum())]
    member = uniform.expand(batch, -1).clone().scatter_(1, by_score, True)
    place = torch.arange(n, device=scores.device)
    late = uniform & (rank >= top)
    order = torch.where(late, n + place, rank).masked_fill(~member, 3 * n).argsort(dim=1, stable=True)
    return order[:, :k], order[:, k:].sort(1).values


def _others(chosen: Tensor, n: int) -> Tensor:
    left = torch.ones(len(chosen), n, dtype=torch.bool, device=chosen.device).scatter_(1, chosen, False)
    return left.nonzero()[:, 1].view(len(chosen), -1)
