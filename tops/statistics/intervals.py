"""Intervals from resamples, and the smallest difference a sample can show."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

from tops.statistics.resampling import Floats


@dataclass(frozen=True)
class Interval:
    """An estimate, its bounds and its standard error.

    Attributes
    ----------
    estimate, low, high, se : float
        In the units of the metric.
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
        """Whether zero lies outside."""
        return self.low > 0 or self.high < 0


def percentile_interval(estimate: float, resampled: Floats, units: int, level: float = 0.95) -> Interval:
    """Expanded percentile interval (Hesterberg 2015, section 4.3): the bootstrap is too narrow on few units.

    Parameters
    ----------
    estimate : float
        Value on the sample.
    resampled : array, shape (resamples,)
        Values on the resamples; NaN ones are left out.
    units : int
        Number of clusters.
    level : float
        Coverage.
    """
    values = resampled[np.isfinite(resampled)]
    if units < 2 or len(values) < 2 or not np.isfinite(estimate):
        return Interval(estimate, float("nan"), float("nan"), float("nan"), units)
    stretch = np.sqrt(units / (units - 1))
    tail = float(stats.norm.cdf(stretch * stats.t.ppf((1 - level) / 2, units - 1)))
    low, high = np.quantile(values, [tail, 1 - tail])
    return Interval(estimate, float(low), float(high), float(stretch * values.std(ddof=1)), units)


def minimum_detectable_effect(se: float, alpha: float = 0.05, power: float = 0.8) -> float:
    """Smallest true difference that a two-sided test at ``alpha`` finds with ``power``, given its standard error."""
    return float((stats.norm.ppf(1 - alpha / 2) + stats.norm.ppf(power)) * se)


def discordant_se(discordant: float, documents: int) -> float:
    """Standard error of a difference of two accuracies, in points, from the share of answers that flip."""
    return float(100 * np.sqrt(discordant / documents))
