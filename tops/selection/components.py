"""Groups of tokens by principal component, thinned out inside each (PruneSID)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tops.errors import BudgetError
from tops.selection.checks import check_features, check_scores
from tops.selection.similarity import cosine_similarity


@dataclass(frozen=True)
class Thinned:
    """One unit of N tokens in q groups.

    Attributes
    ----------
    threshold : float
        Cosine above which two members of a group are duplicates.
    picks : list of list of int
        Per group the members left when duplicates of better ones are dropped, in the order of picking.
    sizes : Tensor, (q,) int64
        Members of each group.
    quota : Tensor, (q,) int64
        How many each keeps.
    order : Tensor, (K,) int64
        Kept tokens, group after group: its picks, then its duplicates by falling score.
    """

    threshold: float
    picks: list[list[int]]
    sizes: Tensor
    quota: Tensor
    order: Tensor


def principal_loadings(features: Tensor, groups: int, *, noise: Tensor | None = None) -> Tensor:
    """How much each token belongs to the first principal components of a unit.

    Channels are the samples and tokens the variables; every token is centred over its channels after a sigmoid.

    Parameters
    ----------
    features : Tensor, (N, d)
        Any float dtype; computed in float64.
    groups : int
        Components, 1..min(N, d).
    noise : Tensor or None, (min(N, d), groups)
        Normal draws: the randomised SVD of the official code (two power iterations, no oversampling) on this test
        matrix, computed in float32 as there. None: exact.

    Returns
    -------
    Tensor, (N, groups) float64
        Absolute right singular vectors, by falling singular value.

    Raises
    ------
    BudgetError
        If there are fewer tokens or channels than components.
    NonFiniteError
        NaN or infinity.
    """
    check_features(features, 1)
    n, width = features.shape
    if not 1 <= groups <= min(n, width):
        raise BudgetError(f"{groups} components of {n} tokens with {width} channels: use 1 to {min(n, width)}")
    values = features.float().sigmoid()
    centred = (values - values.mean(1, keepdim=True)).T  # (d, N)
    if noise is None:
        gram = centred.double().T @ centred.double()
        vectors: Tensor = torch.linalg.eigh(gram).eigenvectors
        return vectors[:, -groups:].flip(1).abs()
    wide = width < n
    matrix = centred.T if wide else centred
    basis = torch.linalg.qr(matrix @ noise.to(matrix)).Q
    for _ in range(2):
        basis = torch.linalg.qr(matrix.T @ basis).Q
        basis = torch.linalg.qr(matrix @ basis).Q
    left, _, right = torch.linalg.svd(basis.T @ matrix, full_matrices=False)
    found: Tensor = basis @ left if wide else right.T
    return found.double().abs()


def thin_groups(
    features: Tensor, scores: Tensor, group: Tensor, k: int, *, groups: int, budget: int, encoder: bool
) -> Thinned:
    """Drop duplicates inside every group, share the count by what is left, and keep the best of each.

    Parameters
    ----------
    features : Tensor, (N, d)
        Compared by cosine, in float32.
    scores : Tensor, (N,)
        The better of two duplicates stays.
    group : Tensor, (N,) int64
        Group of each token.
    k : int
        Tokens to keep, 1..N.
    groups : int
        Groups, some of which may be empty.
    budget : int
        The number that threshold and largest share are made for: tokens of the unit, a CLS token included.
    encoder : bool
        The rule for CLIP's patches (one of ``budget`` is the CLS token), or the one for merged tokens of Qwen2-VL. They
        differ in the mean similarity that the threshold is a multiple of.

    Returns
    -------
    Thinned

    Raises
    ------
    BudgetError
        ``k`` outside 1..N.
    NonFiniteError
        NaN or infinity.

    Notes
    -----
    Source: PruneSID, arXiv 2603.09480, and its official code.
    """
    check_features(features, k)
    check_scores("scores", scores, features)
    n = len(features)
    similarity = cosine_similarity(features)
    pairs = similarity.double().triu(1 if encoder else 0).sum()
    if encoder:
        threshold = float(pairs) / (n * (n - 1) / 2) * budget / 32 if n > 1 else 1.0
    else:
        threshold = float(pairs) / n**2 * max(18 * budget / n, 1.0)
    alike = (similarity > threshold).tolist()
    ranked = scores.sort(descending=True, stable=True).indices.tolist()
    members: list[list[int]] = [[] for _ in range(groups)]
    owner = group.tolist()
    for token in ranked:
        members[owner[token]].append(token)
    picks = [_without_duplicates(own, alike) for own in members]
    sizes = torch.tensor([len(own) for own in members])
    quota = share_by_picks(torch.tensor([len(own) for own in picks]), sizes, k, budget)
    order: list[int] = []
    for own, picked, count in zip(members, picks, quota.tolist(), strict=True):
        taken = set(picked)
        order += (picked + [token for token in own if token not in taken])[:count]
    return Thinned(threshold, picks, sizes, quota, torch.tensor(order, device=features.device))


def _without_duplicates(ranked: list[int], alike: Sequence[Sequence[bool]]) -> list[int]:
    kept: list[int] = []
    for token in ranked:
        if not any(alike[other][token] for other in kept):
            kept.append(token)
    return kept


def share_by_picks(picks: Tensor, sizes: Tensor, k: int, budget: int) -> Tensor:
    """Share k among groups in proportion to their picks.

    Every group with a member gets one, none more than ``5 * ceil(budget / 64)`` or its picks unless that is too little
    in all; what rounding leaves goes to the groups with the most picks.

    Parameters
    ----------
    picks, sizes : Tensor, (q,) int64
        Picks and members of each group.
    k : int
        The sum of the shares; at most the members.
    budget : int
        As in :func:`thin_groups`.

    Returns
    -------
    Tensor, (q,) int64
    """
    low = sizes.clamp_max(1)
    high = torch.minimum(sizes, picks).clamp_max(5 * math.ceil(budget / 64))
    while int(high.sum()) < min(budget, int(sizes.sum())):
        high = torch.minimum(high + 1, sizes)
    rest = max(0, k - int(low.sum()))
    shares = (rest * (picks.cumsum(0) / picks.sum())).round().long()
    quota = torch.minimum(low + shares.diff(prepend=shares.new_zeros(1)), high)
    for group in picks.sort(descending=True, stable=True).indices.tolist():
        quota[group] += min(int(high[group] - quota[group]), max(0, k - int(quota.sum())))
    over = int(quota.sum()) - k  # more groups than tokens: those with the fewest picks go without
    for group in picks.sort(stable=True).indices.tolist():
        taken = min(int(quota[group]), max(0, over))
        quota[group] -= taken
        over -= taken
    return quota
