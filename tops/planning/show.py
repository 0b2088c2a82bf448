"""Plans and their state as text."""

from __future__ import annotations

from collections import Counter

from tops.planning.cost import estimate
from tops.planning.plan import Plan, PlannedCell, PlanStatus
from tops.planning.printed import printed_lines

ORDER = (
    PlanStatus.SCORED,
    PlanStatus.ANSWERED,
    PlanStatus.RUNNING,
    PlanStatus.STALE,
    PlanStatus.DAMAGED,
    PlanStatus.FAILED,
    PlanStatus.MISSING,
    PlanStatus.REFUSED,
)


def plan_text(plan: Plan, *, short: bool = False, cells: bool = False, gpus_per_worker: int = 1) -> str:
    """A plan as text: its cells, their state and the cost of the missing ones.

    Parameters
    ----------
    plan : Plan
        The plan to show.
    short : bool
        Title and counts only.
    cells : bool
        Every cell on a line of its own.
    gpus_per_worker : int
        GPUs that each worker has.
    """
    lines = [_title(plan), _counts(plan), *stale_lines(plan), *_damaged(plan)]
    if short:
        return "\n".join(lines)
    lines += ["", *_by_backbone(plan), "", *_refusals(plan)]
    if not plan.profile.miniature and (printed := printed_lines(plan)):
        lines += [*printed, ""]
    lines += estimate(plan).lines()
    if cells:
        lines += ["", *(_cell_line(p) for p in plan.unique(refused=True).values())]
    return "\n".join(lines)


def status_text(plan: Plan) -> str:
    """State of a plan as text: counts per backbone and method, then running and failed cells by name."""
    lines = [_title(plan), _counts(plan), "", *_by_backbone(plan)]
    lines += stale_lines(plan)
    for status in (PlanStatus.RUNNING, PlanStatus.DAMAGED, PlanStatus.FAILED):
        chosen = [p for p in plan.unique().values() if p.status is status]
        if chosen:
            lines += ["", f"{status.value}:", *(f"  {_cell_line(p)}" for p in chosen)]
    return "\n".join(lines)


def _title(plan: Plan) -> str:
    note = f" ({plan.note})" if plan.note else ""
    return f"{plan.experiment.name}: {plan.experiment.title}, profile {plan.profile.name}{note}"


def _counts(plan: Plan) -> str:
    shown = [f"{plan.counts[s]} {s.value}" for s in ORDER if plan.counts.get(s)]
    return f"{sum(plan.counts.values())} cells: {', '.join(shown) or 'none'}"


def stale_lines(plan: Plan) -> list[str]:
    """Lines on stale cells: how many, by changed part, and the next step; and how many cells record no code."""
    lines = []
    cells = plan.stale_cells()
    if cells:
        parts = Counter(part for planned in cells for part in planned.stale)
        listed = ", ".join(f"{part} {count}" for part, count in sorted(parts.items()))
        lines.append(f"{len(cells)} stale, answered or scored by other code than is here now: {listed}; {_CHOICES}")
        lines += [f"  {reason}: {count}" for reason, count in Counter(p.reason for p in cells).most_common(5)]
    edited = Counter(p.reason for p in plan.unique().values() if p.status is PlanStatus.MISSING and p.reason)
    lines += [f"{count} to run anew, {reason}" for reason, count in edited.most_common(5) if "stored only" in reason]
    silent = sum(not p.fingerprinted for p in plan.unique().values())
    if silent:
        lines.append(
            f"{silent} complete cells do not tell which code answered them: an earlier version of tops stored them"
        )
    return lines


_CHOICES = "stale=rerun asks them again (the old cells move to replaced/), stale=keep takes and marks them"


def _damaged(plan: Plan) -> list[str]:
    cells = [p for p in plan.unique().values() if p.status is PlanStatus.DAMAGED]
    return [f"damaged: {p.cell.label if p.cell else ''}: {p.reason}" for p in cells]


def _by_backbone(plan: Plan) -> list[str]:
    """One line per backbone: how many of its cells are in each state."""
    table: dict[str, Counter[PlanStatus]] = {b: Counter() for b in plan.experiment.backbones}
    seen: set[object] = set()
    for i, planned in enumerate(plan.cells):
        key = planned.cell.key if planned.cell else i
        if key not in seen:
            seen.add(key)
            table[planned.column.backbone][planned.status] += 1
    statuses = [s for s in ORDER if plan.counts.get(s)]
    width = max((len(b) for b in table), default=0)
    head = " " * (width + 2) + "  ".join(f"{s.name.lower():>8}" for s in statuses)
    return [head, *(f"{b:<{width}}  " + "  ".join(f"{c[s]:>8}" for s in statuses) for b, c in table.items())]


def _refusals(plan: Plan) -> list[str]:
    """Each reason once, with the rows and columns it holds for."""
    reasons: dict[str, list[PlannedCell]] = {}
    for planned in plan.cells:
        if planned.status is PlanStatus.REFUSED:
            reasons.setdefault(planned.reason, []).append(planned)
    if not reasons:
        return []
    lines = ["refused:"]
    for reason, cells in reasons.items():
        rows = dict.fromkeys(_row_text(c) for c in cells)
        backbones = dict.fromkeys(c.column.backbone for c in cells)
        lines.append(f"  {len(cells)} of {', '.join(rows)} on {', '.join(backbones)}: {reason}")
    return [*lines, ""]


def _row_text(planned: PlannedCell) -> str:
    row = planned.row
    return f"{row.title} @ {row.level} ({row.protocol})" if row.level else row.title


def _cell_line(planned: PlannedCell) -> str:
    cell = planned.cell
    label = cell.label if cell else f"{planned.column.backbone} / {planned.row.title} / {planned.column.slug}"
    protocol = f" ({planned.row.protocol})" if planned.row.protocol else ""
    variant = f" [{planned.row.variant}]" if planned.row.variant else ""
    reason = f": {planned.reason}" if planned.reason else ""
    return f"{planned.status.value:<9} {cell.key[:12] if cell else '-' * 12}  {label}{protocol}{variant}{reason}"
