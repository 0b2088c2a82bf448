"""``tops bench intervals``: how often the reports' 95 % intervals hold the truth, by simulation.

Each document has the difficulty of its cluster and is answered right or wrong by two methods; the two share nine tenths
of their answers. A score, the paired difference of two, Acc over three benchmarks and Rel are asked as the reports ask
them, with the reports' own code.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tops.bench.measure import write_json
from tops.statistics.drawn import Drawn, mean_of
from tops.statistics.intervals import Interval
from tops.statistics.metrics import mean
from tops.statistics.parts import Part
from tops.statistics.resampling import Clusters

CLUSTERS = (5, 6, 10, 15, 24, 100)
SHARES = (0.5, 0.8, 0.95, 0.99)
MEASURES = ("score", "difference", "Acc", "Rel")
SIZES = (1, 2, 3, 4, 5)  # documents of the clusters, in turn
CORRELATION = 0.3  # of two answers in one cluster
CHANGED = 0.1  # documents that the second method answers anew
BENCHMARKS = 3  # that Acc averages
TRIALS = 2000
_NONE = np.zeros(0)


@dataclass(frozen=True)
class Held:
    """How an interval did.

    Attributes
    ----------
    measure : str
        One of ``MEASURES``.
    clusters : int
        Of each benchmark.
    share : float
        Of documents that are answered right.
    coverage : float or None
        Percent of the samples whose interval held the truth; None where a report says "too few".
    width : float or None
        Median width in points.
    lumps : float
        Independent documents that are expected to be wrong (to be answered anew, for a difference): with few of them
        samples take few values, and no interval can be right 95 % of the time and not more.
    """

    measure: str
    clusters: int
    share: float
    coverage: float | None
    width: float | None
    lumps: float


def simulate(clusters: int, share: float, trials: int = TRIALS, seed: int = 0) -> list[Held]:
    """All measures at one number of clusters and one share."""
    rng = np.random.default_rng([seed, clusters, round(1000 * share)])
    index = np.repeat(np.arange(clusters), np.resize(SIZES, clusters))
    truth = {"score": 100 * share, "difference": 0.0, "Acc": 100 * share, "Rel": 100.0}
    found: dict[str, list[Interval]] = {measure: [] for measure in MEASURES}
    for _ in range(trials):
        for measure, interval in _asked(rng, index, share):
            found[measure].append(interval)
    few = lumps(clusters, share)
    return [_held(m, clusters, share, found[m], truth[m], few[m]) for m in MEASURES]


def lumps(clusters: int, share: float) -> dict[str, float]:
    """By measure the independent documents that are expected to be wrong, or to differ; see :class:`Held`."""
    sizes = np.resize(SIZES, clusters)
    effective = sizes.sum() / (1 + CORRELATION * (float(np.square(sizes).sum() / sizes.sum()) - 1))
    wrong = float(effective * (1 - share))
    differ = 2 * CHANGED * wrong * share * (1 - CORRELATION)
    return {"score": wrong, "difference": differ, "Acc": BENCHMARKS * wrong, "Rel": BENCHMARKS * differ}


def _asked(rng: np.random.Generator, index: np.ndarray, share: float) -> Iterator[tuple[str, Interval]]:
    pairs = [_methods(rng, index, share, f"benchmark {n}") for n in range(BENCHMARKS)]
    first, second = pairs[0]
    accs = [_acc([pair[side] for pair in pairs]) for side in (0, 1)]
    yield "score", first.interval
    yield "difference", first.against(second).difference
    yield "Acc", accs[0].interval
    if accs[1].point:
        yield "Rel", accs[0].per(accs[1]).interval


def _methods(rng: np.random.Generator, index: np.ndarray, share: float, name: str) -> tuple[Drawn, Drawn]:
    spread = (1 - CORRELATION) / CORRELATION
    ease = rng.beta(share * spread, (1 - share) * spread, int(index.max()) + 1)[index]
    answers = rng.random(len(index)) < ease
    anew = np.where(rng.random(len(index)) < CHANGED, rng.random(len(index)) < ease, answers)
    return _drawn(answers, index, name), _drawn(anew, index, name)


def _drawn(right: np.ndarray, index: np.ndarray, name: str) -> Drawn:
    metric = mean(right.astype(np.float64).tolist())
    return Drawn(metric.point, _NONE, {name: Part.of([metric], Clusters(index))}, metric.top)


def _acc(drawn: Sequence[Drawn]) -> Drawn:
    return mean_of(float(np.mean([d.point for d in drawn])), _NONE, drawn, [1 / len(drawn)] * len(drawn))


def _held(measure: str, clusters: int, share: float, found: list[Interval], truth: float, few: float) -> Held:
    low, high = (np.array([getattr(i, side) for i in found]) for side in ("low", "high"))
    if np.isnan(low).mean() > 0.5:
        return Held(measure, clusters, share, None, None, few)
    given = ~np.isnan(low)
    inside = (low[given] <= truth + 1e-9) & (truth - 1e-9 <= high[given])
    return Held(measure, clusters, share, 100 * float(inside.mean()), float(np.median((high - low)[given])), few)


def table(found: Sequence[Held]) -> str:
    """The Markdown table of the documentation: coverage in percent, and the median width in points."""
    lines = ["| clusters | right | " + " | ".join(MEASURES) + " |", "|---|---|" + "---|" * len(MEASURES)]
    places = {(h.measure, h.clusters, h.share): h for h in found}
    for clusters, share in dict.fromkeys((h.clusters, h.share) for h in found):
        cells = [_cell(places[measure, clusters, share]) for measure in MEASURES]
        lines.append(f"| {clusters} | {share:g} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _cell(held: Held) -> str:
    return "too few" if held.coverage is None else f"{held.coverage:.1f} % ({held.width:.1f})"


def main(argv: list[str]) -> int:
    """Simulate, print the table; returns the exit status."""
    options = _parser().parse_args(argv)
    found = [h for n in options.clusters for p in options.shares for h in simulate(n, p, options.trials, options.seed)]
    print(table(found), end="")
    if options.json:
        rows = [vars(held) for held in found]
        write_json(options.json, {"benchmark": "intervals", "trials": options.trials, "rows": rows})
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="tops bench intervals", description=__doc__)
    parser.add_argument("--clusters", type=int, nargs="+", default=list(CLUSTERS), help="default: %(default)s")
    parser.add_argument("--shares", type=float, nargs="+", default=list(SHARES), help="default: %(default)s")
    parser.add_argument("--trials", type=int, default=TRIALS, help="samples of each place (%(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="also write the record here")
    return parser
