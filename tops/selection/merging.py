"""Merging tokens into few: contextual tokens (VisionZip) and weighted neighbourhoods (PruMerge)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize

from tops.selection.checks import check_count, check_finite, check_scores
from tops.selection.topk import top_k_lowest_index


def contextual_groups(scores: Tensor, metric: Tensor, dominant: int, contextual: int) -> tuple[Tensor, Tensor, Tensor]:
    """Split tokens into dominant ones, contextual targets, and those that merge into the target most like them.

    Targets are every ``max(1, M // contextual)``-th of the M tokens that are not dominant, whatever their score.

    Parameters
    ----------
    scores : Tensor, (B, N)
        The highest become dominant.
    metric : Tensor, (B, N, d)
        Vectors compared by cosine, in float32.
    dominant, contextual : int
        Counts, together at most N; either may be 0.

    Returns
    -------
    dominant : Tensor, (B, dominant) int64
        Ascending.
    targets : Tensor, (B, contextual) int64
        Ascending.
    group : Tensor, (B, N) int64
        Number of the target each remaining token merges into; -1 for dominant tokens and targets.

    Raises
    ------
    BudgetError
        If the counts do not fit.
    NonFiniteError
        NaN or infinity.

    Notes
    -----
    Source: VisionZip, arXiv 2412.04467, section 3.2, and its official code.
    """
    batch, n = scores.shape
    check_count(dominant + contextual, n)
    check_scores("scores", scores, metric)
    check_finite("metric", metric)
    chosen = (
        top_k_lowest_index(scores, dominant).sort(1).values
        if dominant
        else scores.new_empty(batch, 0, dtype=torch.long)
    )
    left = torch.ones_like(scores, dtype=torch.bool).scatter_(1, chosen, False)
    rest = left.nonzero()[:, 1].view(batch, n - dominant)
    group = torch.full_like(scores, -1, dtype=torch.long)
    if not contextual:
        return chosen, rest[:, :0], group
    stride = max(1, rest.shape[1] // contextual)
    targets = rest[:, : stride * contextual : stride]
    unit = normalize(metric.float(), dim=-1)
    place = unit.gather(1, targets[..., None].expand(-1, -1, unit.shape[-1]))
    nearest = (unit @ place.mT).argmax(-1)
    free = left.scatter(1, targets, False)
    return chosen, targets, torch.where(free, nearest, group)


def add_group_means(features: Tensor, targets: Tensor, group: Tensor) -> Tensor:
    """Each target plus the mean of its group; the sum is not divided by two, and an empty group adds zero.

    Parameters
    ----------
    features : Tensor, (B, N, d)
        Any float dtype; accumulated in float32.
    targets, group
        From :func:`contextual_groups`.

    Returns
    -------
    Tensor, (B, C, d)
        In the dtype of ``features``.
    """
    batch, count = targets.shape
    width = features.shape[-1]
    values = features.float()
    slot = torch.where(group < 0, count, group)  # one slot more takes the tokens that belong nowhere
    total = values.new_zeros(batch, count + 1, width)
    total.scatter_add_(1, slot[..., None].expand(-1, -1, width), values)
    size = values.new_zeros(batch, count + 1).scatter_add_(1, slot, torch.ones_like(slot, dtype=torch.float32))
    mean = total[:, :count] / size[:, :count, None].clamp_min(1.0)
    return (values.gather(1, targets[..., None].expand(-1, -1, width)) + mean).to(features.dtype)
