"""The greedy selections on the CPU: batched over images, tiles or frames, each step touching only what changed.

All take similarities from :func:`tops.selection.similarity.fixed_point_similarity` and return the order of selection,
(B, k) int64, with the score of each pick when it was picked, (B, k) float64. Ties go to the lowest index.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tops.selection.similarity import ONE, rank_floor

Ints = NDArray[np.int32]
Longs = NDArray[np.int64]
Floats = NDArray[np.float64]

_CELLS = 2**17  # entries of one block of rows, so that its passes stay in a core's cache


class CoverageGain:
    """How much coverage each candidate would add, kept exact while tokens are added.

    ``gain[b, i] = sum over j of max(0, F[b, j, i] - covered[b, j])`` in units of 2**-29. Adding token s changes only
    the rows j with ``F[j, s] > covered[j]``, about N ln k of them over a whole selection instead of N k. Sums are of
    whole numbers, so nothing drifts. The gain of a token that was added is zero.

    Parameters
    ----------
    similarity : ndarray, (B, N, N) int32
        Fixed-point similarities.
    covered : ndarray, (B, N) int32
        Similarity to which each token is covered at the start; changed in place.
    """

    def __init__(self, similarity: Ints, covered: Ints) -> None:
        batch, n, _ = similarity.shape
        self.covered = covered
        self.gain: Longs = np.zeros((batch, n), dtype=np.int64)
        self._rows = similarity.reshape(batch * n, n)
        self._count = n
        self._step = max(1, _CELLS // n)
        self._scratch: Ints = np.empty((self._step, n), dtype=np.int32)
        for b in range(batch):
            for start in range(0, n, self._step):
                rows = similarity[b, start : start + self._step]
                floor = covered[b, start : start + self._step]
                block = np.maximum(rows, floor[:, None], out=self._scratch[: len(rows)])
                self.gain[b] += block.sum(0, dtype=np.int64) - floor.sum(dtype=np.int64)

    def add(self, row: Ints) -> None:
        """Account for a new token in every batch entry.

        Parameters
        ----------
        row : ndarray, (B, N) int32
            Its similarity to all tokens.
        """
        flat = np.flatnonzero(row > self.covered)
        old, new = self.covered.reshape(-1)[flat], row.reshape(-1)[flat]
        np.maximum(self.covered, row, out=self.covered)
        for start in range(0, len(flat), self._step):
            part = slice(start, start + self._step)
            rows, low, high = flat[part], old[part], new[part]
            block = self._scratch[: len(rows)]
            self._rows.take(rows, axis=0, out=block, mode="clip")
            # max(0, F - old) - max(0, F - new) for old < new is F clipped to old..new, less old
            block.clip(low[:, None], high[:, None], out=block)
            if len(self.gain) == 1:
                self._lose(block, int(low.sum(dtype=np.int64)), int(high.sum(dtype=np.int64)))
            else:
                owner, first = np.unique(rows // self._count, return_index=True)
                self.gain[owner] -= np.add.reduceat(block, first, axis=0, dtype=np.int64)
                self.gain[owner] += np.add.reduceat(low[:, None], first, axis=0, dtype=np.int64)

    def _lose(self, block: Ints, low: int, high: int) -> None:
        """Take column sums of ``block - old`` from the gain; ``low`` and ``high`` are the sums of old and new."""
        gain = self.gain[0]
        if high - low < 2**32:  # int32 sums wrap around, but what remains of them fits 32 bits
            lost: Ints = np.add.reduce(block, axis=0, dtype=np.int32)
            lost -= np.uint32(low % 2**32).astype(np.int32)
            gain -= lost.view(np.uint32)
        else:
            gain -= block.sum(0, dtype=np.int64) - low


def tops(
    similarity: Ints | None,
    relevance: Floats,
    k: int,
    *,
    alpha: float,
    lam: float,
    principles: str,
    normalisation: Literal["mean", "minmax"],
) -> tuple[Longs, Floats]:
    """TOPS' greedy; see :func:`tops.selection.select_tops`. ``similarity`` may be None for ``principles="R"``."""
    batch, n = relevance.shape
    pick = _Picks(batch, k)
    chosen = relevance.argmax(1)
    pick.add(chosen, relevance)
    relevance = relevance.copy()
    coverage: CoverageGain | None = None
    covered: Ints | None = None
    closed, score, term = np.zeros((batch, n)), np.empty((batch, n)), np.empty((batch, n))
    for step in range(1, k):
        closed[pick.entry, chosen] = -np.inf
        relevance[pick.entry, chosen] = 0.0
        if similarity is not None:
            row = similarity[pick.entry, chosen]
            if covered is None:
                covered = row.copy()
                coverage = CoverageGain(similarity, covered) if "C" in principles else None
            elif coverage is not None:
                coverage.add(row)
            else:
                np.maximum(covered, row, out=covered)
        if "R" in principles:
            _normalise(relevance, closed, n - step, normalisation, score)
        else:
            score.fill(0.0)
        if coverage is not None:
            _normalise(coverage.gain, closed, n - step, normalisation, term)
            term *= lam
            score += term
        if "D" in principles:
            assert covered is not None
            _normalise(ONE - covered, closed, n - step, normalisation, term)
            term *= alpha
            score += term
        score += closed
        chosen = score.argmax(1)
        pick.add(chosen, score)
    return pick.order, pick.score


