"""TRIM: keep the patches that the question picks out, and one mean of all others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from tops.methods._encoder import encoder_row
from tops.methods.base import BeforeModel
from tops.methods.units import Group, Rows, unit_after_unit
from tops.signals import PruningPoint, Signal

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class TRIM(BeforeModel):
    """TRIM (Song et al., COLING 2025, arXiv 2409.10994), without its fine-tuning.

    A patch scores the softmax over patches of **minus** its plain product with the question in CLIP's joint space; the
    paper writes a cosine, the official code (``FreedomIntelligence/TRIM`` at ``f5a232d``) and its author the product
    and the minus. The mean of the encoder features of all other patches follows as one token. Tiles of
    LLaVA-NeXT, which the official code does not serve, are treated one by one; that is ours.

    Parameters
    ----------
    budget : Budget, int or float
        Tokens per image, shared among its tiles. The means count: T tokens are T - 1 patches and one mean per tile.
    count : {"budget", "outliers"}
        ``outliers``: the official automatic rule instead of a budget, all scores above ``Q3 + 1.5 (Q3 - Q1)``, about a
        fifth of the patches; the count then follows the image.
    """

    name: ClassVar[str] = "trim"
    title: ClassVar[str] = "TRIM"
    signals: ClassVar[frozenset[Signal]] = frozenset({Signal.ENCODER, Signal.TEXT_TOWER})
    reads_question: ClassVar[bool] = True

    count: Literal["budget", "outliers"] = "budget"

    @property
    def takes_budget(self) -> bool:
        """Not with ``count=outliers``."""
        return self.count == "budget"

    @property
    def follows_prompt(self) -> bool:
        """With ``count=outliers``."""
        return self.count == "outliers"

    def values(self, point: PruningPoint) -> Mapping[str, Tensor]:
        """Each token's row among the encoder features, and what opposes it to the question."""
        return {"row": encoder_row(point), "opposed": self.opposed(point)}

    def choose(self, group: Group) -> Rows:
        """(G, keep) rows: the kept patches in order, and the mean of the others where the tile ends."""
        import torch

        from tops.selection import top_k_lowest_index
        from tops.selection.merging import mean_of_rows
        from tops.selection.outliers import quartile_outliers

        table = group.point.vision.encoder_features().flatten(0, 1)
        row, opposed = group["row"], group["opposed"]
        n, keep = opposed.shape[1], group.keep - 1
        if self.count == "outliers":
            # The official expression: the product can fall below the count and lose one patch.
            keep = int(n * (quartile_outliers(opposed[0].softmax(0)) / n))
        order = top_k_lowest_index(opposed, n)
        places = torch.cat([order[:, :keep].sort(1).values, order.new_full((len(group), 1), n - 1)], 1)
        # Of whole rows, index_select copies several times as fast as indexing with a tensor.
        rows = table.index_select(0, row.gather(1, places).flatten()).view(*places.shape, -1)
        rows[:, -1] = mean_of_rows(table, row.gather(1, order[:, keep:]))
        return Rows(places, rows, unit_after_unit(group, places), encoder=True)

    def opposed(self, point: PruningPoint) -> Tensor:
        """(N,) float32: minus the product of each patch with the question; its softmax over a tile is the score."""
        text = point.text.clip_embeddings(point.text.question.replace("<image>", " "), segments=False).float()[0]
        joint = point.vision.packed(point.vision.joint_embeddings()).float()
        return -(joint @ text.to(joint.device))
