"""Control: a grey image of the same size. The prompt keeps its form and length, and shows nothing."""

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
class BlankImage:
    """Every image becomes a plain one of its size, so that token counts stay; there is no budget.

    Parameters
    ----------
    grey : int
        Value of all three channels, 0..255. The default is about the mean that processors subtract.
    """

    name: ClassVar[str] = "blank_image"
    title: ClassVar[str] = "Blank image"
    signals: ClassVar[frozenset[Signal]] = frozenset()

    budget: BudgetField = BudgetField()
    grey: int = 118
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
        """Plain images of the same sizes."""
        from PIL import Image as pil

        return [pil.new("RGB", image.size, (self.grey,) * 3) for image in images]
