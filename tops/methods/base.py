"""What a pruning method is. A method is one file in this folder with one frozen dataclass; its fields are its options."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal, Protocol, runtime_checkable

from tops.budget import Budget, PromptShape, Schedule
from tops.signals import PruningPoint, Signal

if TYPE_CHECKING:
    from tops.tokens import Selection

Positions = Literal["contiguous", "original"]


@runtime_checkable
class Method(Protocol):
    """A training-free pruning method.

    Attributes
    ----------
    name : str
        Registry name, as in ``method=tops``.
    title : str
        Name in tables, as in ``TOPS``.
    signals : frozenset of Signal
        What it needs that not every backbone has; checked before a model runs.
    budget : Budget
        What it may use. The only field every method has.
    positions : str
        Position ids after a cut: ``contiguous`` re-indexes the sequence from 0, ``original`` keeps every id.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    signals: ClassVar[frozenset[Signal]]

    @property
    def budget(self) -> Budget: ...

    @property
    def positions(self) -> Positions | None: ...

    def schedule(self, shape: PromptShape) -> Schedule:
        """Cuts on a prompt of this shape; raises ``BudgetError`` when the budget cannot be met."""
        ...

    def select(self, point: PruningPoint) -> Selection:
        """Which of ``point.tokens`` stay. Called once per cut and sample."""
        ...
