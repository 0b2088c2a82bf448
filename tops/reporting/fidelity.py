"""Figure 2: how much likelier the unpruned model's own answers were before pruning (``tops.evaluation.fidelity``)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from zlib import crc32

import numpy as np

from tops.evaluation.benchmark import load_benchmark
from tops.experiments.plan import Column, Row
from tops.reporting.documents import Documents, load_documents
from tops.reporting.layout import level_title, title_of
from tops.reporting.names import backbone_title, row_title
from tops.reporting.style import look, place, places
from tops.reporting.table import Datum, Header, Line, Table, hole
from tops.reporting.uncertainty import SEED, Drawn, Uncertainty
from tops.statistics.resampling import Clusters, same_documents

if TYPE_CHECKING:
    from matplotlib.figure import Figure

METRIC = "loss_increase"


def fidelity_columns(u: Uncertainty, backbone: str) -> list[Column]:
    """Columns whose cells measured losses."""
    return [c for c in u.results.columns(backbone) if load_benchmark(c.benchmark).measure == "fidelity"]


def increases(u: Uncertainty, column: Column) -> dict[Row, Drawn]:
    """Loss increase of every row in nats per answer token, mean over documents and seeds."""
    entries = {row: e for (row, c), e in u.results.entries.items() if c == column and e.values}
    loaded: dict[str, Documents] = {}
    for entry in entries.values():
        for record in entry.records:
            if record.default_scorer is not None:
                loaded[record.key] = load_documents(record, record.default_scorer, u.cache)
    if not loaded or not same_documents(d.ids.tolist() for d in loaded.values()):
        return {}
    clusters = Clusters.of(next(iter(loaded.values())).clusters)
    draws = clusters.draws(u.resamples, SEED + crc32(column.benchmark.encode()) % 1_000_000)
    found = {}
    for row, entry in entries.items():
        metrics = [loaded[r.key].metrics[METRIC] for r in entry.records if r.key in loaded]
        resampled = np.mean([m.resampled(clusters, draws) for m in metrics], axis=0)
        found[row] = Drawn(float(np.mean([m.point for m in metrics])), resampled, clusters.count)
    return found


def fidelity_tables(u: Uncertainty) -> list[Table]:
    """A table per backbone that has such columns."""
    return [table for b in u.results.backbones if (table := _table(u, b)) is not None]


def _table(u: Uncertainty, backbone: str) -> Table | None:
    columns = fidelity_columns(u, backbone)
    found = [increases(u, c) for c in columns]
    if not any(found):
        return None
    headers = tuple(Header(load_benchmark(load_benchmark(c.benchmark).source).title) for c in columns)
    lines = []
    for row in u.results.rows(backbone):
        data = tuple(_datum(u, row, c, drawn.get(row)) for c, drawn in zip(columns, found, strict=True))
        section = level_title(u.results, backbone, row.level) or "No budget"
        lines.append(Line(row_title(row), data, section, row.role))
    notes = (
        "Loss: minus the log-probability of the unpruned model's own greedy answer, mean over its tokens, in nats; its "
        "increase over the unpruned model's loss, mean over documents, with 95 % interval. 0 is the unpruned model.",
    )
    short = f"Loss increase: {backbone_title(backbone)}"
    name = f"{u.results.name}_loss_{backbone}"
    return Table(name, f"{short}. {title_of(u.results)}", headers, tuple(lines), notes, short=short)


def _datum(u: Uncertainty, row: Row, column: Column, drawn: Drawn | None) -> Datum:
    if drawn is None:
        entry = u.results.entries.get((row, column))
        return hole(entry.reason or "cells answered different documents" if entry is not None else "not planned")
    i = drawn.interval
    spread = "" if np.isnan(i.low) or np.isnan(i.high) else f" [{i.low:.3f}, {i.high:.3f}]"
    return Datum(f"{drawn.point:.3f}{spread}", drawn.point)


def fidelity_curves(u: Uncertainty) -> Iterator[tuple[str, str, Figure]]:
    """Loss increase against the tokens each layer sees, a panel per benchmark."""
    import matplotlib.pyplot as plt

    for backbone in u.results.backbones:
        columns = fidelity_columns(u, backbone)
        found = {c: drawn for c in columns if (drawn := increases(u, c))}
        if not found:
            continue
        figure, panels = plt.subplots(1, len(found), figsize=(4.6 * len(found), 4.4), squeeze=False)
        labels: dict[str, Any] = {}
        for axes, (column, drawn) in zip(panels[0], found.items(), strict=True):
            _panel(u, axes, column, drawn, labels)
        panels[0][0].set_ylabel("loss increase, nats per answer token")
        miniature = " (miniature)" if u.results.miniature else ""
        figure.suptitle(f"{backbone_title(backbone)}{miniature}")
        figure.legend(labels.values(), labels.keys(), loc="outside lower center", ncols=5, fontsize=8)
        yield (
            f"loss_{backbone}",
            f"{backbone_title(backbone)}: loss of the unpruned model's own answers, with 95 % intervals",
            figure,
        )


def _panel(u: Uncertainty, axes: Any, column: Column, drawn: dict[Row, Drawn], labels: dict[str, Any]) -> None:
    lines: dict[tuple[str, str, str], list[tuple[float, Row, Drawn]]] = {}
    for row, value in drawn.items():
        records = u.results.entries[row, column].records
        tokens = float(np.mean([u.of(record).layer_average for record in records]))
        if row.level and np.isfinite(tokens):
            lines.setdefault(place(row), []).append((tokens, row, value))
        elif row.method == "text_only":
            labels[row_title(row)] = axes.axhline(value.point, color="#8a93a0", linewidth=0.9, linestyle=":")
    number = places(u.results.plan.rows)
    for points in lines.values():
        points.sort(key=lambda point: point[0])
        row = points[0][1]
        style = look(row, number[place(row)])
        x, y = [p[0] for p in points], [p[2].point for p in points]
        intervals = [p[2].interval for p in points]
        low, high = np.array([v.low for v in intervals]), np.array([v.high for v in intervals])
        (labels[row_title(row)],) = axes.plot(x, y, **style)
        if row.method == "tops":
            axes.fill_between(x, low, high, color=style["color"], alpha=0.15, linewidth=0)
        else:
            spread = np.stack([y - low, high - y]).clip(0)
            axes.errorbar(x, y, spread, fmt="none", ecolor=style["color"], elinewidth=0.6, alpha=0.6)
    axes.axhline(0, color="#1c2330", linewidth=0.9)
    axes.set_xlabel("visual tokens per layer, as logged")
    axes.set_title(load_benchmark(load_benchmark(column.benchmark).source).title, fontsize=9)
