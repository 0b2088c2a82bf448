"""Scoring stored answers again by the rules of today, without a model."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from math import isclose
from typing import Any

from tops.benchmarks.benchmark import load_benchmark
from tops.benchmarks.scorers import rule_of, score_answers, summarise
from tops.errors import TopsError
from tops.store.check import Fault
from tops.store.store import Record, Store


def rules_without_judge(record: Record) -> list[str]:
    """Scorers of a cell's benchmark that need no judge."""
    benchmark = load_benchmark(record.spec.benchmark.name)
    return [name for name in benchmark.scorers if rule_of(benchmark, name).row is not None]


def scored_again(record: Record, scorer: str) -> tuple[dict[str, Any], dict[int, Any]]:
    """Scores of the stored answers by today's rule: the entry of the store, and the row of each document.

    Raises
    ------
    DataError
        If the answers cannot be read or scored.
    """
    answers = list(record.answers())
    rows = score_answers(record.spec.benchmark.name, scorer, answers)
    return summarise(record.spec.benchmark.name, scorer, answers, rows), rows


def score_again(store: Store, record: Record, scorers: list[str] | None = None) -> Iterator[tuple[str, dict[str, Any]]]:
    """Score a cell again, and store scores that differ beside its sealed files.

    Parameters
    ----------
    store, record
        The cell.
    scorers : list of str, optional
        Only these; all that need no judge by default.

    Yields
    ------
    scorer, entry
        Each scorer with its entry as it is stored now.
    """
    default = load_benchmark(record.spec.benchmark.name).scorer
    for name in rules_without_judge(record) if scorers is None else scorers:
        entry, rows = scored_again(record, name)
        if record.scores.get(name) != entry:
            store.rescore(record.key, name, entry, rows, default=name == default)
        yield name, entry


def rescored_otherwise(store: Store, broken: Collection[str] = ()) -> list[Fault]:
    """Score the answers of every complete cell again and compare with the stored scores; nothing is written.

    Parameters
    ----------
    store : Store
        The store to check.
    broken : collection of str
        Keys of cells to skip, because their files are known to be damaged.
    """
    faults: list[Fault] = []
    for record in store.records(faults=[]):
        if record.key not in broken:
            faults += [Fault(record.key, "scores", text) for text in _otherwise(record)]
    return faults


def _otherwise(record: Record) -> Iterator[str]:
    for scorer in sorted(set(rules_without_judge(record)) & set(record.scores)):
        try:
            entry, rows = scored_again(record, scorer)
            stored = record.rows(scorer)
        except (TopsError, KeyError) as error:
            yield f"{scorer}: cannot be scored again: {error}"
            continue
        changed = [i for i in rows if rows[i] != stored.get(i)]
        if changed:
            yield f"{scorer}: {len(changed)} documents are scored otherwise today, first document {changed[0]}"
        told = record.scores[scorer].get("metrics", {})
        for name, value in entry["metrics"].items():
            if name not in told or not isclose(told[name], value, rel_tol=1e-9, abs_tol=1e-9):
                yield f"{scorer}: {name} is stored as {told.get(name)}, and the stored texts give {value}"
