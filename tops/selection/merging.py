"""Merging tokens into few: contextual tokens (VisionZip) and weighted neighbourhoods (PruMerge)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag, normalize

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


def mean_of_rows(table: Tensor, rows: Tensor) -> Tensor:
    """The plain mean of some rows of a table, for several sets of rows, without a copy of them.

    Parameters
    ----------
    table : Tensor, (M, d)
        Any float dtype; accumulated in float32.
    rows : Tensor, (B, R) int64
        Rows of each set, at least one.

    Returns
    -------
    Tensor, (B, d)
        In the dtype of ``table``.
    """
    return embedding_bag(rows, table.float(), mode="mean").to(table.dtype)


def merge_neighbours(
    features: Tensor, keys: Tensor, weights: Tensor, chosen: Tensor, rest: Tensor, *, neighbours: int = 32
) -> tuple[Tensor, Tensor]:
    """Add to each chosen token the weighted sum of the tokens with the keys most like its own; sum up the rest.

    Neighbours come from the other chosen slots and the rest; sums use the original features and are not normalised.

    Parameters
    ----------
    features : Tensor, (B, N, c)
        Any float dtype; accumulated in float32.
    keys : Tensor, (B, N, e)
        Compared by cosine in float32.
    weights : Tensor, (B, N)
        Attention of each token.
    chosen : Tensor, (B, K) int64
        Slots in output order; may repeat a token.
    rest : Tensor, (B, M) int64
        Tokens that are not chosen.
    neighbours : int
        Per slot; fewer where there are fewer.

    Returns
    -------
    Tensor, (B, K, c)
        The merged slots, in the dtype of ``features``.
    Tensor, (B, 1, c)
        Weighted sum of the rest.

    Notes
    -----
    Source: PruMerge, arXiv 2403.15388, section 3.3, and its official code, in which the division is commented out.
    """
    values, weight = features.float(), weights.float()
    check_finite("weights", weight)
    unit = normalize(keys.float(), dim=-1)
    pool = torch.cat([chosen, rest], 1)

    def at(source: Tensor, index: Tensor) -> Tensor:
        return source.gather(1, index[..., None].expand(-1, -1, source.shape[-1]))

    weighted = at(values, pool) * weight.gather(1, pool)[..., None]
    similarity = at(unit, chosen) @ at(unit, pool).mT
    slots = torch.arange(chosen.shape[1], device=chosen.device)
    similarity[:, slots, slots] = -torch.inf
    count = min(neighbours, pool.shape[1] - 1)
    merged = at(values, chosen)
    if count > 0:
        near = torch.zeros_like(similarity).scatter_(2, similarity.topk(count, dim=-1).indices, 1.0)
        merged = merged + near @ weighted
    extra = weighted[:, chosen.shape[1] :].sum(1, keepdim=True)
    return merged.to(features.dtype), extra.to(features.dtype)
