"""Account of a table: how many places have a number, and why the others have none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from tops.planning.plan import PlanStatus
from tops.reporting.data.results import Results

_NAMES = {
    PlanStatus.SCORED: "with a number",
    PlanStatus.REFUSED: "refused",
    PlanStatus.ANSWERED: "answered, not judged",
    PlanStatus.RUNNING: "running",
    PlanStatus.FAILED: "failed",
    PlanStatus.DAMAGED: "damaged",
    PlanStatus.STALE: "of other code",
    PlanStatus.MISSING: "not run yet",
}


def account(results: Results) -> Mapping[str, int]:
    """How many places of the table are in which state; the counts add up to all places.

    A place whose stored score is not shown, because it does not belong in the column, counts as refused.
    """
    found: Counter[str] = Counter()
    for entry in results.entries.values():
        if entry.values:
            found[_NAMES[PlanStatus.SCORED]] += 1
        else:
            status = PlanStatus.REFUSED if entry.status is PlanStatus.SCORED else entry.status
            found[_NAMES[status]] += 1
    return {name: found[name] for name in _NAMES.values() if found[name]}


def account_text(results: Results) -> str:
    """The account as one sentence."""
    parts = [f"{count} {name}" for name, count in account(results).items()]
    return f"{len(results.entries)} places: {', '.join(parts)}."
