"""FastVID: a video in segments; salient tokens stay, dense ones take in the rest of their segment."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Literal

from tops.errors import ConfigurationError
from tops.methods._video import OfVideo, frame_size
from tops.methods.base import Positions
from tops.methods.units import Group, Rows
from tops.signals import Signal

if TYPE_CHECKING:
    from torch import Tensor

    from tops.selection.segments import Dense


@dataclass(frozen=True)
class FastVID(OfVideo):
    """FastVID (Shen et al., NeurIPS 2025, arXiv 2503.11187). Videos only.

    The video is cut where neighbouring frames are least alike. In every frame the most salient tokens stay. In every
    ``step``-th frame of a segment density peaks among the others become anchors, and each takes in the tokens of its
    segment that are most like it. Official code: ``LunarShen/FastVID`` at ``a40a109``, without its noise.

    The official LLaVA ports read saliency and frame vectors from SigLIP's pooling head, which LLaVA's checkpoints lack
    and which they load from SigLIP's own. Here saliency is the backbone's, and a frame's vector the mean of its tokens,
    as in the official port to Qwen2.5-VL.

    Parameters
    ----------
    budget : Budget, int or float
        Tokens per frame on average, or a keep ratio; newlines are not counted in either.
    version : {"video", "onevision"}
        The LLaVA-Video port uses the whole count of a segment, and keeps a frame's anchors apart. The OneVision port
        loses what does not divide, so that less than the budget remains, and lets an anchor join its own group. Paper
        and repository call it one method; the first keeps the budget.
    segments : int
        Segments there are at least.
    tau : float
        Neighbouring frames less alike than this are in two segments.
    context : float
        Share of anchors.
    step : int
        Every how many-th frame of a segment has anchors; the last one always.
    beta : float
        Least weight of an anchor against the mean of its group.
    newlines : {"drop", "touched"}
        ``touched``: the official LLaVA-Video port keeps the newline of every grid row with a kept token, on top of the
        budget. ``drop``: as for other methods.
    positions : {"original", "contiguous"} or None
        Kept tokens keep their position ids in the official code.
    """

    name: ClassVar[str] = "fastvid"
    title: ClassVar[str] = "FastVID"
    signals: ClassVar[frozenset[Signal]] = frozenset({Signal.SALIENCY, Signal.FRAMES})

    version: Literal["video", "onevision"] = "video"
    segments: int = 8
    tau: float = 0.9
    context: float = 0.4
    step: int = 4
    beta: float = 0.6
    newlines: Literal["drop", "touched"] = "drop"
    positions: Positions | None = field(default="original", kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("segments", "step"):
            if getattr(self, name) < 1:
                raise ConfigurationError(f"FastVID: {name}={getattr(self, name)} must be at least 1")
        for name in ("context", "beta"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigurationError(f"FastVID: {name}={getattr(self, name)} is a share; it must lie in [0, 1]")

    @property
    def with_newlines(self) -> bool:
        """With ``newlines=touched``."""
        return self.newlines == "touched"

    @property
    def follows_prompt(self) -> bool:
        """With newlines on top, or counts that lose what does not divide."""
        return self.with_newlines or self.version == "onevision"

    def frame_vectors(self, frames: Tensor) -> Tensor:
        """(T, d): one vector of each frame, from its tokens (T, N, d)."""
        return frames.float().mean(1)

    def choose(self, group: Group) -> Rows:
        """(1, K) rows: salient tokens as they are and merged anchors, in prompt order."""
        import torch

        tokens, features = group.point.tokens, group["features"][0]
        patches = (~tokens.newline).nonzero()[:, 0]
        count, size = frame_size(tokens.image[patches], self.title)
        value = self.allowance.value
        keep = int(value * len(patches) + 0.5) if isinstance(value, float) else min(group.keep, len(patches))
        saliency = group.point.vision.saliency()[patches].view(count, size)
        found = self.dense(features[patches].view(count, size, -1), saliency, keep)
        places = patches[torch.cat([found.salient, found.anchors])]
        rows = torch.cat([features[patches[found.salient]], found.merged])
        if self.with_newlines:
            row = tokens.image * (int(tokens.row.max()) + 1) + tokens.row
            touched = (tokens.newline & torch.isin(row, row[places])).nonzero()[:, 0]
            places, rows = torch.cat([places, touched]), torch.cat([rows, features[touched]])
        return Rows(places[None], rows[None])

    def dense(self, frames: Tensor, saliency: Tensor, keep: int) -> Dense:
        """Salient and merged tokens of a video (T, N, d) with saliency (T, N) that keeps so many."""
        from tops.selection import segments

        count, size, _ = frames.shape
        similarity = segments.neighbour_similarity(self.frame_vectors(frames))
        sizes = segments.segment_sizes(similarity, self.segments, self.tau)
        equal = self.version == "onevision"
        each = [keep // count] * count if equal else segments.spread(keep, count)
        salient, anchors = segments.share_in_segments(sizes, each, size, self.context, self.step, equal=equal)
        return segments.select_dense(
            frames,
            saliency,
            sizes,
            salient,
            anchors,
            beta=self.beta,
            apart=not equal,
            alone=int(each[0] * self.context) if equal else None,
        )
