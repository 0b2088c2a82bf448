"""Which differences are more than chance: intervals, ranks, and the winner of every column."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tops.planning.plan import Row
from tops.reporting.data.headings import level_title, title_of
from tops.reporting.data.names import backbone_title, benchmark_title, row_title
from tops.reporting.data.pairs import discordant
from tops.reporting.data.resamples import Resamples, Winner
from tops.reporting.tables.against_each import detectable, difference, p_value
from tops.reporting.tables.table import Datum, Header, Line, Table, hole, number
from tops.statistics.comparison import Flips, holm
from tops.statistics.drawn import Drawn
from tops.statistics.intervals import FEWEST_CLUSTERS
from tops.statistics.ranks import ranks


def intervals_table(resamples: Resamples) -> Table:
    """Rel with its 95 % interval, and each row's rank at its budget."""
    results, lines = resamples.results, []
    for backbone in results.backbones:
        for level in results.plan.experiment.levels:
            rows = [r for r in results.rows(backbone) if r.level == level and r.role == "method"]
            rows += [r for r in results.rows(backbone) if r.level == level and r.role == "control"]
            drawn = {row: d for row in rows if (d := resamples.rel(backbone, row)) is not None}
            fair = {row: d for row, d in drawn.items() if row.protocol == "layer_average"}
            ranked = dict(zip(fair, ranks_of(fair), strict=True)) if fair else {}
            section = f"{backbone_title(backbone)} · {level_title(results, backbone, level)}"
            for row, d in drawn.items():
                acc = resamples.acc(backbone, row)
                data = (*_estimate(d), *ranked.get(row, _UNRANKED), *(_estimate(acc) if acc else _NO_ACC))
                lines.append(Line(row_title(row), data, section, row.role))
    titles = ("Rel (%)", "95 % interval", "rank", "95 % of ranks", "first in %")
    headers = (*(Header(t, "Rel") for t in titles), Header("Acc", "Acc"), Header("95 % interval", "Acc"))
    notes = (
        "Intervals follow from how far the documents of each image move the value, through the aggregation of every "
        f"benchmark; no seed enters. Fewer than {FEWEST_CLUSTERS} independent images give none.",
        "Ranks among methods and controls at the same layer average; rank 1 is best. Their intervals: "
        f"{resamples.count} paired resamples, documents of one image drawn together, each benchmark by itself.",
    )
    return Table(
        f"{results.name}_intervals",
        f"Intervals and ranks. {title_of(results)}",
        headers,
        tuple(lines),
        notes,
        short="Intervals and ranks",
    )


def ranks_of(drawn: Mapping[Row, Drawn]) -> list[tuple[Datum, ...]]:
    """Rank of each row, in order: on the sample, in 95 % of resamples, and how often it is first."""
    values = list(drawn.values())
    points = np.array([d.point for d in values])
    out: list[tuple[Datum, ...]] = []
    told = all(d.told for d in values)
    for rank in ranks(points, np.stack([d.resampled for d in values])):
        out.append(
            (
                Datum(f"{rank.rank:g}", rank.rank),
                _span(rank.low, rank.high, "g") if told else hole(_FEW),
                number(100 * rank.best, 0) if told and not np.isnan(rank.best) else hole(_FEW),
            )
        )
    return out


def _estimate(d: Drawn) -> tuple[Datum, Datum]:
    return number(d.point), _span(d.interval.low, d.interval.high, ".1f")


