"""Qwen2-VL-7B: Qwen2.5-VL's prompt and positions, and a ViT in which every patch attends to its whole image."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from tops.backbones._qwen import MARKS, MROPE, QWEN2_7B
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
                **QWEN2_7B,
                "max_position_embeddings": 32768,
                "rope_parameters": MROPE,
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
            **MARKS,
        )
