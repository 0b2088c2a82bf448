"""Is one method better than another beyond chance?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from scipy import stats

from tops.statistics.intervals import Interval, minimum_detectable_effect, percentile_interval
from tops.statistics.resampling import Floats

Name = TypeVar("Name")


@dataclass(frozen=True)
class Comparison:
    """A paired difference.

    Attributes
    ----------
    difference : Interval
        First minus second.
    p : float
        Two-sided; not corrected for the number of comparisons.
    detectable : float
        Smallest true difference found with 80 % power at this sample size.
    """

    difference: Interval
    p: float
    detectable: float


def compare(
    first: float,
    second: float,
    first_resampled: Floats,
    second_resampled: Floats,
    units: int,
    pooled: int | None = None,
) -> Comparison:
    """Difference of two values whose resamples were drawn together.

    The p-value is that of a t test with the bootstrap standard error and one degree of freedom less than clusters:
    counting resamples cannot go below 2 / resamples, which no correction over a whole table survives. It is never below
    2^(1 - units), the least that a sign-flip test on so many units can give.

    Parameters
    ----------
    first, second : float
        On the sample.
    first_resampled, second_resampled : array, shape (resamples,)
        Drawn together.
    units : int
        Clusters, the fewest of any part of the value; widen the interval.
    pooled : int, optional
        Clusters of all parts together, which is what bounds the p-value; ``units`` by default.
    """
    least = 2.0 ** (1 - (units if pooled is None else pooled))
    difference = first - second
    interval = percentile_interval(difference, first_resampled - second_resampled, units)
    if not np.isfinite(interval.se):
        p = float("nan")
    elif interval.se == 0:
        p = 1.0 if difference == 0 else least
    else:
        freedom = max((units if pooled is None else pooled) - 1, 1)
        p = max(float(2 * stats.t.sf(abs(difference) / interval.se, freedom)), least)
    return Comparison(interval, p, minimum_detectable_effect(interval.se))


@dataclass(frozen=True)
class Flips:
    """Documents whose answer changed sides between two methods."""

    gained: int  # wrong, then right
    lost: int  # right, then wrong
    documents: int
    p: float  # exact McNemar test


def mcnemar(before: Sequence[bool], after: Sequence[bool]) -> Flips:
    """Exact two-sided McNemar test on paired right/wrong answers; it takes documents as independent.

    Raises
    ------
    ValueError
        If the two have different lengths.
    """
    a, b = np.asarray(before, dtype=bool), np.asarray(after, dtype=bool)
    if a.shape != b.shape:
        raise ValueError(f"{len(a)} and {len(b)} answers are not paired")
    gained, lost = int((~a & b).sum()), int((a & ~b).sum())
    p = float(stats.binomtest(gained, gained + lost).pvalue) if gained + lost else 1.0
    return Flips(gained, lost, len(a), p)


def holm(p_values: Mapping[Name, float]) -> dict[Name, float]:
    """Holm's step-down adjustment; NaN stays NaN and does not count as a test."""
    tested = sorted((name for name, p in p_values.items() if not np.isnan(p)), key=lambda name: p_values[name])
    adjusted: dict[Name, float] = {name: float("nan") for name in p_values}
    running = 0.0
    for i, name in enumerate(tested):
        running = max(running, min(1.0, (len(tested) - i) * p_values[name]))
        adjusted[name] = running
    return adjusted
