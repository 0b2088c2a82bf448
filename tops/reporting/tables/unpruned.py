"""Unpruned scores beside published ones: the first check after a run on real weights."""

from __future__ import annotations

from collections.abc import Iterator

from tops.benchmarks.benchmark import load_benchmark
from tops.paper.unpruned import Check, check_unpruned
from tops.planning.plan import Column, Row
from tops.reporting.data.headings import title_of
from tops.reporting.data.names import backbone_title, benchmark_title
from tops.reporting.data.resamples import Resamples
from tops.reporting.tables.table import Datum, Header, Line, Table, number
from tops.statistics.drawn import Drawn

NOTE = (
    "Range: the paper's own unpruned score and public ones under the same conditions, with a tolerance of 1 % of the "
    "scale. A score outside is no fault of pruning: set the model up first (docs/conditions.md)."
)


def checks(resamples: Resamples) -> Iterator[tuple[Column, Drawn, Check]]:
    """Every unpruned score that has published counterparts; none for the miniature."""
    results = resamples.results
    for backbone in () if results.miniature else results.backbones:
        reference = results.reference(backbone)
        for column in results.columns(backbone) if reference is not None else ():
            drawn = resamples.score(reference, column) if reference is not None else None
            if drawn is None:
                continue
            maximum = 2800.0 if column.metric == "total" else load_benchmark(column.benchmark).maximum
            whole = _whole(resamples, reference, column)
            if not whole and not drawn.told:
                continue  # so few documents neither agree nor differ
            slack = 0.0 if whole else _half(drawn)
            found = check_unpruned(backbone, column.slug, drawn.point, maximum=maximum, slack=slack)
            if found.state != "unknown":
                yield column, drawn, found


def _whole(resamples: Resamples, reference: Row | None, column: Column) -> bool:
    """Whether all documents were asked, so that sampling is no reason for a difference."""
    entry = next((e for (row, c), e in resamples.results.entries.items() if (row, c) == (reference, column)), None)
    wanted = load_benchmark(column.benchmark).data.documents
    return entry is not None and all(len(resamples.of(record).ids) >= wanted for record in entry.records)


def _half(drawn: Drawn) -> float:
    return (drawn.interval.high - drawn.interval.low) / 2


def unpruned_table(resamples: Resamples) -> Table:
    """One line per unpruned score."""
    lines = []
    for column, drawn, check in checks(resamples):
        digits = 0 if check.high >= 1000 else 1
        sources = "; ".join(
            f"{k.value:g} ({k.source}{', ' + k.condition if k.condition else ''}{'' if k.seen else '; from memory'})"
            for k in check.sources
        )
        data = (
            number(drawn.point, digits),
            Datum(f"{check.low:.{digits}f} to {check.high:.{digits}f}"),
            Datum(check.state),
            Datum(check.likely),
            Datum(sources),
        )
        lines.append(Line(benchmark_title(column.slug), data, backbone_title(column.backbone)))
    titles = ("ours", "expected", "state", "look at first", "published")
    return Table(
        f"{resamples.results.name}_unpruned",
        f"Unpruned scores against published ones. {title_of(resamples.results)}",
        tuple(Header(t) for t in titles),
        tuple(lines),
        (NOTE,),
        label_title="Benchmark",
        short="Unpruned scores",
    )


def unpruned_warnings(resamples: Resamples) -> tuple[str, ...]:
    """One sentence per score outside the published range."""
    return tuple(
        f"The unpruned {backbone_title(column.backbone)} scores {drawn.point:.1f} on {benchmark_title(column.slug)}, "
        f"outside the published {check.low:.1f} to {check.high:.1f}: look at {check.likely or 'its settings'} before "
        "any pruned number."
        for column, drawn, check in checks(resamples)
        if check.state == "outside"
    )
