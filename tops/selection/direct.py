"""The greedy selections as their formulas stand, in torch on any device, without a host synchronisation.

Every step evaluates everything anew: slow on a CPU, where it serves as the reference, and the fallback on a GPU
without Triton. Arguments and results are those of :mod:`tops.selection.incremental`, as tensors.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from tops.selection.similarity import ONE, rank_floor


def tops(
    similarity: Tensor | None,
    relevance: Tensor,
    k: int,
    *,
    alpha: float,
    lam: float,
    principles: str,
    normalisation: Literal["mean", "minmax"],
) -> tuple[Tensor, Tensor]:
    """TOPS' greedy; each step sums coverage over all pairs, k N^2 in all."""
    pick = _Picks(relevance)
    pick.add(relevance.argmax(1), relevance)
    covered: Tensor | None = None
    for _ in range(k - 1):
        if similarity is not None:
            row = similarity[pick.entry, pick.order[-1]]
            covered = row if covered is None else torch.maximum(covered, row)
        score = torch.zeros_like(relevance)
        if "R" in principles:
            score += _normalised(relevance, pick.left, normalisation)
        if "C" in principles:
            assert similarity is not None
            assert covered is not None
            score += lam * _normalised(coverage_gain(similarity, covered), pick.left, normalisation)
        if "D" in principles:
            assert covered is not None
            score += alpha * _normalised((ONE - covered).double(), pick.left, normalisation)
        score = torch.where(pick.left, score, -torch.inf)
        pick.add(score.argmax(1), score)
    return pick.result()


def max_min(similarity: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Max-min diversity."""
    itself = torch.eye(similarity.shape[-1], dtype=torch.bool, device=similarity.device)
    covered = similarity.masked_fill(itself, -ONE).amax(1)
    pick = _Picks(covered)
    score = (ONE - covered).double() / ONE
    pick.add(score.argmax(1), score)
    covered = torch.full_like(covered, -ONE)
    for _ in range(k - 1):
        covered = torch.maximum(covered, similarity[pick.entry, pick.order[-1]])
        score = torch.where(pick.left, (ONE - covered).double() / ONE, -torch.inf)
        pick.add(score.argmax(1), score)
    return pick.result()


def coverage(
    similarity: Tensor, weight: Tensor, k: int, *, combine: Literal["multiply", "add"]
) -> tuple[Tensor, Tensor]:
    """Facility location times, or plus, a weight per token."""
    pick = _Picks(weight)
    covered = torch.zeros_like(similarity[:, 0])
    for _ in range(k):
        gain = coverage_gain(similarity, covered) / ONE
        score = torch.where(pick.left, gain * weight if combine == "multiply" else gain + weight, -torch.inf)
        pick.add(score.argmax(1), score)
        covered = torch.maximum(covered, similarity[pick.entry, pick.order[-1]])
    return pick.result()


def dpp(similarity: Tensor, quality: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Greedy MAP of a determinantal point process."""
    pick = _Picks(quality)
    residual = quality.square()
    floor = rank_floor(quality.shape[1]) * residual
    factors = quality.new_zeros(quality.shape[0], k, quality.shape[1])
    for step in range(k):
        score = torch.where(pick.left, residual, -torch.inf)
        chosen = score.argmax(1)
        pick.add(chosen, score)
        kernel = quality * (similarity[pick.entry, chosen].double() / ONE) * quality[pick.entry, chosen, None]
        past = factors[:, :step]
        kernel = kernel - (past[pick.entry, :, chosen][:, None] @ past)[:, 0]
        pivot = score[pick.entry, chosen, None]
        factors[:, step] = torch.where(pivot > 0, kernel / pivot.sqrt(), 0.0)
        residual = residual - factors[:, step].square()
        residual = torch.where(residual > floor, residual, 0.0)
    return pick.result()


def coverage_gain(similarity: Tensor, covered: Tensor) -> Tensor:
    """Sum over j of ``max(0, F[j, i] - covered[j])`` for every i, exact.

    Parameters
    ----------
    similarity : Tensor, (B, N, N) int32
        Fixed-point similarities F.
    covered : Tensor, (B, N) int32
        In the same units.

    Returns
    -------
    Tensor, (B, N) float64
        In units of 2**-29.
    """
    total = torch.maximum(similarity, covered[:, :, None]).sum(1)
    return (total - covered.sum(1, keepdim=True)).double()


class _Picks:
    """Order, scores and the mask of what is left, while they grow."""

    def __init__(self, like: Tensor) -> None:
        self.entry = torch.arange(like.shape[0], device=like.device)
        self.left = torch.ones_like(like, dtype=torch.bool)
        self.order: list[Tensor] = []
        self.score: list[Tensor] = []

    def add(self, chosen: Tensor, score: Tensor) -> None:
        self.order.append(chosen)
        self.score.append(score[self.entry, chosen])
        self.left[self.entry, chosen] = False

    def result(self) -> tuple[Tensor, Tensor]:
        return torch.stack(self.order, 1), torch.stack(self.score, 1)


def _normalised(term: Tensor, left: Tensor, normalisation: str) -> Tensor:
    """A term over its mean, or over its range, of the tokens that are left; zero where that is zero."""
    if normalisation == "mean":
        scale = torch.where(left, term, 0.0).sum(1, keepdim=True) / left.sum(1, keepdim=True)
        return torch.where(scale == 0, 0.0, term / scale)
    low = torch.where(left, term, torch.inf).amin(1, keepdim=True)
    scale = torch.where(left, term, -torch.inf).amax(1, keepdim=True) - low
    return torch.where(scale == 0, 0.0, (term - low) / scale)
