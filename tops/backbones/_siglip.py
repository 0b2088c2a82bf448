"""What LLaVA models on a SigLIP tower share (LLaVA-Video, LLaVA-OneVision): without a CLS token, attention received."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from tops.backbones.base import Adapter
from tops.errors import UnsupportedModelError
from tops.signals import Signal

if TYPE_CHECKING:
    from torch import nn

    from tops.backbones.inputs import Inputs


TOWER: dict[str, Any] = {
    "model_type": "siglip_vision_model",
    "hidden_size": 1152,
    "intermediate_size": 4304,
    "num_hidden_layers": 26,
    "num_attention_heads": 16,
    "image_size": 384,
    "patch_size": 14,
    "vision_use_head": False,
}
"""``google/siglip-so400m-patch14-384`` without its 27th layer and its pooling head, as the authors' code cuts it."""


class SiglipLlava(Adapter):
    """The tower's feature layer, and Qwen2's chat template. Serves no class by itself."""

    signals: ClassVar[frozenset[Signal]] = frozenset({Signal.SALIENCY, Signal.RECEIVED, Signal.FRAMES})
    turns: ClassVar[tuple[tuple[str, str], ...]] = (("<|im_start|>user\n", "<|im_end|>"),)
    chat = "llava_hf"

    @property
    def _encoder(self) -> Any:
        tower = self._module(self.outer, "vision_tower")
        return self._module(self._module(tower, "encoder"), "layers")

    @property
    def feature_layer(self) -> int:
        """Index of the tower layer whose output the projector reads: the last of 26."""
        layer = int(self.model.config.vision_feature_layer)
        return (layer if layer >= 0 else len(self._encoder) + 1 + layer) - 1

    def chat_settings(self, inputs: Inputs) -> dict[str, Any]:
        """Frames of a video."""
        return {"max_frames_num": inputs.frames}

    def check(self) -> None:
        """Refuse towers that are not SigLIP."""
        kind = self.model.config.vision_config.model_type
        if kind != "siglip_vision_model":
            raise UnsupportedModelError(f"vision tower {kind!r} is not served here, only 'siglip_vision_model'")

    @property
    def tower_attention(self) -> list[nn.Module]:
        """SigLIP's attention modules."""
        return [layer.self_attn for layer in self._encoder]
