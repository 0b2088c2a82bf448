"""Rows of other programs: a table of their own, and marked lines below the main table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from tops.planning.plan import Column
from tops.reporting.data.headings import title_of
from tops.reporting.data.imported import ImportedRow, label_of
from tops.reporting.data.names import backbone_title, benchmark_title
from tops.reporting.data.results import Results
from tops.reporting.tables.against_each import difference
from tops.reporting.tables.table import Datum, Header, Line, Table, hole, number

SECTION = "Imported from logs of other programs; not ranked"
NOTES = (
    "Imported rows were answered by another program. They are scored here by the rule of the column, take no part in "
    "ranks, winners, Acc and Rel, and are set against the unpruned model of this report only where documents, targets "
    "and words of every prompt are the same by hash; a chat template is in no log.",
)
_OWN_SCALE = "not scored here: see the table of imported rows"


def imported_table(results: Results, rows: Sequence[ImportedRow]) -> Table:
    """Table of the imported rows: everything that their logs tell, and what they do not tell."""
    headers = (
        Header("benchmark"),
        Header("score [95 %]", "Scored here"),
        Header("minus our unpruned [95 %]", "Scored here"),
        Header("documents", "Scored here"),
        Header("scores", "As its log says"),
        Header("budget", "As its log says"),
        Header("visual tokens a layer", "As its log says"),
        Header("not known"),
    )
    lines = []
    for row in rows:
        record = row.record
        average = record.layer_average
        data = (
            Datum(benchmark_title(row.column.slug)),
            hole(row.reason) if row.score is None else _score(row),
            hole(row.reason) if row.against is None else difference(row.against),
            number(record.documents, 0) if record.documents else hole("its log does not tell"),
            _told(record.told),
            Datum(record.budget) if record.budget else hole("its log does not tell"),
            hole("its log does not tell") if average is None else number(average),
            Datum("; ".join(record.unknown)) if record.unknown else hole("all is told"),
        )
        section = backbone_title(record.backbone) if record.backbone else "Model not told by the log"
        lines.append(Line(label_of(record), data, section, "imported"))
    return Table(
        f"{results.name}_imported",
        f"Imported rows. {title_of(results)}",
        headers,
        tuple(lines),
        NOTES,
        label_title="Imported",
        short="Imported rows",
    )


def with_imported(results: Results, table: Table, rows: Sequence[ImportedRow]) -> Table:
    """A main table with a column for each benchmark, the imported rows of its backbone below it."""
    backbone, columns = _columns(results, table)
    by_label: list[tuple[str, dict[Column, ImportedRow]]] = []
    for row in rows:
        if row.record.backbone == backbone:
            label = label_of(row.record)  # a second log of the same is a line of its own
            free = (found for other, found in by_label if other == label and row.column not in found)
            place = next(free, None)
            if place is None:
                place = {}
                by_label.append((label, place))
            place[row.column] = row
    lines = []
    for label, found in by_label:
        data = [_place(found.get(column)) for column in columns]
        rest = len(table.headers) - len(columns)
        data += [hole("imported rows take no part in Acc and Rel")] * rest
        lines.append(Line(label, tuple(data), SECTION, "imported"))
    return replace(table, lines=(*table.lines, *lines)) if lines else table


def _columns(results: Results, table: Table) -> tuple[str, tuple[Column, ...]]:
    """Backbone and columns of a main table; an empty tuple where its columns are not benchmarks."""
    if results.plan.experiment.layout != "benchmarks":
        return "", ()
    many = len(results.backbones) > 1
    for backbone in results.backbones:
        if table.name == (f"{results.name}-{backbone}" if many else results.name):
            return backbone, results.columns(backbone)
    return "", ()


def _place(row: ImportedRow | None) -> Datum:
    if row is None:
        return hole("no log of it is imported")
    if row.score is None:
        return hole(_OWN_SCALE)
    record = row.record
    return number(
        row.score.point,
        mark=f"imported from {record.program} ({record.file}), {record.documents} documents; not ranked",
    )


def _score(row: ImportedRow) -> Datum:
    assert row.score is not None
    i = row.score.interval
    if np.isnan(i.low) or np.isnan(i.high):
        return number(row.score.point)
    return Datum(f"{row.score.point:.1f} [{i.low:.1f}, {i.high:.1f}]", row.score.point, low=i.low, high=i.high)


def _told(told: dict[str, float]) -> Datum:
    if not told:
        return hole("its log does not tell")
    return Datum("; ".join(f"{name} {value:.4g}" for name, value in told.items()))
