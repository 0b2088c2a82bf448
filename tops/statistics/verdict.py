"""The one rule by which a measured quantity counts as inside a region, outside it, or undecided."""

from __future__ import annotations

import math
from typing import Literal

from tops.statistics.intervals import Interval

Outcome = Literal["supported", "contradicted", "cannot tell"]

RULE = (
    "A statement says that a quantity lies in a region: a difference above 0, a loss below a margin, a number within "
    "a tolerance of a printed one. supported: the whole 95 % interval lies in the region. contradicted: none of it "
    "does. cannot tell: everything else."
)


def lies_in(interval: Interval, low: float = -math.inf, high: float = math.inf) -> Outcome:
    """Whether a quantity lies between ``low`` and ``high``, by its 95 % interval.

    Parameters
    ----------
    interval : Interval
        The quantity with its interval; bounds that are NaN (too few documents) decide nothing.
    low, high : float
        Bounds of the region, included in it.
    """
    if math.isnan(interval.low) or math.isnan(interval.high):
        return "cannot tell"
    if interval.low >= low and interval.high <= high:
        return "supported"
    if interval.high < low or interval.low > high:
        return "contradicted"
    return "cannot tell"