def benchmark_intervals_table(resamples: Resamples) -> Table:
    """Every benchmark's score with its own interval."""
    results, lines = resamples.results, []
    slugs = list(dict.fromkeys(c.slug for b in results.backbones for c in results.columns(b)))
    for backbone in results.backbones:
        columns = {c.slug: c for c in results.columns(backbone)}
        for row in results.rows(backbone):
            drawn = {slug: resamples.score(row, columns[slug]) for slug in slugs if slug in columns}
            if not any(drawn.values()):
                continue
            data = tuple(
                interval(d) if (d := drawn.get(slug)) else hole(_NOTHING if slug in drawn else "not planned")
                for slug in slugs
            )
            section = " · ".join(p for p in (backbone_title(backbone), level_title(results, backbone, row.level)) if p)
            lines.append(Line(row_title(row), data, section, row.role))
    return Table(
        f"{results.name}_scores",
        f"Scores with 95 % intervals. {title_of(results)}",
        tuple(Header(benchmark_title(slug)) for slug in slugs),
        tuple(lines),
        (
            "Each interval is of one score by itself: two methods compare by their paired difference, not by whether "
            "these overlap.",
        ),
        short="Scores with intervals",
    )


def interval(d: Drawn) -> Datum:
    """A value with its interval, as ``63.1 [61.0, 65.2]``."""
    low, high = d.interval.low, d.interval.high
    if np.isnan(low):
        return number(d.point, mark=_FEW)
    return Datum(f"{d.point:.1f} [{low:.1f}, {high:.1f}]", d.point, low=float(low), high=float(high))


_NOTHING = "no number: the table of scores says why"
_NO_ACC = (hole(_NOTHING),) * 2
_UNRANKED = (hole("not ranked: the budget means something else, and the layers see another number of tokens"),) * 3
_FEW = "too few independent documents for an interval"


def _span(low: float, high: float, form: str) -> Datum:
    """A range of numbers, as ``92.0 to 102.9``."""
    if np.isnan(low) or np.isnan(high):
        return hole(_FEW)
    return Datum(f"{round(low, 1):{form}} to {round(high, 1):{form}}", low=float(low), high=float(high))


def _sides(flips: Flips | None, p: float) -> tuple[Datum, Datum]:
    if flips is None:
        return Datum(), Datum()
    return Datum(f"{flips.gained} : {flips.lost}", float(flips.gained - flips.lost)), p_value(p)


def winners_table(resamples: Resamples, found: Mapping[tuple[str, str, str], Winner]) -> Table:
    """Best against runner-up of every column, Holm-adjusted over the table."""
    results, lines = resamples.results, []
    flips = {
        (b, n, slug): discordant(resamples, b, w.row, w.runner_up, "" if slug == "rel" else slug)
        for (b, n, slug), w in found.items()
    }
    mcnemar_p = holm({place: f.p if f else float("nan") for place, f in flips.items()})
    for (backbone, level, slug), w in found.items():
        section = f"{backbone_title(backbone)} · {level_title(results, backbone, level)}"
        d = w.comparison.difference
        data = (
            Datum(row_title(w.row)),
            Datum(row_title(w.runner_up)),
            difference(w.comparison),
            p_value(w.adjusted),
            detectable(w.comparison),
            *_sides(flips[backbone, level, slug], mcnemar_p[backbone, level, slug]),
            Datum("tie" if d.estimate == 0 else "beyond chance" if w.beyond_chance else "cannot tell"),
        )
        lines.append(Line(benchmark_title(slug), data, section))
    titles = (
        "best",
        "runner-up",
        "difference [95 %]",
        "p (Holm)",
        "detectable",
        "only best : only runner-up right",
        "McNemar p (Holm)",
        "verdict",
    )
    notes = (
        "Bold in the main table: better than the runner-up with a Holm-adjusted p below 0.05 over this whole list.",
        "detectable: the smallest true difference that these documents show with 80 % power at 5 %, before adjustment.",
        "McNemar: exact test on the documents that only one of the two has right, first seed. It takes documents as "
        "independent and knows no aggregation (F1, pairs, circular questions): the verdict does not rest on it.",
    )
    return Table(
        f"{results.name}_best",
        f"Best against runner-up. {title_of(results)}",
        tuple(Header(t) for t in titles),
        tuple(lines),
        notes,
        label_title="Column",
        short="Best against runner-up",
    )
