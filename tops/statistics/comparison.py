"""Tests of the difference between two methods: paired t, McNemar, Holm's correction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from scipy import special, stats

from tops.statistics.intervals import Interval, minimum_detectable_effect, t_interval
from tops.statistics.parts import Parts, freedom

Name = TypeVar("Name")


@dataclass(frozen=True)
class Comparison:
    """A paired difference.

    Attributes
    ----------
    difference : Interval
        First minus second.
    p : float
        Two-sided p-value; not corrected for the number of comparisons.
    detectable : float
        Smallest true difference that this sample size finds with 80 % power, in the units of the difference.
    """

    difference: Interval
    p: float
    detectable: float


def compare(difference: float, parts: Parts) -> Comparison:
    """Whether a paired difference is more than chance, by Student's t on its guarded standard error.

    The p-value is never below 2^(1 - clusters), the least that a sign-flip test on so many clusters can give.

    Parameters
    ----------
    difference : float
        First method minus second, on the sample.
    parts : dict of str to Part
        Each benchmark's share of the difference.
    """
    interval = t_interval(difference, parts)
    if not np.isfinite(interval.se):
        p = float("nan")
    elif interval.se == 0:
        p = 1.0 if difference == 0 else 2.0 ** (1 - interval.units)
    else:
        p = float(2 * special.stdtr(freedom(parts), -abs(difference) / interval.se))
        p = max(p, 2.0 ** (1 - interval.units))
    return Comparison(interval, p, minimum_detectable_effect(interval.se))


@dataclass(frozen=True)
class Flips:
    """Documents whose answer changed sides between two methods."""

    gained: int  # wrong, then right
    lost: int  # right, then wrong
    documents: int
    p: float  # exact McNemar test


def mcnemar(before: Sequence[bool], after: Sequence[bool]) -> Flips:
    """Exact two-sided McNemar test on paired right/wrong answers; documents count as independent.

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
