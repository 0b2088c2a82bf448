"""Control: the images of another document. What an answer owes to any image rather than to this one."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from tops.errors import ConfigurationError
from tops.methods.base import Control, InputContext

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True)
class ShuffledImage(Control):
    """Every document gets the images of another one, scaled to its own sizes so that token counts stay; no budget.

    The partner lies a random distance further in the benchmark's order; documents that show the same image, as
    neighbours often do, are passed over.

    Parameters
    ----------
    seed : int
        Chooses the distance, separately for every document.
    """

    title: ClassVar[str] = "Shuffled image"

    seed: int = 0

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
