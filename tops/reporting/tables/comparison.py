"""Our number beside the published one, with a verdict by a stated rule. Never for the miniature."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from tops.benchmarks.benchmark import load_benchmark
from tops.paper.published import SOURCE, PublishedRow, published_rows
from tops.planning.plan import Row
from tops.reporting.data.headings import level_title, title_of
from tops.reporting.data.names import backbone_title, benchmark_title, row_title
from tops.reporting.data.resamples import Drawn, Resamples
from tops.reporting.data.scores import Scale, scale_of
from tops.reporting.tables.table import Datum, Header, Line, Table, number
from tops.statistics.intervals import Interval

Verdict = Literal["agrees", "differs", "cannot tell"]
TOLERANCE = 0.5  # percent of the scale's maximum

RULE = (
    f"Tolerance t: {TOLERANCE} % of the scale (0.5 points; 10 of MME's 2,000, 14 of 2,800), for rounding, kernels and "
    "library versions. "
    "agrees: all documents were asked and the difference is at most t, or the 95 % interval of ours lies within t of "
    "the published value. differs: the difference exceeds t and the published value lies outside our interval. "
    "cannot tell: everything else."
)


@dataclass(frozen=True)
class Match:
    """One published number and ours."""

    backbone: str
    row: Row
    slug: str
    published: Decimal
    ours: Interval
    complete: bool
    tolerance: float

    @property
    def difference(self) -> float:
        """Ours minus the published value."""
        return self.ours.estimate - float(self.published)

    @property
    def verdict(self) -> Verdict:
        """By the rule of this module."""
        return verdict(float(self.published), self.ours, self.tolerance, complete=self.complete)


def verdict(published: float, ours: Interval, tolerance: float, *, complete: bool) -> Verdict:
    """Whether a reproduced value agrees with a published one.

    Parameters
    ----------
    published : float
        As printed.
    ours : Interval
        Value and 95 % interval of the reproduction.
    tolerance : float
        In the units of the metric.
    complete : bool
        Whether the reproduction asked every document; sampling then is no reason to differ.
    """
    off = abs(ours.estimate - published)
    if complete and off <= tolerance:
        return "agrees"
    if ours.low >= published - tolerance and ours.high <= published + tolerance:
        return "agrees"
    if off > tolerance and (published < ours.low or published > ours.high):
        return "differs"
    return "cannot tell"


def matches(resamples: Resamples) -> list[Match]:
    """Every published number of the experiment's tables that the store has a number for; none for the miniature."""
    results = resamples.results
    if results.miniature:
        return []
    found = []
    for table in map(str, results.plan.experiment.paper.tables):
        for backbone in results.backbones:
            printed = scale_of(results, backbone, printed=True)
            for row in results.rows(backbone):
                published = _published(resamples, table, backbone, row)
                for slug, value in published.values.items() if published else ():
                    if value is None:
                        continue
                    ours = _ours(resamples, backbone, row, slug, printed)
                    if ours is not None:
                        tolerance = TOLERANCE / 100 * _maximum(table, slug)
                        found.append(
                            Match(backbone, row, slug, value, ours.interval, _complete(resamples, backbone), tolerance)
                        )
    return found


def _published(resamples: Resamples, table: str, backbone: str, row: Row) -> PublishedRow | None:
    if row.role == "control" or row.protocol not in ("", "layer_average", "as_printed"):
        return None
    levels = resamples.results.plan.experiment.levels
    budget = levels[row.level].get(backbone) if row.level else None
    for candidate in published_rows(table):
        same = (candidate.backbone, candidate.method, candidate.variant) == (backbone, row.method, row.variant)
        if same and (row.method == "none" or candidate.budget == budget):
            return candidate
    return None


def _ours(resamples: Resamples, backbone: str, row: Row, slug: str, printed: Scale | None) -> Drawn | None:
    """Acc and Rel by the paper's own rule, and only over all of its benchmarks."""
    if slug in ("acc", "rel"):
        if printed is None or not printed.whole:
            return None
        return resamples.acc(backbone, row, printed) if slug == "acc" else resamples.rel(backbone, row, printed)
    return resamples.measure(backbone, row, slug)


def _maximum(table: str, slug: str) -> float:
    if slug == "mme":
        return 2800.0 if table == "2" else 2000.0
    return 100.0


def _complete(resamples: Resamples, backbone: str) -> bool:
    records = [r for (_, c), e in resamples.results.entries.items() if c.backbone == backbone for r in e.records]
    return all(
        len(resamples.of(r).ids) >= load_benchmark(r.spec.benchmark.name).data.documents for r in records if r.scores
    )


def comparison_table(resamples: Resamples, found: list[Match]) -> Table:
    """Paper against reproduction, one line per number."""
    lines = []
    for m in found:
        digits = -int(m.published.as_tuple().exponent)
        section = " · ".join(
            p for p in (backbone_title(m.backbone), level_title(resamples.results, m.backbone, m.row.level)) if p
        )
        data = (
            Datum(benchmark_title(m.slug)),
            number(m.ours.estimate, digits),
            Datum(f"{m.ours.low:.{digits}f} to {m.ours.high:.{digits}f}"),
            Datum(str(m.published), float(m.published)),
            Datum(f"{m.difference:+.{digits}f}", m.difference),
            Datum(m.verdict),
        )
        lines.append(Line(row_title(m.row), data, section, m.row.role))
    titles = ("column", "ours", "95 % interval", "paper", "difference", "verdict")
    counts = Counter(m.verdict for m in found)
    summary = ", ".join(f"{counts[v]} {v}" for v in ("agrees", "differs", "cannot tell"))
    return Table(
        f"{resamples.results.name}_comparison",
        f"Paper against reproduction: {summary}. {title_of(resamples.results)}",
        tuple(Header(t) for t in titles),
        tuple(lines),
        (RULE, f"Paper: {SOURCE}. Acc and Rel by the paper's own rule."),
        short="Paper against reproduction",
    )
