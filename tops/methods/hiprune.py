"""HiPrune: objects from a middle layer of the vision tower with what surrounds them, registers from a deep one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from tops.errors import ConfigurationError
from tops.methods.base import BeforeModel
from tops.methods.units import Group
from tops.signals import PruningPoint, Signal, Tower

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class HiPrune(BeforeModel):
    """HiPrune (Liu et al., arXiv 2508.00553).

    In every tile: the patches that receive the most attention in a middle layer, each with its four neighbours, and up
    to the count those that receive the most in the deep layer. Attention is the mean over heads and all queries.
    Official code: ``Danielement321/HiPrune`` at ``6e83a12``. Neighbours are numbers in raster order, so that those of a
    patch at the edge lie on the next row, or are clamped to the first or last patch, as in that code; its README says
    spatially adjacent.

    Parameters
    ----------
    budget : Budget, int or float
        Tokens per image, shared among its tiles; the official code drops the remainder of that division.
    alpha : float
        Share of the budget for anchors and their neighbours. Below 26 tokens a tile 0.1 leaves no anchor.
    object_layer : int or None
        Layer, from 0, in which anchors are found. None: a third of the depth, which is the official 8 of CLIP's 24; on
        a tower that attends in windows the layer without windows nearest to the official 15 of Qwen2.5-VL's 32.
    registers : {"exact", "subtract"}
        ``exact``: registers are none of the anchors and neighbours, which keeps the count. ``subtract``: the official
        code subtracts 1 from their score instead. That is the same where scores are means of probabilities (CLIP); on
        towers without a CLS token its scores are sums of about 1, and fewer tokens stay than were asked for.
    """

    name: ClassVar[str] = "hiprune"
    title: ClassVar[str] = "HiPrune"
    signals: ClassVar[frozenset[Signal]] = frozenset({Signal.RECEIVED})

    alpha: float = 0.1
    object_layer: int | None = None
    registers: Literal["exact", "subtract"] = "exact"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.alpha <= 1:
            raise ConfigurationError(f"HiPrune: alpha={self.alpha} is a share of the budget; it must lie in [0, 1]")

    @property
    def follows_prompt(self) -> bool:
        """With ``subtract``, where the count may fall short."""
        return self.registers == "subtract"

    def tower_layers(self, tower: Tower) -> tuple[int, ...]:
        """The layer of the anchors."""
        if self.object_layer is not None:
            return (self.object_layer,)
        if len(tower.whole) == tower.depth:
            return (tower.depth * 8 // 24,)
        return (min(tower.whole, key=lambda layer: abs(layer - tower.depth * 15 / 32)),)

    def values(self, point: PruningPoint) -> Mapping[str, Tensor]:
        """Attention received in the middle and in the deep layer."""
        vision = point.vision
        (layer,) = self.tower_layers(vision.tower)
        deep = vision.attention_received()
        if self.registers == "subtract" and Signal.CLS not in vision.signals:
            deep = deep / deep.mean()  # a sum over queries instead of their mean
        return {"middle": vision.attention_received(layer=layer), "deep": deep}

    def choose(self, group: Group) -> Tensor:
        """(G, keep) int64: anchors, neighbours and registers, ascending."""
        from tops.selection.hierarchy import anchor_count, select_hierarchy

        column = group.point.tokens.col[group.positions]
        found = select_hierarchy(
            group["middle"],
            group["deep"],
            group.keep,
            anchors=anchor_count(group.keep, self.alpha),
            columns=column.amax(1) - column.amin(1) + 1,
            exclude=self.registers == "exact",
        )
        return found.kept.nonzero()[:, 1].view(len(group), -1)
