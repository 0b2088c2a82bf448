"""The plan of an experiment, before anything runs: rows, columns, cells, and the state of each cell."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from tops.errors import ConfigurationError, nearest_names
from tops.planning import resolve
from tops.planning.columns import by_toolkit
from tops.planning.matching_cells import Match, MatchingCells
from tops.planning.places import Column, PlannedCell, PlanStatus, Row
from tops.planning.sequential import Stop, stops_of
from tops.settings import folders
from tops.settings.choices import backbone_config, load_experiment, load_profile
from tops.settings.methods import method_spec, method_title
from tops.settings.schema import Experiment, ProfileConfig, RowConfig, Stale, Stopping
from tops.store.cell import Cell
from tops.store.seal import hash_memory
from tops.store.store import CellStatus, Store

__all__ = [
    "Column",
    "Plan",
    "PlanStatus",
    "PlannedCell",
    "Row",
    "assemble",
    "matched",
    "plan",
    "plan_status",
    "refreshed",
]


@dataclass(frozen=True)
class Plan:
    """An experiment laid out on a profile.

    Attributes
    ----------
    rows, columns : tuple
        In the order of the table.
    cells : tuple of PlannedCell
        One per row, column and seed. Columns that show parts of one benchmark share the same :class:`Cell`.
    note : str
        Restrictions that a title must name: document limits, miniature budgets. Empty when there are none.
    counts : mapping
        Distinct cells per status.
    store : path or None
        Root of the results that the statuses come from; None when the store was not read.
    stale : str
        What becomes of stale cells: ``rerun`` asks them again, ``keep`` takes them as they are, ``refuse`` stops a run
        that would set them beside new ones.
    stops : mapping
        Under ``stop=separable``, the state of each column; empty without it.
    """

    experiment: Experiment
    profile: ProfileConfig
    rows: tuple[Row, ...]
    columns: tuple[Column, ...]
    cells: tuple[PlannedCell, ...]
    note: str = ""
    counts: Mapping[PlanStatus, int] = field(default_factory=dict)
    store: Path | None = None
    stale: Stale = "refuse"
    stops: Mapping[Column, Stop] = field(default_factory=dict)

    def unique(self, *, refused: bool = False) -> dict[str, PlannedCell]:
        """Distinct cells by key, in order; a cell that several columns share appears once."""
        out: dict[str, PlannedCell] = {}
        for planned in self.cells:
            if planned.cell is not None and (refused or planned.status is not PlanStatus.REFUSED):
                out.setdefault(planned.cell.key, planned)
        return out

    def settled(self, planned: PlannedCell) -> bool:
        """Whether a cell needs nothing more under the plan's rule for stale ones."""
        return planned.status.done or (planned.status is PlanStatus.STALE and self.stale != "rerun")

    @property
    def complete(self) -> bool:
        """Whether every cell that can run is complete; stale cells count only if ``stale`` is ``keep``."""
        fine = [PlanStatus.STALE] if self.stale == "keep" else []
        return all(p.status.done or p.status in fine for p in self.unique().values())

    def stale_cells(self) -> list[PlannedCell]:
        """Distinct stale cells."""
        return [p for p in self.unique().values() if p.status is PlanStatus.STALE]

    def todo(self) -> list[Cell]:
        """Cells that still have to run, grouped by backbone, in the order of the table; damaged ones are left out."""
        left = (PlanStatus.DAMAGED, PlanStatus.REFUSED)
        unique = self.unique().values()
        waiting = [p.cell for p in unique if p.cell is not None and not self.settled(p) and p.status not in left]
        order = {name: i for i, name in enumerate(self.experiment.backbones)}
        return sorted(waiting, key=lambda cell: order.get(cell.backbone.name, len(order)))


