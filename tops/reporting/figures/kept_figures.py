"""Figures of where tokens are kept, and of how far selections at different layers agree."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from tops.planning.plan import Row
from tops.reporting.data.headings import level_title
from tops.reporting.data.kept import Kept, jaccard, kept_tokens, visual_tokens
from tops.reporting.data.names import backbone_title, row_title
from tops.reporting.data.resamples import Resamples
from tops.reporting.data.samples import grid
from tops.store.store import Record

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_LAYER = re.compile(r"(?:(criteria=[RDC+]+);)?layer=(\d+)")


def _records(resamples: Resamples, backbone: str) -> dict[Row, Record]:
    """The first stored cell of each row with a budget, all on one benchmark: rows then show the same pictures."""
    column = next(
        (c for (r, c), e in resamples.results.entries.items() if c.backbone == backbone and r.level and e.records), None
    )
    there = (
        (row, resamples.results.entries.get((row, column)))
        for row in resamples.results.rows(backbone)
        if row.level and column
    )
    return {row: entry.records[0] for row, entry in there if entry is not None and entry.records}


def _whole(resamples: Resamples, backbone: str, records: dict[Row, Record]) -> dict[int, int]:
    """Visual tokens of each document, from the unpruned cell on the same benchmark; empty until it has run."""
    names = {record.spec.benchmark.name for record in records.values()}
    for (row, column), entry in resamples.results.entries.items():
        if row.role == "reference" and column.backbone == backbone and column.benchmark in names and entry.records:
            return visual_tokens(entry.records[0])
    return {}


def keep_maps(resamples: Resamples) -> Iterator[tuple[str, str, Figure]]:
    """How often each place of the image is kept: a row of panels per method, a panel per cut."""
    import matplotlib.pyplot as plt

    if resamples.results.plan.experiment.record_kept is not True or _by_layer(resamples):
        return
    for backbone in resamples.results.backbones:
        records = _records(resamples, backbone)
        visual = _whole(resamples, backbone, records)
        for level in resamples.results.plan.experiment.levels:
            panels = []
            for row, record in records.items():
                if row.level != level:
                    continue
                stages = kept_tokens(record, visual)
                panels += [(row, layer, kept, record) for layer, kept in stages.items()]
            if not panels:
                continue
            columns = min(4, len(panels))
            lines = -(-len(panels) // columns)
            figure, axes = plt.subplots(lines, columns, figsize=(1.6 * columns + 0.8, 2.1 * lines + 0.4), squeeze=False)
            top = max(float(kept.probability.max()) for _, _, kept, _ in panels)
            image: Any = None
            for place in axes.flat:
                place.set_axis_off()
            for place, (row, layer, kept, record) in zip(axes.flat, panels, strict=False):
                image = place.imshow(_map(kept, record), cmap="cividis", vmin=0, vmax=top)
                place.set_title(
                    f"{row_title(row)}\n{stage_title(layer)}\nGini {kept.gini:.2f}, entropy {kept.entropy:.3f}",
                    fontsize=7,
                )
            figure.colorbar(image, ax=axes, shrink=0.9 if lines == 1 else 0.5, label="share of documents")
            where = f"{backbone_title(backbone)}, {level_title(resamples.results, backbone, level)}"
            figure.suptitle(f"{where} (miniature)" if resamples.results.miniature else where)
            documents = min(len(kept.mask) for _, _, kept, _ in panels)
            title = (
                f"{where}: where on the image tokens are kept, over {documents} documents or more. Gini and entropy "
                "depend on the number of documents and of tokens kept: compare panels of one count, and with Random"
            )
            yield f"places_{backbone}_{level}", title, figure


def stage_title(layer: int) -> str:
    """``from layer 12``."""
    return "before the model" if layer == 0 else f"from layer {layer}"


_STAGES = (("#0072B2", "-"), ("#D55E00", "--"), ("#009E73", "-."), ("#7A3E9D", ":"))


def evenness_curves(resamples: Resamples) -> Iterator[tuple[str, str, Figure]]:
    """How likely each place is to be kept, places in falling order: a panel per method, a line per cut."""
    import matplotlib.pyplot as plt

    if resamples.results.plan.experiment.record_kept is not True or _by_layer(resamples):
        return
    for backbone in resamples.results.backbones:
        records = _records(resamples, backbone)
        visual = _whole(resamples, backbone, records)
        for level in resamples.results.plan.experiment.levels:
            found = {row: kept_tokens(r, visual) for row, r in records.items() if row.level == level}
            found = {row: stages for row, stages in found.items() if stages}
            if not found:
                continue
            columns = min(4, len(found))
            lines = -(-len(found) // columns)
            size = (2.3 * columns + 0.5, 1.9 * lines + 0.6)
            figure, axes = plt.subplots(lines, columns, figsize=size, squeeze=False, sharex=True, sharey=True)
            for panel in axes.flat[len(found) :]:
                panel.set_axis_off()
            for panel, (row, stages) in zip(axes.flat, found.items(), strict=False):
                for (layer, kept), (colour, line) in zip(stages.items(), _STAGES, strict=False):
                    falling = np.sort(kept.probability)[::-1]
                    label = f"{stage_title(layer)}\nGini {kept.gini:.2f}, entropy {kept.entropy:.3f}"
                    share = 100 * (np.arange(len(falling)) + 0.5) / len(falling)
                    panel.plot(share, falling, color=colour, linestyle=line, linewidth=1.4, label=label)
                panel.set_title(row_title(row), fontsize=8)
                panel.set_ylim(0, 1.05)
                panel.legend(fontsize=5.5, loc="upper right", handlelength=1.6)
            figure.supxlabel("places, from the most to the least often kept (%)", fontsize=9)
            figure.supylabel("share of documents that keep the place", fontsize=9)
            where = f"{backbone_title(backbone)}, {level_title(resamples.results, backbone, level)}"
            figure.suptitle(f"{where} (miniature)" if resamples.results.miniature else where)
            yield f"evenness_{backbone}_{level}", f"{where}: selection probability of each place at each cut", figure


def _map(kept: Kept, record: Record) -> np.ndarray:
    """Probabilities as one array, arranged like the views of the picture.

    The tiles of a square picture are placed as they are cut, and further views stand below. Where the answers do not
    record the layout, the family's grid is used, else the plain sequence, padded.
    """
    if grids := kept.grids:
        across = max(2, math.ceil(math.sqrt(len(grids) - 1)))  # one of them is the overview
        lines = [grids[i : i + across] for i in range(0, len(grids), across)]
        high = [max(g.shape[0] for g in line) for line in lines]
        wide = max(sum(g.shape[1] + 1 for g in line) - 1 for line in lines)
        out = np.full((sum(high) + len(lines) - 1, wide), np.nan)
        top = 0
        for line, height in zip(lines, high, strict=True):
            left = 0
            for each in line:
                out[top : top + each.shape[0], left : left + each.shape[1]] = each
                left += each.shape[1] + 1
            top += height + 1
        return out
    values = kept.probability
    shape = grid(record.spec.backbone.family, len(values))
    side = int(shape["side"]) or math.isqrt(len(values))
    padded = np.full(side * side, np.nan)
    padded[: min(len(values), side * side)] = values[: side * side]
    return padded.reshape(side, side)


def _by_layer(resamples: Resamples) -> bool:
    return any(_LAYER.fullmatch(row.variant) for row in resamples.results.plan.rows)


def agreement_maps(resamples: Resamples) -> Iterator[tuple[str, str, Figure]]:
    """Jaccard index of the tokens that a method keeps when it cuts at one layer or another."""
    import matplotlib.pyplot as plt

    if not _by_layer(resamples):
        return
    for backbone in resamples.results.backbones:
        records = _records(resamples, backbone)
        visual = _whole(resamples, backbone, records)
        methods: dict[tuple[str, str], dict[int, np.ndarray]] = {}
        for row, record in records.items():
            match = _LAYER.fullmatch(row.variant)
            stages = kept_tokens(record, visual) if match else {}
            if match and stages:
                # The layer that was cut: in the miniature several of the paper's layers map to one layer.
                name = " ".join(part for part in (row.title, match[1]) if part)
                methods.setdefault((name, row.level), {})[max(stages)] = stages[max(stages)].mask
        methods = {name: masks for name, masks in methods.items() if len(masks) > 1}
        if not methods:
            continue
        columns = min(3, len(methods))
        lines = -(-len(methods) // columns)
        figure, axes = plt.subplots(lines, columns, figsize=(4.1 * columns, 3.7 * lines), squeeze=False)
        for unused in axes.flat[len(methods) :]:
            unused.set_axis_off()
        image: Any = None
        for place, ((title, _), masks) in zip(axes.flat, methods.items(), strict=False):
            layers = sorted(masks)
            values = np.array([[_agreement(masks[a], masks[b]) for b in layers] for a in layers])
            image = place.imshow(values, cmap="cividis", vmin=0, vmax=1)
            place.grid(visible=False)
            place.set_xticks(range(len(layers)), [str(x) for x in layers], fontsize=8)
            place.set_yticks(range(len(layers)), [str(x) for x in layers], fontsize=8)
            for (i, j), value in np.ndenumerate(values):
                colour = "#1c2330" if value > 0.5 else "white"
                place.text(j, i, f"{value:.2f}".lstrip("0"), ha="center", va="center", fontsize=6.5, color=colour)
            place.set_title(title)
            place.set_xlabel("cut at layer")
            place.set_ylabel("cut at layer")
        figure.colorbar(image, ax=axes, shrink=0.8, label="Jaccard index")
        where = backbone_title(backbone)
        figure.suptitle(f"{where} (miniature)" if resamples.results.miniature else where)
        yield f"agreement_{backbone}", f"{where}: how far selections at different layers agree (Jaccard index)", figure


def _agreement(a: np.ndarray, b: np.ndarray) -> float:
    width, count = min(a.shape[1], b.shape[1]), min(len(a), len(b))
    return jaccard(a[:count, :width], b[:count, :width])
