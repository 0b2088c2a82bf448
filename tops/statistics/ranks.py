"""Ranks of competitors with intervals from resamples."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

from tops.statistics.resampling import Floats


@dataclass(frozen=True)
class Rank:
    """Rank 1 is best; ties share the mean rank.

    Attributes
    ----------
    rank : float
        Rank on the sample.
    low, high : float
        Bounds of the middle 95 % of the ranks on resamples.
    best : float
        Share of resamples in which the competitor is first (a first place shared by k counts 1 / k).
    """

    rank: float
    low: float
    high: float
    best: float


def ranks(values: Floats, resampled: Floats) -> list[Rank]:
    """Rank of each competitor; rank 1 has the highest value.

    Parameters
    ----------
    values : array, shape (competitors,)
        Higher is better.
    resampled : array, shape (competitors, resamples)
        Values on resamples that all competitors share; a resample with a NaN among the values is left out.
    """
    resampled = resampled[:, np.isfinite(resampled).all(axis=0)]
    if resampled.shape[1] == 0:
        return [Rank(float(rank), float("nan"), float("nan"), float("nan")) for rank in stats.rankdata(-values)]
    on_sample = stats.rankdata(-values)
    drawn = stats.rankdata(-resampled, axis=0)
    top = resampled == resampled.max(axis=0)
    first = (top / top.sum(axis=0)).mean(axis=1)
    low, high = np.quantile(drawn, [0.025, 0.975], axis=1)
    return [Rank(*map(float, r)) for r in zip(on_sample, low, high, first, strict=True)]
