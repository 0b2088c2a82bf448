"""The summary of a report in a few sentences."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from tops.reporting.data.headings import level_title
from tops.reporting.data.names import backbone_title, row_title
from tops.reporting.data.resamples import Resamples, Winner
from tops.reporting.tables.table import signed
from tops.statistics.intervals import Interval


def sentences(resamples: Resamples, best: Mapping[tuple[str, str, str], Winner]) -> list[str]:
    """The smallest detectable difference; per model and budget the leader, and the subject against the best control."""
    return [*_power(best), *_settings(resamples, best)]


def verdict(best: Mapping[tuple[str, str, str], Winner]) -> str:
    """The sentence at the top: which method is first on Rel, how often, and how often beyond chance."""
    settings = [w for (_, _, slug), w in best.items() if slug == "rel"]
    if not settings:
        return ""
    first: dict[str, list[bool]] = {}
    ties = 0
    for w in settings:
        if w.comparison.difference.estimate == 0:
            ties += 1
        else:
            first.setdefault(row_title(w.row), []).append(w.beyond_chance)
    parts = [
        f"{title} in {len(found)} ({sum(found)} beyond chance)"
        for title, found in sorted(first.items(), key=lambda item: -len(item[1]))
    ]
    if ties:
        parts.append(f"a tie in {ties}")
    where = "the one setting" if len(settings) == 1 else f"{len(settings)} settings of model and budget"
    return f"First on Rel over {where}: {', '.join(parts)}."


def _power(best: Mapping[tuple[str, str, str], Winner]) -> Iterator[str]:
    found = [w.comparison.detectable for (_, _, slug), w in best.items() if slug == "rel"]
    known = sorted(d for d in found if d > 0)  # NaN is not
    if known:
        span = f"{known[0]:.1f}" if round(known[0], 1) == round(known[-1], 1) else f"{known[0]:.1f} to {known[-1]:.1f}"
        yield f"At this number of documents a difference on Rel shows with 80 % power only from {span} points on."


def _settings(resamples: Resamples, best: Mapping[tuple[str, str, str], Winner]) -> Iterator[str]:
    for (backbone, level, slug), w in best.items():
        if slug == "rel":
            setting = f"{backbone_title(backbone)}, {level_title(resamples.results, backbone, level)}"
            yield f"{setting}: {_lead(w)}{_against_control(resamples, backbone, level)}."


def _lead(w: Winner) -> str:
    d = w.comparison.difference
    if d.estimate == 0:
        return f"{row_title(w.row)} and {row_title(w.runner_up)} tie on Rel"
    verdict = "beyond chance" if w.beyond_chance else "which may be chance"
    return (
        f"{row_title(w.row)} leads on Rel by {d.estimate:.1f} points ({_span(d)}) before "
        f"{row_title(w.runner_up)}, {verdict}"
    )


def _span(d: Interval) -> str:
    few = math.isnan(d.low) or math.isnan(d.high)
    return "too few independent documents for an interval" if few else f"{signed(d.low)} to {signed(d.high)}"


def _against_control(resamples: Resamples, backbone: str, level: str) -> str:
    rows = [r for r in resamples.results.rows(backbone) if r.level == level and r.protocol == "layer_average"]
    subject = next((r for r in rows if resamples.results.is_subject(r)), None)
    mine = resamples.rel(backbone, subject) if subject is not None else None
    drawn = {r: d for r in rows if r.role == "control" and (d := resamples.rel(backbone, r)) is not None}
    if subject is None or mine is None or not drawn:
        return ""
    control = max(drawn, key=lambda r: drawn[r].point)
    gap = mine.against(drawn[control]).difference
    interval = f"{signed(gap.estimate)} ({_span(gap)})"
    return f"; {row_title(subject)} minus the best control, {row_title(control)}: {interval}"
