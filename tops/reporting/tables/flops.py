"""FLOPs of a cell from its layer log, by the formula ``paper`` of :mod:`tops.accounting`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from statistics import fmean

from tops.accounting import paper_flops
from tops.miniature import checkpoints
from tops.paper.contrasts import Contrast
from tops.planning.plan import Row
from tops.reporting.data.evidence import Finding, described, rows_at, settings
from tops.reporting.data.names import row_title
from tops.reporting.data.resamples import Resamples
from tops.reporting.tables.table import Datum, hole, number
from tops.settings.choices import backbone_config
from tops.statistics.intervals import Interval
from tops.statistics.resampling import Floats


@dataclass(frozen=True)
class Widths:
    """Sizes of a language model that its FLOPs depend on."""

    width: int
    feed_forward: int
    depth: int


def widths(backbone: str, *, miniature: bool) -> Widths | None:
    """Sizes of a backbone, or of the miniature checkpoint that stands for it; None when there is none."""
    choice = backbone_config(backbone)
    if not miniature:
        return Widths(choice.width, choice.feed_forward, choice.depth)
    if choice.miniature is None:
        return None
    file = checkpoints.ROOT / choice.miniature.checkpoint / "config.json"
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
        text = config.get("text_config", config)
        return Widths(int(text["hidden_size"]), int(text["intermediate_size"]), int(text["num_hidden_layers"]))
    except (OSError, ValueError, KeyError):
        return None


def unit(*, miniature: bool) -> tuple[str, float]:
    """Name of the unit that tables show, and its size."""
    return ("GFLOPs", 1e9) if miniature else ("TFLOPs", 1e12)


def visual_flops(size: Widths, layers: Floats) -> float | None:
    """FLOPs of the visual tokens of the mean prompt; None when the log is of a model of another depth.

    Parameters
    ----------
    size : Widths
        Sizes of the model.
    layers : array, shape (depth,)
        Visual tokens each layer saw, averaged over documents.
    """
    if len(layers) != size.depth:
        return None
    return float(paper_flops(size.width, size.feed_forward, [round(float(n)) for n in layers]))


def costs(resamples: Resamples, backbone: str, row: Row) -> tuple[Datum, Datum]:
    """Layer-averaged visual tokens as logged, and FLOPs in the table's unit; mean over benchmarks and seeds."""
    entries = [e for (r, c), e in resamples.results.entries.items() if r == row and c.backbone == backbone]
    briefs = [b for e in entries if e.values for r in e.records if len((b := resamples.of(r)).layers)]
    logged = [b.layers for b in briefs]
    if not logged:
        why = hole(next((e.reason for e in entries if e.reason), "no layer log"))
        return why, why
    newlines = fmean(b.newlines for b in briefs)
    under = f"+ {newlines:.1f} newlines" if newlines else ""
    tokens = number(fmean(float(x.mean()) for x in logged), under=under)
    size = widths(backbone, miniature=resamples.results.miniature)
    flops = [visual_flops(size, x) for x in logged] if size is not None else [None]
    known = [f for f in flops if f is not None]
    if len(known) < len(flops):
        return tokens, hole("the layer log is not of a model of the catalogue's depth")
    return tokens, number(fmean(known) / unit(miniature=resamples.results.miniature)[1], 2)


def flops_findings(resamples: Resamples, contrast: Contrast) -> list[Finding]:
    """Ratio of the unpruned model's FLOPs to our method's, by the layer logs of both."""
    found = []
    for backbone, level in settings(resamples, contrast):
        row, reference = rows_at(resamples, backbone, level).get(contrast.ours), resamples.results.reference(backbone)
        if row is None or reference is None:
            continue
        mine, whole = (costs(resamples, backbone, r)[1].value for r in (row, reference))
        if mine and whole:
            ratio = whole / mine
            text = f"{row_title(row)}, {described(resamples, contrast, backbone, level)}, times fewer FLOPs"
            found.append(Finding(text, "", Interval(ratio, ratio, ratio, 0.0, 1), *contrast.region))
    return found
