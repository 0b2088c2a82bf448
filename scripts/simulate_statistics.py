"""Sequential stopping and rank intervals against known truth: ``python -m scripts.simulate_statistics [--trials N]``.

Prints the tables of ``tops/docs/sequential.md``. Documents come in clusters of three that share their difficulty, as
questions on one picture do; two methods answer each of them right with chances that differ by the true difference.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import numpy as np

from tops.statistics import metrics
from tops.statistics.ranks import ranks
from tops.statistics.resampling import Clusters, Floats
from tops.statistics.sequential import Verdict, units_of, verdict

PER_CLUSTER = 3
DOCUMENTS = 4096
LOOKS = [32 * 2**i for i in range(8)]  # the last is all documents


@dataclass(frozen=True)
class Stopped:
    """What a simulated rule did: share of each verdict, and documents asked on average."""

    shares: dict[Verdict, float]
    documents: float


def answers(rng: np.random.Generator, documents: int, difference: float, noise: float) -> Floats:
    """Right or wrong of two methods, shape (2, documents), whose chances differ by ``difference`` on average.

    With a chance of ``noise`` a document is one that the two methods answer independently of each other; on all others
    they agree but for the difference.
    """
    hard = np.repeat(rng.random(-(-documents // PER_CLUSTER)), PER_CLUSTER)[:documents]
    chance = 0.3 + 0.5 * hard
    shared = rng.random(documents)
    own = np.where(rng.random((2, documents)) < noise, rng.random((2, documents)), shared)
    return (own < np.stack([chance + difference / 2, chance - difference / 2])).astype(np.float64)


def stopping(
    difference: float,
    *,
    margin: float = 0.05,
    alpha: float = 0.05,
    trials: int = 500,
    noise: float = 0.3,
    seed: int = 1,
) -> Stopped:
    """Rounds of documents until the rule tells two methods apart, or none are left.

    Parameters
    ----------
    difference, margin : float
        True difference of the mean scores, and the one that does not matter.
    alpha : float
        Error of the comparison.
    trials : int
        Repetitions.
    noise : float
        See :func:`answers`.
    seed : int
        Of the documents.
    """
    rng = np.random.default_rng(seed)
    clusters = dict(enumerate((np.arange(DOCUMENTS) // PER_CLUSTER).tolist()))
    counts = dict.fromkeys(Verdict, 0)
    asked = 0
    for _ in range(trials):
        order = rng.permutation(DOCUMENTS)
        first, second = answers(rng, DOCUMENTS, difference, noise)
        gaps = dict(enumerate((first - second).tolist()))
        batches: list[frozenset[int]] = []
        said, look = Verdict.OPEN, LOOKS[0]
        for look in LOOKS:
            batches.append(frozenset(order[:look].tolist()))
            said = verdict(units_of(gaps, clusters, batches), margin, alpha)
            if said is not Verdict.OPEN:
                break
        counts[said] += 1
        asked += look
    return Stopped({v: n / trials for v, n in counts.items()}, asked / trials)


def rank_coverage(means: list[float], *, clusters: int = 60, trials: int = 400, seed: int = 2) -> Floats:
    """How often the 95 % interval of each competitor's rank holds its true rank, shape (competitors,).

    Parameters
    ----------
    means : list of float
        True chances of a right answer; equal ones share their mean rank.
    clusters : int
        Clusters of three documents in the sample.
    trials : int
        Samples.
    seed : int
        Of the samples.
    """
    from scipy import stats

    rng = np.random.default_rng(seed)
    truth = stats.rankdata(-np.asarray(means))
    groups = Clusters.of(np.repeat(np.arange(clusters), PER_CLUSTER).tolist())
    hits = np.zeros(len(means))
    for trial in range(trials):
        hard = np.repeat(rng.normal(0, 0.1, clusters), PER_CLUSTER)
        right = rng.random((len(means), clusters * PER_CLUSTER)) < np.asarray(means)[:, None] + hard
        scores = [metrics.mean(row.astype(float).tolist()) for row in right]
        drawn = metrics.resampled(scores, groups, 500, trial)
        found = ranks(np.array([m.point for m in scores]), np.stack(drawn))
        hits += [r.low <= true <= r.high for r, true in zip(found, truth, strict=True)]
    return hits / trials


RANKED = {
    "apart (0.50, 0.60, 0.70, 0.80)": [0.5, 0.6, 0.7, 0.8],
    "close (0.60, 0.62, 0.64, 0.66)": [0.6, 0.62, 0.64, 0.66],
    "two tied (0.55, 0.65, 0.65, 0.75)": [0.55, 0.65, 0.65, 0.75],
    "all tied (0.65)": [0.65] * 4,
}


def main() -> None:
    """Print both tables as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=500)
    trials = parser.parse_args().trials
    print(
        "| true difference | higher | lower | within 5 points | open | documents of 4,096 |\n|---|---|---|---|---|---|"
    )
    for points in (0, 2, 5, 8, 12, 20):
        done = stopping(points / 100, trials=trials)
        shares = " | ".join(f"{100 * done.shares[v]:.1f} %" for v in Verdict)
        print(f"| {points} points | {shares} | {done.documents:,.0f} |")
    print("\n| true scores of four methods | coverage of each rank's interval |\n|---|---|")
    for name, means in RANKED.items():
        print(f"| {name} | {', '.join(f'{100 * c:.1f} %' for c in rank_coverage(means, trials=trials))} |")


if __name__ == "__main__":
    main()
