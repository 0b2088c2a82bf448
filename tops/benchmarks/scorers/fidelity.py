"""Losses that :mod:`tops.evaluation.fidelity` measured, as rows and metrics."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from tops.benchmarks.scorers.rule import Row, Rule, Target, column
from tops.statistics.metrics import Metric, mean


def _row(answer: str, target: Target) -> Row:
    loss, unpruned = fmean(target["loss"]), fmean(target["unpruned_loss"])
    return {
        "score": fmean(target["agrees"]),
        "valid": True,
        "prediction": None,
        "loss": loss,
        "unpruned_loss": unpruned,
        "loss_increase": loss - unpruned,
    }


def _metrics(rows: Sequence[Row]) -> dict[str, Metric]:
    """Agreement in percent; losses in nats per answer token, each document weighing the same."""
    losses = ("loss_increase", "loss", "unpruned_loss")
    return {
        "agreement": mean(column(rows, "score")),
        **{name: mean(column(rows, name), 1.0, bounded=False) for name in losses},
    }


RULES: dict[str, Rule] = {"fidelity": Rule("teacher-forced loss of the unpruned model's own answer", _row, _metrics)}
