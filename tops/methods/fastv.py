"""FastV: drop the visual tokens that the last prompt token attends to least after the first layers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Literal

from tops.methods.base import InsideModel, Positions
from tops.signals import PruningPoint

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class FastV(InsideModel):
    """FastV (Chen et al., ECCV 2024, arXiv 2403.06764).

    The score of a visual token is the attention it gets in the layer before the cut, averaged over all heads. Official
    code: ``pkunlp-icler/FastV`` at ``d165972``, ``fastv_forward`` (static pruning with a KV cache).

    Parameters
    ----------
    budget : Budget, int or float
        Under ``layer_average`` the count after the cut is solved so that the layers average to it.
    layer : int
        The cut: layers before it see every token, and the one just before it gives the attention.
    of : int or None
        Depth that ``layer`` refers to; other models are cut at the same fraction, at layer 1 or later. None: literally.
    rows : {"last", "all"}
        ``last``: only the last token of the prompt looks, as in all official variants. ``all``: the mean over every
        query, as the paper writes.
    positions : {"original", "contiguous"}
        Surviving tokens keep their position ids in the official code.
    """

    name: ClassVar[str] = "fastv"
    title: ClassVar[str] = "FastV"

    layer: int = 2
    rows: Literal["last", "all"] = "last"
    positions: Positions | None = field(default="original", kw_only=True)

    @property
    def at(self) -> tuple[int, ...]:
        """The one cut."""
        return (self.layer,)

    def scores(self, point: PruningPoint) -> Tensor:
        """(N,) float32: attention received in the layer before the cut, mean over heads."""
        import torch

        length = point.positions.shape[-1]
        first = length - 1 if self.rows == "last" else 0
        queries = torch.arange(first, length, device=point.tokens.index.device)
        return point.attention(queries, layer="previous")[:, :, point.visual_slots].mean((0, 1))
