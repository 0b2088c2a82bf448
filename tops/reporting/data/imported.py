"""Imported rows of a report: scored by their column's rule, and paired only where questions and prompts agree."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tops.benchmarks.benchmark import load_benchmark
from tops.benchmarks.scorers import metrics, rule_of, score_answers
from tops.errors import TopsError
from tops.planning.plan import Column
from tops.reporting.data.documents import fact_of, load_documents
from tops.reporting.data.headline import metric_name
from tops.reporting.data.resamples import Resamples
from tops.statistics.comparison import Comparison
from tops.statistics.drawn import Drawn
from tops.statistics.metrics import Metric
from tops.statistics.parts import Part
from tops.statistics.resampling import Clusters
from tops.store.answers import Answer
from tops.store.imported import Imported, read_imported
from tops.store.store import Record

_NO_RANKS = np.zeros(0)  # imported rows have no rank


@dataclass(frozen=True)
class ImportedRow:
    """One record in one column.

    Attributes
    ----------
    record : Imported
    column : Column
        Column of the record's benchmark, on the record's backbone where this is known.
    score : Drawn or None
        Score by the column's rule; None for a log of scores alone.
    against : Comparison or None
        Paired difference: this row minus the unpruned model of the report.
    reason : str
        Why there is no such comparison.
    """

    record: Imported
    column: Column
    score: Drawn | None
    against: Comparison | None
    reason: str


def imported_rows(resamples: Resamples) -> tuple[list[ImportedRow], list[str]]:
    """The imported rows of a report, and a sentence for each record that cannot be read."""
    plan, faults = resamples.results.plan, list[str]()
    rows: list[ImportedRow] = []
    for record in () if plan.store is None else read_imported(plan.store, plan.profile.name, faults):
        columns = [c for c in plan.columns if c.benchmark == record.benchmark and record.backbone in ("", c.backbone)]
        for column in columns if record.backbone else columns[:1]:
            try:
                rows.append(_row(resamples, record, column))
            except (TopsError, KeyError, TypeError, ValueError) as error:
                faults.append(f"imported {record.title} on {record.benchmark} ({record.path}) cannot be shown: {error}")
    return rows, faults


def _row(resamples: Resamples, record: Imported, column: Column) -> ImportedRow:
    answers = record.answers()
    if not answers:
        return ImportedRow(record, column, None, None, "no answers in its log")
    scorer, name = column.scorer or load_benchmark(column.benchmark).scorer, metric_name(column)
    if rule_of(column.benchmark, scorer).row is None:
        return ImportedRow(record, column, None, None, "a judge would have to score its answers")
    scored = score_answers(column.benchmark, scorer, answers)
    found = metrics(column.benchmark, scorer, [scored[a.doc_id] for a in answers])
    clusters = Clusters.of([a.cluster for a in answers], *(g for m in found.values() for g in m.nested))
    score = _drawn(found[name], column, clusters)
    reference, reason = _reference(resamples, record, column, answers)
    if reference is None:
        return ImportedRow(record, column, score, None, reason)
    ours = load_documents(reference, scorer, resamples.cache).metrics[name]
    return ImportedRow(record, column, score, score.against(_drawn(ours, column, clusters)), "")


def _drawn(metric: Metric, column: Column, clusters: Clusters) -> Drawn:
    return Drawn(metric.point, _NO_RANKS, {column.benchmark: Part.of([metric], clusters)}, metric.top)


def _reference(
    resamples: Resamples, record: Imported, column: Column, answers: Sequence[Answer]
) -> tuple[Record | None, str]:
    """The unpruned cell with the same questions and prompts, or the reason why there is none."""
    row = resamples.results.reference(column.backbone)
    entry = None if row is None else resamples.results.entries.get((row, column))
    if entry is None or not entry.values:
        return None, "this report has no unpruned model to set it against"
    ours = entry.records[0]
    if not record.backbone:
        return None, "its model is not known"
    if record.prompt is None:
        return None, "its prompts are not in the log, or in other words than any here"
    if record.prompt != ours.spec.benchmark.prompt:
        return None, "its prompts are in other words than this column's"
    asked = hashlib.sha256()
    for answer in answers:
        asked.update(fact_of(answer, ours.spec.benchmark))
    if record.data_hash != ours.spec.benchmark.data_hash or asked.hexdigest()[:32] != resamples.of(ours).asked:
        return None, f"its {len(answers)} documents are not those of this column"
    return ours, ""


def label_of(record: Imported) -> str:
    """``FastV at 60 tokens (imported, lmms-eval)``."""
    average = record.layer_average
    budget = "" if average is None else f" at {average:.4g} tokens"
    return f"{record.title}{budget} (imported, {record.program})"
