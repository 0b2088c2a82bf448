"""What LLaVA models on a SigLIP tower share (LLaVA-Video, LLaVA-OneVision): without a CLS token, attention received."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from tops.backbones.base import Adapter
from tops.errors import UnsupportedModelError
from tops.signals import Signal

if TYPE_CHECKING:
    from torch import nn


class SiglipLlava(Adapter):
    """The tower's feature layer, and Qwen2's chat template. Serves no class by itself."""

    signals: ClassVar[frozenset[Signal]] = frozenset({Signal.SALIENCY, Signal.RECEIVED, Signal.FRAMES})
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

    @property
    def tower_attention(self) -> list[nn.Module]:
        """SigLIP's attention modules."""
        return [layer.self_attn for layer in self._encoder]
