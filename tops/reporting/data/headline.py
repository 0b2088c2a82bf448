"""Choosing the metric of a stored cell that a table shows."""

from __future__ import annotations

from dataclasses import replace

from tops.benchmarks.benchmark import load_benchmark
from tops.benchmarks.scorers import score_answers, summarise
from tops.errors import DataError, nearest_names
from tops.planning.plan import Column
from tops.store.store import Record


def metric_name(column: Column) -> str:
    """The part of the benchmark that the column names, else the metric that papers report."""
    return column.metric or load_benchmark(column.benchmark).metric


def read_by(record: Record, scorer: str) -> Record:
    """The same cell with another scorer's metrics as the reported ones.

    If the scorer was added after the cell was stored, it scores the stored answers now, without a model.

    Raises
    ------
    DataError
        If the scorer cannot read the stored answers.
    """
    if scorer in record.scores:
        return replace(record, default_scorer=scorer)
    answers = list(record.answers())
    rows = score_answers(record.spec.benchmark.name, scorer, answers)
    entry = summarise(record.spec.benchmark.name, scorer, answers, rows)
    return replace(record, scores={**record.scores, scorer: entry}, default_scorer=scorer)


def headline(record: Record, column: Column) -> float:
    """The column's metric from the scorer that the column names, else the one that the benchmark reports.

    Raises
    ------
    DataError
        If the cell has no such metric.
    """
    if record.default_scorer is None:
        raise DataError("no scores stored")
    name, metrics = metric_name(column), record.scores[record.default_scorer]["metrics"]
    if name not in metrics:
        raise DataError(f"scorer {record.default_scorer!r} stored no {name!r}. {nearest_names(name, metrics)}")
    return float(metrics[name])
