"""Control: a smaller image. As much picture as the budget has tokens, before any model looks at it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from tops.budget import PromptShape, Schedule
from tops.errors import ConfigurationError
from tops.methods.base import BeforeModel, InputContext
from tops.methods.pooling import pooled
from tops.methods.units import Group, Rows

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True)
class Downsampling(BeforeModel):
    """Every image is shrunk to the pixels that the budget's tokens cover (VTC-Bench, arXiv 2510.07143).

    With a processor of dynamic resolution (Qwen2.5-VL) the model then has few enough tokens by itself. One of fixed
    resolution (LLaVA) scales the small image up again, and the tokens are pooled to the same count: the detail of T
    tokens, in T tokens.

    Parameters
    ----------
    budget : Budget or int
        Tokens per image. A keep ratio is refused: what is there is not known before the image is shrunk.
    """

    title: ClassVar[str] = "Image downsampling"
    role: ClassVar[str] = "control"

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.allowance.value, float) and self.allowance.value != 1.0:
            raise ConfigurationError(
                f"downsampling with the keep ratio {self.allowance.value}: give a count of tokens per image instead"
            )

    def cuts(self, shape: PromptShape) -> Schedule:
        """One cut before the language model where the processor scaled the image up again, none elsewhere."""
        if isinstance(self.allowance.value, int) and self.allowance.value * max(1, shape.images) >= shape.visual:
            return Schedule(shape.visual, shape.depth, ())
        return super().cuts(shape)

    def choose(self, group: Group) -> Rows:
        """The tokens pooled to the count."""
        return pooled(group)

    def prepare(self, images: Sequence[Image], context: InputContext) -> list[Image]:
        """Images with at most as many pixels as ``budget`` tokens cover, in their own aspect ratio."""
        if isinstance(self.allowance.value, float):
            return list(images)
        return [_shrink(image, self.allowance.value, context.token_pixels) for image in images]


def _shrink(image: Image, tokens: int, side: int) -> Image:
    from PIL import Image as pil

    width, height = image.size
    scale = math.sqrt(tokens * side * side / (width * height))
    if scale >= 1:
        return image
    # Whole tokens, rounded down: a processor of dynamic resolution must not round the count up beyond the budget.
    across = max(1, min(tokens, int(width * scale / side)))
    down = max(1, min(tokens // across, int(height * scale / side)))
    return image.convert("RGB").resize((across * side, down * side), resample=pil.Resampling.BICUBIC)
