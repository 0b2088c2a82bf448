"""What a pruning method is, and the base classes that carry everything but the method's own idea.

A method is one file with one frozen dataclass on :class:`BeforeModel`, :class:`InsideModel` or :class:`Control`; its
fields are its options. It says ``scores(point)`` if it ranks tokens, ``choose(group)`` if it selects among them. The
base classes own the rest: schedule, sharing among images and tiles, order, ties, finiteness, dtype and refusals.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, overload

from tops.budget import Budget, Cut, NoBudget, PromptShape, Schedule
from tops.errors import BudgetError
from tops.methods._options import check_options
from tops.methods.cuts import before_model, one_cut, pyramid, refuse_budget, scaled_layers
from tops.methods.protocol import InputContext as InputContext
from tops.methods.protocol import InputControl as InputControl
from tops.methods.protocol import Method as Method
from tops.methods.protocol import Positions as Positions
from tops.methods.protocol import adopted as adopted
from tops.methods.units import Group, Rows, Scope, assembled, check_units, everything, groups
from tops.signals import PruningPoint, Signal

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

    from tops.tokens import Selection


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
        raise self._undefined("choose(group) or scores(point)")

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
        raise self._undefined("scope_at(point)")

    def cuts(self, shape: PromptShape) -> Schedule:
        """The schedule of a method that has a budget, or needs none."""
        raise self._undefined("cuts(shape)")

    def _undefined(self, what: str) -> NotImplementedError:
        return NotImplementedError(f"{type(self).__name__} does not define {what}; see docs/add-a-method.md")

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
        raise self._undefined("at")

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
        raise self._undefined("prepare(images, context)")
