"""LLaVA-PruMerge and PruMerge+: patches that CLS attends to, a uniform supplement, and everything else merged in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from tops.methods._encoder import patch_features
from tops.methods.base import BeforeModel
from tops.methods.units import Group, Rows, unit_after_unit
from tops.signals import PruningPoint, Signal

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class PruMergePlus(BeforeModel):
    """LLaVA-PruMerge+ (Shang, Cai et al., ICCV 2025, arXiv 2403.15388), training-free.

    Scores are the CLS row of a single-head attention over all channels of the last tower layer's queries and keys. Each
    chosen patch takes in its 32 neighbours by key, weighted by score; one extra token sums up the patches not chosen.
    Sums are not normalised and tokens stay in order of selection, by score and then by place, as in the official code
    (``42Shawn/LLaVA-PruMerge`` at ``097c041``; the paper writes a weighted average). Tiles of LLaVA-NeXT, which the
    official code does not serve, are treated one by one; that is ours.

    Parameters
    ----------
    budget : Budget, int or float
        Tokens per image, shared among its tiles, extra tokens included.
    rule : {"fixed", "literal", "adaptive"}
        ``fixed``: half by score, half uniform, each patch once, gaps refilled by score: exactly the budget.
        ``literal``: the official non-adaptive branch at ``ratio = T / 2N``, T slots and the extra token, in which a
        patch may fill two slots and as many others vanish; so the budget is exceeded by one per tile. ``adaptive``: the
        repository's default, the outliers of the scores and a supplement; the count follows the image and the budget
        is left out.
    supplement : bool
        False is PruMerge without the plus: scores alone.
    neighbours : int
        Patches merged into each chosen one.
    """

    name: ClassVar[str] = "prumerge_plus"
    title: ClassVar[str] = "PruMerge+"
    signals: ClassVar[frozenset[Signal]] = frozenset({Signal.CLS, Signal.ENCODER})

    rule: Literal["fixed", "literal", "adaptive"] = "fixed"
    supplement: bool = True
    neighbours: int = 32

    @property
    def takes_budget(self) -> bool:
        """Not with ``rule=adaptive``."""
        return self.rule != "adaptive"

    @property
    def follows_prompt(self) -> bool:
        """With ``rule=adaptive``."""
        return self.rule == "adaptive"

    def least_of_unit(self, have: frozenset[Signal]) -> int:
        """The official uniform places need two slots."""
        return 2 if self.rule == "literal" and self.supplement else 1

    def values(self, point: PruningPoint) -> Mapping[str, Tensor]:
        """Encoder features, and the last layer's scores and keys."""
        scores, keys = self.scores_keys(point)
        return {"features": patch_features(point), "scores": scores, "keys": keys}

    def choose(self, group: Group) -> Rows:
        """The merged patches in order of selection, and the extra token where the tile ends."""
        import torch

        from tops.selection.merging import merge_neighbours

        features, keys, scores = group["features"], group["keys"], group["scores"]
        chosen, rest = self._split(scores, group.keep)
        merged, extra = merge_neighbours(features, keys, scores, chosen, rest, neighbours=self.neighbours)
        places = torch.cat([chosen, chosen.new_full((len(group), 1), scores.shape[1] - 1)], 1)
        return Rows(places, torch.cat([merged, extra], 1), unit_after_unit(group, places), encoder=True)

    def scores_keys(self, point: PruningPoint) -> tuple[Tensor, Tensor]:
        """(N,) and (N, c) float32: single-head CLS attention of the last layer, CLS in its softmax, and the keys."""
        import torch

        vision = point.vision
        keys = vision.encoder_keys(layer="last").transpose(1, 2).flatten(2).float()
        query = vision.encoder_cls_query(layer="last").flatten(1).float()
        attention = (torch.einsum("uc,utc->ut", query, keys) * keys.shape[-1] ** -0.5).softmax(-1)
        return vision.packed(attention[:, 1:]), vision.packed(keys[:, 1:])

    def _split(self, scores: Tensor, keep: int) -> tuple[Tensor, Tensor]:
        """Chosen patches (B, K) in output order and the others (B, M) ascending."""
        from tops.selection.supplement import choose_adaptive, choose_fixed, choose_literal

        if self.rule == "adaptive":
            return choose_adaptive(scores, supplement=self.supplement)
        if self.rule == "literal":
            return choose_literal(scores, keep, supplement=self.supplement)
        return choose_fixed(scores, keep - 1, supplement=self.supplement)
