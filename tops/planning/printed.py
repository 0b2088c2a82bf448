"""Printed rows of the paper, each with the row of the plan that reproduces it or the reason why none does."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tops.paper.budgets import meaning
from tops.paper.published import PublishedRow, published_rows
from tops.planning.plan import Plan, PlanStatus, Row

_DERIVED = ("acc", "rel")
COST_COLUMNS = ("tokens", "flops_t", "flops_x", "latency_ms", "memory_gb")
_PROTOCOLS = {"layer_average": "layer average", "as_printed": "schedule as printed", "kept": "tokens after the cut"}


@dataclass(frozen=True)
class PrintedRow:
    """A published row and the planned one to compare with it.

    Attributes
    ----------
    row : Row or None
        None where ``reason`` says why.
    without : tuple of str
        Printed columns that the plan does not ask.
    """

    published: PublishedRow
    row: Row | None
    reason: str = ""
    without: tuple[str, ...] = ()

    @property
    def values(self) -> int:
        """How many numbers the printed row has."""
        return sum(value is not None for value in self.published.values.values())


def compared_rows(plan: Plan, backbone: str) -> dict[tuple[str, str, str], Row]:
    """For each level, method and variant the row whose budget protocol is the one of the printed number.

    Where a row is refused everywhere on the backbone, the row of the next protocol is taken.
    """
    able: dict[Row, bool] = {}
    for planned in plan.cells:
        if planned.column.backbone == backbone:
            able[planned.row] = able.get(planned.row, False) or planned.status is not PlanStatus.REFUSED
    found: dict[tuple[str, str, str], Row] = {}
    for row in (r for r in able if r.role != "control"):
        place = row.level, row.method, row.variant
        if place not in found or _rank(row, able) < _rank(found[place], able):
            found[place] = row
    return found


def _rank(row: Row, able: dict[Row, bool]) -> tuple[bool, int]:
    order = meaning(row.method).protocols
    return not able[row], order.index(row.protocol) if row.protocol in order else len(order)


def printed_rows(plan: Plan) -> tuple[PrintedRow, ...]:
    """Every row of the paper's tables that the plan names, in printed order: its planned row, or why there is none."""
    rows = {b: compared_rows(plan, b) for b in plan.experiment.backbones}
    found = []
    for table in map(str, plan.experiment.paper.tables):
        for published in published_rows(table):
            if any(value is not None for value in published.values.values()):
                found.append(_place(plan, rows.get(published.backbone), published))
    return tuple(found)


def _place(plan: Plan, rows: dict[tuple[str, str, str], Row] | None, published: PublishedRow) -> PrintedRow:
    if rows is None:
        return PrintedRow(published, None, f"the plan is without {published.backbone}")
    level = "" if published.method == "none" else _level(plan, published)
    if level is None:
        return PrintedRow(published, None, f"no level has {published.budget} tokens on {published.backbone}")
    row = rows.get((level, published.method, published.variant))
    if row is None:
        return PrintedRow(published, None, "the experiment has no such row")
    cells = [c for c in plan.cells if c.row == row and c.column.backbone == published.backbone]
    if all(c.status is PlanStatus.REFUSED for c in cells):
        return PrintedRow(published, row, cells[0].reason)
    asked = {c.column.slug for c in cells}
    without = [s for s, v in published.values.items() if v is not None and s not in (*_DERIVED, *COST_COLUMNS, *asked)]
    return PrintedRow(published, row, without=tuple(without))


def _level(plan: Plan, published: PublishedRow) -> str | None:
    for level, budgets in plan.experiment.levels.items():
        if budgets.get(published.backbone) == published.budget:
            return level
    return None


def printed_lines(plan: Plan) -> list[str]:
    """Text lines: how many printed rows and numbers have a planned row, under which protocol, and which have none."""
    places = printed_rows(plan)
    if not places:
        return []
    have = [p for p in places if p.row is not None and not p.reason]
    numbers = sum(p.values - len(p.without) for p in have)
    lines = [f"printed: {len(have)} of {len(places)} rows and {numbers} of {sum(p.values for p in places)} numbers "
             "have a row here to compare"]  # fmt: skip
    by_meaning: dict[str, list[str]] = {}
    for place in have:
        if place.row is not None and place.row.protocol:
            budget = _PROTOCOLS.get(place.row.protocol, place.row.protocol)
            by_meaning.setdefault(budget, []).append(f"{place.row.title} @ {place.row.level}")
    lines += [f"  {name}: {_brief(rows)}" for name, rows in by_meaning.items()]
    lines += [f"  without a row: {p.published.label}: {p.reason}" for p in places if p not in have]
    lines += [f"  {p.published.label}: prints {', '.join(p.without)}, not asked here" for p in have if p.without]
    return lines


def _brief(rows: Iterable[str]) -> str:
    """Labels such as ``FastV @ 77.8``, joined so that each method appears once: ``FastV @ 77.8, 88.9``."""
    levels: dict[str, dict[str, None]] = {}
    for row in rows:
        method, _, level = row.partition(" @ ")
        levels.setdefault(method, {})[level] = None
    return "; ".join(f"{method} @ {', '.join(found)}" for method, found in levels.items())
