"""Score against tokens and, beside it, against measured prefill time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from tops.planning.plan import Row
from tops.reporting.data.headings import level_title
from tops.reporting.data.names import backbone_title, row_title
from tops.reporting.data.resamples import Resamples
from tops.reporting.figures.style import look, place, places, tokens_of
from tops.reporting.tables.efficiency import Measured, mismatch
from tops.statistics.drawn import Drawn

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Point = tuple[Row, float, float, Drawn]  # row, tokens per layer, milliseconds, Rel


def frontier(resamples: Resamples, measured: Measured) -> Iterator[tuple[str, str, Figure]]:
    """Two panels, for the model and budget of the record of ``tops bench efficiency``."""
    import matplotlib.pyplot as plt

    results = resamples.results
    for backbone in results.backbones:
        for level in results.plan.experiment.levels:
            points, absent = _points(resamples, measured, backbone, level)
            if len(points) < 3:  # the unpruned model and two methods to compare
                continue
            figure, panels = plt.subplots(1, 2, figsize=(7.6, 3.6), sharey=True)
            labels: dict[str, Any] = {}
            number = places(results.plan.rows)
            for axes, timed in zip(panels, (False, True), strict=True):
                costs = [milliseconds if timed else tokens for _, tokens, milliseconds, _ in points]
                for cost, (row, _, _, drawn) in zip(costs, points, strict=True):
                    style: dict[str, Any] = look(row, number.get(place(row), 0), subject=results.is_subject(row))
                    style |= {"linestyle": "none"}
                    if row.role == "reference":
                        style |= {"color": "#1c2330", "marker": "*", "markersize": 9}
                    (labels[row_title(row)],) = axes.plot([cost], [drawn.point], **style)
                    bounds = drawn.interval
                    if np.isfinite(bounds.low) and row.role != "reference":
                        ends = [bounds.low, bounds.high]
                        axes.plot([cost, cost], ends, color=style["color"], linewidth=0.8, alpha=0.7)
                _front(axes, [(cost, point[3].point) for cost, point in zip(costs, points, strict=True)])
            panels[0].set_xlabel("visual tokens per layer, as logged")
            panels[1].set_xlabel("prefill, ms (median)")
            panels[0].set_ylabel("Rel (% of the unpruned Acc)")
            where = f"{backbone_title(backbone)}, {level_title(results, backbone, level)}"
            figure.suptitle(f"{where} (miniature)" if results.miniature else where, fontsize=9)
            figure.legend(labels.values(), labels.keys(), loc="outside right upper", fontsize=7.5)
            device = str(measured.machine.get("device", "an unknown device"))
            by_reason: dict[str, list[str]] = {}
            for name, why in absent.items():
                by_reason.setdefault(why, []).append(name)
            listed = "; ".join(f"{', '.join(names)} ({why})" for why, names in by_reason.items())
            left_out = f" Without {listed}." if absent else ""
            yield (
                f"frontier_{backbone}_{level}",
                f"{where}: Rel against tokens, and against the prefill time of one prompt of "
                f"{measured.setting.get('visual_tokens')} visual tokens ({measured.source}, {device}). The line joins "
                f"the methods that no other beats in both.{left_out}",
                figure,
            )


def _points(resamples: Resamples, measured: Measured, backbone: str, level: str) -> tuple[list[Point], dict[str, str]]:
    """Points of the rows with a score and a time, and the reasons for the rows without."""
    points: list[Point] = []
    absent: dict[str, str] = {}
    if measured.why:
        return points, absent
    for row in resamples.results.rows(backbone):
        if row.level not in ("", level) or row.method == "text_only":
            continue
        drawn, tokens = resamples.rel(backbone, row), tokens_of(resamples, backbone, row)
        reason = mismatch(resamples.results, measured, backbone, row)
        if reason or drawn is None or not np.isfinite(tokens):
            absent[row_title(row)] = reason or "it has no score"
            continue
        points.append((row, tokens, float(measured.rows[row.method]["prefill_ms"]["median"]), drawn))
    return points, absent


def _front(axes: Axes, points: list[tuple[float, float]]) -> None:
    """Draw a stepped line through the points that no other point beats in both cost and score."""
    best: list[tuple[float, float]] = []
    for cost, score in sorted(points, key=lambda p: (p[0], -p[1])):
        if not best or score > best[-1][1]:
            best.append((cost, score))
    axes.step([p[0] for p in best], [p[1] for p in best], where="post", color="#8a93a0", linewidth=0.9, zorder=0)
