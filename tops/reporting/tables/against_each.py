"""One row against every other at its budget, on the same documents."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from tops.planning.plan import Row
from tops.reporting.data.headings import level_title, title_of
from tops.reporting.data.mixing import marked
from tops.reporting.data.names import backbone_title, row_title
from tops.reporting.data.pairs import discordant
from tops.reporting.data.resamples import Resamples
from tops.reporting.data.results import Results
from tops.reporting.tables.table import Datum, Header, Line, Table, hole, number, signed
from tops.statistics.comparison import Comparison, Flips, holm
from tops.statistics.drawn import Drawn


@dataclass(frozen=True)
class Duel:
    """``ours`` against ``rival`` in one setting; ``flips.gained`` are documents that only ``ours`` has right."""

    backbone: str
    level: str
    ours: Row
    rival: Row
    comparison: Comparison
    flips: Flips | None


def duels(resamples: Resamples) -> Iterator[Duel]:
    """For every backbone and budget the subject against the unpruned model and every row with the same budget."""
    for backbone in resamples.results.backbones:
        for level in resamples.results.plan.experiment.levels:
            drawn = _drawn(resamples, backbone, level)
            ours = _subject(resamples.results, drawn)
            for rival, theirs in drawn.items():
                if ours is not None and rival != ours:
                    comparison = drawn[ours].against(theirs)
                    yield Duel(backbone, level, ours, rival, comparison, discordant(resamples, backbone, ours, rival))


def _drawn(resamples: Resamples, backbone: str, level: str) -> dict[Row, Drawn]:
    """Rows that may be compared: the same meaning of the budget, the same software."""
    columns = resamples.results.columns(backbone)
    rows = [
        r
        for r in resamples.results.rows(backbone)
        if (r.role == "reference" or (r.level == level and r.protocol == "layer_average"))
        and not marked(resamples.results, r, columns)
    ]
    return {row: d for row in rows if (d := resamples.rel(backbone, row)) is not None}


def _subject(results: Results, drawn: dict[Row, Drawn]) -> Row | None:
    """The experiment's subject where it runs, else the method that leads."""
    methods = [r for r in drawn if r.role == "method"]
    plain = next((r for r in methods if results.is_subject(r)), None)
    return plain or max(methods, key=lambda r: drawn[r].point, default=None)


HEADERS = (
    Header("difference [95 %]", "Rel"),
    Header("p (Holm)", "Rel"),
    Header("detectable", "Rel"),
    Header("n", "Documents"),
    Header("only ours right", "Documents"),
    Header("only theirs right", "Documents"),
    Header("McNemar p (Holm)", "Documents"),
    Header("verdict"),
)
NOTES = (
    "difference: Rel of ours minus theirs on the same documents, with Student's t interval; documents of one image "
    "form one cluster. p is from the same t. Both p columns are Holm-adjusted over this whole list, each by itself.",
    "McNemar: exact test on the documents that only one of the two has right (at least half of the score), all "
    "benchmarks pooled, first seed. It takes documents as independent and weighs every document alike, where Rel "
    "weighs every benchmark alike: the verdict follows Rel.",
    "detectable: the smallest true difference that these documents show with 80 % power at 5 %, before adjustment.",
)


def paired_table(resamples: Resamples) -> Table:
    """The subject (or the leader, where it does not run) against each other row."""
    found = list(duels(resamples))
    p_rel = holm({i: d.comparison.p for i, d in enumerate(found)})
    p_flips = holm({i: d.flips.p if d.flips else float("nan") for i, d in enumerate(found)})
    lines = []
    for i, duel in enumerate(found):
        where = f"{backbone_title(duel.backbone)} · {level_title(resamples.results, duel.backbone, duel.level)}"
        section = f"{where} · {row_title(duel.ours)} against"
        lines.append(Line(row_title(duel.rival), _data(duel, p_rel[i], p_flips[i]), section, duel.rival.role))
    subjects = dict.fromkeys(row_title(d.ours) for d in found)
    subject = next(iter(subjects)) if len(subjects) == 1 else "the leader"
    return Table(
        f"{resamples.results.name}_paired",
        f"{subject[:1].upper()}{subject[1:]} against each. {title_of(resamples.results)}",
        HEADERS,
        tuple(lines),
        NOTES,
        label_title="Against",
        short=f"{subject[:1].upper()}{subject[1:]} against each",
    )


def _data(duel: Duel, p_rel: float, p_flips: float) -> tuple[Datum, ...]:
    d, flips = duel.comparison.difference, duel.flips
    verdict = "tie" if d.estimate == 0 else "cannot tell"
    if p_rel < 0.05:
        verdict = "better" if d.estimate > 0 else "worse"
    unpaired = hole("no documents in common")
    return (
        difference(duel.comparison),
        p_value(p_rel),
        detectable(duel.comparison),
        number(flips.documents, 0) if flips else unpaired,
        number(flips.gained, 0) if flips else unpaired,
        number(flips.lost, 0) if flips else unpaired,
        p_value(p_flips) if flips else unpaired,
        Datum(verdict),
    )


FEW = "too few units"


def difference(comparison: Comparison) -> Datum:
    """``+1.2 [+0.3, +2.1]``; without the brackets where there are too few units for an interval."""
    d = comparison.difference
    if np.isnan(d.low):
        return Datum(signed(d.estimate), d.estimate, mark=FEW)
    text = f"{signed(d.estimate)} [{signed(d.low)}, {signed(d.high)}]"
    return Datum(text, d.estimate, low=d.low, high=d.high)


def detectable(comparison: Comparison) -> Datum:
    """Smallest true difference with 80 % power; a hole where the resamples cannot tell."""
    if np.isnan(comparison.detectable):
        return hole(FEW)
    return number(comparison.detectable) if comparison.detectable > 0 else hole("no resample tells the two apart")


def p_value(p: float) -> Datum:
    """Three digits, never a bare zero."""
    if np.isnan(p):
        return hole(FEW)
    return Datum("<0.001" if p < 0.001 else f"{p:.3f}", p)
