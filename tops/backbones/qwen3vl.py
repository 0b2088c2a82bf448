"""Qwen3-VL-8B: features of the vision tower's middle layers are added behind the first decoder layers (DeepStack).

A cut takes these features along with its tokens: :attr:`tops.backbones.base.Adapter.adds_later`. Positions are those of
interleaved mRoPE, and a time in words stands before every step of a video.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from tops.backbones._qwen import MARKS
from tops.backbones.image_layouts import ImageLayout
from tops.backbones.qwen2vl import Qwen2VL

if TYPE_CHECKING:
    from transformers import PretrainedConfig

    from tops.backbones.inputs import Inputs


class Qwen3VL(Qwen2VL):
    """``Qwen3VLForConditionalGeneration``, not its mixture of experts."""

    family = "qwen3-vl"
    model_classes = ("Qwen3VLForConditionalGeneration",)
    model_types = ("qwen3_vl",)
    checkpoints = ("Qwen/Qwen3-VL-8B-Instruct",)
    published: ClassVar[dict[tuple[str, int, int], str]] = {("qwen3_vl_text", 36, 4096): "qwen3-vl-8b"}
    adds_later = "_deepstack_process"
    frames_apart = True
    merged = 32  # 16-pixel patches, merged 2 x 2
    chat = "qwen3_vl"
    image_layouts: ClassVar[Mapping[str, ImageLayout]] = {
        # The range of the stock lmms-eval model.
        "dynamic": ImageLayout("dynamic", pixels=(256 * 28**2, 1605632)),
        # 36 x 36 tokens, as Qwen2.5-VL has of 1008 pixels.
        "fixed-1152": ImageLayout("fixed-1152", tokens=1296, side=1152, pixels=(1152**2, 1152**2)),
        "square-1152": ImageLayout("square-1152", tokens=1296, side=1152, pad=True, pixels=(1152**2, 1152**2)),
    }

    def chat_settings(self, inputs: Inputs) -> dict[str, Any]:
        """Also the stock system prompt, and no thinking."""
        stock = {"system_prompt": "You are a helpful assistant.", "total_pixels": None, "enable_thinking": None}
        return {**super().chat_settings(inputs), **stock, "_rank": 0, "_world_size": 1}

    @classmethod
    def real_config(cls, checkpoint: str) -> PretrainedConfig:
        """Sizes of ``Qwen/Qwen3-VL-8B-Instruct``."""
        from transformers import Qwen3VLConfig

        return Qwen3VLConfig(
            text_config={
                "vocab_size": 151936,
                "hidden_size": 4096,
                "intermediate_size": 12288,
                "num_hidden_layers": 36,
                "num_attention_heads": 32,
                "num_key_value_heads": 8,
                "head_dim": 128,
                "max_position_embeddings": 262144,
                "rms_norm_eps": 1e-6,
                "rope_parameters": {
                    "rope_type": "default",
                    "rope_theta": 5e6,
                    "mrope_section": [24, 20, 20],
                    "mrope_interleaved": True,
                },
            },
            vision_config={
                "depth": 27,
                "hidden_size": 1152,
                "intermediate_size": 4304,
                "num_heads": 16,
                "out_hidden_size": 4096,
                "patch_size": 16,
                "spatial_merge_size": 2,
                "temporal_patch_size": 2,
                "num_position_embeddings": 2304,
                "deepstack_visual_indexes": [8, 16, 24],
            },
            **MARKS,
        )
