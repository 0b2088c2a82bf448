"""``stop=separable``: how many documents each column of an experiment asks, given the answers in the store.

Documents come in rounds, each of twice as many as the one before. A column ends with the round that decides its last
comparison, or with its last documents. All of its rows answer the same documents, so that they stay comparable. The
rule reads the store alone: a run, a plan and a report of the same settings see the same rounds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from tops.benchmarks.benchmark import load_benchmark
from tops.benchmarks.scorers import rule_of, score_answers
from tops.errors import ConfigurationError
from tops.planning import staging
from tops.planning.matching_cells import MatchingCells
from tops.planning.places import Column, PlannedCell, PlanStatus, Row
from tops.settings.schema import Experiment, ProfileConfig, Stopping
from tops.statistics.sequential import ALPHA, Verdict, units_of, verdict
from tops.store.store import Record

FIRST = 32  # documents of the first round


@dataclass(frozen=True)
class Stop:
    """State of a column.

    Attributes
    ----------
    documents : int
        Documents of the column's present round; of its last round where ``done``.
    limit : int or None
        The same number as the ``limit`` of the column's cells: None for all documents.
    all : int
        Documents that the column would have asked without the rule.
    done : bool
        Whether the round is complete and no other follows.
    verdicts : mapping
        (Level, rival) to the verdict on the subject against that rival.
    reason : str
        Why the column is not tested; empty where it is.
    """

    documents: int
    limit: int | None
    all: int
    done: bool = False
    verdicts: Mapping[tuple[str, Row], Verdict] = field(default_factory=dict)
    reason: str = ""


Cells = Callable[[Column, "int | None"], "list[PlannedCell]"]  # the cells of a column at a limit


def rounds(limit: int | None, documents: int) -> list[int | None]:
    """Limits of the rounds of a column: 32, 64, 128, ..., and at last the run's own."""
    last = documents if limit is None else min(limit, documents)
    found: list[int | None] = []
    size = FIRST
    while size < last:
        found.append(size)
        size *= 2
    return [*found, limit]


def smaller_rounds(limit: int | None) -> list[int]:
    """Limits of the rounds that may precede a round with this limit, the largest first."""
    found = [FIRST * 2**i for i in range(20)]
    return [size for size in reversed(found) if limit is None or size < limit]


def stops_of(
    experiment: Experiment,
    profile: ProfileConfig,
    columns: Sequence[Column],
    limit: Callable[[str], int | None],
    rule: Stopping,
    cells: Cells,
    matching: MatchingCells | None,
) -> dict[Column, Stop]:
    """State of each column; columns of one backbone and benchmark share their documents.

    Parameters
    ----------
    experiment, profile, columns
        The plan's experiment, profile and columns.
    limit : callable
        Maps a benchmark's name to the most documents it may ask; None for all.
    rule : Stopping
        Its margin is used in every comparison.
    cells : callable
        Gives the planned cells of a column at a limit.
    matching : MatchingCells, optional
        The store; without it every column is at its first round.
    """
    groups: dict[tuple[str, str], list[Column]] = {}
    for column in columns:
        groups.setdefault((column.backbone, column.benchmark), []).append(column)
    first = {column: cells(column, limit(column.benchmark)) for column in columns}
    total = sum(len(pairs(experiment, planned)) for planned in first.values())
    found: dict[Column, Stop] = {}
    for group in groups.values():
        stop = _walk(
            group, profile, limit(group[0].benchmark), rule, ALPHA / max(total, 1), cells, matching, experiment
        )
        found |= dict.fromkeys(group, stop)
    return found


def pairs(experiment: Experiment, planned: Sequence[PlannedCell]) -> list[tuple[Row, Row]]:
    """The subject (where it does not run, the first method) and each rival that can run, at every level."""
    rows = list(dict.fromkeys(p.row for p in planned if p.status is not PlanStatus.REFUSED and p.row.level))
    found = []
    for level in dict.fromkeys(row.level for row in rows):
        fair = [r for r in rows if r.level == level and r.protocol == "layer_average"]
        methods = [r for r in fair if r.role == "method"]
        subject = next((r for r in methods if r.method == experiment.subject and not r.variant), None)
        subject = subject or next(iter(methods), None)
        found += [(subject, r) for r in fair if subject is not None and r != subject]
    return found


