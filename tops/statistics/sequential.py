"""A sequential test of two methods: it may be read after every batch of documents, and its error bound still holds.

The wealth of a gambler who bets on one method, at fair odds if the methods are equal, is a nonnegative supermartingale
under the null hypothesis, and by Ville's inequality the probability that it ever reaches 1 / alpha is at most alpha.
Betting on bounded means: Waudby-Smith and Ramdas, "Estimating means of bounded random variables by betting", JRSS B 86
(2024). The bet here is a mixture of fixed stakes (Robbins, "Statistical methods related to the law of the iterated
logarithm", 1970), so that the order of the documents inside a batch does not matter. Documents that are drawn without
replacement, or from strata in turn, only lower the expected wealth (Maclaurin's inequality).
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from enum import StrEnum

import numpy as np

from tops.statistics.resampling import Floats

ALPHA = 0.05
STAKES = 0.9 * 0.5 ** np.arange(8)  # shares of the wealth; 0.9 is the most, for a wealth of zero never comes back


class Verdict(StrEnum):
    """Outcome of the test of a mean difference between two methods, first minus second."""

    HIGHER = "higher"
    LOWER = "lower"
    WITHIN = "within the margin"
    OPEN = "open"


def units_of(
    differences: Mapping[int, float], clusters: Mapping[int, Hashable], batches: Sequence[frozenset[int]]
) -> Floats:
    """Mean difference of each cluster, over its documents in the batch that first drew it, shape (clusters,).

    Documents that a later batch adds to a cluster are left out: given the answers already seen of their cluster they
    are no fresh draw, and a test that used them would exceed its error. Each cluster counts once, whatever its size.

    Parameters
    ----------
    differences : mapping of int to float
        Paired difference of the scores of each document, from -1 to 1.
    clusters : mapping of int to hashable
        Cluster of each document.
    batches : sequence of frozenset of int
        Documents that had been drawn at each look; each set contains the one before.
    """
    found: dict[Hashable, list[float]] = {}
    seen: frozenset[int] = frozenset()
    for batch in batches:
        earlier = set(found)
        for document in sorted(batch - seen):
            if clusters[document] not in earlier:
                found.setdefault(clusters[document], []).append(differences[document])
        seen |= batch
    return np.array([np.mean(values) for values in found.values()], dtype=np.float64)


def log_wealth(units: Floats, mean: float, side: int) -> float:
    """Logarithm of the wealth against a mean difference.

    Parameters
    ----------
    units : array, shape (units,)
        Differences of independent units, from -1 to 1.
    mean : float
        Mean of the null hypothesis, -1 to 1.
    side : int
        1 bets against "at most ``mean``", -1 against "at least ``mean``".
    """
    gains = side * (units - mean) / (1 + abs(mean))
    wealth = np.log1p(STAKES[:, None] * gains).sum(axis=1)
    return float(np.logaddexp.reduce(wealth) - np.log(len(STAKES)))


def verdict(units: Floats, margin: float, alpha: float = ALPHA) -> Verdict:
    """The verdict on a mean difference, with an error of at most ``alpha`` over all looks.

    An error is to call equal methods higher or lower, to name the wrong one as better, or to say that methods are
    within the margin although they differ by the margin or more.

    Parameters
    ----------
    units : array, shape (units,)
        Differences of independent units, first minus second, from -1 to 1.
    margin : float
        Smallest difference of the means that matters, 0 to 1; with 0 the verdict is never ``WITHIN``.
    alpha : float
        Error of this one comparison: 0.05 over their number, where several are made.
    """
    threshold = np.log(2 / alpha)
    if log_wealth(units, 0.0, 1) >= threshold:
        return Verdict.HIGHER
    if log_wealth(units, 0.0, -1) >= threshold:
        return Verdict.LOWER
    if margin > 0 and min(log_wealth(units, margin, -1), log_wealth(units, -margin, 1)) >= threshold:
        return Verdict.WITHIN
    return Verdict.OPEN