@folders.steady()
def plan(
    experiment: str | Experiment,
    profile: str | ProfileConfig = "paper",
    *,
    results: str | Path = "results",
    limit: int | None = None,
    full: bool = False,
    backbones: Iterable[str] | None = None,
    status: bool = True,
    stale: Stale = "refuse",
    stop: Stopping | None = None,
    look: MatchingCells | None = None,
) -> Plan:
    """Lay out an experiment. No model is loaded, no network used, torch not imported.

    Parameters
    ----------
    experiment, profile : str
        Names of files under ``configs/``, or the parsed choices themselves.
    results : path
        Root of the result store, from which the states are read.
    limit : int, optional
        Documents per benchmark, in place of the experiment's own for this profile.
    full : bool
        All documents, whatever the experiment says.
    backbones : iterable of str, optional
        Only these of the experiment's backbones.
    status : bool
        Read the state of each cell from the store.
    stale : str
        What becomes of stale cells: ``rerun``, ``keep`` or ``refuse`` (see :class:`Plan`).
    stop : Stopping, optional
        Let each column end when its methods are told apart; the plan then holds its present round.
    look : MatchingCells, optional
        The reading of the same store by another plan, reused here: several experiments share cells.

    Raises
    ------
    ConfigurationError
        For unknown names, with the nearest known ones.
    """
    exp = load_experiment(experiment) if isinstance(experiment, str) else experiment
    prof = load_profile(profile) if isinstance(profile, str) else profile
    if backbones is not None:
        exp = replace(exp, backbones=_subset(tuple(backbones), exp))
    documents = None if full else (limit if limit is not None else exp.limit.get(prof.name))
    exp = replace(exp, benchmarks=tuple(by_toolkit(choice, exp, prof) for choice in exp.benchmarks))
    _check_numbers(exp)
    exp, absent = _present(exp, prof)
    columns = tuple(
        Column(b, c.benchmark, c.slug or c.benchmark, c.metric, c.convention, c.scorer)
        for b in exp.backbones
        for c in exp.benchmarks
        if c.backbones is None or b in c.backbones
    )
    laid_out = [(block, row, options) for block in exp.rows for row, options in _rows(block, exp)]
    rows = tuple(row for _, row, _ in laid_out)

    known: resolve.Known = {}
    where = results if status else None
    if look is None and where is not None:
        look = MatchingCells(Store(where, prof.name))

    def planned(column: Column, limit: int | None) -> list[PlannedCell]:
        return [
            cell
            for block, row, options in laid_out
            if block.backbones is None or column.backbone in block.backbones
            for cell in _cells(row, options, block, column, exp, prof, limit, known)
        ]

    def limited(benchmark: str) -> int | None:
        return documents.get(benchmark) if isinstance(documents, dict) else documents

    stops = {} if stop is None else stops_of(exp, prof, columns, limited, stop, planned, look)
    place = {row: i for i, row in enumerate(rows)}
    cells = [cell for c in columns for cell in planned(c, stops[c].limit if stops else limited(c.benchmark))]
    cells.sort(key=lambda cell: place[cell.row])  # row by row, as a table is read
    return assemble(
        exp, prof, rows, columns, cells, documents, results=where, absent=absent, stale=stale, stops=stops, look=look
    )


def assemble(
    experiment: Experiment,
    profile: ProfileConfig,
    rows: tuple[Row, ...],
    columns: tuple[Column, ...],
    cells: list[PlannedCell],
    documents: int | dict[str, int] | None,
    *,
    results: str | Path | None,
    absent: tuple[str, ...] = (),
    stale: Stale = "refuse",
    stops: Mapping[Column, Stop] | None = None,
    look: MatchingCells | None = None,
) -> Plan:
    """A plan from its cells, each with its state in the store (``results=None``: the store is not read)."""
    if results is not None:
        cells = _with_status(cells, look or MatchingCells(Store(results, profile.name)))
    note = _note(profile, documents, absent, stops or {})
    where = None if results is None else Path(results)
    return Plan(experiment, profile, rows, columns, tuple(cells), note, _count(cells), where, stale, stops or {})


def refreshed(plan: Plan) -> Plan:
    """The same plan with the present state of each cell in the store."""
    if plan.store is None:
        return plan
    cells = _with_status(list(plan.cells), MatchingCells(Store(plan.store, plan.profile.name)))
    return replace(plan, cells=tuple(cells), counts=_count(cells))


def _check_numbers(exp: Experiment) -> None:
    """Refuse budgets and seeds that no cell can have, before any cell is made."""
    if not exp.backbones:
        raise ConfigurationError(f"{exp.name} has no backbone; name one or more in its file")
    for level, budgets in exp.levels.items():
        for backbone, budget in budgets.items():
            if budget <= 0 or (isinstance(budget, float) and budget > 1):
                raise ConfigurationError(
                    f"{exp.name}: level {level!r} gives {backbone} a budget of {budget!r}; it is a count of 1 or more "
                    "(64), or a keep ratio above 0 and up to 1 (0.25)"
                )
    asked = {column.benchmark for column in exp.benchmarks}
    for profile, limits in exp.limit.items():
        for name, number in limits.items() if isinstance(limits, dict) else [("", limits)]:
            if name and name not in asked:
                raise ConfigurationError(
                    f"{exp.name}: limit of profile {profile} names {name!r}, which is none of its benchmarks. "
                    f"{nearest_names(name, asked)}"
                )
            if number < 1:
                raise ConfigurationError(f"{exp.name}: limit of profile {profile} is {number}; it must be 1 or more")
    for seed in {seed for row in exp.rows for seed in row.seeds}:
        if not 0 <= seed < 2**63:
            raise ConfigurationError(f"{exp.name}: seed {seed} is not from 0 to 2**63 - 1; a generator takes no other")


def _present(exp: Experiment, prof: ProfileConfig) -> tuple[Experiment, tuple[str, ...]]:
    """The experiment without backbones whose miniature already stands for another of its backbones, and their names."""
    if not prof.miniature:
        return exp, ()
    first: dict[str, str] = {}
    for name in exp.backbones:
        if (small := backbone_config(name).miniature) is not None:
            first.setdefault(small.checkpoint, name)
    absent = tuple(b for b in exp.backbones if (m := backbone_config(b).miniature) and first[m.checkpoint] != b)
    return replace(exp, backbones=tuple(b for b in exp.backbones if b not in absent)), absent


