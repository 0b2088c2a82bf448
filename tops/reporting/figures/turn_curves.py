"""Right answers by turn of a conversation, with the first question's tokens and with a cut for each question."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from tops.benchmarks.benchmark import load_benchmark
from tops.planning.plan import Row
from tops.reporting.data.names import backbone_title, row_title
from tops.reporting.data.resamples import Resamples
from tops.reporting.data.turns import Conversations, conversations
from tops.reporting.figures.style import look, place, places
from tops.statistics.intervals import Interval

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def turn_curves(resamples: Resamples) -> Iterator[tuple[str, str, Figure]]:
    """A row of panels per benchmark and level: scores by turn, and kept minus cut anew, with 95 % intervals."""
    import matplotlib.pyplot as plt

    for backbone in resamples.results.backbones:
        levels = list(dict.fromkeys(row.level for row in resamples.results.rows(backbone) if row.level)) or [""]
        for talk in conversations(resamples, backbone):
            figure, panels = plt.subplots(
                len(levels), 2, figsize=(9.6, 3.9 * len(levels)), squeeze=False, sharex=True
            )  # fmt: skip
            labels: dict[str, Any] = {}
            for axes, level in zip(panels, levels, strict=True):
                rows = [r for r in resamples.results.rows(backbone) if r.level in ("", level)]
                _scores(resamples, axes[0], talk, rows, labels)
                _differences(resamples, axes[1], talk, rows)
                axes[0].set_title(f"cut on the first question{_at(level, levels)}", fontsize=9)
                axes[1].set_title(f"minus cut anew for each question{_at(level, levels)}", fontsize=9)
            for axes in panels[-1]:
                axes.set_xticks(range(1, talk.turns + 1))
                axes.set_xlabel("turn")
            title = load_benchmark(talk.source).title
            figure.suptitle(
                f"{backbone_title(backbone)}{' (miniature)' if resamples.results.miniature else ''}, {title}"
            )
            figure.legend(labels.values(), labels.keys(), loc="outside lower center", ncols=5, fontsize=8)
            yield (
                f"by_turn_{backbone}_{talk.source}",
                f"{backbone_title(backbone)}, {title}: right answers by turn of the conversation, with 95 % intervals",
                figure,
            )


def _at(level: str, levels: list[str]) -> str:
    return f", ↓ {level} %" if len(levels) > 1 else ""


def _scores(resamples: Resamples, axes: Any, talk: Conversations, rows: list[Row], labels: dict[str, Any]) -> None:
    found = {
        row: [talk.kept[row].at([turn]).interval for turn in range(1, talk.turns + 1)]
        for row in rows
        if row in talk.kept
    }
    _lines(resamples, axes, found, labels, first=1)
    axes.set_ylabel("right answers, %")


def _differences(resamples: Resamples, axes: Any, talk: Conversations, rows: list[Row]) -> None:
    found = {}
    for row in rows:
        if row in talk.kept and row in talk.anew and row.role != "reference":
            pairs = [(talk.kept[row].at([turn]), talk.anew[row].at([turn])) for turn in talk.later]
            found[row] = [kept.against(anew).difference for kept, anew in pairs]
    _lines(resamples, axes, found, {}, first=2)
    axes.axhline(0, color="#1c2330", linewidth=0.9)
    axes.set_ylabel("difference, points")


def _lines(
    resamples: Resamples, axes: Any, found: Mapping[Row, list[Interval]], labels: dict[str, Any], *, first: int
) -> None:
    numbers = places(resamples.results.plan.rows)
    for i, (row, intervals) in enumerate(found.items()):
        subject = resamples.results.is_subject(row)
        style: dict[str, Any] = (
            {"color": "#1c2330", "linewidth": 1.6}
            if row.role == "reference"
            else look(row, numbers.get(place(row), i), subject=subject)
        )
        x = np.arange(first, first + len(intervals)) + 0.012 * (i - len(found) / 2)
        low, middle, high = (np.array([getattr(v, k) for v in intervals]) for k in ("low", "estimate", "high"))
        (labels[row_title(row)],) = axes.plot(x, middle, **style)
        if subject:
            axes.fill_between(x, low, high, color=style["color"], alpha=0.15, linewidth=0)
        else:
            spread = np.stack([middle - low, high - middle]).clip(0)
            axes.errorbar(x, middle, spread, fmt="none", ecolor=style["color"], elinewidth=0.6, alpha=0.5)
