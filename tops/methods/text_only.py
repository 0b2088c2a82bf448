"""Control: the question alone. What a model answers without looking."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from tops.budget import PromptShape, Schedule
from tops.methods._cuts import refuse_budget
from tops.methods._units import everything
from tops.methods.base import BudgetField, InputContext, Positions
from tops.signals import PruningPoint, Signal
from tops.tokens import Selection

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True)
class TextOnly:
    """The images and their placeholders are taken out of the prompt; there is no budget."""

    name: ClassVar[str] = "text_only"
    title: ClassVar[str] = "Text only"
    signals: ClassVar[frozenset[Signal]] = frozenset()

    budget: BudgetField = BudgetField()
    positions: Positions | None = None

    def __post_init__(self) -> None:
        refuse_budget(self.budget, self.title)

    def schedule(self, shape: PromptShape) -> Schedule:
        """No cut."""
        return Schedule(shape.visual, shape.depth, ())

    def select(self, point: PruningPoint) -> Selection:
        """Everything: what remains of the image is not pruned."""
        return everything(point.tokens)

    def prepare(self, images: Sequence[Image], context: InputContext) -> list[Image]:
        """No image at all."""
        return []
