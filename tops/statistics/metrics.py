"""Benchmark metrics as functions of sums, so that a thousand resamples are computed by one matrix product.

A metric is a table of per-document statistics, shape (documents, k), and a function that turns their sums, shape
(..., k), into the value: accuracy is [right, 1] and right / count. Resampling clusters re-weights the sums, therefore
the benchmark's own aggregation runs unchanged on every resample.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from tops.statistics.resampling import Clusters, Floats

_STEP = 0.01  # documents: small against any sum, large against rounding


@dataclass(frozen=True)
class Metric:
    """A metric on the answers of one cell.

    Attributes
    ----------
    statistics : array, shape (documents, k)
        The terms of the sums, one row per document.
    value : callable
        Maps sums of shape (..., k) to values of shape (...); NaN where a resample leaves nothing to average.
    nested : tuple of sequences, each of length documents
        Groups of documents that are scored as a whole; see :meth:`Clusters.of`.
    top : float
        The value when every document is right, for metrics whose least value is 0; 0 for a metric without bounds (a
        loss).
    """

    statistics: Floats
    value: Callable[[Floats], Floats]
    nested: tuple[Sequence[Hashable], ...] = ()
    top: float = 0.0

    @property
    def point(self) -> float:
        """The value on the documents as they are."""
        return float(self.value(self.statistics.sum(axis=0)))

    @property
    def influence(self) -> Floats:
        """How far each document moves the value, shape (documents,): its statistics times the gradient at the sums."""
        sums = self.statistics.sum(axis=0)
        used = np.flatnonzero((self.statistics != 0).any(axis=0))
        steps = _STEP * np.eye(len(sums))[used]
        gradient = (self.value(sums + steps) - self.value(sums - steps)) / (2 * _STEP)
        out: Floats = self.statistics[:, used] @ gradient
        return out


def resampled(metrics: Sequence[Metric], clusters: Clusters, resamples: int, seed: int) -> list[Floats]:
    """Values of metrics on the same resamples, each of shape (resamples,); memory does not grow with their number."""
    sums = [clusters.sums(m.statistics) for m in metrics]
    found: list[list[Floats]] = [[] for _ in metrics]
    for draws in clusters.blocks(resamples, seed):
        for values, metric, each in zip(found, metrics, sums, strict=True):
            values.append(metric.value(draws @ each))
    return [np.concatenate(values) for values in found]


def _ratio(top: Floats, bottom: Floats) -> Floats:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(bottom > 0, top / bottom, np.nan)


def _numbers(groups: Sequence[Hashable]) -> tuple[np.ndarray, int]:
    numbers: dict[Hashable, int] = {}
    index = np.array([numbers.setdefault(g, len(numbers)) for g in groups], dtype=np.int64)
    return index, len(numbers)


def _leaders(groups: Sequence[Hashable], right: Floats) -> tuple[np.ndarray, Floats]:
    """First document of each group, and whether all of the group are right."""
    index, count = _numbers(groups)
    first = np.full(count, len(index), dtype=np.int64)
    np.minimum.at(first, index, np.arange(len(index)))
    whole = np.ones(count)
    np.minimum.at(whole, index, (right > 0).astype(np.float64))
    return first, whole


def mean(values: Sequence[float], scale: float = 100.0, *, bounded: bool = True) -> Metric:
    """Mean over documents: accuracy, VQA score, judge score; with ``bounded=False`` a loss or another open number."""
    x = np.asarray(values, dtype=np.float64)
    top = scale if bounded and _shares(x) else 0.0
    table = np.stack([x, np.ones_like(x)], axis=1)
    return Metric(table, lambda s: scale * _ratio(s[..., 0], s[..., 1]), top=top)


def _shares(x: Floats) -> bool:
    return bool(((x >= 0) & (x <= 1)).all())


def mean_of_groups(values: Sequence[float], groups: Sequence[Hashable], scale: float = 100.0) -> Metric:
    """Mean over groups of the mean inside each: MLVU's M-avg over tasks, MMStar over categories."""
    x = np.asarray(values, dtype=np.float64)
    index, count = _numbers(groups)
    table = np.zeros((len(x), 2 * count))
    table[np.arange(len(x)), index] = x
    table[np.arange(len(x)), count + index] = 1

    def value(s: Floats) -> Floats:
        means = _ratio(s[..., :count], s[..., count:])
        there = np.isfinite(means)  # a resample may miss a small group altogether
        return scale * _ratio(np.where(there, means, 0).sum(axis=-1), there.sum(axis=-1).astype(np.float64))

    return Metric(table, value, top=scale if _shares(x) else 0.0)


