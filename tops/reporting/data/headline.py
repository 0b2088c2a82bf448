"""Which of a cell's stored metrics a table shows."""

from __future__ import annotations

from tops.benchmarks.benchmark import load_benchmark
from tops.errors import DataError, nearest_names
from tops.planning.plan import Column
from tops.store.store import Record


def metric_name(column: Column) -> str:
    """The part of the benchmark that the column names, else the metric that papers report."""
    return column.metric or load_benchmark(column.benchmark).metric


def headline(record: Record, column: Column) -> float:
    """The column's metric from the scorer that the column names, else the one that the benchmark reports.

    Raises
    ------
    DataError
        If the cell has no such metric.
    """
    if record.default_scorer is None:
        raise DataError("no scores stored")
    if record.default_scorer not in record.scores:
        raise DataError(
            f"not scored by {record.default_scorer!r} (but by {', '.join(record.scores) or 'nothing'}); run "
            f"`tops score --scorer {record.default_scorer}`"
        )
    name, metrics = metric_name(column), record.scores[record.default_scorer]["metrics"]
    if name not in metrics:
        raise DataError(f"scorer {record.default_scorer!r} stored no {name!r}. {nearest_names(name, metrics)}")
    return float(metrics[name])
