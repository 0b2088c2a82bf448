"""Our number beside the published one, with a verdict by a stated rule. Never for the miniature."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from tops.benchmarks.benchmark import load_benchmark
from tops.paper.budgets import MEANINGS, meaning
from tops.paper.published import SOURCE
from tops.planning.plan import Row
from tops.planning.printed import COST_COLUMNS, PrintedRow, printed_rows
from tops.reporting.data.headings import level_title, title_of
from tops.reporting.data.names import backbone_title, benchmark_title, row_title
from tops.reporting.data.resamples import Resamples
from tops.reporting.data.scores import Scale, scale_of
from tops.reporting.tables.table import Datum, Header, Line, Table, number
from tops.statistics.drawn import Drawn
from tops.statistics.intervals import Interval
from tops.statistics.verdict import Outcome, lies_in

Verdict = Literal["agrees", "differs", "cannot tell"]
TOLERANCE = 0.5  # percent of the scale's maximum

RULE = (
    f"Tolerance t: {TOLERANCE} % of the scale (0.5 points; 10 of MME's 2,000, 14 of 2,800), for rounding, kernels and "
    "library versions. "
    "agrees: all documents were asked and the difference is at most t, or the 95 % interval of ours lies within t of "
    "the published value. differs: none of our interval does. cannot tell: everything else."
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
        """Verdict by the rule of this module."""
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
    if complete and abs(ours.estimate - published) <= tolerance:
        return "agrees"
    return _VERDICTS[lies_in(ours, published - tolerance, published + tolerance)]


_VERDICTS: dict[Outcome, Verdict] = {
    "supported": "agrees",
    "contradicted": "differs",
    "cannot tell": "cannot tell",
}


@dataclass(frozen=True)
class Missing:
    """Published numbers of one row that have no number of ours, and the reason."""

    backbone: str
    label: str
    level: str
    slugs: tuple[str, ...]
    reason: str


def matches(resamples: Resamples) -> list[Match]:
    """Every published number of the experiment's tables that the store has a number for; none for the miniature."""
    return _sides(resamples)[0]


def missing(resamples: Resamples) -> list[Missing]:
    """The published numbers that :func:`matches` has no number for, row by row."""
    return _sides(resamples)[1]


def _sides(resamples: Resamples) -> tuple[list[Match], list[Missing]]:
    results = resamples.results
    found: list[Match] = []
    absent: list[Missing] = []
    if results.miniature:
        return found, absent
    for place in printed_rows(results.plan):
        published, backbone, row = place.published, place.published.backbone, place.row
        scale = scale_of(results, backbone, printed=True) if backbone in results.backbones else None
        reasons: dict[str, list[str]] = {}
        for slug, value in published.values.items():
            if value is None:
                continue
            ours = None if row is None or place.reason else _ours(resamples, backbone, row, slug, scale)
            if row is None or ours is None:
                reasons.setdefault(place.reason or _why(resamples, place, slug, scale), []).append(slug)
                continue
            tolerance = TOLERANCE / 100 * _maximum(published.table, slug)
            found.append(Match(backbone, row, slug, value, ours.interval, _complete(resamples, backbone), tolerance))
        label = row_title(row) if row is not None else published.label
        level = row.level if row is not None else ""
        absent += [Missing(backbone, label, level, tuple(slugs), why) for why, slugs in reasons.items()]
    return found, absent


def _why(resamples: Resamples, place: PrintedRow, slug: str, scale: Scale | None) -> str:
    """Why there is no number of ours beside a printed one."""
    results, row = resamples.results, place.row
    if slug in COST_COLUMNS:
        return "costs: the table of costs and `tops bench efficiency` stand for it"
    if slug in ("acc", "rel"):
        if scale is None or not scale.whole:
            return scale.note if scale is not None and scale.note else "not every benchmark of the paper's Acc is asked"
        return "a benchmark of Acc has no number yet"
    entry = next((e for (r, c), e in results.entries.items() if r == row and c.slug == slug and
                  c.backbone == place.published.backbone), None)  # fmt: skip
    return "not asked by this experiment" if entry is None else entry.reason or "its answers cannot be resampled"


def _ours(resamples: Resamples, backbone: str, row: Row, slug: str, printed: Scale | None) -> Drawn | None:
    """Our number; Acc and Rel are by the paper's own rule, and only if all of its benchmarks have scores."""
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


def comparison_table(resamples: Resamples, found: list[Match], absent: list[Missing]) -> Table:
    """Paper against reproduction: one line per number, with the count of those without."""
    lines = []
    for m in found:
        digits = -int(m.published.as_tuple().exponent)
        data = (
            Datum(benchmark_title(m.slug)),
            number(m.ours.estimate, digits),
            Datum(f"{m.ours.low:.{digits}f} to {m.ours.high:.{digits}f}"),
            Datum(str(m.published), float(m.published)),
            Datum(f"{m.difference:+.{digits}f}", m.difference),
            Datum(m.verdict),
        )
        lines.append(Line(row_title(m.row), data, _section(resamples, m.backbone, m.row.level), m.row.role))
    titles = ("column", "ours", "95 % interval", "paper", "difference", "verdict")
    counts = Counter(m.verdict for m in found)
    left = sum(len(gap.slugs) for gap in absent)
    summary = ", ".join(f"{counts[v]} {v}" for v in ("agrees", "differs", "cannot tell"))
    rows = dict.fromkeys(m.row.method for m in found if m.row.level)
    meanings = "; ".join(f"{method}: {meaning(method).why}" for method in rows if method in MEANINGS)
    return Table(
        f"{resamples.results.name}_comparison",
        f"Paper against reproduction: {summary}, {left} not compared. {title_of(resamples.results)}",
        tuple(Header(t) for t in titles),
        tuple(lines),
        (
            RULE,
            f"Paper: {SOURCE}. Acc and Rel by the paper's own rule.",
            "Of each method the row is compared whose budget means what the printed number means"
            + (f" ({meanings})." if meanings else "."),
        ),
        short="Paper against reproduction",
    )


def missing_table(resamples: Resamples, absent: list[Missing]) -> Table:
    """Published numbers without a number of ours, row by row, each with the reason."""
    lines = [
        Line(
            gap.label,
            (Datum(", ".join(map(benchmark_title, gap.slugs))), Datum(gap.reason)),
            _section(resamples, gap.backbone, gap.level),
        )
        for gap in absent
    ]
    return Table(
        f"{resamples.results.name}_not_compared",
        f"Published numbers without ours. {title_of(resamples.results)}",
        (Header("columns"), Header("why")),
        tuple(lines),
        short="Published numbers without ours",
    )


def _section(resamples: Resamples, backbone: str, level: str) -> str:
    return " · ".join(p for p in (backbone_title(backbone), level_title(resamples.results, backbone, level)) if p)
