"""Control: the question alone. What a model answers without looking."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from tops.methods.base import Control, InputContext

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True)
class TextOnly(Control):
    """The images and their placeholders are taken out of the prompt; there is no budget."""

    title: ClassVar[str] = "Text only"

    def prepare(self, images: Sequence[Image], context: InputContext) -> list[Image]:
        """No image at all."""
        return []
