"""What LLaVA models on a SigLIP tower share (LLaVA-Video, LLaVA-OneVision): without a CLS token, attention received."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from tops.backbones.base import Adapter, Watch
from tops.backbones.received import received_attention
from tops.backbones.vision import split_heads
from tops.errors import UnsupportedModelError
from tops.signals import Signal


class SiglipLlava(Adapter):
    """The tower's feature layer, and Qwen2's chat template. Serves no class by itself."""

    signals: ClassVar[frozenset[Signal]] = frozenset({Signal.SALIENCY})
    turns: ClassVar[tuple[tuple[str, str], ...]] = (("<|im_start|>user\n", "<|im_end|>"),)

    @property
    def _encoder(self) -> Any:
        tower = self._module(self.outer, "vision_tower")
        return self._module(self._module(tower, "encoder"), "layers")

    @property
    def feature_layer(self) -> int:
        """Index of the tower layer whose output the projector reads: the last of 26."""
        layer = int(self.model.config.vision_feature_layer)
        return (layer if layer >= 0 else len(self._encoder) + 1 + layer) - 1

    def check(self) -> None:
        """Refuse towers that are not SigLIP."""
        kind = self.model.config.vision_config.model_type
        if kind != "siglip_vision_model":
            raise UnsupportedModelError(f"vision tower {kind!r} is not served here, only 'siglip_vision_model'")

    def watches(self) -> list[Watch]:
        """Attention input of the feature layer."""
        return [Watch("feature", self._encoder[self.feature_layer].self_attn)]


def received_per_unit(module: Any, states: Tensor, reduce: Literal["mean", "sum"]) -> Tensor:
    """(U, n, c) -> (U, n) float32: mean attention that each patch receives in a layer of a tower without a CLS token.

    One unit at a time: 64 frames of 16 heads and 729 x 729 maps would not be flat in memory.

    Parameters
    ----------
    module : nn.Module
        Attention of the layer, with ``q_proj``, ``k_proj``, ``num_heads`` and ``scale``.
    states : Tensor, (U, n, c)
        Its input.
    reduce : {"mean", "sum"}
        Over heads.
    """
    rows = []
    with torch.no_grad():
        for unit in torch.split(states, 1):
            queries, keys = (split_heads(p(unit), module.num_heads) for p in (module.q_proj, module.k_proj))
            received = received_attention(queries, keys, module.scale)
            rows.append(received.mean(1) if reduce == "mean" else received.sum(1))
    return torch.cat(rows)
