"""Qwen2-VL-7B: Qwen2.5-VL's prompt and positions, and a ViT in which every patch attends to its whole image."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from tops.backbones.base import Adapter
from tops.backbones.qwen25vl import Qwen25VL

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PretrainedConfig

    from tops.signals import Tower


class Qwen2VL(Qwen25VL):
    """``Qwen2VLForConditionalGeneration``. lmms-eval's chat model of Qwen2.5-VL asks it: it has none of its own."""

    family = "qwen2-vl"
    model_classes = ("Qwen2VLForConditionalGeneration",)
    model_types = ("qwen2_vl",)
    checkpoints = ("Qwen/Qwen2-VL-7B-Instruct",)
    published: ClassVar[dict[tuple[str, int, int], str]] = {("qwen2_vl_text", 28, 3584): "qwen2-vl-7b"}

    @property
    def tower(self) -> Tower:
        """The blocks, all of them whole."""
        return Adapter.tower.fget(self)  # type: ignore[attr-defined, no-any-return]

    @property
    def feature_layer(self) -> int:
        """The last block."""
        return len(self.visual.blocks) - 1

    def patch_order(self, grid: Tensor) -> Tensor | None:
        """The tower keeps the order of the prompt."""
        return None

    @classmethod
    def real_config(cls, checkpoint: str) -> PretrainedConfig:
        """Sizes of ``Qwen/Qwen2-VL-7B-Instruct``."""
        from transformers import Qwen2VLConfig

        return Qwen2VLConfig(
            text_config={
                "vocab_size": 152064,
                "hidden_size": 3584,
                "intermediate_size": 18944,
                "num_hidden_layers": 28,
                "num_attention_heads": 28,
                "num_key_value_heads": 4,
                "max_position_embeddings": 32768,
                "rms_norm_eps": 1e-6,
                "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [16, 24, 24]},
            },
            vision_config={
                "depth": 32,
                "embed_dim": 1280,
                "hidden_size": 3584,
                "mlp_ratio": 4,
                "num_heads": 16,
                "patch_size": 14,
                "spatial_merge_size": 2,
                "temporal_patch_size": 2,
            },
            image_token_id=151655,
            video_token_id=151656,
            vision_start_token_id=151652,
            vision_end_token_id=151653,
        )
