"""The leaderboard of a profile: the mean rank of every method over models and budgets, with its interval."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from scipy import stats

from tops.planning.plan import Row
from tops.reporting.data.headings import level_title
from tops.reporting.data.names import backbone_title, row_title
from tops.reporting.data.resamples import Resamples
from tops.reporting.tables.table import Datum, Header, Line, Table, hole, number
from tops.statistics.drawn import Drawn
from tops.statistics.resampling import Floats

Setting = tuple[str, str]  # backbone and level


def settings_of(found: Sequence[Resamples]) -> dict[Setting, dict[Row, Drawn]]:
    """Rel of every row that competes, for each model and budget; the first experiment that has a setting counts.

    Rows whose budget means something else than the mean over layers do not compete, nor do variants of a method.
    """
    out: dict[Setting, dict[Row, Drawn]] = {}
    for resamples in found:
        results = resamples.results
        for backbone in results.backbones:
            for level in results.plan.experiment.levels:
                rows = [r for r in results.rows(backbone) if r.level == level and not r.variant]
                fair = [r for r in rows if r.protocol == "layer_average" and r.role in ("method", "control")]
                drawn = {r: d for r in fair if (d := resamples.rel(backbone, r)) is not None}
                if len(drawn) > 1:
                    out.setdefault((backbone, level_title(results, backbone, level)), drawn)
    return out


def leaderboard(found: Sequence[Resamples], *, miniature: bool) -> Table | None:
    """A line per method, a column per model and budget; None where no two methods can be ranked.

    The interval is that of the mean rank over the settings a method takes part in: the middle 95 % of resamples.
    """
    settings = settings_of(found)
    if not settings:
        return None
    ranked: dict[str, dict[Setting, tuple[float, Floats]]] = {}
    roles: dict[str, str] = {}
    for setting, drawn in settings.items():
        for row, rank, resampled in _ranks(drawn):
            ranked.setdefault(row_title(row), {})[setting] = rank, resampled
            roles[row_title(row)] = row.role
    told = {setting: all(d.told for d in drawn.values()) for setting, drawn in settings.items()}
    lines = [_line(title, places, told, roles[title]) for title, places in ranked.items()]
    lines.sort(key=lambda line: line.data[0].value or 0.0)
    headers = [Header("mean rank"), Header("95 % interval"), Header("settings")]
    headers += [Header(level, backbone_title(backbone)) for backbone, level in settings]
    note = (
        "Rank 1 is best. A rank counts methods and controls of one model at one budget, all at the same mean over "
        "layers. Interval: middle 95 % of paired bootstrap resamples. A method that lacks a setting is averaged over "
        "the others, so compare mean ranks of methods with the same number of settings."
    )
    title = "Leaderboard over models and budgets" + (" (miniature, not comparable with the paper)" if miniature else "")
    return Table("leaderboard", title, tuple(headers), tuple(lines), (note,), short="Leaderboard")


def _ranks(drawn: dict[Row, Drawn]) -> Iterable[tuple[Row, float, Floats]]:
    points = np.array([d.point for d in drawn.values()])
    resampled = np.stack([d.resampled for d in drawn.values()])
    return zip(drawn, stats.rankdata(-points).tolist(), stats.rankdata(-resampled, axis=0), strict=True)


def _line(title: str, places: dict[Setting, tuple[float, Floats]], told: dict[Setting, bool], role: str) -> Line:
    ranks = [rank for rank, _ in places.values()]
    count = min(len(resampled) for _, resampled in places.values())
    means = np.mean([resampled[:count] for _, resampled in places.values()], axis=0)
    low, high = np.quantile(means, [0.025, 0.975])
    each = [number(places[s][0], 0) if s in places else hole("does not run at this budget") for s in told]
    few = not all(told[s] for s in places)
    data = (
        number(float(np.mean(ranks)), 1),
        hole("too few independent documents for an interval") if few else Datum(f"{low:.1f} to {high:.1f}"),
        Datum(str(len(ranks)), float(len(ranks))),
        *each,
    )
    return Line(title, data, role=role)
