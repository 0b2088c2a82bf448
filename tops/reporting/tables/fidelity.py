"""Figure 2: how much likelier the unpruned model's own answers were before pruning (``tops.evaluation.fidelity``)."""

from __future__ import annotations

import numpy as np

from tops.benchmarks.benchmark import load_benchmark
from tops.planning.plan import Column, Row
from tops.reporting.data.documents import Documents, load_documents
from tops.reporting.data.headings import level_title, title_of
from tops.reporting.data.names import backbone_title, row_title
from tops.reporting.data.resamples import Resamples, seed_of
from tops.reporting.tables.table import Datum, Header, Line, Table, hole
from tops.statistics.drawn import Drawn
from tops.statistics.metrics import resampled
from tops.statistics.parts import Part
from tops.statistics.resampling import Clusters, same_documents

METRIC = "loss_increase"


def fidelity_columns(resamples: Resamples, backbone: str) -> list[Column]:
    """Columns whose cells measured losses."""
    return [c for c in resamples.results.columns(backbone) if load_benchmark(c.benchmark).measure == "fidelity"]


def increases(resamples: Resamples, column: Column) -> dict[Row, Drawn]:
    """Loss increase of every row in nats per answer token, mean over documents and seeds."""
    entries = {row: e for (row, c), e in resamples.results.entries.items() if c == column and e.values}
    loaded: dict[str, Documents] = {}
    for entry in entries.values():
        for record in entry.records:
            if record.default_scorer is not None:
                loaded[record.key] = load_documents(record, record.default_scorer, resamples.cache)
    if not loaded or not same_documents(d.ids.tolist() for d in loaded.values()):
        return {}
    clusters = Clusters.of(next(iter(loaded.values())).clusters)
    found = {}
    for row, entry in entries.items():
        metrics = [loaded[r.key].metrics[METRIC] for r in entry.records if r.key in loaded]
        drawn = np.mean(resampled(metrics, clusters, resamples.count, seed_of(column.benchmark)), axis=0)
        point = float(np.mean([m.point for m in metrics]))
        found[row] = Drawn(point, drawn, {column.benchmark: Part.of(metrics, clusters)})
    return found


def fidelity_tables(resamples: Resamples) -> list[Table]:
    """A table per backbone that has such columns."""
    return [table for b in resamples.results.backbones if (table := _table(resamples, b)) is not None]


def _table(resamples: Resamples, backbone: str) -> Table | None:
    columns = fidelity_columns(resamples, backbone)
    found = [increases(resamples, c) for c in columns]
    if not any(found):
        return None
    headers = tuple(Header(load_benchmark(load_benchmark(c.benchmark).source).title) for c in columns)
    lines = []
    for row in resamples.results.rows(backbone):
        data = tuple(_datum(resamples, row, c, drawn.get(row)) for c, drawn in zip(columns, found, strict=True))
        section = level_title(resamples.results, backbone, row.level) or "No budget"
        lines.append(Line(row_title(row), data, section, row.role))
    notes = (
        "Loss: minus the log-probability of the unpruned model's own greedy answer, mean over its tokens, in nats; its "
        "increase over the unpruned model's loss, mean over documents, with 95 % interval. 0 is the unpruned model.",
    )
    short = f"Loss increase: {backbone_title(backbone)}"
    name = f"{resamples.results.name}_loss_{backbone}"
    return Table(name, f"{short}. {title_of(resamples.results)}", headers, tuple(lines), notes, short=short)


def _datum(resamples: Resamples, row: Row, column: Column, drawn: Drawn | None) -> Datum:
    if drawn is None:
        entry = resamples.results.entries.get((row, column))
        return hole(entry.reason or "cells answered different documents" if entry is not None else "not planned")
    i = drawn.interval
    spread = "" if np.isnan(i.low) or np.isnan(i.high) else f" [{i.low:.3f}, {i.high:.3f}]"
    return Datum(f"{drawn.point:.3f}{spread}", drawn.point)
