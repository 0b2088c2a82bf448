"""A benchmark's own rule, by turn of the conversation."""

from __future__ import annotations

from collections.abc import Sequence

from tops.benchmarks.scorers.rule import Row, Rule, Target, column, where
from tops.statistics.metrics import Metric, mean

TURN = "turn"
"""Field of targets and rows: the place of the question in its conversation, from 1 on."""


def in_turns(rule: Rule) -> Rule:
    """The rule with metrics by turn, in percent: ``accuracy``, ``turn_1``, ..., and ``later`` from turn 2 on.

    Parameters
    ----------
    rule : Rule
        The benchmark's rule; not a judged one.
    """
    whole = rule.row
    assert whole is not None

    def row(answer: str, target: Target) -> Row:
        return {**whole(answer, target), TURN: int(target[TURN])}

    def metrics(rows: Sequence[Row]) -> dict[str, Metric]:
        turns, right = column(rows, TURN), mean(column(rows, "score"))
        return {
            **rule.metrics(rows),
            "accuracy": right,
            **{f"turn_{t}": where(right, [turn == t for turn in turns]) for t in sorted({*turns})},
            "later": where(right, [turn > 1 for turn in turns]),
        }

    return Rule(f"{rule.source}, by turn", row, metrics)
