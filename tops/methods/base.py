"""What a pruning method is. A method is one file here with one frozen dataclass; its fields are its options."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, Protocol, overload, runtime_checkable

from tops.budget import Budget, PromptShape, Schedule
from tops.signals import PruningPoint, Signal

if TYPE_CHECKING:
    from PIL.Image import Image

    from tops.tokens import Selection

Positions = Literal["contiguous", "original"]


class BudgetField:
    """Type of the field ``budget``: takes a count, a ratio or a ``Budget``, and gives a ``Budget``.

    Write ``budget: BudgetField = BudgetField()`` in a method's dataclass; the default prunes nothing.
    """

    @overload
    def __get__(self, method: None, owner: type) -> float: ...
    @overload
    def __get__(self, method: object, owner: type) -> Budget: ...
    def __get__(self, method: object | None, owner: type) -> Budget | float:
        if method is None:
            return 1.0
        budget: Budget = vars(method)["budget"]
        return budget

    def __set__(self, method: object, value: Budget | int | float) -> None:
        vars(method)["budget"] = value if isinstance(value, Budget) else Budget(value)


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


@dataclass(frozen=True)
class InputContext:
    """What an input-level control may know of the document whose images it changes.

    Attributes
    ----------
    document : int
        Number of the document in its benchmark, from 0.
    documents : int
        Documents of the benchmark.
    images_of : callable
        Images of any document by number, as the task gives them.
    token_pixels : int
        Side, in pixels of the processed image, of the square that one visual token covers (14 for LLaVA-1.5, 28 for
        Qwen2.5-VL and InternVL3).
    """

    document: int
    documents: int
    images_of: Callable[[int], Sequence[Image]]
    token_pixels: int


@runtime_checkable
class InputControl(Protocol):
    """A control that acts on the images before the processor. The evaluation calls it once per document."""

    def prepare(self, images: Sequence[Image], context: InputContext) -> list[Image]:
        """The images to show instead; an empty list takes images and their placeholders out of the prompt.

        The frames of a video come, and go back, as images."""
        ...
