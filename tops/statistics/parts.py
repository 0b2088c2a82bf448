"""What the documents of each benchmark contribute to an estimate, and the error that follows from it without a draw.

The standard error of a smooth function of sums is that of its linearisation: each document moves the estimate by the
gradient times its own statistics, documents of a cluster move it together, and clusters are independent (Binder 1983,
"On the variances of asymptotically normal estimators from complex surveys"). No seed enters.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from tops.statistics.metrics import Metric
from tops.statistics.resampling import Clusters, Floats

_PSEUDO = 2.0  # documents added by Agresti and Min (2005): one for and one against


@dataclass(frozen=True)
class Part:
    """One benchmark's share of an estimate.

    Attributes
    ----------
    influence : array, shape (documents,)
        How far each document moves the estimate; they add up to 0.
    index : array of int, shape (documents,)
        Cluster of each document.
    counted : array of bool, shape (documents,)
        Documents that the estimate looks at.
    full : float
        How far it moves when every document turns from wrong to right; 0 where that has no bound.
    """

    influence: Floats
    index: np.ndarray
    counted: np.ndarray
    full: float

    @classmethod
    def of(cls, metrics: Sequence[Metric], clusters: Clusters) -> Part:
        """Of a benchmark's metric, mean over seeds."""
        counted = np.any([(m.statistics != 0).any(axis=1) for m in metrics], axis=0)
        influence = np.mean([m.influence for m in metrics], axis=0)
        return cls(influence, clusters.index, counted, metrics[0].top)

    @property
    def documents(self) -> int:
        """Documents that count."""
        return int(self.counted.sum())

    @cached_property
    def clusters(self) -> int:
        """Clusters with such a document."""
        return len(np.unique(self.index[self.counted]))

    @cached_property
    def _squares(self) -> float:
        """Sum over clusters of the square of what each moved."""
        moved = np.bincount(self.index, weights=self.influence)
        return float(np.square(moved).sum())

    @property
    def variance(self) -> float:
        """Squared standard error; 0 where all documents answer alike."""
        return self.clusters / (self.clusters - 1) * self._squares

    @property
    def guarded_variance(self) -> float:
        """Squared standard error with a floor: as if one more document had gone each way.

        Differences that rest on a document or two, or on none, have hardly a spread; without the floor their intervals
        cover the truth in 10 to 80 % of samples. A document counts as much as the clusters' design effect leaves of it.
        """
        if self.full == 0:
            return self.variance
        alone = float(np.square(self.influence).sum())
        most = self.documents / self.clusters
        effect = min(max(self._squares / alone, 1.0), most) if alone > 0 else most
        effective = self.documents / effect
        floored = self._squares + (self.full / effective) ** 2
        return self.clusters / (self.clusters - 1) * floored * (effective / (effective + _PSEUDO)) ** 2

    def times(self, weight: float) -> Part:
        """Of the estimate times a number."""
        return Part(weight * self.influence, self.index, self.counted, abs(weight) * self.full)


Parts = Mapping[str, Part]


def scaled(parts: Parts, weight: float) -> dict[str, Part]:
    """Of the estimate times a number."""
    return {name: part.times(weight) for name, part in parts.items()}


def total(terms: Sequence[Parts]) -> dict[str, Part]:
    """Of a sum of estimates; those on the same documents move together."""
    return _together(terms, sum)


def contrast(first: Parts, second: Parts) -> dict[str, Part]:
    """Of a paired difference: a document that turns under one of the two moves it by the larger of both scales."""
    return _together([first, scaled(second, -1.0)], max)


def _together(terms: Sequence[Parts], full: object) -> dict[str, Part]:
    assert callable(full)
    found: dict[str, Part] = {}
    for name in dict.fromkeys(name for parts in terms for name in parts):
        same = [parts[name] for parts in terms if name in parts]
        found[name] = Part(
            np.sum([p.influence for p in same], axis=0),
            same[0].index,
            np.any([p.counted for p in same], axis=0),
            0.0 if any(p.full == 0 for p in same) else float(full([p.full for p in same])),
        )
    return found


def freedom(parts: Parts) -> float:
    """Degrees of freedom of the standard error (Satterthwaite 1946); 0 where a benchmark is a single cluster."""
    if not parts or any(p.clusters < 2 for p in parts.values()):
        return 0.0
    variances = np.array([p.guarded_variance for p in parts.values()])
    each = np.array([p.clusters - 1 for p in parts.values()], dtype=np.float64)
    if variances.sum() == 0:
        return float(each.min())
    shares = variances / variances.sum()
    return float(1 / (np.square(shares) / each).sum())
