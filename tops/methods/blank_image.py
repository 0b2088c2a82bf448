"""Control: a grey image of the same size. The prompt keeps its form and length, and shows nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from tops.methods.base import Control, InputContext

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True)
class BlankImage(Control):
    """Every image becomes a plain one of its size, so that token counts stay; there is no budget.

    Parameters
    ----------
    grey : int
        Value of all three channels, 0..255. The default is about the mean that processors subtract.
    """

    title: ClassVar[str] = "Blank image"

    grey: int = 118

    def prepare(self, images: Sequence[Image], context: InputContext) -> list[Image]:
        """Plain images of the same sizes."""
        from PIL import Image as pil

        return [pil.new("RGB", image.size, (self.grey,) * 3) for image in images]
