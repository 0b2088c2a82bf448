"""Intervals of an estimate, and the smallest difference a sample can show.

``tops bench intervals`` measures how often the intervals cover the truth, by number of clusters and true share; the
documentation has its table.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import special

from tops.statistics.parts import Parts, freedom

FEWEST_CLUSTERS = 10  # with fewer no interval holds its level at every share: the report says "too few"


@dataclass(frozen=True)
class Interval:
    """An estimate, its bounds and its standard error.

    Attributes
    ----------
    estimate, low, high, se : float
        In the units of the metric; bounds and error are NaN where there are too few clusters.
    units : int
        Independent units (clusters) behind it.
    """

    estimate: float
    low: float
    high: float
    se: float
    units: int

    @property
    def excludes_zero(self) -> bool:
        """Whether zero lies outside the interval; False for bounds that are NaN."""
        return self.low > 0 or self.high < 0


def enough(parts: Parts) -> bool:
    """Whether the clusters of all parts suffice for an interval: ``FEWEST_CLUSTERS - 1`` degrees of freedom or more."""
    return freedom(parts) >= FEWEST_CLUSTERS - 1 - 1e-9


def student(degrees: float, level: float) -> float:
    """Half-width of an interval of this coverage in standard errors: Student's t quantile."""
    return float(special.stdtrit(degrees, (1 + level) / 2))


def t_interval(estimate: float, parts: Parts, level: float = 0.95) -> Interval:
    """Interval of a difference, a ratio or a loss: Student's t on the guarded standard error.

    Parameters
    ----------
    estimate : float
        Value on the sample.
    parts : dict of str to Part
        Each benchmark's share of the estimate.
    level : float
        Coverage.
    """
    units = sum(p.clusters for p in parts.values())
    if not enough(parts) or not np.isfinite(estimate):
        return Interval(estimate, float("nan"), float("nan"), float("nan"), units)
    error = float(np.sqrt(sum(p.guarded_variance for p in parts.values())))
    half = student(freedom(parts), level) * error
    return Interval(estimate, estimate - half, estimate + half, error, units)


def share_interval(estimate: float, parts: Parts, top: float, level: float = 0.95) -> Interval:
    """Interval of a score between 0 and ``top``, or of a mean of such scores; it also holds near both ends.

    The interval is Wilson's, with Student's t and an effective number of documents that follows from the standard
    error, at least half the clusters and at most all documents (Franco et al. 2019, "Comparative study of confidence
    intervals for proportions in complex sample surveys"). Where few answers are wrong, or few right, Wilson's bound
    towards the nearer end is too close to the estimate (Brown, Cai and DasGupta 2001, section 4.1.1); Jeffreys' bound
    replaces it there if it is wider.

    Parameters
    ----------
    estimate : float
        Value on the sample, 0 to ``top``.
    parts : dict of str to Part
        Each benchmark's share of the estimate; every ``full`` is above 0.
    top : float
        Value when every answer is right.
    level : float
        Coverage.
    """
    units = sum(p.clusters for p in parts.values())
    if not enough(parts) or not np.isfinite(estimate):
        return Interval(estimate, float("nan"), float("nan"), float("nan"), units)
    share = min(max(estimate / top, 0.0), 1.0)
    spread = share * (1 - share)
    error = float(np.sqrt(sum(p.variance for p in parts.values()))) / top
    weights = [(p.full / top, p) for p in parts.values()]
    clusters = 1 / sum(w * w / p.clusters for w, p in weights)
    documents = 1 / sum(w * w / p.documents for w, p in weights)
    answers = spread / error**2 if error > 0 and spread > 0 else clusters
    answers = min(max(answers, clusters / 2), documents)
    t = student(freedom(parts), level)
    centre = (share + t * t / (2 * answers)) / (1 + t * t / answers)
    half = t / (1 + t * t / answers) * np.sqrt(spread / answers + t * t / (4 * answers**2))
    low, high = centre - half, centre + half
    nominal = answers * (float(special.ndtri((1 + level) / 2)) / t) ** 2  # the documents of which Jeffreys knows
    right, wrong = share * nominal + 0.5, (1 - share) * nominal + 0.5
    if share < 0.5:
        low = min(low, float(special.betaincinv(right, wrong, (1 - level) / 2)))
    else:
        high = max(high, float(special.betaincinv(right, wrong, (1 + level) / 2)))
    low = 0.0 if share == 0 else max(low, 0.0)
    high = 1.0 if share == 1 else min(high, 1.0)
    return Interval(estimate, float(top * low), float(top * high), top * error, units)


def jackknife_interval(estimate: float, without: np.ndarray, level: float = 0.95) -> Interval:
    """Jackknife interval of a smooth statistic, from its values without each group of documents.

    Parameters
    ----------
    estimate : float
        Value on all documents.
    without : array, shape (groups,)
        Values without each group in turn; the groups are of about equal size.
    level : float
        Coverage.
    """
    groups = len(without)
    if groups < FEWEST_CLUSTERS or not np.isfinite(estimate) or not np.isfinite(without).all():
        return Interval(estimate, float("nan"), float("nan"), float("nan"), groups)
    error = float(np.sqrt((groups - 1) / groups * np.square(without - without.mean()).sum()))
    half = student(groups - 1, level) * error
    return Interval(estimate, estimate - half, estimate + half, error, groups)


def minimum_detectable_effect(se: float, alpha: float = 0.05, power: float = 0.8) -> float:
    """Smallest true difference that a two-sided test at ``alpha`` finds with ``power``, given its standard error."""
    return float((special.ndtri(1 - alpha / 2) + special.ndtri(power)) * se)
