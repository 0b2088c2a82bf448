"""What methods for videos share: a prompt's images are frames in order of time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tops.budget import PromptShape, Schedule
from tops.errors import BudgetError, ConfigurationError
from tops.methods.base import BeforeModel
from tops.methods.units import Scope
from tops.signals import PruningPoint

if TYPE_CHECKING:
    from torch import Tensor


class OfVideo(BeforeModel):
    """A method that cuts once, before the language model, and chooses among all tokens of a video."""

    def cuts(self, shape: PromptShape) -> Schedule:
        """One cut; refused on a prompt of one image."""
        if self.allowance.value != 1.0:
            refuse_single_image(shape, self.title)
        return super().cuts(shape)

    def scope_at(self, point: PruningPoint) -> Scope:
        """The whole video."""
        return "prompt"


def refuse_single_image(shape: PromptShape, title: str) -> None:
    """Refuse prompts without anything to compare in time.

    Raises
    ------
    BudgetError
        If the prompt shows one image.
    """
    if shape.images < 2:
        raise BudgetError(
            f"{title} compares the frames of a video, and this prompt shows one image; ask it about a video, or choose "
            "a method for images"
        )


def frame_size(frame: Tensor, title: str) -> tuple[int, int]:
    """Frames of a prompt, and tokens of each.

    Parameters
    ----------
    frame : Tensor, (N,) int64
        Frame of each token, from 0, ascending.
    title : str
        Method, for the error.

    Raises
    ------
    ConfigurationError
        If frames have different sizes.
    """
    sizes = frame.bincount().tolist()
    if set(sizes) != {sizes[0]}:
        raise ConfigurationError(
            f"{title} compares frames of one size, and the images of this prompt have {sorted(set(sizes))} tokens; ask "
            "it about one video"
        )
    return len(sizes), sizes[0]
