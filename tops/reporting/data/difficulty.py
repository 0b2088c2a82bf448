"""Documents that plain image downsampling to the same budget gets wrong, and those that it gets right.

A benchmark on which shrinking the image is enough tells methods little apart (VTC-Bench, arXiv 2510.07143). Only stored
answers are used: the control's answers define the groups, and the rows' answers are scored in them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from tops.benchmarks.benchmark import load_benchmark
from tops.planning.plan import Column, Row
from tops.reporting.data.resamples import Resamples, seed_of
from tops.reporting.data.results import Entry
from tops.statistics.drawn import Drawn, mean_of
from tops.statistics.intervals import FEWEST_CLUSTERS
from tops.statistics.metrics import Metric, resampled
from tops.statistics.parts import Part
from tops.statistics.resampling import Clusters, Floats

CONTROL = "downsampling"
Name = Literal["hard", "easy"]
NAMES: tuple[Name, ...] = ("hard", "easy")


@dataclass(frozen=True)
class Group:
    """One group of a benchmark's documents at one budget.

    Attributes
    ----------
    documents, clusters : int
        Number of documents in the group, and of their clusters.
    scores : dict of Row to Drawn
        Mean score of these documents in percent; empty where there are too few for a number.
    """

    documents: int
    clusters: int
    scores: Mapping[Row, Drawn]

    @property
    def told(self) -> bool:
        """Whether there are enough independent documents for a number."""
        return self.clusters >= FEWEST_CLUSTERS


@dataclass(frozen=True)
class Difficulty:
    """Both groups of every benchmark at one budget.

    Attributes
    ----------
    backbone, level : str
    control : Row
        The downsampling control whose answers define the groups.
    rows : tuple of Row
        The unpruned model, blind controls, and the rows of this budget, without the control itself.
    groups : dict of str to dict
        Slug of a benchmark to name of a group to the group.
    reasons : dict of (str, Row) to str
        Why a row has no number on a benchmark.
    """

    backbone: str
    level: str
    control: Row
    rows: tuple[Row, ...]
    groups: Mapping[str, Mapping[Name, Group]]
    reasons: Mapping[tuple[str, Row], str]

    def suite(self, name: Name, row: Row) -> Drawn | None:
        """Mean over the benchmarks that have enough documents in the group; None where a row lacks one of them."""
        told = [pair[name] for pair in self.groups.values() if pair[name].told]
        found = [group.scores[row] for group in told if row in group.scores]
        if not told or len(found) < len(told):
            return None
        share = 1 / len(found)
        point = round(sum(d.point for d in found) * share, 9)
        return mean_of(point, np.mean([d.resampled for d in found], axis=0), found, [share] * len(found))


def difficulties(resamples: Resamples) -> Iterator[Difficulty]:
    """Groups of every backbone and budget whose downsampling control has answers."""
    results = resamples.results
    for backbone in results.backbones:
        for level in results.plan.experiment.levels:
            rows = results.rows(backbone)
            control = next((r for r in rows if r.method == CONTROL and r.level == level), None)
            if control is not None:
                among = tuple(r for r in rows if r.level in ("", level) and r != control)
                found = _difficulty(resamples, backbone, level, control, among)
                if found.groups:
                    yield found


def _difficulty(resamples: Resamples, backbone: str, level: str, control: Row, rows: tuple[Row, ...]) -> Difficulty:
    groups: dict[str, dict[Name, Group]] = {}
    reasons: dict[tuple[str, Row], str] = {}
    for column in _columns(resamples, backbone):
        decides = resamples.results.entries.get((control, column))
        clusters = resamples.clusters.get((backbone, column.benchmark))
        if decides is None or not decides.values or clusters is None:
            continue
        base = resamples.of(decides.records[0])
        scores: dict[Row, list[Floats]] = {}
        for row in rows:
            entry = resamples.results.entries.get((row, column))
            if entry is None or not entry.values:
                reasons[column.slug, row] = _why(entry)
                continue
            briefs = [resamples.of(record) for record in entry.records]
            if all(brief.asked == base.asked for brief in briefs):
                scores[row] = [brief.scores for brief in briefs]
            else:
                reasons[column.slug, row] = "answered other documents than the control"
        masks: dict[Name, np.ndarray] = {"hard": ~base.right, "easy": base.right}
        groups[column.slug] = {
            name: _group(scores, masks[name], clusters, column.benchmark, resamples.count) for name in NAMES
        }
    return Difficulty(backbone, level, control, rows, groups, reasons)


def _columns(resamples: Resamples, backbone: str) -> list[Column]:
    """Each benchmark once, without losses and conversations, which do not score single documents."""
    first: dict[str, Column] = {}
    for column in resamples.results.columns(backbone):
        if load_benchmark(column.benchmark).measure == "answers":
            first.setdefault(column.benchmark, column)
    return list(first.values())


def _why(entry: Entry | None) -> str:
    return "not planned" if entry is None else entry.reason or "no number: the table of scores says why"


def _group(
    scores: Mapping[Row, Sequence[Floats]], mask: np.ndarray, clusters: Clusters, benchmark: str, count: int
) -> Group:
    size, units = int(mask.sum()), len(np.unique(clusters.index[mask]))
    if units < FEWEST_CLUSTERS:
        return Group(size, units, {})
    metrics = {(row, i): _share(each, mask) for row, seeds in scores.items() for i, each in enumerate(seeds)}
    drawn = dict(zip(metrics, resampled(list(metrics.values()), clusters, count, seed_of(benchmark)), strict=True))
    found = {}
    for row, seeds in scores.items():
        mine = [metrics[row, i] for i in range(len(seeds))]
        point = round(float(np.mean([m.point for m in mine])), 9)  # a tie over seeds must stay a tie
        values = np.mean([drawn[row, i] for i in range(len(seeds))], axis=0).round(9)
        found[row] = Drawn(point, values, {benchmark: Part.of(mine, clusters)}, 100.0)
    return Group(size, units, found)


def _share(scores: Floats, mask: np.ndarray) -> Metric:
    """Mean score of some documents in percent; the others weigh nothing."""
    weight = mask.astype(np.float64)
    return Metric(np.stack([scores * weight, weight], axis=1), _percent, top=100.0)


def _percent(sums: Floats) -> Floats:
    out: Floats = 100 * np.divide(
        sums[..., 0], sums[..., 1], out=np.full(sums.shape[:-1], np.nan), where=sums[..., 1] > 0
    )
    return out