def _subset(names: tuple[str, ...], exp: Experiment) -> tuple[str, ...]:
    for name in names:
        backbone_config(name)
        if name not in exp.backbones:
            raise ConfigurationError(f"{exp.name} has no backbone {name!r}; it has {', '.join(exp.backbones)}")
    return tuple(b for b in exp.backbones if b in names)


def _rows(block: RowConfig, exp: Experiment) -> Iterable[tuple[Row, dict[str, object]]]:
    """Rows of a block level by level, as the paper groups its tables."""
    levels = tuple(exp.levels) if block.levels is None else block.levels
    for level in levels:
        if level not in exp.levels:
            raise ConfigurationError(f"{exp.name}: unknown level {level!r}. {nearest_names(level, exp.levels)}")
    for level in levels or ("",):
        for method in block.methods:
            title = method_title(method)
            for options in block.variants.values() or ({},):
                method_spec(method, {**block.options, **options})  # a wrong name is an error, not a refused cell
            for variant, options in (block.variants or {"": {}}).items():
                protocol = block.protocol if level else ""
                yield Row(method, title, block.role, level, protocol, variant), {**block.options, **options}


def _cells(
    row: Row,
    options: dict[str, object],
    block: RowConfig,
    column: Column,
    exp: Experiment,
    prof: ProfileConfig,
    documents: int | None,
    known: resolve.Known,
) -> list[PlannedCell]:
    backbone = backbone_config(column.backbone)
    printed = exp.levels[row.level].get(backbone.name) if row.level else None
    if row.level and printed is None:
        reason = f"{exp.name} names no budget of {backbone.title} at level {row.level}"
        return [PlannedCell(None, row, column, None, PlanStatus.REFUSED, reason)]
    budget = None if printed is None else resolve.profile_budget(printed, backbone, prof)
    options = resolve.profile_options(options, backbone, prof, block.protocol)
    out = []
    for seed in block.seeds:
        result = resolve.cell(
            backbone, row.method, options, budget, block.protocol, column.benchmark, prof, documents, seed,
            convention=column.convention or None, known=known,
        )  # fmt: skip
        if isinstance(result, Cell):
            out.append(PlannedCell(result, row, column, printed, PlanStatus.MISSING))
        else:
            out.append(PlannedCell(result.cell, row, column, printed, PlanStatus.REFUSED, result.reason))
    return out


def _with_status(cells: list[PlannedCell], matching: MatchingCells) -> list[PlannedCell]:
    known: dict[str, Match] = {}
    out = []
    for planned in cells:
        if planned.cell is None or planned.status is PlanStatus.REFUSED:
            out.append(planned)
            continue
        key = planned.cell.key
        if key not in known:
            known[key] = matching.find(planned.cell)
        out.append(matched(planned, known[key]))
    hash_memory().save()
    return out


def matched(planned: PlannedCell, match: Match) -> PlannedCell:
    """A planned cell with the state, key and reason of its match in the store."""
    stored = "" if match.status is CellStatus.MISSING else match.key
    status = plan_status(match)
    return replace(
        planned,
        status=status,
        reason=match.reason,
        stale=match.stale,
        stored=stored,
        fingerprinted=match.fingerprinted,
    )


def plan_status(match: Match) -> PlanStatus:
    """Status of a matched cell in a plan."""
    if match.stale:
        return PlanStatus.STALE
    if match.status is CellStatus.INCOMPLETE:
        return PlanStatus.FAILED if match.failed else PlanStatus.MISSING
    return PlanStatus(match.status.value)


def _note(
    prof: ProfileConfig,
    documents: int | dict[str, int] | None,
    absent: tuple[str, ...],
    stops: Mapping[Column, Stop],
) -> str:
    parts = []
    if prof.miniature:
        parts.append("miniature models and benchmarks, budgets at the paper's keep ratio")
    if absent:
        names = ", ".join(backbone_config(b).title for b in absent)
        parts.append(f"without {names}: the miniature has one size per family")
    if stops:
        asked = {(c.backbone, c.benchmark): stop for c, stop in stops.items()}.values()
        used, most = sum(s.documents for s in asked), sum(s.all for s in asked)
        open_ = sum(not s.done for s in asked)
        state = f"{open_} of {len(asked)} columns in doubt" if open_ else "all columns ended"
        parts.append(f"stop=separable: {used} of at most {most} documents a method, {state}")
    elif documents is not None:
        counts = sorted(set(documents.values())) if isinstance(documents, dict) else [documents]
        several = f"{counts[0]} to {counts[-1]}" if len(counts) > 1 else str(counts[0])
        which = "limited benchmark" if isinstance(documents, dict) else "benchmark"
        parts.append(f"{several} documents of each {which}, drawn over all of them")
    return "; ".join(parts)


def _count(cells: list[PlannedCell]) -> dict[PlanStatus, int]:
    seen: dict[object, PlanStatus] = {}
    for i, planned in enumerate(cells):
        seen.setdefault(planned.cell.key if planned.cell else i, planned.status)
    return dict(Counter(seen.values()))