def _walk(
    group: Sequence[Column],
    profile: ProfileConfig,
    limit: int | None,
    rule: Stopping,
    alpha: float,
    cells: Cells,
    matching: MatchingCells | None,
    experiment: Experiment,
) -> Stop:
    """Read the stored rounds in order, up to the round that decides or that is not complete."""
    there = staging.documents(group[0].benchmark, profile)
    most = there if limit is None else min(limit, there)
    reason = _untestable(group[0].benchmark)
    ladder = [limit] if reason else rounds(limit, there)
    batches: list[frozenset[int]] = []
    for size in ladder:
        documents = most if size is None else min(size, most)
        planned = [p for column in group for p in cells(column, size)]
        records = None if matching is None else _records(planned, matching)
        if records is None:
            return Stop(documents, size, most, reason=reason)
        if reason:
            return Stop(documents, size, most, done=True, reason=reason)
        scored = {row_column: _scores(found, row_column[1]) for row_column, found in records.items()}
        batches.append(frozenset(next((s.values for s in scored.values()), {})))
        verdicts = _verdicts(group, experiment, planned, scored, batches, rule.margin / 100, alpha)
        if size == ladder[-1] or Verdict.OPEN not in verdicts.values():
            return Stop(documents, size, most, done=True, verdicts=verdicts)
    raise AssertionError("the last round returns")


def _untestable(benchmark: str) -> str:
    """Why documents of a benchmark cannot be compared one by one; empty where they can."""
    loaded = load_benchmark(benchmark)
    if loaded.measure != "answers":
        return "its measure is no score from 0 to 1"
    if rule_of(loaded).row is None:
        return "a judge scores it when all is answered"
    return ""


def _records(planned: Sequence[PlannedCell], matching: MatchingCells) -> dict[tuple[Row, Column], list[Record]] | None:
    """The records of every cell that can run; None while one of them is missing."""
    found: dict[tuple[Row, Column], list[Record]] = {}
    for one in planned:
        if one.cell is None or one.status is PlanStatus.REFUSED:
            continue
        match = matching.find(one.cell)
        if not match.status.done:
            return None
        found.setdefault((one.row, one.column), []).append(matching.record(match))
    return found


@dataclass(frozen=True)
class _Scores:
    """Score of each document, mean over seeds, and its cluster."""

    values: dict[int, float]
    clusters: dict[int, str]


def _scores(records: Sequence[Record], column: Column) -> _Scores:
    sums: dict[int, float] = {}
    clusters: dict[int, str] = {}
    for record in records:
        scorer = column.scorer or record.default_scorer or ""
        for answer in record.answers():
            row = answer.scores.get(scorer) or score_answers(column.benchmark, scorer, [answer])[answer.doc_id]
            score = float(row["score"])
            if not 0 <= score <= 1:
                raise ConfigurationError(
                    f"stop=separable compares scores from 0 to 1, and {scorer} gave document {answer.doc_id} of "
                    f"{column.benchmark} {score:g}; leave stop= out, or use another scorer"
                )
            sums[answer.doc_id] = sums.get(answer.doc_id, 0.0) + score / len(records)
            clusters[answer.doc_id] = answer.cluster
    return _Scores(sums, clusters)


def _verdicts(
    group: Sequence[Column],
    experiment: Experiment,
    planned: Sequence[PlannedCell],
    scored: Mapping[tuple[Row, Column], _Scores],
    batches: Sequence[frozenset[int]],
    margin: float,
    alpha: float,
) -> dict[tuple[str, Row], Verdict]:
    """Verdict on the subject against each rival; of several columns of one benchmark the last, or any that is open."""
    found: dict[tuple[str, Row], Verdict] = {}
    for column in group:
        for subject, rival in pairs(experiment, [p for p in planned if p.column == column]):
            mine, other = scored[subject, column], scored[rival, column]
            differences = {i: score - other.values[i] for i, score in mine.values.items() if i in other.values}
            drawn = [batch & differences.keys() for batch in batches]
            said = verdict(units_of(differences, mine.clusters, drawn), margin, alpha)
            if found.get((subject.level, rival)) is not Verdict.OPEN:
                found[subject.level, rival] = said
    return found
