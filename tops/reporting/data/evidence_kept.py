"""Evidence from kept tokens: evenness, place on the image, agreement of layers; intervals are over documents."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator

import numpy as np

from tops.paper.contrasts import Contrast
from tops.reporting.data.evidence import Finding, described, rows_at, settings
from tops.reporting.data.kept import gini, jaccard, kept_tokens, normalised_entropy, visual_tokens
from tops.reporting.data.names import row_title
from tops.reporting.data.resamples import Resamples
from tops.statistics.intervals import Interval, jackknife_interval

QUESTIONS = ("gini", "entropy", "bottom", "agreement")
GROUPS = 100
_LAYER = re.compile(r"layer=\d+")
Statistic = Callable[[np.ndarray], float]


def kept_findings(resamples: Resamples, contrast: Contrast) -> list[Finding]:
    """Findings on every cut of our row, or on every pair of its layers."""
    if contrast.question == "agreement":
        return list(_agreement(resamples, contrast))
    return list(_places(resamples, contrast))


def _masks(resamples: Resamples, backbone: str, row: object) -> dict[int, np.ndarray]:
    """Cut layer to a bool mask of kept tokens, shape (documents, visual)."""
    reference = resamples.results.reference(backbone)
    for (candidate, column), entry in resamples.results.entries.items():
        if candidate == row and column.backbone == backbone and entry.records:
            whole = resamples.results.entries.get((reference, column)) if reference is not None else None
            visual = visual_tokens(whole.records[0]) if whole is not None and whole.records else {}
            return {layer: kept.mask for layer, kept in kept_tokens(entry.records[0], visual).items()}
    return {}


def _places(resamples: Resamples, contrast: Contrast) -> Iterator[Finding]:
    statistic = _STATISTICS[contrast.question]
    for backbone, level in settings(resamples, contrast):
        row = rows_at(resamples, backbone, level).get(contrast.ours)
        for layer, mask in _masks(resamples, backbone, row).items() if row is not None else ():
            stage = "before the model" if layer == 0 else f"from layer {layer}"
            text = f"{row_title(row)} {stage}, {described(resamples, contrast, backbone, level)}"  # type: ignore[arg-type]
            yield Finding(text, "", _interval(mask, statistic), *contrast.region)


def _agreement(resamples: Resamples, contrast: Contrast) -> Iterator[Finding]:
    """Mean Jaccard index over pairs of layers, beside what random selections of as many tokens would share."""
    for backbone, level in settings(resamples, contrast):
        rows = {
            row: masks
            for (method, variant), row in rows_at(resamples, backbone, level).items()
            if method == contrast.ours[0] and _LAYER.fullmatch(variant)
            and (masks := _masks(resamples, backbone, row))
        }  # fmt: skip
        by_layer = {max(masks): masks[max(masks)] for masks in rows.values()}
        if len(by_layer) < 2:
            continue
        layers, count = sorted(by_layer), min(len(m) for m in by_layer.values())
        stacked = np.stack([by_layer[layer][:count] for layer in layers], axis=1)  # (documents, layers, visual)
        share = float(stacked.mean())
        where = described(resamples, contrast, backbone, level)
        text = f"{contrast.ours[0]}, {where}, layers {layers[0]} to {layers[-1]}"
        more = f"random selections of as many tokens share {share / (2 - share):.2f}"
        yield Finding(text, "", _interval(stacked, _pairs), *contrast.region, more=more)


def _pairs(stacked: np.ndarray) -> float:
    """Mean over pairs of layers of masks of shape (documents, layers, visual)."""
    layers = stacked.shape[1]
    return float(np.mean([jaccard(stacked[:, a], stacked[:, b]) for a in range(layers) for b in range(a)]))


def _bottom(mask: np.ndarray) -> float:
    """Share of kept tokens in the second half of the places."""
    kept = mask.sum(axis=0)
    return float(kept[len(kept) // 2 :].sum() / kept.sum()) if kept.sum() else math.nan


def _interval(mask: np.ndarray, statistic: Statistic) -> Interval:
    """Interval by the jackknife over groups of neighbouring documents; it needs no seed."""
    group = np.arange(len(mask)) * min(len(mask), GROUPS) // max(len(mask), 1)
    without = np.array([statistic(mask[group != g]) for g in np.unique(group)]) if len(mask) > 1 else np.zeros(0)
    return jackknife_interval(statistic(mask), without)


_STATISTICS: dict[str, Statistic] = {
    "gini": lambda mask: gini(mask.mean(axis=0)),
    "entropy": lambda mask: normalised_entropy(mask.mean(axis=0)),
    "bottom": _bottom,
}
