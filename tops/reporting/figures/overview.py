"""Figure 1b: one axis per model, a polygon per method."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import fmean
from typing import TYPE_CHECKING, Any

import numpy as np

from tops.planning.plan import Row
from tops.planning.printed import compared_rows
from tops.reporting.data.names import backbone_title, row_title
from tops.reporting.data.resamples import Resamples
from tops.reporting.figures.style import look, place, places

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FIGURE = 1


def overview(resamples: Resamples) -> Iterator[tuple[str, str, Figure]]:
    """Mean over benchmarks of the score in percent of the unpruned model, for the methods that every model has."""
    import matplotlib.pyplot as plt

    results = resamples.results
    if FIGURE not in results.plan.experiment.paper.figures:
        return
    levels, number = list(results.plan.experiment.levels), places(results.plan.rows)
    models = [b for b in results.backbones if results.reference(b) is not None]
    drawn = {level: _polygons(resamples, models, level) for level in levels}
    if len(models) < 3 or not any(drawn.values()):
        return
    figure, panels = plt.subplots(
        1, len(levels), figsize=(4.4 * len(levels), 4.8), subplot_kw={"projection": "polar"}, squeeze=False
    )
    angles = np.linspace(0, 2 * np.pi, len(models), endpoint=False)
    labels: dict[str, Any] = {}
    for axes, level in zip(panels[0], levels, strict=True):
        for row, shares in drawn[level].items():
            subject = results.is_subject(row)
            style = look(row, number[place(row)], subject=subject)
            (line,) = axes.plot([*angles, angles[0]], [*shares, shares[0]], **style)
            labels.setdefault(row_title(row), line)
        axes.set_xticks(angles, [backbone_title(b) for b in models], fontsize=7.5)
        axes.tick_params(axis="y", labelsize=7)
        axes.set_title(level, fontsize=9, pad=18)
    figure.suptitle("Percent of the unpruned model" + (" (miniature)" if results.miniature else ""))
    figure.legend(labels.values(), labels.keys(), loc="outside lower center", ncols=5, fontsize=8)
    everywhere = {row.method for rows in drawn.values() for row in rows}
    absent = dict.fromkeys(r.title for r in results.plan.rows if r.role == "method" and r.method not in everywhere)
    left_out = f"; without {', '.join(absent)}, which not every model has" if absent else ""
    yield "overview", f"Each model: mean over benchmarks in percent of the unpruned model{left_out}", figure


def _polygons(resamples: Resamples, models: list[str], level: str) -> dict[Row, list[float]]:
    found: dict[tuple[str, str], tuple[Row, list[float]]] = {}
    for backbone in models:
        for (at, method, variant), row in compared_rows(resamples.results.plan, backbone).items():
            share = _share(resamples, backbone, row) if at == level else None
            if share is not None:
                found.setdefault((method, variant), (row, []))[1].append(share)
    return {row: shares for row, shares in found.values() if len(shares) == len(models)}


def _share(resamples: Resamples, backbone: str, row: Row) -> float | None:
    reference = resamples.results.reference(backbone)
    shares = []
    for column in resamples.results.columns(backbone) if reference is not None else ():
        mine, base = resamples.score(row, column), resamples.score(reference, column) if reference else None
        if base is None or base.point == 0:
            continue
        if mine is None:
            return None
        shares.append(100 * mine.point / base.point)
    return fmean(shares) if shares else None
