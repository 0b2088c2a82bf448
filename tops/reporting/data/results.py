"""What the store holds for a plan: one entry per place of the table, with the reason where there is no number."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean

from tops.budget import Budget
from tops.errors import DataError
from tops.planning.plan import Column, Plan, PlannedCell, PlanStatus, Row
from tops.reporting.data.headline import headline, read_by
from tops.reporting.data.matching_cells import Lookup
from tops.store.store import CellStatus, Record, Store

_WHY = {
    PlanStatus.MISSING: "not run yet",
    PlanStatus.RUNNING: "running now",
    PlanStatus.ANSWERED: "answered, but not judged: no judge was reachable",
    PlanStatus.FAILED: "failed",
}


@dataclass(frozen=True)
class Entry:
    """One place of a table.

    Attributes
    ----------
    printed : int, float or None
        Budget as the paper prints it for this backbone.
    budget : Budget or None
        Budget as run; another number than ``printed`` in the miniature.
    records : tuple of Record
        Complete cells behind it, one per seed.
    values : tuple of float
        Their scores on the paper's scale; as long as ``records`` when ``reason`` is empty, else empty.
    reason : str
        Why there is no number.
    mark : str
        What a reader must know of the number that is there.
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

    @property
    def value(self) -> float | None:
        """Mean over seeds; None where there is no number."""
        return fmean(self.values) if self.values else None


@dataclass(frozen=True)
class Results:
    """A plan and what is known of it.

    Attributes
    ----------
    entries : dict
        By row and column; a row that a backbone does not have is absent.
    warnings : tuple of str
        What a reader must be told before any number.
    """

    plan: Plan
    entries: dict[tuple[Row, Column], Entry] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Name of the experiment."""
        return self.plan.experiment.name

    @property
    def miniature(self) -> bool:
        """Whether no number here may stand beside the paper's."""
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

    def reference(self, backbone: str) -> Row | None:
        """The unpruned row."""
        return next((row for row in self.rows(backbone) if row.role == "reference"), None)

    @property
    def untrained(self) -> tuple[str, ...]:
        """Backbones whose weights were never trained: their numbers show that the plumbing works, nothing else."""
        found = {r.spec.backbone.name for r in self.records() if not r.spec.backbone.trained}
        return tuple(b for b in self.backbones if b in found)

    def records(self) -> Iterable[Record]:
        """Every complete cell once."""
        seen: dict[str, Record] = {}
        for entry in self.entries.values():
            for record in entry.records:
                seen.setdefault(record.key, record)
        return seen.values()


def collect(plan: Plan, results: str | Path = "results") -> Results:
    """Read what a plan's cells have; a half-finished store gives entries with reasons, never an error."""
    lookup = Lookup(Store(results, plan.profile.name))
    places: dict[tuple[Row, Column], list[PlannedCell]] = {}
    for planned in plan.cells:
        places.setdefault((planned.row, planned.column), []).append(planned)
    return Results(plan, {place: _entry(place, cells, lookup) for place, cells in places.items()})


def _entry(place: tuple[Row, Column], planned: list[PlannedCell], lookup: Lookup) -> Entry:
    row, column = place
    printed, budget = planned[0].printed, next((p.cell.budget for p in planned if p.cell is not None), None)
    records: list[Record] = []
    values: list[float] = []
    status, reasons = PlanStatus.SCORED, []
    for one in planned:
        record = _read(one, lookup)
        if isinstance(record, str):
            reasons.append(record)
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
        except DataError as error:
            reasons.append(str(error))
            status = PlanStatus.FAILED
    if reasons:
        reason = reasons[0] if len(planned) == 1 else f"{len(reasons)} of {len(planned)} seeds: {reasons[0]}"
        return Entry(row, column, printed, budget, status, tuple(records), (), reason)
    return Entry(row, column, printed, budget, PlanStatus.SCORED, tuple(records), tuple(values))


def _read(one: PlannedCell, lookup: Lookup) -> Record | str:
    """The record of a planned cell, or why there is none."""
    try:
        record = None if one.cell is None else lookup.find(one.cell)
        if record is not None:
            _ = record.scores  # read late, and damaged as likely as the rest
    except DataError as error:
        return f"unreadable: {error}"
    if record is None:
        return ": ".join(p for p in (_WHY.get(one.status, "refused"), one.reason) if p)
    return record