def max_min(similarity: Ints, k: int) -> tuple[Longs, Floats]:
    """Max-min diversity; see :func:`tops.selection.select_max_min`."""
    batch, n, _ = similarity.shape
    pick = _Picks(batch, k)
    itself = np.eye(n, dtype=bool)
    nearest = np.stack([np.where(itself, -ONE, entry).max(1) for entry in similarity])
    chosen = nearest.argmin(1)
    pick.add(chosen, (ONE - nearest) / ONE)
    covered: Ints = np.full((batch, n), -ONE, dtype=np.int32)
    left = np.ones((batch, n), dtype=bool)
    for _ in range(1, k):
        left[pick.entry, chosen] = False
        np.maximum(covered, similarity[pick.entry, chosen], out=covered)
        score = np.where(left, (ONE - covered) / ONE, -np.inf)
        chosen = score.argmax(1)
        pick.add(chosen, score)
    return pick.order, pick.score


def coverage(similarity: Ints, weight: Floats, k: int, *, combine: Literal["multiply", "add"]) -> tuple[Longs, Floats]:
    """Facility location times, or plus, a weight per token; see :func:`tops.selection.select_coverage`."""
    batch, n, _ = similarity.shape
    pick = _Picks(batch, k)
    cover = CoverageGain(similarity, np.zeros((batch, n), dtype=np.int32))
    left = np.ones((batch, n), dtype=bool)
    for _ in range(k):
        gain = cover.gain / ONE
        score = np.where(left, gain * weight if combine == "multiply" else gain + weight, -np.inf)
        chosen = score.argmax(1)
        pick.add(chosen, score)
        left[pick.entry, chosen] = False
        cover.add(similarity[pick.entry, chosen])
    return pick.order, pick.score


def dpp(similarity: Ints, quality: Floats, k: int, *, tokens: int | None = None) -> tuple[Longs, Floats]:
    """Greedy MAP of a determinantal point process; see :func:`tops.selection.select_dpp`.

    ``tokens`` is how many there are, where these are some of them: it decides what counts as rounding.
    """
    batch, n, _ = similarity.shape
    pick = _Picks(batch, k)
    residual = quality**2
    floor = rank_floor(tokens or n) * residual
    factors = np.zeros((batch, k, n))
    left = np.ones((batch, n), dtype=bool)
    for step in range(k):
        score = np.where(left, residual, -np.inf)
        chosen = score.argmax(1)
        pick.add(chosen, score)
        left[pick.entry, chosen] = False
        kernel = quality * (similarity[pick.entry, chosen] / ONE) * quality[pick.entry, chosen, None]
        past = factors[:, :step]
        kernel -= (past[pick.entry, :, chosen][:, None] @ past)[:, 0]
        pivot = score[pick.entry, chosen, None]
        np.divide(kernel, np.sqrt(pivot), out=factors[:, step], where=pivot > 0)
        residual = residual - factors[:, step] ** 2
        residual[residual <= floor] = 0.0
    return pick.order, pick.score


class _Picks:
    """Order and scores while they grow."""

    def __init__(self, batch: int, k: int) -> None:
        self.entry = np.arange(batch)
        self.order: Longs = np.empty((batch, k), dtype=np.int64)
        self.score: Floats = np.empty((batch, k))
        self._next = 0

    def add(self, chosen: Longs, score: Floats) -> None:
        self.order[:, self._next] = chosen
        self.score[:, self._next] = score[self.entry, chosen]
        self._next += 1


def _normalise(term: Floats | Longs | Ints, closed: Floats, count: int, normalisation: str, out: Floats) -> None:
    """A term that is zero for chosen tokens over its mean, or range, among the ``count`` that are not ``closed``."""
    if normalisation == "mean":
        scale = np.add.reduce(term, axis=1, keepdims=True) / count
    else:
        low = (term - closed).min(1, keepdims=True)
        scale = (term + closed).max(1, keepdims=True) - low
        term = term - low
    if not scale.all():
        scale[scale == 0] = np.inf
    np.divide(term, scale, out=out)
