"""What a pruning method is, and the base classes that carry everything but the method's own idea.

A method is one file with one frozen dataclass on :class:`BeforeModel`, :class:`InsideModel` or :class:`Control`; its
fields are its options. It says ``scores(point)`` if it ranks tokens, ``choose(group)`` if it selects among them. The
base classes own the rest: schedule, sharing among images and tiles, order, ties, finiteness, dtype and refusals.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, overload, runtime_checkable

from tops.budget import Budget, Cut, NoBudget, PromptShape, Schedule
from tops.errors import BudgetError
from tops.methods._options import check_options
from tops.methods.cuts import before_model, one_cut, pyramid, refuse_budget, scaled_layers
from tops.methods.units import Group, Rows, Scope, assembled, check_units, everything, groups
from tops.signals import PruningPoint, Signal, Tower

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

    from tops.tokens import Selection

Positions = Literal["contiguous", "original"]


class BudgetField:
    """Type of the field ``budget``: takes a count, a ratio or a ``Budget``, and gives a ``Budget``.

    Without a value it gives :class:`tops.budget.NoBudget`, which a method that takes a budget refuses to run with.
    """

    @overload
    def __get__(self, method: None, owner: type) -> NoBudget: ...
    @overload
    def __get__(self, method: object, owner: type) -> Budget: ...
    def __get__(self, method: object | None, owner: type) -> Budget:
        if method is None:
            return NoBudget()
        budget: Budget = vars(method)["budget"]
        return budget

    def __set__(self, method: object, value: Budget | int | float) -> None:
        vars(method)["budget"] = value if isinstance(value, Budget) else Budget(value)


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
class _Selecting(Method):
    """What methods before and inside the language model share.

    Parameters
    ----------
    budget : Budget, int or float
        Tokens per image as a count, or a keep ratio of what is there.
    positions : {"contiguous", "original"} or None
        Position ids after a cut; None leaves them to the backbone.
    """

    budget: BudgetField = BudgetField()
    positions: Positions | None = field(default=None, kw_only=True)

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "name" not in vars(cls):
            cls.name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", cls.__name__).lower()

    def __post_init__(self) -> None:
        check_options(self, self.title)
        if not self.takes_budget:
            refuse_budget(self.allowance, self.title)

    @property
    def allowance(self) -> Budget:
        """The field ``budget``, typed as what it is: mypy takes an inherited field for what its constructor takes."""
        budget: Budget = vars(self)["budget"]
        return budget

    # -- what a method may say ----------------------------------------------------------------------------------------

    def scores(self, point: PruningPoint) -> Tensor:
        """(N,): how much each visual token is worth; the highest stay, among equals the first."""
        raise NotImplementedError(f"{type(self).__name__} defines neither choose(group) nor scores(point)")

    def choose(self, group: Group) -> Tensor | Rows:
        """What stays in units of one size that keep the same number; by default the highest scores.

        Returns
        -------
        Tensor, (G, group.keep) int64
            Places in the unit, 0..n-1, in any order and without repeats: those tokens stay, in prompt order.
        Rows
            New vectors, for methods that merge tokens or have an order of their own.
        """
        from tops.selection import top_k_lowest_index

        return top_k_lowest_index(group["scores"], group.keep)

    def choose_each(self, batches: Sequence[Group]) -> list[Tensor | Rows]:
        """:meth:`choose` on every group of a cut, for methods that carry something from one to the next."""
        return [self.choose(group) for group in batches]

    def values(self, point: PruningPoint) -> Mapping[str, Tensor]:
        """What :meth:`choose` compares, (N, ...) each, computed once per cut; ``group[name]`` is a group's part of it.

        ``features`` is always there; ``scores`` too where the method has :meth:`scores`."""
        return {} if type(self).scores is _Selecting.scores else {"scores": self.scores(point)}

    @property
    def takes_budget(self) -> bool:
        """False where other options, or the image, say how many tokens stay: then a budget is refused."""
        return True

    @property
    def follows_prompt(self) -> bool:
        """True where the image says how many tokens stay, so that the count of a cut is nominal; units come singly."""
        return False

    def scope_at(self, point: PruningPoint) -> Scope:
        """What is chosen from at once: a tile or frame, an image with its tiles, or everything."""
        raise NotImplementedError

    def cuts(self, shape: PromptShape) -> Schedule:
        """The schedule of a method that has a budget, or needs none."""
        raise NotImplementedError

    # -- what the engine calls ----------------------------------------------------------------------------------------

    def check_budget(self) -> None:
        """Refuse a method without a budget.

        Raises
        ------
        BudgetError
            If it takes one and none was given.
        """
        if self.takes_budget and isinstance(self.allowance, NoBudget):
            raise BudgetError(
                f"{self.title} without a budget prunes nothing; give tokens per image (budget=64) or a keep ratio "
                "(budget=0.25)"
            )

    def schedule(self, shape: PromptShape) -> Schedule:
        """Cuts on a prompt of this shape.

        Raises
        ------
        BudgetError
            If there is no budget, or it cannot be met.
        """
        self.check_budget()
        value = self.allowance.value
        if self.takes_budget and isinstance(value, float) and value == 1.0 and not self.own_counts:
            return Schedule(shape.visual, shape.depth, ())  # on a model of any depth
        return self.cuts(shape)

    @property
    def own_counts(self) -> bool:
        """Whether an option gives the counts, which then must meet the budget."""
        return False

    def select(self, point: PruningPoint) -> Selection:
        """Share the count of this cut among images and tiles, choose in each, and put the result in order."""
        if point.keep >= len(point.tokens) and not self.follows_prompt:
            return everything(point.tokens)
        batches = groups(
            point,
            proportional=isinstance(self.allowance.value, float),
            scope=self.scope_at(point),
            values=self.values(point),
            singly=self.follows_prompt,
        )
        return assembled(point, batches, self.choose_each(batches), self.title)


@dataclass(frozen=True)
class BeforeModel(_Selecting):
    """A method that cuts once, before the language model: in every tile or frame it keeps its share of the budget.

    Parameters
    ----------
    budget : Budget, int or float
        Tokens per image, shared among its tiles, or a keep ratio.
    positions : {"contiguous", "original"} or None
        Position ids after the cut; None leaves them to the backbone.
    """

    def scope_at(self, point: PruningPoint) -> Scope:
        """Tile by tile, frame by frame."""
        return "unit"

    def least_of_unit(self, have: frozenset[Signal]) -> int:
        """Fewest tokens that a tile or frame must keep where it keeps any, on a backbone that has ``have``."""
        return 1

    def check_quotas(self, schedule: Schedule, shape: PromptShape, have: frozenset[Signal]) -> None:
        """Refuse fewer tokens of a tile or frame than :meth:`least_of_unit`.

        Raises
        ------
        BudgetError
            With the next budget that is enough.
        """
        first = next((cut.keep for cut in schedule.cuts if cut.layer == 0), None)
        if first is not None and not self.follows_prompt:
            proportional = isinstance(self.allowance.value, float)
            check_units(first, shape, self.least_of_unit(have), proportional=proportional, title=self.title)

    def cuts(self, shape: PromptShape) -> Schedule:
        """One cut before the language model; without a budget the count announced is an upper bound."""
        if not self.takes_budget:
            return Schedule(shape.visual, shape.depth, (Cut(0, shape.visual),))
        return before_model(self.allowance, shape, self.title)


@dataclass(frozen=True)
class InsideModel(_Selecting):
    """A method that cuts at decoder layers, where all visual tokens of the prompt compete.

    Parameters
    ----------
    budget : Budget, int or float
        Under ``layer_average`` the counts are solved so that the layers average to it; under ``kept`` it is the count
        after the first cut.
    of : int or None
        Depth that the cut layers refer to; other models are cut at the same fraction, at layer 1 or later. None:
        literally.
    positions : {"contiguous", "original"} or None
        Position ids after a cut; None leaves them to the backbone.
    """

    of: int | None = field(default=32, kw_only=True)

    @property
    def at(self) -> tuple[int, ...]:
        """Layers before which the method cuts, in a model of depth ``of``."""
        raise NotImplementedError

    def scope_at(self, point: PruningPoint) -> Scope:
        """The whole prompt."""
        return "prompt"

    def cuts(self, shape: PromptShape) -> Schedule:
        """One cut, or a pyramid of several; see :mod:`tops.methods.cuts`."""
        layers = scaled_layers(self.at, shape.depth, self.of, self.title)
        if len(layers) == 1:
            return one_cut(self.allowance, shape, layers[0], self.title)
        return pyramid(self.allowance, shape, layers, self.title)


@dataclass(frozen=True)
class Control(_Selecting):
    """A control that changes the images and prunes nothing; it has no budget.

    Parameters
    ----------
    budget : Budget
        Left out: refused.
    positions : {"contiguous", "original"} or None
        Without effect, since nothing is cut.
    """

    role: ClassVar[str] = "control"

    @property
    def takes_budget(self) -> bool:
        """Never."""
        return False

    def cuts(self, shape: PromptShape) -> Schedule:
        """No cut."""
        return Schedule(shape.visual, shape.depth, ())

    def select(self, point: PruningPoint) -> Selection:
        """Everything: what remains of the image is not pruned."""
        return everything(point.tokens)

    def prepare(self, images: Sequence[Image], context: InputContext) -> list[Image]:
        """The images to show instead; see :class:`InputControl`."""
        raise NotImplementedError


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
