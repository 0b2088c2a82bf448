"""Figure 2: loss of the unpruned model's own answers against the tokens that each layer sees."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from tops.benchmarks.benchmark import load_benchmark
from tops.planning.plan import Column, Row
from tops.reporting.data.names import backbone_title, row_title
from tops.reporting.data.resamples import Resamples
from tops.reporting.figures.style import look, place, places
from tops.reporting.tables.fidelity import fidelity_columns, increases
from tops.statistics.drawn import Drawn

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def fidelity_curves(resamples: Resamples) -> Iterator[tuple[str, str, Figure]]:
    """Loss increase against the tokens each layer sees, a panel per benchmark."""
    import matplotlib.pyplot as plt

    for backbone in resamples.results.backbones:
        columns = fidelity_columns(resamples, backbone)
        found = {c: drawn for c in columns if (drawn := increases(resamples, c))}
        if not found:
            continue
        figure, panels = plt.subplots(1, len(found), figsize=(4.6 * len(found), 4.4), squeeze=False)
        labels: dict[str, Any] = {}
        for axes, (column, drawn) in zip(panels[0], found.items(), strict=True):
            _panel(resamples, axes, column, drawn, labels)
        panels[0][0].set_ylabel("loss increase, nats per answer token")
        miniature = " (miniature)" if resamples.results.miniature else ""
        figure.suptitle(f"{backbone_title(backbone)}{miniature}")
        figure.legend(labels.values(), labels.keys(), loc="outside lower center", ncols=5, fontsize=8)
        yield (
            f"loss_{backbone}",
            f"{backbone_title(backbone)}: loss of the unpruned model's own answers, with 95 % intervals",
            figure,
        )


def _panel(resamples: Resamples, axes: Any, column: Column, drawn: dict[Row, Drawn], labels: dict[str, Any]) -> None:
    lines: dict[tuple[str, str, str], list[tuple[float, Row, Drawn]]] = {}
    for row, value in drawn.items():
        records = resamples.results.entries[row, column].records
        tokens = float(np.mean([resamples.of(record).layer_average for record in records]))
        if row.level and np.isfinite(tokens):
            lines.setdefault(place(row), []).append((tokens, row, value))
        elif row.method == "text_only":
            labels[row_title(row)] = axes.axhline(value.point, color="#8a93a0", linewidth=0.9, linestyle=":")
    number = places(resamples.results.plan.rows)
    for points in lines.values():
        points.sort(key=lambda point: point[0])
        row = points[0][1]
        subject = resamples.results.is_subject(row)
        style = look(row, number[place(row)], subject=subject)
        x, y = [p[0] for p in points], [p[2].point for p in points]
        intervals = [p[2].interval for p in points]
        low, high = np.array([v.low for v in intervals]), np.array([v.high for v in intervals])
        (labels[row_title(row)],) = axes.plot(x, y, **style)
        if subject:
            axes.fill_between(x, low, high, color=style["color"], alpha=0.15, linewidth=0)
        else:
            spread = np.stack([y - low, high - y]).clip(0)
            axes.errorbar(x, y, spread, fmt="none", ecolor=style["color"], elinewidth=0.6, alpha=0.6)
    axes.axhline(0, color="#1c2330", linewidth=0.9)
    axes.set_xlabel("visual tokens per layer, as logged")
    axes.set_title(load_benchmark(load_benchmark(column.benchmark).source).title, fontsize=9)
