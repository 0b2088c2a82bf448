"""SparseVLM: the text tokens that matter to the image judge it; part of what they drop is recycled."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from tops.budget import Cut, PromptShape, Schedule
from tops.errors import BudgetError, ConfigurationError
from tops.methods.base import InsideModel
from tops.methods.cuts import allowed, scaled_layers, too_low
from tops.methods.units import Group, Rows, unit_after_unit
from tops.signals import PruningPoint

if TYPE_CHECKING:
    from torch import Tensor

# Tokens kept after each cut, merged ones not counted, of 576: the authors' tables by nominal target.
TABLES: dict[str, dict[int, tuple[int, int, int]]] = {
    "v1.5": {192: (300, 200, 110), 128: (303, 110, 36), 96: (238, 48, 26), 64: (66, 30, 17)},
    "plus": {192: (300, 200, 118), 128: (238, 108, 60), 96: (246, 54, 28), 64: (66, 34, 20)},
}
REFERENCE = 576


@dataclass(frozen=True)
class SparseVLM(InsideModel):
    """SparseVLM (Zhang et al., ICML 2025, arXiv 2410.04417).

    Raters are the text tokens after the image that the visual input embeddings point to above average. A visual token's
    score is the raters' attention in the layer before the cut, averaged over heads and raters. Of the dropped tokens
    the best 30 % are clustered, and the means of the clusters follow the last kept token. Official code:
    ``Gumpest/SparseVLMs`` at ``26a5f48``, which prunes at the output of layers 2, 6 and 15: cuts 3, 7 and 16 here.
    The clustering runs without the official code's unseeded noise of 1e-6.

    Parameters
    ----------
    budget : Budget, int or float
        ``as_printed``: the authors' table, for 192, 128, 96 or 64 of 576 tokens or the same share of another count;
        their "equivalent tokens" charge each pruning layer its count after the cut, so that 128 really averages 145.4.
        ``layer_average``: the nearest row of it, each share raised to the power that meets the average. ``kept``: the
        count after the first cut, the later ones in the proportions of the row.
    version : {"v1.5", "plus", "v1"}
        ``v1.5``: the code of the ICML paper. ``plus``: SparseVLM+, attention corrected for RoPE, 14 of 32 heads, no
        recycling, original positions. ``v1``: the first release, which keeps ``int(rank * scale + bias)`` tokens by the
        rank of the raters' attention; the count follows the prompt, so the budget is left out.
    layers : tuple of int
        The cuts; version v1 has a fourth at 20.
    of : int or None
        Depth that ``layers`` refer to; other models are cut at the same fractions. None: literally.
    keeps : tuple of int, optional
        Instead of a budget: tokens kept after each cut, merged ones not counted.
    heads : int
        Of 32, the heads that count in SparseVLM+; other head counts are scaled.
    rope_theta : float, optional
        Base of the model's rotary frequencies, needed by SparseVLM+ (10000 for Vicuna, 1000000 for Qwen2).
    scale, bias : float
        Of version v1: 13.5 and 0 for 192 tokens, 9 and 6 for 128, 0.8 and 0 for 64.
    positions : {"contiguous", "original"} or None
        None: as in the official code, re-indexed after every cut (SparseVLM+: kept); under mRoPE, which it does not
        serve, kept, and a merged token has the ids of its cluster's centre.
    """

    name: ClassVar[str] = "sparsevlm"
    title: ClassVar[str] = "SparseVLM"

    version: Literal["v1.5", "plus", "v1"] = "v1.5"
    layers: tuple[int, ...] = (3, 7, 16)
    keeps: tuple[int, ...] | None = None
    heads: int = 14
    rope_theta: float | None = None
    scale: float = 9.0
    bias: float = 6.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.version == "plus" and self.rope_theta is None:
            raise ConfigurationError(
                "SparseVLM+ needs rope_theta=, the base of the model's rotary frequencies: 10000 for Vicuna"
            )
        if self.keeps is not None and len(self.keeps) != len(self.layers):
            raise ConfigurationError(
                f"SparseVLM: {len(self.keeps)} keeps for {len(self.layers)} layers; give one per cut"
            )
        if self.positions is None and self.version == "plus":
            object.__setattr__(self, "positions", "original")

    @property
    def takes_budget(self) -> bool:
        """Not in version v1, and not with ``keeps``."""
        return self.keeps is None and self.version != "v1"

    @property
    def follows_prompt(self) -> bool:
        """In version v1."""
        return self.version == "v1"

    def cuts(self, shape: PromptShape) -> Schedule:
        """Three cuts; the counts include merged tokens. Version v1 announces upper bounds.

        Raises
        ------
        BudgetError
            If the layers before the first cut alone exceed the average, or recycling alone needs more tokens.
        """
        given = (*self.layers, 20) if self.version == "v1" and self.layers == (3, 7, 16) else self.layers
        layers = scaled_layers(given, shape.depth, self.of, self.title)
        if self.version == "v1":
            return Schedule(shape.visual, shape.depth, tuple(Cut(layer, shape.visual) for layer in layers))
        if self.keeps is not None:
            return self._given(shape, layers, self._leaving(self.keeps, shape.visual))
        total = allowed(self.allowance, shape, self.title)
        if total == shape.visual:
            return Schedule(shape.visual, shape.depth, ())
        if len(layers) != 3:
            raise ConfigurationError(
                f"SparseVLM's tables have three cuts, got layers={list(self.layers)}; give keeps= as well"
            )
        if self.allowance.protocol == "as_printed":
            return self._given(shape, layers, self._printed(total, shape))
        return self._given(shape, layers, self._solved(total, shape, layers))

    def choose(self, group: Group) -> Tensor | Rows:
        """Kept tokens in prompt order, then the means of the recycled ones: (1, keep) in all."""
        import torch

        from tops.selection import top_k_lowest_index

        have = group.positions.shape[1]
        attention = self.attention(group.point)
        keep = self._keep(group.keep, have, attention)
        order = top_k_lowest_index(attention.mean((0, 1)), have)
        kept, dropped = order[:keep].sort().values, order[keep:]
        if self.version == "plus" or not len(dropped):
            return kept[None]
        means, centres = _recycled(group["features"][0], dropped)
        places = torch.cat([kept, centres])[None]
        rows = torch.cat([group["features"][0, kept], means])[None]
        return Rows(places, rows, unit_after_unit(group, places))

    def _keep(self, total: int, have: int, attention: Tensor) -> int:
        """Tokens kept as they are, merged ones not counted."""
        import torch

        if self.version != "v1":
            return total if self.version == "plus" else kept_of(total, have)
        rank = int(torch.linalg.matrix_rank(attention.mean(0)))
        keep = have if rank == have else min(int(rank * self.scale + self.bias), have - 1)
        if keep < 1:
            raise BudgetError(f"SparseVLM of version v1 would keep {keep} tokens at rank {rank}; raise scale or bias")
        return keep

    def attention(self, point: PruningPoint) -> Tensor:
        """(H, R, N): what the raters pay the visual tokens in the layer that has just run."""
        import torch

        from tops.selection.raters import most_looking_heads, rope_gravity, select_raters

        if not len(point.text_slots):
            raise ConfigurationError(
                "SparseVLM needs text after the last visual token; put the question behind the image"
            )
        if "raters" not in point.memory:
            point.memory["raters"] = select_raters(point.vision.embeddings(), point.text.embeddings())
        rows = point.text_slots[point.memory["raters"]]
        attention = point.attention(rows, layer="previous")[:, :, point.visual_slots]
        if self.version != "plus":
            return attention
        assert self.rope_theta is not None
        if point.positions.ndim != 1:
            raise ConfigurationError("SparseVLM+ corrects for one-dimensional RoPE; this model has multimodal RoPE")
        width = point.keys(layer="previous").shape[-1]
        near = rope_gravity(point.positions[rows], point.positions[point.visual_slots], width, self.rope_theta)
        attention = attention / near.to(attention)
        heads = max(1, round(self.heads * len(attention) / 32))
        return attention[torch.sort(most_looking_heads(attention, heads)).values]

    def _given(self, shape: PromptShape, layers: tuple[int, ...], counts: list[int]) -> Schedule:
        have = shape.visual
        for count in counts:
            if self.version == "v1.5" and count < have:
                kept_of(count, have)
            have = count
        return Schedule(shape.visual, shape.depth, tuple(Cut(at, k) for at, k in zip(layers, counts, strict=True)))

    def _leaving(self, kept: tuple[int, ...], have: int) -> list[int]:
        """Tokens after each cut, merged ones included."""
        out = []
        for count in kept:
            count = min(count, have - 1)
            have = count if self.version == "plus" else count + recycling(have - count)[1]
            out.append(have)
        return out

    def _printed(self, total: int, shape: PromptShape) -> list[int]:
        table = TABLES[self.version]
        target = next((t for t in table if math.isclose(t * shape.visual, total * REFERENCE, rel_tol=2e-3)), None)
        if target is None:
            raise BudgetError(
                f"SparseVLM has printed schedules for {', '.join(map(str, table))} of {REFERENCE} tokens, not for "
                f"{total} of {shape.visual}; use protocol=layer_average"
            )
        return self._leaving(tuple(round(k * shape.visual / REFERENCE) for k in table[target]), shape.visual)

    def _solved(self, total: int, shape: PromptShape, layers: tuple[int, ...]) -> list[int]:
        visual, depth, least = shape.visual, shape.depth, max(1, shape.images)
        table = TABLES[self.version]
        rows = {target: [k / REFERENCE for k in self._leaving(kept, REFERENCE)] for target, kept in table.items()}
        if self.allowance.protocol == "kept":
            shares = min(rows.values(), key=lambda row: abs(math.log(row[0] * visual / total)))
            counts = [math.floor(total * share / shares[0] + 1e-9) for share in shares]
            if self.version == "v1.5":
                # So few tokens that one kept and what recycling adds are more: those.
                for i in range(1, len(counts)):
                    counts[i] = max(counts[i], min(counts[i - 1], 1 + recycling(counts[i - 1] - 1)[1]))
            if counts[-1] < least:
                raise BudgetError(
                    f"SparseVLM: keeping {total} of {visual} tokens after the first cut leaves {counts[-1]} after the "
                    f"last, at least {least} must stay; ask for at least {math.ceil(least * shares[0] / shares[-1])}"
                )
            return counts
        shares = rows[min(rows, key=lambda target: abs(math.log(target / REFERENCE * visual / total)))]
        spans = [b - a for a, b in zip(layers, (*layers[1:], depth), strict=True)]

        def average(power: float) -> float:
            inside = sum(span * visual * math.pow(share, power) for span, share in zip(spans, shares, strict=True))
            return (layers[0] * visual + inside) / depth

        low, high = 0.0, 64.0
        for _ in range(80):
            middle = (low + high) / 2
            low, high = (low, middle) if average(middle) <= total else (middle, high)
        counts = [math.floor(visual * math.pow(share, high) + 1e-9) for share in shares]
        if counts[-1] < least or average(high) > total:
            floor = average(math.log(least / visual) / math.log(shares[-1]))
            raise too_low(self.title, total, floor, layers[0], shape)
        return counts


def _recycled(features: Tensor, dropped: Tensor) -> tuple[Tensor, Tensor]:
    """(C, d) means of the clusters of the best dropped tokens, and (C,) the tokens at their centres."""
    from tops.selection.clustering import cluster_density_peaks, cluster_means

    count, clusters = recycling(len(dropped))
    best = dropped[:count]
    found = cluster_density_peaks(features[best], clusters)
    return cluster_means(features[best], found), best[found.centres]


def recycling(dropped: int) -> tuple[int, int]:
    """How many of the dropped tokens are recycled, and into how many merged ones."""
    count = int(dropped * 0.3) + 1
    return count, int(count / 10) + 1


def kept_of(total: int, have: int) -> int:
    """Tokens kept as they are so that, with the merged ones, ``total`` of ``have`` remain; the most where two fit.

    Raises
    ------
    BudgetError
        If the merged tokens of so many dropped ones alone exceed the total.
    """
    for kept in range(total - 1, 0, -1):
        after = kept + recycling(have - kept)[1]
        if after == total:
            return kept
        if after < total:
            break
    raise BudgetError(
        f"SparseVLM cannot leave {total} of {have} tokens after a cut: with one token kept, recycling adds "
        f"{recycling(have - 1)[1]}, so its floor there is {1 + recycling(have - 1)[1]}; give a larger budget, or use "
        "version=plus (no recycling)"
    )
