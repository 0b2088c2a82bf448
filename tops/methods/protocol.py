"""What the engine, the plan and the evaluation ask of a method, however it is written."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, Protocol, runtime_checkable

from tops.budget import Budget, PromptShape, Schedule
from tops.signals import PruningPoint, Signal, Tower

if TYPE_CHECKING:
    from PIL.Image import Image

    from tops.tokens import Selection

Positions = Literal["contiguous", "original"]


@runtime_checkable
class Method(Protocol):
    """A training-free pruning method, as the engine and the plan see it.

    Attributes
    ----------
    name : str
        Registry name, as in ``method=tops``; the class name in snake case where a class gives none.
    title : str
        Name in tables, as in ``TOPS``.
    signals : frozenset of Signal
        What it needs that not every backbone has; checked before a model runs.
    role : str
        ``control`` for what a method must beat: tables set these apart.
    reads_question : bool
        Whether the question decides on what stays before the language model: then the same image gives other tokens to
        another question, and a cache of image features cannot hold them.
    budget : Budget
        What it may use. The only field every method has.
    positions : str or None
        Position ids after a cut: ``contiguous`` re-indexes the sequence from 0, ``original`` keeps every id; None
        leaves it to the backbone.
    """

    name: ClassVar[str] = ""
    title: ClassVar[str] = ""
    signals: ClassVar[frozenset[Signal]] = frozenset()
    role: ClassVar[str] = "method"
    reads_question: ClassVar[bool] = False

    if TYPE_CHECKING:  # fields of a frozen dataclass: read-only, and not in the way of its own at run time

        @property
        def budget(self) -> Budget: ...

        @property
        def positions(self) -> Positions | None: ...

    @property
    def with_newlines(self) -> bool:
        """Whether newline tokens between rows are among the tokens that the method sees, and count in its budget."""
        return False

    def needs(self, have: frozenset[Signal]) -> frozenset[Signal]:
        """Signals that the method with these options reads on a backbone that has ``have``: by default ``signals``."""
        return self.signals

    def tower_layers(self, tower: Tower) -> tuple[int, ...]:
        """Layers of the vision tower whose attention the method reads, beside the one of saliency and the next."""
        return ()

    def check_budget(self) -> None:
        """Refuse a method that was given no budget and needs one; by default any is fine.

        Raises
        ------
        BudgetError
            If there is none.
        """
        return  # a statement, without which type checkers take a protocol's method for abstract

    def schedule(self, shape: PromptShape) -> Schedule:
        """Cuts on a prompt of this shape; raises ``BudgetError`` when the budget cannot be met."""
        ...

    def check_quotas(self, schedule: Schedule, shape: PromptShape, have: frozenset[Signal]) -> None:
        """Refuse cuts that leave a tile or frame fewer tokens than the method can keep there; by default any will do.

        Parameters
        ----------
        schedule : Schedule
            What :meth:`schedule` gave for this shape.
        shape : PromptShape
            The prompt.
        have : frozenset of Signal
            What the backbone has.

        Raises
        ------
        BudgetError
            With the next budget that is enough.
        """
        return  # a statement, without which type checkers take a protocol's method for abstract

    def select(self, point: PruningPoint) -> Selection:
        """Which of ``point.tokens`` stay. Called once per cut and sample."""
        ...


def adopted(method: Method) -> Method:
    """The method itself, or, of one written without this module, a copy with the default of every hook that it lacks.

    Parameters
    ----------
    method : Method
        An object with at least ``title``, ``signals``, ``positions``, ``schedule`` and ``select``.
    """
    if isinstance(method, Method):
        return method
    out = copy.copy(method)
    object.__setattr__(out, "__class__", type(Method)(type(method).__name__, (type(method), Method), {}))
    return out


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
