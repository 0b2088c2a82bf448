"""Stored results of a plan: one entry per place of the table, with the reason where there is no number."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean

from tops.budget import Budget
from tops.errors import DataError
from tops.planning.matching_cells import MatchingCells
from tops.planning.plan import Column, Plan, PlannedCell, PlanStatus, Row, matched
from tops.reporting.data.headline import headline, read_by
from tops.store.store import CellStatus, Record, Store

_WHY = {
    PlanStatus.MISSING: "not run yet",
    PlanStatus.RUNNING: "running now",
    PlanStatus.ANSWERED: "answered, but not judged: no judge was reachable",
    PlanStatus.FAILED: "failed",
    PlanStatus.DAMAGED: "damaged",
}


@dataclass(frozen=True)
class Entry:
    """One place of a table.

    Attributes
    ----------
    printed : int, float or None
        Budget as the paper prints it for this backbone.
    budget : Budget or None
        Budget as run; in the miniature it differs from ``printed``.
    records : tuple of Record
        Complete cells behind it, one per seed.
    values : tuple of float
        Their scores on the paper's scale; as long as ``records`` when ``reason`` is empty, else empty.
    reason : str
        Why the place has no number.
    mark : str
        A warning to the reader about the number.
    seen : float or None
        Visual tokens per layer, where the number differs from the budget.
    stale : tuple of str
        Parts that have changed since its cells were answered or scored.
    """

    row: Row
    column: Column
    printed: int | float | None
    budget: Budget | None
    status: PlanStatus
    records: tuple[Record, ...] = ()
    values: tuple[float, ...] = ()
    reason: str = ""
    mark: str = ""
    seen: float | None = None
    stale: tuple[str, ...] = ()

    @property
    def value(self) -> float | None:
        """Mean over seeds; None where there is no number."""
        return fmean(self.values) if self.values else None


@dataclass(frozen=True)
class Results:
    """A plan with the stored results of its places.

    Attributes
    ----------
    entries : dict
        (Row, column) to its entry; a row that a backbone does not have is absent.
    warnings : tuple of str
        Sentences that a reader must see before any number.
    damaged : tuple of str
        Those of the warnings that name a cell whose seal does not hold.
    """

    plan: Plan
    entries: dict[tuple[Row, Column], Entry] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    damaged: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Name of the experiment."""
        return self.plan.experiment.name

    @property
    def miniature(self) -> bool:
        """Whether the results are of the miniature profile, so that no number may be compared with the paper's."""
        return self.plan.profile.miniature

    @property
    def backbones(self) -> tuple[str, ...]:
        """In the order of the table."""
        return self.plan.experiment.backbones

    def columns(self, backbone: str) -> tuple[Column, ...]:
        """Benchmarks of a backbone."""
        return tuple(c for c in self.plan.columns if c.backbone == backbone)

    def rows(self, backbone: str) -> tuple[Row, ...]:
        """Rows that a backbone has."""
        have = {row for row, column in self.entries if column.backbone == backbone}
        return tuple(row for row in self.plan.rows if row in have)

    def is_subject(self, row: Row) -> bool:
        """Whether a row is the method that the experiment is about, without a variant."""
        return bool(row.method) and row.method == self.plan.experiment.subject and not row.variant

    def reference(self, backbone: str) -> Row | None:
        """The unpruned row."""
        return next((row for row in self.rows(backbone) if row.role == "reference"), None)

    @property
    def untrained(self) -> tuple[str, ...]:
        """Backbones whose weights were never trained: their numbers show that the plumbing works, nothing else."""
        found = {r.spec.backbone.name for r in self.records() if not r.spec.backbone.trained}
        return tuple(b for b in self.backbones if b in found)

    @property
    def judges(self) -> str:
        """The judges of the shown numbers, for a note under the table; empty where no number was judged."""
        found = set()
        for entry in self.entries.values():
            for record in entry.records if entry.values else ():
                scores = record.scores[record.default_scorer] if record.default_scorer is not None else {}
                if judge := scores.get("judge"):
                    version = f", version {judge['version']}" if judge.get("version") else ""
                    prompt = f"prompt {judge['prompt']}" if judge.get("prompt") else "a prompt that it does not tell"
                    found.add(f"{judge.get('model') or 'a model that has no name'}{version}, {prompt}")
        return f"Judged by {'; '.join(sorted(found))}." if found else ""

    def records(self) -> Iterable[Record]:
        """Every complete cell once."""
        seen: dict[str, Record] = {}
        for entry in self.entries.values():
            for record in entry.records:
                seen.setdefault(record.key, record)
        return seen.values()


def collect(plan: Plan, results: str | Path = "results", look: MatchingCells | None = None) -> Results:
    """Read the results of a plan's cells; an unfinished store gives entries with reasons, never an error.

    ``look`` reuses the reading of the same store by an earlier plan; without it the store is read anew.
    """
    matching = look or MatchingCells(Store(results, plan.profile.name))
    places: dict[tuple[Row, Column], list[PlannedCell]] = {}
    for planned in plan.cells:
        places.setdefault((planned.row, planned.column), []).append(planned)
    entries = {place: _entry(place, cells, matching) for place, cells in places.items()}
    return Results(plan, entries, tuple(_damaged(entries)), tuple(_damaged(entries)))


def _entry(place: tuple[Row, Column], planned: list[PlannedCell], matching: MatchingCells) -> Entry:
    row, column = place
    printed, budget = planned[0].printed, next((p.cell.budget for p in planned if p.cell is not None), None)
    records: list[Record] = []
    values: list[float] = []
    status = PlanStatus.SCORED
    reasons: list[str] = []
    marks: list[str] = []
    stale: list[str] = []
    for one in planned:
        one, record = _read(one, matching)
        if record is None:
            reasons.append(": ".join(p for p in (_WHY.get(one.status, "refused"), one.reason) if p))
            status = one.status
            continue
        if record.status is CellStatus.ANSWERED:
            records.append(record)
            reasons.append(_WHY[PlanStatus.ANSWERED])
            status = PlanStatus.ANSWERED
            continue
        try:
            record = read_by(record, column.scorer) if column.scorer else record
            records.append(record)
            values.append(headline(record, column))
        except (DataError, KeyError, TypeError, ValueError) as error:
            reasons.append(str(error) if isinstance(error, DataError) else f"its scores are damaged: {error!r}")
            status = PlanStatus.FAILED
        marks += [one.reason] if one.stale else []
        stale += one.stale
    parts = tuple(dict.fromkeys(stale))
    if reasons:
        reason = reasons[0] if len(planned) == 1 else f"{len(reasons)} of {len(planned)} seeds: {reasons[0]}"
        return Entry(row, column, printed, budget, status, tuple(records), (), reason, stale=parts)
    mark = "; ".join(dict.fromkeys(marks))
    return Entry(row, column, printed, budget, PlanStatus.SCORED, tuple(records), tuple(values), mark=mark, stale=parts)


def _read(one: PlannedCell, matching: MatchingCells) -> tuple[PlannedCell, Record | None]:
    """A planned cell as it stands now, and its record where it is complete."""
    if one.cell is None or one.status is PlanStatus.REFUSED:
        return one, None
    match = matching.find(one.cell)
    now = matched(one, match)
    return now, matching.record(match) if match.status.done else None


def _damaged(entries: Mapping[tuple[Row, Column], Entry]) -> Iterator[str]:
    for (row, column), entry in entries.items():
        if entry.status is PlanStatus.DAMAGED:
            yield f"{row.title} on {column.slug} ({column.backbone}) is {entry.reason}"
