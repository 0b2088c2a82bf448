"""EVS: keep what changed since the frame before, one ranking over the whole video."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from tops.budget import Cut, PromptShape, Schedule
from tops.methods._video import OfVideo, frame_size, refuse_single_image
from tops.signals import PruningPoint, Signal

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class EVS(OfVideo):
    """Efficient Video Sampling (Bagrov et al., arXiv 2510.14624). Videos only.

    A token's score is 1 minus its cosine with the token in the same place of the frame before; the first frame comes
    first. One ranking over the video: a frame may keep everything or nothing. This is the version that vLLM serves,
    which ranks projected tokens; the paper ranks by the difference of pixels. Written from a description of it, not
    from its code. A budget below one frame has no meaning there; here the first tokens of the first frame stay. vLLM
    lets the text after the video continue at the width of its grid; here position ids are those of the model.

    Parameters
    ----------
    budget : Budget, int or float
        Tokens per frame on average, or a keep ratio (1 minus vLLM's pruning rate).
    count : {"nearest", "vllm"}
        Of a keep ratio. ``vllm``: truncated, and at least one frame, so that a ratio of 0.1 keeps 23 of 240 tokens.
    positions : {"original", "contiguous"} or None
        Position ids after the cut; None leaves them to the backbone, which keeps them where they have three axes.
    """

    name: ClassVar[str] = "evs"
    title: ClassVar[str] = "EVS"
    signals: ClassVar[frozenset[Signal]] = frozenset({Signal.FRAMES})

    count: Literal["nearest", "vllm"] = "nearest"

    def cuts(self, shape: PromptShape) -> Schedule:
        """One cut before the language model."""
        value = self.allowance.value
        if self.count == "nearest" or isinstance(value, int) or value == 1.0:
            return super().cuts(shape)
        refuse_single_image(shape, self.title)
        rate = 1 - value  # as it is given there: the product below then loses what it loses there
        keep = max(shape.visual // max(1, shape.images), int(shape.visual * (1 - rate)))
        return Schedule(shape.visual, shape.depth, (Cut(0, keep),) if keep < shape.visual else ())

    def scores(self, point: PruningPoint) -> Tensor:
        """(N,) float32: change since the frame before; more than any change in the first frame."""
        import torch

        from tops.selection.frames import change_since_last

        frames, size = frame_size(point.tokens.image, self.title)
        change = change_since_last(point.tokens.features.view(frames, size, -1)).flatten()
        return torch.cat([change.new_full((size,), 255.0), change])
