"""Parts of a plan: rows, columns, and the cell at each place of the table with its state."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from tops.budget import Protocol
from tops.settings.schema import Role
from tops.store.cell import Cell


class PlanStatus(StrEnum):
    """State of a planned cell: as the store has it, or refused by the plan."""

    SCORED = "scored"
    ANSWERED = "answered, not judged"
    RUNNING = "running"
    FAILED = "failed"
    STALE = "stale"  # complete, but answered or scored by other code, or under other packages, than are here now
    DAMAGED = "damaged"  # its seal does not hold
    MISSING = "missing"
    REFUSED = "refused"

    @property
    def done(self) -> bool:
        """Whether nothing is left to run."""
        return self in (PlanStatus.SCORED, PlanStatus.ANSWERED)


@dataclass(frozen=True)
class Row:
    """One line of a table: a method at a level.

    Attributes
    ----------
    method, title : str
        Registry name and the name in tables.
    role : str
        ``reference`` (the unpruned model), ``method`` or ``control``.
    level : str
        Label of the budget level, such as ``77.8`` (percent of tokens dropped); empty without a budget.
    protocol : str
        What the budget counts (``layer_average``, ``as_printed``, ``kept``); empty without a budget.
    variant : str
        Label of a variant as in the published tables, such as ``criteria=R+D``; empty for the method's defaults.
    """

    method: str
    title: str
    role: Role
    level: str = ""
    protocol: Protocol | str = ""
    variant: str = ""


@dataclass(frozen=True)
class Column:
    """One column: a benchmark, or a named part of one, on a backbone."""

    backbone: str
    benchmark: str
    slug: str  # benchmark name in the published tables: pope, videomme_short
    metric: str = ""  # the part to show; empty for the benchmark's own
    convention: str = ""  # convention that it is asked in; empty for the benchmark's default
    scorer: str = ""  # scorer that reads the answers; empty for the benchmark's default


@dataclass(frozen=True)
class PlannedCell:
    """One place of a table. A row with several seeds has several of them in a column.

    Attributes
    ----------
    cell : Cell or None
        None when it could not even be specified (refused).
    printed : int, float or None
        The budget as the paper prints it for this backbone, in both profiles.
    reason : str
        Why the cell is refused, what is stale, or the error of its last attempt.
    stale : tuple of str
        Parts that have changed since the cell was answered: of the code, the scoring rule, packages.
    stored : str
        Key of the stored cell that answers it; empty when there is none.
    fingerprinted : bool
        False for a complete cell that does not tell which code answered it.
    """

    cell: Cell | None
    row: Row
    column: Column
    printed: int | float | None
    status: PlanStatus
    reason: str = ""
    stale: tuple[str, ...] = ()
    stored: str = ""
    fingerprinted: bool = True
