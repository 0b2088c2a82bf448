"""Evidence for a contrast: one quantity per setting, with its interval and the region in which the claim puts it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from tops.paper.contrasts import Contrast
from tops.planning.plan import Row
from tops.planning.printed import compared_rows
from tops.reporting.data.headings import level_title
from tops.reporting.data.names import backbone_title, benchmark_title, row_title
from tops.reporting.data.pairs import discordant
from tops.reporting.data.resamples import Resamples, winners
from tops.statistics.comparison import holm
from tops.statistics.drawn import Drawn
from tops.statistics.intervals import Interval
from tops.statistics.verdict import Outcome, lies_in

MARGIN = 1.0  # points of Rel within which a rival counts as equally good


@dataclass(frozen=True)
class Finding:
    """The evidence in one setting: a quantity, its interval and the claimed region.

    Attributes
    ----------
    setting : str
        Model, budget, and the measure where it is not Rel.
    rival : str
        The row that our method is compared with; empty where the quantity is our method's alone.
    quantity : Interval
    low, high : float
        Bounds of the region that the claim states.
    p : float
        Two-sided p-value against 0, adjusted over the comparison's table; NaN where the region alone decides.
    detectable : float
        Smallest true difference found with 80 % power; NaN where there is none.
    more : str
        A further remark for the reader.
    """

    setting: str
    rival: str
    quantity: Interval
    low: float = -math.inf
    high: float = math.inf
    p: float = math.nan
    detectable: float = math.nan
    more: str = ""

    @property
    def outcome(self) -> Outcome:
        """Outcome by :func:`tops.statistics.verdict.lies_in`; an adjusted p of 0.05 or more gives "cannot tell"."""
        return "cannot tell" if self.p >= 0.05 else lies_in(self.quantity, self.low, self.high)


Asked = Callable[[Resamples, Contrast], Iterator[Finding]]


def findings(resamples: Resamples, contrast: Contrast) -> list[Finding]:
    """All settings of a contrast that the store can answer."""
    asked = _ASKED.get(contrast.question)
    return [] if asked is None else list(asked(resamples, contrast))


def rows_at(resamples: Resamples, backbone: str, level: str) -> dict[tuple[str, str], Row]:
    """(Method, variant) to the row whose budget protocol is the one of the paper's number."""
    found = compared_rows(resamples.results.plan, backbone)
    return {(row.method, row.variant): row for (at, _, _), row in found.items() if at == level}


def settings(resamples: Resamples, contrast: Contrast) -> Iterator[tuple[str, str]]:
    """Backbones and levels that a contrast is about."""
    for backbone in resamples.results.backbones:
        if contrast.backbones and backbone not in contrast.backbones:
            continue
        for level in resamples.results.plan.experiment.levels:
            if contrast.level in ("", level):
                yield backbone, level


def described(resamples: Resamples, contrast: Contrast, backbone: str, level: str) -> str:
    """``LLaVA-1.5-7B, 128 tokens (↓ 77.8 %), POPE``."""
    text = f"{backbone_title(backbone)}, {level_title(resamples.results, backbone, level)}"
    return text if contrast.measure == "rel" else f"{text}, {benchmark_title(contrast.measure)}"


def _measured(resamples: Resamples, backbone: str, row: Row | None, measure: str) -> Drawn | None:
    if row is None:
        return None
    if measure != "loss":
        return resamples.measure(backbone, row, measure)
    rel = resamples.rel(backbone, row)
    return None if rel is None else rel.short_of(100)


def _sides(resamples: Resamples, contrast: Contrast, backbone: str, level: str) -> tuple[Row, Drawn, Row, Drawn] | None:
    """Our row and the best rival's row, each with its value; None where one is missing."""
    rows = rows_at(resamples, backbone, level)
    ours = rows.get(contrast.ours)
    mine = _measured(resamples, backbone, ours, contrast.measure)
    drawn = {
        row: d
        for name, row in rows.items()
        if name != contrast.ours and (not contrast.rivals or name in contrast.rivals)
        and (d := _measured(resamples, backbone, row, contrast.measure)) is not None
    }  # fmt: skip
    if ours is None or mine is None or not drawn:
        return None
    best = max(drawn, key=lambda row: drawn[row].point)
    return ours, mine, best, drawn[best]


def _better(resamples: Resamples, contrast: Contrast) -> Iterator[Finding]:
    """Our method against the best rival; p-values are adjusted as in the table of winners, so that both agree."""
    table = {place: w.comparison.p for place, w in winners(resamples).items()}
    for backbone, level in settings(resamples, contrast):
        sides = _sides(resamples, contrast, backbone, level)
        if sides is None:
            continue
        _, mine, best, theirs = sides
        found, place = mine.against(theirs), (backbone, level, contrast.measure)
        adjusted = holm({**table, place: found.p})[place]
        text = described(resamples, contrast, backbone, level)
        if contrast.question == "as good":
            yield Finding(text, row_title(best), found.difference, high=MARGIN, p=adjusted, detectable=found.detectable)
        else:
            yield Finding(text, row_title(best), found.difference, low=0.0, p=adjusted, detectable=found.detectable)


