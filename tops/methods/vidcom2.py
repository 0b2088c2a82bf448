"""VidCom2: more tokens for frames unlike the rest of the video, and in each frame the tokens unlike both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from tops.methods._video import OfVideo
from tops.methods.units import Group, Rows
from tops.signals import Signal

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class VidCom2(OfVideo):
    """Video Compression Commander (Liu et al., EMNLP 2025, arXiv 2505.14454). Videos only.

    Tokens are compared with the centre of the video and with that of their frame, by a sum of Gaussian kernels on the
    half of the channels that vary least. Frames unlike the video keep up to twice the share of others; in a frame the
    tokens least like both centres stay. Official code: ``xuyang-liu16/VidCom2`` at ``944a17d``.

    Parameters
    ----------
    budget : Budget, int or float
        Tokens per frame on average, or a keep ratio; newlines are not counted in either.
    count : {"exact", "rounded"}
        ``rounded``: the official code rounds the count of every frame, so that the total is only near the budget.
        ``exact``: afterwards the least unlike of the kept, or the most unlike of the dropped tokens of the whole video
        change sides until the total is met, as vLLM's version of the method does; a budget then means the same as for
        other methods.
    newlines : {"drop", "keep"}
        ``keep``: the official code of LLaVA-Video keeps the newline of every grid row, after the patches of its frame
        rather than in its place. They come on top of the budget: 25 % of the patches are 30 % of the tokens. ``drop``:
        as for other methods.
    """

    name: ClassVar[str] = "vidcom2"
    title: ClassVar[str] = "VidCom2"
    signals: ClassVar[frozenset[Signal]] = frozenset({Signal.FRAMES})

    count: Literal["exact", "rounded"] = "exact"
    newlines: Literal["drop", "keep"] = "drop"

    @property
    def with_newlines(self) -> bool:
        """With ``newlines=keep``."""
        return self.newlines == "keep"

    @property
    def follows_prompt(self) -> bool:
        """With ``rounded`` counts, or newlines on top of them."""
        return self.count == "rounded" or self.with_newlines

    def choose(self, group: Group) -> Tensor | Rows:
        """(1, keep) int64: the tokens least like video and frame; with newlines, rows in the official order."""
        import torch

        from tops.selection.frames import select_unique, uniqueness

        tokens, features = group.point.tokens, group["features"][0]
        patches = (~tokens.newline).nonzero()[:, 0]
        value = self.allowance.value
        ratio = value if isinstance(value, float) else min(1.0, group.keep / len(patches))
        exact = None if self.count == "rounded" else max(1, int(ratio * len(patches) + 0.5))
        frame = tokens.image[patches]
        kept = patches[select_unique(uniqueness(features[patches], frame), frame, ratio, exact=exact)]
        if not self.with_newlines:
            return kept[None]
        places = torch.cat([kept, tokens.newline.nonzero()[:, 0]])
        behind = torch.cat([torch.zeros_like(kept), torch.ones_like(places[len(kept) :])])
        rank = (2 * tokens.image[places] + behind) * len(tokens) + places
        return Rows(places[None], features[places][None], rank[None])
