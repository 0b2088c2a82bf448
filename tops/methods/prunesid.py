"""PruneSID: groups by principal component, duplicates dropped in each, every group represented."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from tops.methods._encoder import patch_features
from tops.methods.base import BeforeModel
from tops.methods.units import Group, Rows, unit_after_unit
from tops.signals import PruningPoint, Signal

if TYPE_CHECKING:
    from torch import Generator, Tensor


@dataclass(frozen=True)
class PruneSID(BeforeModel):
    """PruneSID (Fang et al., ICLR 2026, arXiv 2603.09480).

    Tokens fall into groups by the principal component that they load on most, one group for four tokens of the budget.
    In a group the better of two tokens that are alike stays; the count is shared by what is left, and every group keeps
    one at least. With a CLS token (CLIP) all of it runs on encoder features with CLS attention as score, and the CLS
    token comes first; without one on the projected tokens, with their loading as score, as the official Qwen2-VL code
    does. Official code: ``ZhengyaoFang/PruneSID`` at ``4ef17d9``. The budget that follows the image's information, of
    which the abstract speaks, is not in it.

    Parameters
    ----------
    budget : Budget, int or float
        Tokens per image, shared among its tiles, CLS included.
    svd : {"exact", "low_rank"}
        ``low_rank``: the official code's randomised SVD, which it does not seed; two draws agree on 35 to 60 % of the
        groups, so that its result is a random variable. ``exact`` has one result, the one that draws scatter around.
    seed : int
        Of the draw, with the sample's name; without effect on the exact one.
    order : {"matched", "official"}
        On LLaVA-NeXT, kept patches of grid tiles come in the order of the stitched grid. ``official``: the places are
        sorted and the rows are not, so that a row stands in the place of another of its tile.
    """

    name: ClassVar[str] = "prunesid"
    title: ClassVar[str] = "PruneSID"

    svd: Literal["exact", "low_rank"] = "exact"
    seed: int = 0
    order: Literal["matched", "official"] = "matched"

    def values(self, point: PruningPoint) -> Mapping[str, Tensor]:
        """Encoder features and CLS attention, where there is a CLS token."""
        if not {Signal.ENCODER, Signal.CLS} <= point.vision.signals:
            return {}
        return {"features": patch_features(point), "scores": point.vision.saliency(reduce="sum")}

    def choose_each(self, batches: Sequence[Group]) -> list[Tensor | Rows]:
        """Every group of units with the draws of its own."""
        import torch

        digest = hashlib.sha256(f"{self.seed}\0{batches[0].point.sample}".encode()).digest()
        generator = torch.Generator().manual_seed(int.from_bytes(digest[:7]))
        return [self._choose(group, generator) for group in batches]

    def _choose(self, group: Group, generator: Generator) -> Rows:
        import torch

        with_cls, features = "scores" in group.values, group["features"]
        width = min(features.shape[1:])
        count = min(max(1 if with_cls else min(4, group.keep), group.keep // 4), width)
        noise = torch.randn(width, count, generator=generator) if self.svd == "low_rank" else None
        scores = group["scores"] if with_cls else [None] * len(group)
        kept = [self.kept_of(own, score, group.keep, count, noise) for own, score in zip(features, scores, strict=True)]
        places = torch.stack(kept)
        rows = features.gather(1, places[..., None].expand(-1, -1, features.shape[-1]))
        if not with_cls:
            return Rows(places, rows, unit_after_unit(group, places))
        cls = group.point.vision.encoder_features()[group.units, :1]
        places = torch.cat([places.new_zeros(len(group), 1), places], 1)
        rank, places = self._ranked(group, places)
        return Rows(places, torch.cat([cls, rows], 1), rank, encoder=True)

    def kept_of(self, features: Tensor, scores: Tensor | None, keep: int, groups: int, noise: Tensor | None) -> Tensor:
        """(keep,) int64 tokens of one unit in order of selection; with scores one fewer, for the CLS token."""
        from tops.selection.components import principal_loadings, thin_groups

        with_cls = scores is not None
        if with_cls and keep == 1:
            return features.new_empty(0).long()
        loadings = principal_loadings(features, groups, noise=noise)
        loading, group = loadings.max(1)
        return thin_groups(
            features,
            loading if scores is None else scores,
            group,
            keep - with_cls,
            groups=groups,
            budget=keep,
            encoder=with_cls,
        ).order

    def _ranked(self, group: Group, places: Tensor) -> tuple[Tensor, Tensor]:
        """(G, m) sort keys, and the places: base tile as it is, then the grid's patches, then the CLS of its tiles."""
        import torch

        tokens = group.point.tokens
        image = tokens.image[group.positions[:, 0]]
        first = torch.full((int(tokens.image.max()) + 1,), len(tokens), device=image.device)
        base = (group.units == first.scatter_reduce(0, tokens.image, tokens.unit, "amin")[image])[:, None]
        if self.order == "official":
            places = torch.where(base, places, torch.cat([places[:, :1], places[:, 1:].sort(1).values], 1))
        cls = torch.zeros_like(places, dtype=torch.bool)
        cls[:, 0] = True
        kind = torch.where(base, 0, 1 + cls.long())
        at = torch.where(kind == 1, group.positions.gather(1, places), group.units[:, None])
        size = max(len(tokens), int(group.units.max()) + 1)
        return (3 * image[:, None] + kind) * size + torch.where(base, 0, at), places
