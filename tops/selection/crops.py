"""Sharing a count among runs of the token sequence by their attention (HoloV)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from tops.selection.checks import check_count, check_features, check_scores

SCALE, DIVERSITY, EPSILON = 1000.0, 0.09, 1e-6


@dataclass(frozen=True)
class Crops:
    """Runs of the sequences of B images, and how many tokens each is given.

    Attributes
    ----------
    sizes : tuple of int
        Tokens of each of C crops; the first ones take the remainder, empty ones are left out.
    variance, token_score : Tensor, (B, N) float64
        0 for a token that is alone in its crop.
    crop_score, weights : Tensor, (B, C) float64
    allocated : Tensor, (B, C) int64
        Sums to the count; may be more than a crop has.
    """

    sizes: tuple[int, ...]
    variance: Tensor
    token_score: Tensor
    crop_score: Tensor
    weights: Tensor
    allocated: Tensor


def weigh_crops(features: Tensor, attention: Tensor, k: int, crops: int) -> Crops:
    """Cut every sequence into runs and share k among them in proportion to their mean score.

    A token's score is 1000 times its attention plus 0.09 times the variance of its cosines inside the crop, brought to
    the scale of the attention. That scale makes the variances of a crop average to 1, so that their part is the same
    for all crops: the mean score is 1,090 times the mean attention whatever the features are.

    Parameters
    ----------
    features : Tensor, (B, N, d)
        Any float dtype, computed in float64: shares are rounded down, which rounding errors must not decide.
    attention : Tensor, (B, N)
        Of each token.
    k : int
        Tokens to keep, 1..N.
    crops : int
        Runs, at least 1.

    Returns
    -------
    Crops

    Raises
    ------
    BudgetError
        ``k`` outside 1..N.
    NonFiniteError
        NaN or infinity.

    Notes
    -----
    Source: HoloV, arXiv 2510.02912, and its official code. The diagonal of a crop's similarities is zero, and the
    variance runs over it too; a crop of one token scores its bare attention.
    """
    check_features(features, k)
    check_scores("attention", attention, features)
    n = features.shape[1]
    whole, more = divmod(n, crops)
    sizes = tuple(whole + (i < more) for i in range(crops) if whole or i < more)
    a = attention.double()
    variance, score, crop_scores = torch.zeros_like(a), torch.zeros_like(a), []
    start = 0
    for size in sizes:
        run = slice(start, start + size)
        start += size
        if size == 1:
            crop_scores.append(a[:, run].mean(1))
            continue
        rows = features[:, run].double()
        unit = rows / (rows.norm(dim=-1, keepdim=True) + EPSILON)
        similarity = unit @ unit.mT
        similarity.diagonal(dim1=1, dim2=2).zero_()
        mean = similarity.sum(-1, keepdim=True) / (size - 1)
        variance[:, run] = (similarity - mean).square().sum(-1) / (size - 1)
        gain = (SCALE * a[:, run]).mean(1) / (variance[:, run].mean(1) + EPSILON)
        score[:, run] = SCALE * a[:, run] + DIVERSITY * gain[:, None] * variance[:, run]
        crop_scores.append(score[:, run].mean(1))
    crop_score = torch.stack(crop_scores, 1)
    weights = crop_score / (crop_score.sum(1, keepdim=True) + EPSILON)
    allocated = (weights * k).floor().long()
    missing = k - allocated.sum(1, keepdim=True)
    rank = weights.sort(dim=1, descending=True, stable=True).indices.argsort(1)
    # One each to the crops of largest weight, and round again should there be more than crops.
    allocated += missing // len(sizes) + (rank < missing % len(sizes))
    return Crops(sizes, variance, score, crop_score, weights, allocated)


def pick_in_crops(crops: Crops, attention: Tensor, k: int, *, surplus: Literal["share", "zeros"]) -> Tensor:
    """The tokens with the most attention of every crop, crop after crop, by falling attention.

    Parameters
    ----------
    crops : Crops
        Of B images.
    attention : Tensor, (B, N)
        A crop that keeps all of its tokens keeps them in their order.
    k : int
        Tokens to keep.
    surplus : {"share", "zeros"}
        What becomes of tokens given to a crop that has fewer: they go to the crops with room, those of largest weight
        first, or are lost and leave zero rows at the end, as in the official code.

    Returns
    -------
    Tensor, (B, k) int64
        -1 stands for a zero row.
    """
    check_count(k, attention.shape[1])
    sizes = torch.tensor(crops.sizes, device=attention.device)
    bounds = [0, *sizes.cumsum(0).tolist()]
    out = torch.full((len(attention), k), -1, dtype=torch.int64, device=attention.device)
    for number, row in enumerate(attention):
        given = torch.minimum(crops.allocated[number], sizes)
        if surplus == "share":
            for crop in crops.weights[number].sort(descending=True, stable=True).indices.tolist():
                given[crop] += min(int(sizes[crop] - given[crop]), k - int(given.sum()))
        picked = []
        for start, end, count in zip(bounds, bounds[1:], given.tolist(), strict=False):
            order = row[start:end].sort(descending=True, stable=True).indices[:count]
            picked.append(start + (torch.arange(count, device=row.device) if count == end - start else order))
        kept = torch.cat(picked)
        out[number, : len(kept)] = kept
    return out
