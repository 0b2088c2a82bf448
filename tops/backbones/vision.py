"""Signals of vision towers, read from one layer's projections: no tower ever runs in eager attention."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn

from tops.backbones.base import VisionContext
from tops.backbones.packed import PackedSignals
from tops.errors import MissingSignalError
from tops.signals import Signal

Layer = Literal["feature", "last"]


def split_heads(states: Tensor, heads: int) -> Tensor:
    """(U, T, H * c) -> (U, H, T, c)."""
    return states.view(*states.shape[:-1], heads, -1).transpose(1, 2)


class TowerSignals(PackedSignals):
    """Signals of a tower with a CLS token in front, attention with separate q/k projections, units of equal size.

    Reads the watches ``feature`` (input of the attention of the layer whose output the projector reads), ``features``
    (that layer's output) and, where there is a layer after it, ``last`` (input of that one's attention).

    Parameters
    ----------
    context : VisionContext
        The sample.
    attention : dict of str to nn.Module
        The attention modules behind ``feature`` and ``last``.
    projector : callable
        (..., c) -> (..., d).
    signals : frozenset of Signal
        What the family has.
    """

    def __init__(
        self,
        context: VisionContext,
        *,
        attention: dict[Layer, nn.Module],
        projector: Callable[[Tensor], Tensor],
        signals: frozenset[Signal],
    ) -> None:
        super().__init__(context, signals | {Signal.TEXT_TOWER} if context.text_encoder is not None else signals)
        self._attention: dict[Layer, Any] = dict(attention)
        self._projector = projector
        self._cls_attention: Tensor | None = None

    def cls_attention(self) -> Tensor:
        """(U, H, 1 + n) float32: softmaxed CLS row of the feature layer, CLS column included."""
        if self._cls_attention is None:
            module, states = self._attention["feature"], self.context.units("feature")
            query = self._project(module.q_proj, states[:, :1], module).float()
            keys = self._project(module.k_proj, states, module).float()
            scores = (query @ keys.transpose(-1, -2)) * module.scale
            self._cls_attention = scores.softmax(-1)[:, :, 0].to(self.context.device)
        return self._cls_attention

    def saliency(self, *, reduce: Literal["mean", "sum"] = "mean") -> Tensor:
        """(N,) float32: CLS attention of each visual token, reduced over heads."""
        rows = self.cls_attention()[:, :, 1:]
        return self.packed(rows.mean(1) if reduce == "mean" else rows.sum(1))

    def encoder_features(self) -> Tensor:
        """(U, 1 + n, c): what the projector reads, CLS first."""
        return self.context.units("features").to(self.context.device)

    def encoder_keys(self, *, layer: Layer = "feature") -> Tensor:
        """(U, H, 1 + n, c / H): key projections, bias included, unscaled."""
        module = self._layer(layer)
        return self._project(module.k_proj, self.context.units(layer), module).to(self.context.device)

    def encoder_cls_query(self, *, layer: Layer = "feature") -> Tensor:
        """(U, H, c / H): query projection of the CLS token, bias included, unscaled."""
        module = self._layer(layer)
        query = self._project(module.q_proj, self.context.units(layer)[:, :1], module)
        return query[:, :, 0].to(self.context.device)

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
        return self._projector(rows.to(weight.device, weight.dtype)).to(self.context.device)

    def _layer(self, layer: Layer) -> Any:
        if layer not in self._attention:
            raise MissingSignalError(
                f"the vision tower has no layer {layer!r}: its features come from the very last one"
            )
        return self._attention[layer]

    def _project(self, linear: nn.Module, states: Tensor, module: Any) -> Tensor:
        with torch.no_grad():
            return split_heads(linear(states), module.num_heads)
