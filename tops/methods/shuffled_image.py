"""Control: the images of another document. What an answer owes to any image rather than to this one."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from tops.budget import PromptShape, Schedule
from tops.errors import ConfigurationError
from tops.methods._cuts import refuse_budget
from tops.methods._units import everything
from tops.methods.base import BudgetField, InputContext, Positions
from tops.signals import PruningPoint, Signal
from tops.tokens import Selection

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True)
class ShuffledImage:
    """Every document gets the images of another one, scaled to its own sizes so that token counts stay; no budget.

    The partner lies a random distance further in the benchmark's order; documents that show the same image, as
    neighbours often do, are passed over.

    Parameters
    ----------
    seed : int
        Chooses the distance, separately for every document.
    """

    name: ClassVar[str] = "shuffled_image"
    title: ClassVar[str] = "Shuffled image"
    signals: ClassVar[frozenset[Signal]] = frozenset()

    budget: BudgetField = BudgetField()
    seed: int = 0
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
        """The images of the partner document.

        Raises
        ------
        ConfigurationError
            If no other document shows another image.
        """
        start = random.Random(f"{self.seed} {context.document}").randrange(max(1, context.documents - 1))
        own = [_content(image) for image in images]
        for step in range(context.documents - 1):
            partner = (context.document + 1 + (start + step) % (context.documents - 1)) % context.documents
            others = context.images_of(partner)
            if others and all(_content(image) not in own for image in others):
                return [others[i % len(others)].convert("RGB").resize(image.size) for i, image in enumerate(images)]
        raise ConfigurationError(
            f"shuffled_image: none of the other {context.documents - 1} documents shows another image; "
            "use more documents"
        )


def _content(image: Image) -> tuple[tuple[int, int], bytes]:
    return image.size, image.convert("RGB").tobytes()
