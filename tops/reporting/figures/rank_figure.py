"""Rank certificates: the interval of every method's rank, and how many rivals it is told apart from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from tops.planning.plan import Row
from tops.reporting.data.headings import level_title
from tops.reporting.data.names import backbone_title, row_title
from tops.reporting.data.resamples import Resamples
from tops.statistics.comparison import holm
from tops.statistics.drawn import Drawn
from tops.statistics.ranks import ranks

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def separable(drawn: Mapping[Row, Drawn]) -> dict[Row, int]:
    """Number of rivals from which each row differs beyond chance: paired, Holm-adjusted over all pairs, at 5 %."""
    pairs = list(combinations(drawn, 2))
    adjusted = holm({pair: drawn[pair[0]].against(drawn[pair[1]]).p for pair in pairs})
    out = dict.fromkeys(drawn, 0)
    for pair, p in adjusted.items():
        if p < 0.05:
            for row in pair:
                out[row] += 1
    return out


def rank_intervals(resamples: Resamples) -> Iterator[tuple[str, str, Figure]]:
    """A panel per budget: each method's rank on Rel with the middle 95 % of its resampled ranks."""
    import matplotlib.pyplot as plt

    for backbone in resamples.results.backbones:
        fair = {level: _fair(resamples, backbone, level) for level in resamples.results.plan.experiment.levels}
        panels = {level: drawn for level, drawn in fair.items() if len(drawn) > 2}
        if not panels:
            continue
        tall = max(map(len, panels.values()))
        size = (3.4 * len(panels) + 0.6, 0.24 * tall + 1.1)
        figure, axes = plt.subplots(1, len(panels), figsize=size, squeeze=False)
        for place, (level, drawn) in zip(axes[0], panels.items(), strict=True):
            found = ranks(np.array([d.point for d in drawn.values()]), np.stack([d.resampled for d in drawn.values()]))
            apart = separable(drawn)
            order = sorted(zip(drawn, found, strict=True), key=lambda item: item[1].rank)
            for y, (row, rank) in enumerate(order):
                subject = resamples.results.is_subject(row)
                color = "#0072b2" if subject else "#8a93a0" if row.role == "control" else "#1c2330"
                if np.isfinite(rank.low) and all(d.told for d in drawn.values()):
                    place.plot([rank.low, rank.high], [y, y], color=color, linewidth=2 if subject else 1.2)
                place.plot([rank.rank], [y], "o", color=color, markersize=4)
                text = f"{apart[row]} of {len(drawn) - 1}"
                where = {"xycoords": ("axes fraction", "data"), "va": "center", "fontsize": 7}
                place.annotate(text, (1.01, y), color=color, **where)
            place.set_yticks(range(len(order)), [row_title(row) for row, _ in order], fontsize=7)
            place.set_ylim(len(order) - 0.5, -0.5)
            place.set_xlim(0.5, len(order) + 0.5)
            place.set_xlabel("rank on Rel (1 is best)")
            place.set_title(level_title(resamples.results, backbone, level), fontsize=8)
        miniature = " (miniature)" if resamples.results.miniature else ""
        figure.suptitle(f"{backbone_title(backbone)}{miniature}: ranks; right: rivals told apart", fontsize=9)
        yield (
            f"ranks_{backbone}",
            f"{backbone_title(backbone)}: rank on Rel with the middle 95 % of resampled ranks; beside each, from how "
            "many of its rivals these documents tell it apart",
            figure,
        )


def _fair(resamples: Resamples, backbone: str, level: str) -> dict[Row, Drawn]:
    """Rel of the methods and controls under the protocol ``layer_average``."""
    rows = [r for r in resamples.results.rows(backbone) if r.level == level and r.protocol == "layer_average"]
    return {r: d for r in rows if not r.variant and (d := resamples.rel(backbone, r)) is not None}
