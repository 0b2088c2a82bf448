"""SCOPE: keep salient tokens that between them cover the image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from tops.methods._encoder import patch_or_token_features
from tops.methods.base import BeforeModel
from tops.methods.units import Group
from tops.signals import PruningPoint, Signal

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class SCOPE(BeforeModel):
    """SCOPE (Deng et al., NeurIPS 2025, arXiv 2510.24214).

    Greedy facility location on encoder features, each gain times the CLS attention of the token, in every tile.
    Official code: ``kinredon/SCOPE`` at ``6bf7306``, folder ``scope/``. Kept features go through the projector one by
    one, so gathering projected tokens is the same. A backbone whose tokens are not single encoder rows (InternVL3,
    Qwen2.5-VL, LLaVA-Video) selects on projected tokens, which is ours.

    Parameters
    ----------
    budget : Budget, int or float
        Tokens per image, shared among its tiles; the official code drops the remainder of that division.
    alpha : float
        Exponent of the saliency; 0 is plain coverage. The official scripts use 1.
    combine : {"multiply", "add"}
        Gain times, or plus, the power of the saliency.
    """

    title: ClassVar[str] = "SCOPE"
    signals: ClassVar[frozenset[Signal]] = frozenset({Signal.SALIENCY})

    alpha: float = 1.0
    combine: Literal["multiply", "add"] = "multiply"

    def values(self, point: PruningPoint) -> Mapping[str, Tensor]:
        """Encoder features where a token is one of them, and CLS attention summed over heads."""
        return {"features": patch_or_token_features(point), "saliency": point.vision.saliency(reduce="sum")}

    def choose(self, group: Group) -> Tensor:
        """(G, keep) int64: the tokens whose coverage, weighted by saliency, gains most."""
        from tops.selection import select_coverage

        return select_coverage(group["features"], group["saliency"], group.keep, alpha=self.alpha, combine=self.combine)