def _value(resamples: Resamples, contrast: Contrast) -> Iterator[Finding]:
    for backbone, level in settings(resamples, contrast):
        row = rows_at(resamples, backbone, level).get(contrast.ours)
        drawn = _measured(resamples, backbone, row, contrast.measure)
        if row is not None and drawn is not None:
            text = f"{row_title(row)}, {described(resamples, contrast, backbone, level)}"
            yield Finding(text, "", drawn.interval, *contrast.region)


def _difference(resamples: Resamples, contrast: Contrast) -> Iterator[Finding]:
    for backbone, level in settings(resamples, contrast):
        sides = _sides(resamples, contrast, backbone, level)
        if sides is not None:
            found = sides[1].against(sides[3])
            text = described(resamples, contrast, backbone, level)
            yield Finding(text, row_title(sides[2]), found.difference, *contrast.region, detectable=found.detectable)


def _change(resamples: Resamples, contrast: Contrast) -> Iterator[Finding]:
    """A difference of two differences, on the same resamples."""
    for backbone, level in settings(resamples, contrast):
        strong = _sides(resamples, contrast, backbone, level)
        mild = _sides(resamples, contrast, backbone, contrast.mild)
        if strong is None or mild is None or level == contrast.mild:
            continue
        gaps = [side[1].minus(side[3]) for side in (strong, mild)]
        found = gaps[0].against(gaps[1])
        text = f"{described(resamples, contrast, backbone, level)} minus {contrast.mild} %"
        yield Finding(text, row_title(strong[2]), found.difference, low=0.0, detectable=found.detectable)


def _against_unpruned(resamples: Resamples, contrast: Contrast) -> Iterator[Finding]:
    for backbone, level in settings(resamples, contrast):
        row, reference = rows_at(resamples, backbone, level).get(contrast.ours), resamples.results.reference(backbone)
        mine = _measured(resamples, backbone, row, contrast.measure)
        base = _measured(resamples, backbone, reference, contrast.measure)
        if row is None or reference is None or mine is None or base is None:
            continue
        found = mine.against(base)
        flips = discordant(resamples, backbone, row, reference, contrast.measure)
        more = "" if flips is None else f"{flips.gained} answers gained, {flips.lost} lost"
        text = described(resamples, contrast, backbone, level)
        yield Finding(text, "Unpruned", found.difference, low=0.0, detectable=found.detectable, more=more)


def _variants(resamples: Resamples, contrast: Contrast, backbone: str, level: str) -> Mapping[Row, Drawn]:
    rows = (row for row in rows_at(resamples, backbone, level).values() if row.method == contrast.ours[0])
    return {r: d for r in rows if r.variant and (d := _measured(resamples, backbone, r, contrast.measure)) is not None}


def _spread(resamples: Resamples, contrast: Contrast) -> Iterator[Finding]:
    for backbone, level in settings(resamples, contrast):
        drawn = sorted(_variants(resamples, contrast, backbone, level).values(), key=lambda d: d.point)
        if len(drawn) < 2 or drawn[0].point <= 0:
            continue
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = drawn[-1].per(drawn[0])
        spread = replace(ratio, point=ratio.point - 100, resampled=ratio.resampled - 100)
        text = described(resamples, contrast, backbone, level)
        yield Finding(f"{text}, over {len(drawn)} settings, %", "", spread.interval, *contrast.region)


def _optimum(resamples: Resamples, contrast: Contrast) -> Iterator[Finding]:
    inside = {variant for _, variant in contrast.rivals}
    for backbone, level in settings(resamples, contrast):
        drawn = _variants(resamples, contrast, backbone, level)
        sides = [{r: d for r, d in drawn.items() if (r.variant in inside) is side} for side in (True, False)]
        if not all(sides):
            continue
        best = [max(side, key=lambda row: drawn[row].point) for side in sides]
        found = drawn[best[0]].against(drawn[best[1]])
        text = f"{row_title(best[0])}, {described(resamples, contrast, backbone, level)}"
        yield Finding(text, row_title(best[1]), found.difference, low=0.0, detectable=found.detectable)


_ASKED: dict[str, Asked] = {
    "better": _better,
    "as good": _better,
    "value": _value,
    "difference": _difference,
    "change": _change,
    "against unpruned": _against_unpruned,
    "spread": _spread,
    "optimum": _optimum,
}