def all_right(values: Sequence[float], groups: Sequence[Hashable], scale: float = 100.0) -> Metric:
    """Share of groups whose documents are all right: circular MMBench, HallusionBench's qAcc and fAcc."""
    right = np.asarray(values, dtype=np.float64)
    first, whole = _leaders(groups, right)
    table = np.zeros((len(right), 2))
    table[first, 0], table[first, 1] = whole, 1
    return Metric(table, lambda s: scale * _ratio(s[..., 0], s[..., 1]), (groups,), scale)


def f1(
    truth: Sequence[bool], predicted: Sequence[bool], splits: Sequence[Hashable] | None = None, scale: float = 100.0
) -> Metric:
    """F1 of the positive answer; with ``splits`` the mean of the splits' F1, as POPE is reported."""
    t, p = np.asarray(truth, dtype=bool), np.asarray(predicted, dtype=bool)
    index, count = _numbers(splits if splits is not None else [0] * len(t))
    table = np.zeros((len(t), 3 * count))
    rows = np.arange(len(t))
    table[rows, index] = t & p
    table[rows, count + index] = ~t & p
    table[rows, 2 * count + index] = t & ~p

    def value(s: Floats) -> Floats:
        tp, wrong = s[..., :count], s[..., count : 2 * count] + s[..., 2 * count :]
        scores = _ratio(2 * tp, 2 * tp + wrong)
        there = np.isfinite(scores)  # a few documents, or a resample, may leave a split no positive at all
        mean = _ratio(np.where(there, scores, 0).sum(axis=-1), there.sum(axis=-1).astype(np.float64))
        out: Floats = scale * np.nan_to_num(mean)
        return out

    return Metric(table, value, top=scale)


def mme(values: Sequence[float], subtasks: Sequence[Hashable], images: Sequence[Hashable]) -> Metric:
    """MME points: over subtasks, 100 x accuracy of questions + 100 x share of images with both questions right."""
    right = np.asarray(values, dtype=np.float64)
    index, count = _numbers(subtasks)
    pairs = list(zip(subtasks, images, strict=True))
    first, whole = _leaders(pairs, right)
    table = np.zeros((len(right), 4 * count))
    rows = np.arange(len(right))
    table[rows, index] = right
    table[rows, count + index] = 1
    table[first, 2 * count + index[first]] = whole
    table[first, 3 * count + index[first]] = 1

    def value(s: Floats) -> Floats:
        questions = _ratio(s[..., :count], s[..., count : 2 * count])
        both = _ratio(s[..., 2 * count : 3 * count], s[..., 3 * count :])
        # A subtask that a resample misses counts what the others average, else points would drop with chance.
        scores = questions + both
        there = np.isfinite(scores)
        total = np.where(there, scores, 0).sum(axis=-1)
        return 100 * count * _ratio(total, there.sum(axis=-1).astype(np.float64))

    return Metric(table, value, (pairs,), 200.0 * count)


def combined(metrics: Sequence[Metric], weights: Sequence[float] | None = None) -> Metric:
    """Weighted sum of metrics on the same documents (HallusionBench's mean of aAcc, qAcc and fAcc)."""
    w = np.full(len(metrics), 1 / len(metrics)) if weights is None else np.asarray(weights, dtype=np.float64)
    ends = np.cumsum([0, *(m.statistics.shape[1] for m in metrics)])
    parts = [(m, slice(a, b)) for m, a, b in zip(metrics, ends[:-1], ends[1:], strict=True)]

    def value(s: Floats) -> Floats:
        total = np.zeros(s.shape[:-1])
        for share, (metric, columns) in zip(w, parts, strict=True):
            total = total + share * metric.value(s[..., columns])
        return total

    nested = tuple(groups for m in metrics for groups in m.nested)
    bounded = all(m.top for m in metrics)
    top = float(sum(share * m.top for share, m in zip(w, metrics, strict=True))) if bounded else 0.0
    return Metric(np.concatenate([m.statistics for m in metrics], axis=1), value, nested, top)
