"""HoloV: the count shared among runs of the token sequence in proportion to their attention, the best of each kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from tops.methods.base import BeforeModel
from tops.methods.units import Group, Rows, Scope, unit_after_unit
from tops.signals import PruningPoint, Signal

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class HoloV(BeforeModel):
    """HoloV (Zou et al., NeurIPS 2025, arXiv 2510.02912).

    The tokens of an image, all tiles in prompt order, are cut into crops: runs of the flat sequence, not rectangles. A
    crop is given tokens in proportion to its mean score, and keeps those with the most CLS attention. Official code:
    ``obananas/HoloV`` at ``1d2e65e``. Its score adds the variance of similarities to the attention, scaled so that it
    averages to the same share in every crop: it cancels, so that features have no influence on what is kept. It is
    computed all the same. Newlines of LLaVA-NeXT stay as the backbone makes them.

    On Qwen2.5-VL the official code ranks a token by another one's attention (window order, and a slice that begins one
    token too early); here attention is in the order of the tokens.

    Parameters
    ----------
    budget : Budget, int or float
        Tokens per image, shared among its tiles.
    crops : int or None
        Runs of an image. None: ``max(1, int(1024 / 576 * N / K))``, the rule of the official Qwen2.5-VL code, which
        gives the literal 16 of its LLaVA code at 64 of 576 tokens.
    surplus : {"share", "zeros"}
        Tokens given to a crop that has fewer. ``zeros``: the official code loses them and hands rows of zeros to the
        language model. ``share``: they go to the crops with room, largest weight first, since a budget spent on zeros
        says nothing about the method.
    order : {"attention", "prompt"}
        ``attention``: as the official code, crop after crop, by falling attention in each, so that the language model
        sees a crop's tokens out of place. ``prompt``: in prompt order.
    """

    name: ClassVar[str] = "holov"
    title: ClassVar[str] = "HoloV"
    signals: ClassVar[frozenset[Signal]] = frozenset({Signal.SALIENCY})

    crops: int | None = None
    surplus: Literal["share", "zeros"] = "share"
    order: Literal["attention", "prompt"] = "attention"

    def crops_of(self, tokens: int, keep: int) -> int:
        """Crops of an image of so many tokens."""
        return max(1, int(1024 / 576 * tokens / keep)) if self.crops is None else self.crops

    def scope_at(self, point: PruningPoint) -> Scope:
        """Every image with all its tiles."""
        return "image"

    def values(self, point: PruningPoint) -> Mapping[str, Tensor]:
        """CLS attention, mean over heads."""
        return {"attention": point.vision.saliency()}

    def choose(self, group: Group) -> Rows:
        """(G, keep) rows: what every crop keeps; zeros where ``surplus`` says so."""
        from tops.selection.crops import pick_in_crops, weigh_crops

        features, attention = group["features"], group["attention"]
        crops = weigh_crops(features, attention, group.keep, self.crops_of(features.shape[1], group.keep))
        picked = pick_in_crops(crops, attention, group.keep, surplus=self.surplus)
        # A row of zeros stands where the image ends.
        places = picked.where(picked >= 0, features.shape[1] - 1)
        rows = features.gather(1, places[..., None].expand(-1, -1, features.shape[-1]))
        rows = rows.masked_fill((picked < 0)[..., None], 0)
        return Rows(places, rows, unit_after_unit(group, places) if self.order == "attention" else None)
