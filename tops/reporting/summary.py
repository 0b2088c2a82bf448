"""The few sentences a reader needs first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tops.experiments.plan import PlanStatus
from tops.reporting.layout import level_title
from tops.reporting.names import backbone_title, row_title
from tops.reporting.uncertainty import Uncertainty, Winner


def sentences(u: Uncertainty, best: Mapping[tuple[str, str, str], Winner]) -> list[str]:
    """What is there, who leads on Rel at each budget, and whether TOPS beats the best control."""
    return [_progress(u), *_leaders(u, best), *_against_controls(u)]


def _progress(u: Uncertainty) -> str:
    entries = u.results.entries.values()
    total, there = len(entries), sum(bool(e.values) for e in entries)
    refused = sum(e.status is PlanStatus.REFUSED for e in entries)
    text = f"{there} of {total} places have a number"
    return text + (f"; {refused} cannot be run, each with its reason." if refused else ".")


def _leaders(u: Uncertainty, best: Mapping[tuple[str, str, str], Winner]) -> Iterator[str]:
    for (backbone, level, slug), w in best.items():
        if slug != "rel":
            continue
        d = w.comparison.difference
        verdict = "beyond chance" if w.beyond_chance else "which may be chance"
        yield (
            f"{backbone_title(backbone)}, {level_title(u.results, backbone, level)}: {row_title(w.row)} leads on Rel, "
            f"{d.estimate:.1f} points before {row_title(w.runner_up)} ({d.low:+.1f} to {d.high:+.1f}), {verdict}."
        )


def _against_controls(u: Uncertainty) -> Iterator[str]:
    for backbone in u.results.backbones:
        for row in u.results.rows(backbone):
            if row.method != "tops" or row.variant or row.protocol != "layer_average":
                continue
            controls = [r for r in u.results.rows(backbone) if r.role == "control" and r.level == row.level]
            drawn = {r: d for r in controls if (d := u.rel(backbone, r)) is not None}
            mine = u.rel(backbone, row)
            if mine is None or not drawn:
                continue
            control = max(drawn, key=lambda r: drawn[r].point)
            gap = mine.against(drawn[control]).difference
            where = f"{backbone_title(backbone)}, {level_title(u.results, backbone, row.level)}"
            yield (
                f"{where}: TOPS is {gap.estimate:+.1f} points ({gap.low:+.1f} to {gap.high:+.1f}) from the best "
                f"control, {row_title(control)}."
            )
