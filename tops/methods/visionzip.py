"""VisionZip: keep the patches that CLS attends to, and merge the rest into a few contextual tokens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from tops.errors import ConfigurationError
from tops.methods._encoder import patch_features
from tops.methods.base import BeforeModel
from tops.methods.units import Group, Rows
from tops.signals import PruningPoint, Signal

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class VisionZip(BeforeModel):
    """VisionZip (Yang et al., CVPR 2025, arXiv 2412.04467).

    In every tile: the CLS token, the patches it attends to most, and contextual tokens, each a patch plus the mean of
    the patches whose keys are most like its own. All of it on encoder features; the projector runs on what is left.
    Official code: ``dvlab-research/VisionZip`` at ``3151f6d``. The paper speaks of averaging a contextual token with
    its group; the code adds the group's mean, and so does this.

    A backbone without a CLS token or single-row projector (InternVL3 after pixel shuffle, Qwen2.5-VL, SigLIP) selects
    and merges projected tokens instead, compares the tokens themselves, and leaves contextual tokens in their places,
    as the official Qwen2.5-VL code does with keys.

    Parameters
    ----------
    budget : Budget, int or float
        Tokens per image, shared among its tiles: dominant, CLS and contextual together.
    contextual : float
        Share of contextual tokens: 10/64 gives the authors' 54 + 10, 108 + 20, 162 + 30 and 27 + 5.
    """

    name: ClassVar[str] = "visionzip"
    title: ClassVar[str] = "VisionZip"
    signals: ClassVar[frozenset[Signal]] = frozenset({Signal.SALIENCY})

    contextual: float = 10 / 64

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.contextual < 1:
            raise ConfigurationError(f"VisionZip: contextual={self.contextual} is a share; it must lie in [0, 1)")

    def split(self, keep: int) -> tuple[int, int]:
        """Dominant (CLS included) and contextual tokens of a tile that keeps this many."""
        contextual = min(keep - 1, int(keep * self.contextual + 0.5))
        return keep - contextual, contextual

    def least_of_unit(self, have: frozenset[Signal]) -> int:
        """With a CLS token that and one patch."""
        return 2 if self._with_cls(have) else 1

    @staticmethod
    def _with_cls(have: frozenset[Signal]) -> bool:
        return {Signal.ENCODER, Signal.CLS} <= have

    def values(self, point: PruningPoint) -> Mapping[str, Tensor]:
        """CLS attention summed over heads; with a CLS token encoder features and keys averaged over heads."""
        vision = point.vision
        scores = vision.saliency(reduce="sum")
        if not self._with_cls(vision.signals):
            return {"scores": scores}
        keys = vision.packed(vision.encoder_keys(layer="feature").float().mean(1)[:, 1:])
        return {"scores": scores, "features": patch_features(point), "keys": keys}

    def choose(self, group: Group) -> Rows:
        """Of each unit its CLS token where there is one, then (G, keep) dominant and contextual tokens."""
        import torch

        from tops.selection.merging import add_group_means, contextual_groups

        with_cls, features = "keys" in group.values, group["features"]
        count, contextual = self.split(group.keep)
        metric = group["keys"] if with_cls else features
        dominant, targets, member = contextual_groups(group["scores"], metric, count - with_cls, contextual)
        kept = features.gather(1, dominant[..., None].expand(-1, -1, features.shape[-1]))
        merged = add_group_means(features, targets, member)
        if not with_cls:
            return Rows(torch.cat([dominant, targets], 1), torch.cat([kept, merged], 1))
        cls = group.point.vision.encoder_features()[group.units, :1]
        kinds = [targets.new_zeros(len(group), 1), dominant, targets]
        rank = torch.cat([_rank(group, kind, places) for kind, places in enumerate(kinds)], 1)
        return Rows(torch.cat(kinds, 1), torch.cat([cls, kept, merged], 1), rank, encoder=True)


def _rank(group: Group, kind: int, places: Tensor) -> Tensor:
    """(G, m): sort key of the CLS (kind 0), dominant (1) or contextual (2) tokens of a group.

    Of an image first come its first tile's CLS, dominant and contextual tokens; then the dominant tokens of its other
    tiles in prompt order, across tiles; then these tiles' CLS tokens, then their contextual tokens, tile by tile."""
    import torch

    tokens = group.point.tokens
    image = tokens.image[group.positions[:, 0]]
    first = torch.full((int(tokens.image.max()) + 1,), len(tokens), device=image.device)
    first = first.scatter_reduce(0, tokens.image, tokens.unit, "amin")
    block = image * 6 + torch.where(group.units == first[image], kind, 3 + (1, 0, 2)[kind])
    tile = torch.zeros_like(image) if kind == 1 else group.units
    size = len(tokens)
    return (block * size + tile)[:, None] * size + group.positions.gather(1, places)
