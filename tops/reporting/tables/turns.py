"""Scores against the turn of a conversation, with the first question's tokens and with a cut for each question."""

from __future__ import annotations

from tops.benchmarks.benchmark import load_benchmark
from tops.planning.plan import Row
from tops.reporting.data.headings import level_title, title_of
from tops.reporting.data.names import backbone_title, row_title
from tops.reporting.data.resamples import Resamples
from tops.reporting.data.turns import Conversations, conversations
from tops.reporting.tables.against_each import difference, p_value
from tops.reporting.tables.table import Datum, Header, Line, Table, hole, number
from tops.statistics.comparison import Comparison, holm
from tops.statistics.drawn import Drawn

NOTES = (
    "By turn: right answers in percent where a method cuts on the first question, and the others of the picture are "
    "asked on the tokens that it left; the conversation holds the model's own earlier answers. Over all seeds, which "
    "put the questions in other orders.",
    "Cut anew: the conversation is read again and cut on each question. A method that does not look at the question "
    "gives the same answers both ways; the difference is what the first question's tokens cost the later ones.",
    "Differences: paired on the same documents, those of one picture together; p Holm-adjusted over this table. The "
    "unpruned model loses with turns too: what a conversation alone costs stands in its line.",
)


def turns_tables(resamples: Resamples) -> list[Table]:
    """A table per backbone and benchmark that is asked in turns."""
    return [_table(resamples, c) for b in resamples.results.backbones for c in conversations(resamples, b)]


def _table(resamples: Resamples, talk: Conversations) -> Table:
    turns = range(1, talk.turns + 1)
    change = {row: kept.at(talk.later).against(kept.at([1])) for row, kept in talk.kept.items()}
    both = {row: (talk.kept[row], anew) for row, anew in talk.anew.items() if row in talk.kept}
    against = {row: kept.at(talk.later).against(anew.at(talk.later)) for row, (kept, anew) in both.items()}
    adjusted = holm({row: found.p for row, found in against.items()})
    headers = (
        *(Header(str(turn), "By turn, cut on the first question") for turn in turns),
        Header("later − first [95 %]", "By turn, cut on the first question"),
        Header("kept", "Later turns"),
        Header("cut anew", "Later turns"),
        Header("kept − anew [95 %]", "Later turns"),
        Header("p (Holm)", "Later turns"),
    )
    lines = []
    for row in resamples.results.rows(talk.backbone):
        kept, anew = talk.kept.get(row), talk.anew.get(row)
        absent = hole(talk.reasons.get(row) or "not planned")
        mark = next((t.mark for t in (kept, anew) if t is not None and t.mark), "")
        data = (
            *(absent if kept is None else _score(kept.at([turn]), mark) for turn in turns),
            _change(change.get(row), absent),
            absent if kept is None else _score(kept.at(talk.later), mark),
            absent if anew is None else _score(anew.at(talk.later), mark),
            _change(against.get(row), absent),
            p_value(adjusted[row]) if row in adjusted else absent,
        )
        lines.append(Line(row_title(row), data, _section(resamples, talk, row), row.role))
    short = f"By turn: {backbone_title(talk.backbone)}, {load_benchmark(talk.source).title}"
    name = f"{resamples.results.name}_by_turn_{talk.backbone}_{talk.source}"
    return Table(name, f"{short}. {title_of(resamples.results)}", headers, tuple(lines), NOTES, short=short)


def _section(resamples: Resamples, talk: Conversations, row: Row) -> str:
    return level_title(resamples.results, talk.backbone, row.level) or "No budget"


def _score(drawn: Drawn, mark: str) -> Datum:
    return number(drawn.point, mark=mark, low=drawn.interval.low, high=drawn.interval.high)


def _change(found: Comparison | None, absent: Datum) -> Datum:
    return absent if found is None else difference(found)
