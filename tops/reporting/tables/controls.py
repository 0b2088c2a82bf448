"""Table of facts beside the scores: true budgets, cost, unread answers, controls, blind guessing, flips."""

from __future__ import annotations

from dataclasses import replace
from statistics import fmean

from tops.accounting import FORMULAS
from tops.planning.plan import Row
from tops.reporting.data.headings import level_title, title_of
from tops.reporting.data.names import backbone_title, row_title
from tops.reporting.data.pairs import pairs
from tops.reporting.data.resamples import Resamples
from tops.reporting.data.results import Entry, Results
from tops.reporting.tables.against_each import difference
from tops.reporting.tables.flops import costs, unit
from tops.reporting.tables.table import Datum, Header, Line, Table, hole, number
from tops.statistics.drawn import Drawn

_HEADERS = (
    Header("ms a document", "Cost"),
    Header("unread %", "Answers"),
    Header("yes %", "Answers"),
    Header("gained %", "Flips"),
    Header("lost %", "Flips"),
    Header("− best control", "Rel"),
    Header("− blind", "Acc"),
)
NOTES = (
    "tokens: visual tokens a decoder layer sees at prefill, mean over layers, documents and benchmarks, as logged; "
    "newline tokens, which some families put between rows, are counted beside them.",
    f'FLOPs: prefill of the mean prompt by the formula "paper", {FORMULAS["paper"]}.',
    "ms a document: median wall time, decoding and generation included, mean over benchmarks; comparable only between "
    "cells of one machine under one load. It is no latency benchmark.",
    "unread: answers that the scorer could not read. yes: share of yes among predictions on yes/no benchmarks.",
    "flips: documents that go from wrong to right (gained) and from right to wrong (lost) against the unpruned model.",
    "− best control: Rel minus that of the best control at the same budget, with its 95 % interval. "
    "− blind: Acc minus that of the model without the image.",
)


NOT_APPLICABLE = Datum()
_TOLERANCE = 0.025  # a schedule of whole tokens cannot always meet its average exactly


def controls_table(resamples: Resamples) -> Table:
    """One line per backbone, level and row that has answers; the main table says why other rows have none."""
    results, lines = resamples.results, []
    for backbone in results.backbones:
        for row in sorted(results.rows(backbone), key=lambda r: _order(results, r)):
            section = " · ".join(p for p in (backbone_title(backbone), level_title(results, backbone, row.level)) if p)
            data = _line(resamples, backbone, row)
            if data:
                lines.append(Line(row_title(row), data, section, row.role))
    flops = Header(unit(miniature=results.miniature)[0], "Cost")
    return Table(
        f"{results.name}_controls",
        f"Controls and costs. {title_of(results)}",
        (Header("tokens", "Cost"), flops, *_HEADERS),
        tuple(lines),
        NOTES,
        short="Controls and costs",
    )


def with_true_tokens(resamples: Resamples) -> Results:
    """Results whose places have ``seen`` filled in where the layers saw another number of tokens than the budget."""
    entries = dict(resamples.results.entries)
    for backbone in resamples.results.backbones:
        reference = resamples.results.reference(backbone)
        whole = costs(resamples, backbone, reference)[0].value if reference is not None else None
        for row in resamples.results.rows(backbone):
            seen = costs(resamples, backbone, row)[0].value
            for place, entry in entries.items():
                if place[0] != row or place[1].backbone != backbone or entry.budget is None or not entry.values:
                    continue
                value = entry.budget.value
                asked = value if isinstance(value, int) else value * whole if whole else None
                if seen is not None and asked and abs(seen / asked - 1) > _TOLERANCE:
                    entries[place] = replace(entry, seen=seen)
    return replace(resamples.results, entries=entries)


def _order(results: Results, row: Row) -> tuple[int, bool]:
    levels = ["", *results.plan.experiment.levels]
    return levels.index(row.level), row.role == "control"


def _line(resamples: Resamples, backbone: str, row: Row) -> tuple[Datum, ...]:
    entries = [e for (r, c), e in resamples.results.entries.items() if r == row and c.backbone == backbone]
    scored = [e for e in entries if e.values]
    if not scored:
        return ()
    return (
        *costs(resamples, backbone, row),
        number(1000 * fmean(resamples.of(r).seconds for e in scored for r in e.records), 0),
        *_answers(scored),
        *_flips(resamples, backbone, row),
        _minus_control(resamples, backbone, row),
        _minus_blind(resamples, backbone, row),
    )


def _answers(scored: list[Entry]) -> tuple[Datum, Datum]:
    scores = [r.scores[r.default_scorer] for e in scored for r in e.records if r.default_scorer]
    yes = [s["yes_rate"] for s in scores if s.get("yes_rate") is not None]
    unread = number(100 * fmean(s["invalid_rate"] for s in scores))
    return unread, number(100 * fmean(yes)) if yes else hole("no yes/no benchmark")


def _flips(resamples: Resamples, backbone: str, row: Row) -> tuple[Datum, Datum]:
    reference = resamples.results.reference(backbone)
    if row == reference:
        return NOT_APPLICABLE, NOT_APPLICABLE
    found = list(pairs(resamples, backbone, row, reference))
    if not found:
        return hole("no unpruned answers"), hole("no unpruned answers")
    gained = fmean(float((p.mine & ~p.other).mean()) for p in found)
    lost = fmean(float((~p.mine & p.other).mean()) for p in found)
    return number(100 * gained), number(100 * lost)


def _with_interval(mine: Drawn, other: Drawn) -> Datum:
    return difference(mine.against(other))


def _minus_control(resamples: Resamples, backbone: str, row: Row) -> Datum:
    if row.role != "method" or not row.level:
        return NOT_APPLICABLE
    if row.protocol != "layer_average":
        return hole("the controls have another layer average: see tokens")
    controls = [r for r in resamples.results.rows(backbone) if r.role == "control" and r.level == row.level]
    drawn = [d for r in controls if (d := resamples.rel(backbone, r)) is not None]
    mine = resamples.rel(backbone, row)
    if mine is None or not drawn:
        return hole("no control at this budget yet")
    return _with_interval(mine, max(drawn, key=lambda d: d.point))


def _minus_blind(resamples: Resamples, backbone: str, row: Row) -> Datum:
    blind = next((r for r in resamples.results.rows(backbone) if r.method == "text_only"), None)
    if row == blind:
        return NOT_APPLICABLE
    mine, theirs = resamples.acc(backbone, row), resamples.acc(backbone, blind) if blind else None
    if mine is None or theirs is None:
        return hole("no answers without the image yet")
    return _with_interval(mine, theirs)
