"""Signals of vision towers, read from one layer's projections: no tower ever runs in eager attention."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from tops.backbones._packed import PackedSignals
from tops.backbones._precision import as_the_model_runs
from tops.backbones._received import cls_rows, tower_keys, tower_queries
from tops.backbones.base import Adapter, VisionContext
from tops.errors import MissingSignalError
from tops.signals import TowerLayer

if TYPE_CHECKING:
    from torch import Tensor


class TowerSignals(PackedSignals):
    """Signals of a tower with a CLS token in front, attention with separate q/k projections, units of equal size.

    Reads the watch ``features`` (what the projector reads, CLS first) beside the attention inputs.

    Parameters
    ----------
    context : VisionContext
        The sample.
    adapter : Adapter
        Its family.
    projector : callable
        (..., c) -> (..., d).
    """

    def __init__(self, context: VisionContext, adapter: Adapter, *, projector: Callable[[Tensor], Tensor]) -> None:
        super().__init__(context, adapter)
        self._projector = projector
        self._rows: dict[int, Tensor] = {}

    def cls_attention(self, *, layer: TowerLayer = "feature") -> Tensor:
        """(U, H, 1 + n) float32: softmaxed CLS row of a layer, CLS column included."""
        number = self.number(layer)
        if number not in self._rows:
            self._rows[number] = cls_rows(*self.attention_input(number)).to(self.context.device)
        return self._rows[number]

    def encoder_features(self) -> Tensor:
        """(U, 1 + n, c): what the projector reads, CLS first."""
        return self.context.units("features").to(self.context.device)

    def encoder_keys(self, *, layer: TowerLayer = "feature") -> Tensor:
        """(U, H, 1 + n, c / H): key projections, bias included, unscaled."""

        with as_the_model_runs():
            return tower_keys(*self.attention_input(layer)).to(self.context.device)

    def encoder_cls_query(self, *, layer: TowerLayer = "feature") -> Tensor:
        """(U, H, c / H): query projection of the CLS token, bias included, unscaled."""

        module, states = self.attention_input(layer)
        with as_the_model_runs():
            return tower_queries(module, states[:, :1])[:, :, 0].to(self.context.device)

    def joint_embeddings(self) -> Tensor:
        """(U, n, j): patches in CLIP's joint space.

        Raises
        ------
        MissingSignalError
            Without a text encoder.
        """
        if self.context.text_encoder is None:
            raise MissingSignalError(
                "joint embeddings need CLIP's text tower; pass text_encoder= to prune(), or text_tower= "
                "to load_backbone()"
            )
        features = self.context.units("features")[:, 1:]
        return self.context.text_encoder.project_patches(features).to(self.context.device)

    def project(self, rows: Tensor) -> Tensor:
        """(M, c) -> (M, d): the projector on single encoder rows."""
        weight = self.context.units("features")
        with as_the_model_runs():
            return self._projector(rows.to(weight.device, weight.dtype)).to(self.context.device)
