"""Each document's influence on an estimate, by benchmark, and the standard error computed from it without resampling.

The standard error of a smooth function of sums is that of its linearisation: each document moves the estimate by the
gradient times the document's statistics, the influences of a cluster's documents are added, and clusters are
independent (Binder 1983, "On the variances of asymptotically normal estimators from complex surveys"). No seed enters.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from tops.statistics.metrics import Metric
from tops.statistics.resampling import Clusters, Floats

_PSEUDO = 2.0  # documents that Agresti and Min (2005) add: one for and one against


@dataclass(frozen=True)
class Part:
    """One benchmark's share of an estimate.

    Attributes
    ----------
    influence : array, shape (documents,)
        How far each document moves the estimate; the values add up to 0.
    index : array of int, shape (documents,)
        Cluster of each document.
    counted : array of bool, shape (documents,)
        Whether the estimate uses each document.
    full : float
        How far the estimate moves when every document turns from wrong to right; 0 for a value without bounds.
    """

    influence: Floats
    index: np.ndarray
    counted: np.ndarray
    full: float

    @classmethod
    def of(cls, metrics: Sequence[Metric], clusters: Clusters) -> Part:
        """The part of a benchmark: its metric's influences, mean over seeds (one metric per seed)."""
        counted = np.any([(m.statistics != 0).any(axis=1) for m in metrics], axis=0)
        influence = np.mean([m.influence for m in metrics], axis=0)
        return cls(influence, clusters.index, counted, metrics[0].top)

    @property
    def documents(self) -> int:
        """Number of documents that the estimate uses."""
        return int(self.counted.sum())

    @cached_property
    def clusters(self) -> int:
        """Number of clusters with a document that the estimate uses."""
        return len(np.unique(self.index[self.counted]))

    @cached_property
    def _squares(self) -> float:
        """Sum over clusters of the squared sum of influences."""
        moved = np.bincount(self.index, weights=self.influence)
        return float(np.square(moved).sum())

    @property
    def variance(self) -> float:
        """Squared standard error; 0 where all documents answer alike."""
        return self.clusters / (self.clusters - 1) * self._squares

    @property
    def guarded_variance(self) -> float:
        """Squared standard error with a floor: as if one more document had gone each way.

        Differences that rest on one or two documents, or on none, have almost no variance; without the floor their
        intervals cover the truth in 10 to 80 % of samples. The added documents are weighted by the design effect of the
        clusters.
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
        """The part of the estimate times a number."""
        return Part(weight * self.influence, self.index, self.counted, abs(weight) * self.full)


Parts = Mapping[str, Part]


def scaled(parts: Parts, weight: float) -> dict[str, Part]:
    """The parts of the estimate times a number."""
    return {name: part.times(weight) for name, part in parts.items()}


def total(terms: Sequence[Parts]) -> dict[str, Part]:
    """The parts of a sum of estimates; influences on the same documents are added."""
    return _together(terms, sum)


def contrast(first: Parts, second: Parts) -> dict[str, Part]:
    """The parts of a paired difference, first minus second; ``full`` is the larger one of the two."""
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
