"""LLaVA-Video-7B: SigLIP on every frame, 27 x 27 patches pooled to 13 x 13, a newline a row. One frame = one unit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from tops.backbones._packed import PackedSignals
from tops.backbones._qwen import QWEN2_7B
from tops.backbones._runs import check_pixels
from tops.backbones._siglip import SiglipLlava
from tops.backbones.base import Call, Layout, VisionContext
from tops.errors import UnsupportedModelError
from tops.signals import VisionSignals

if TYPE_CHECKING:
    import torch
    from torch import Tensor
    from transformers import PretrainedConfig, PreTrainedModel


class LlavaVideo(SiglipLlava):
    """``LlavaVideoForConditionalGeneration``, the native class of :mod:`tops.backbones._llava_video_model`."""

    family = "llava-video"
    model_classes: ClassVar[tuple[str, ...]] = ("LlavaVideoForConditionalGeneration",)
    model_types: ClassVar[tuple[str, ...]] = ("llava_video", "llava_qwen")
    checkpoints: ClassVar[tuple[str, ...]] = ("lmms-lab/LLaVA-Video-7B-Qwen2",)
    published: ClassVar[dict[tuple[str, int, int], str]] = {("qwen2", 28, 3584): "llava-video-7b"}

    @property
    def side(self) -> int:
        """Tokens along a frame's side, after the pooling."""
        config: Any = self.model.config
        return int(config.vision_config.image_size // config.vision_config.patch_size // config.mm_spatial_pool_stride)

    def layout(self, call: Call, placeholders: Sequence[int]) -> list[Layout]:
        """Each frame a pooled grid with a newline after every row; videos go to samples by their placeholders."""
        if call.get("pixel_values") is not None:
            raise UnsupportedModelError(
                "LLaVA-Video prompts are pruned for videos only; give a single image as a video of one frame"
            )
        side, videos = self.side, call.get("pixel_values_videos")
        if videos is not None:
            check_pixels(videos, int(self.model.config.vision_config.image_size))
        frames = 0 if videos is None else int(videos.shape[1])
        per_video, given = frames * side * (side + 1), 0 if videos is None else int(videos.shape[0])
        layouts, used = [], 0
        for count in placeholders:
            mine = count // per_video if per_video else 0
            if mine * per_video != count:
                raise UnsupportedModelError(
                    f"a prompt has {count} video placeholders, but a video of {frames} frames gives {per_video}; let "
                    "the processor expand the video token"
                )
            layouts.append(self._frames(mine * frames, side))
            used += mine
        if used != given:
            raise UnsupportedModelError(f"{given} video(s) were given, but the prompts have placeholders for {used}")
        return layouts

    @staticmethod
    def _frames(frames: int, side: int) -> Layout:
        import torch

        grid = Layout.grids([(side, side + 1)] * frames)
        newline = grid.col == side
        patch = torch.where(newline, -1, grid.row * side + grid.col)
        return Layout(grid.unit, grid.image, grid.row, grid.col, patch, newline)

    def media(self, call: Call, layouts: Sequence[Layout]) -> dict[str, list[int]]:
        """Videos of each sample, all of as many frames."""
        videos = call.get("pixel_values_videos")
        frames = 1 if videos is None else int(videos.shape[1])
        return {"pixel_values_videos": [layout.images // frames for layout in layouts]}

    def vision(self, context: VisionContext) -> VisionSignals:
        """Mean attention received in the feature layer, averaged over each pooling cell."""
        return _SiglipSignals(context, self)

    def bench_media(self, visual: int, frames: int, generator: torch.Generator) -> tuple[int, int, dict[str, Tensor]]:
        """One video of ``frames`` frames."""
        import torch

        config: Any = self.model.config
        pixels = int(config.vision_config.image_size)
        media = {"pixel_values_videos": torch.randn(1, frames, 3, pixels, pixels, generator=generator)}
        return config.video_token_id, frames * self.side * (self.side + 1), media

    @classmethod
    def real_config(cls, checkpoint: str) -> PretrainedConfig:
        """Sizes of ``lmms-lab/LLaVA-Video-7B-Qwen2``."""
        from tops.backbones._llava_video_model import LlavaVideoConfig

        return LlavaVideoConfig.from_original(
            {
                "mm_vision_tower": "google/siglip-so400m-patch14-384",
                "vocab_size": 152064,
                **QWEN2_7B,
                "max_position_embeddings": 32768,
                "rope_theta": 1e6,
            }
        )

    @classmethod
    def reads(cls, content: Mapping[str, Any]) -> bool:
        """Also the authors' own ``config.json``."""
        from tops.backbones._llava_video_model import is_original

        return is_original(content) or super().reads(content)

    @classmethod
    def load_config(cls, checkpoint: str, revision: str | None) -> PretrainedConfig:
        """Configuration, also from the authors' own ``config.json``."""
        from transformers import PretrainedConfig

        # Importing the module registers its configuration with AutoConfig.
        from tops.backbones._llava_video_model import LlavaVideoConfig, is_original

        content, _ = PretrainedConfig.get_config_dict(checkpoint, revision=revision)
        return (
            LlavaVideoConfig.from_original(content)
            if is_original(content)
            else super().load_config(checkpoint, revision)
        )

    @classmethod
    def load_processor(cls, checkpoint: str, revision: str | None) -> Any:
        """The saved processor; for the authors' checkpoint, which has a tokenizer only, one in their settings."""
        from transformers import AutoTokenizer, PretrainedConfig

        from tops.backbones._llava_video_model import LlavaVideoConfig, LlavaVideoProcessor, is_original

        content, _ = PretrainedConfig.get_config_dict(checkpoint, revision=revision)
        if not is_original(content):
            return LlavaVideoProcessor.from_pretrained(checkpoint, revision=revision or "main")
        config = LlavaVideoConfig.from_original(content)
        tokenizer = AutoTokenizer.from_pretrained(checkpoint, revision=revision)
        return LlavaVideoProcessor.for_original(config, tokenizer)

    @classmethod
    def model_class(cls, config: PretrainedConfig) -> type[PreTrainedModel]:
        """The subclass of LLaVA-OneVision."""
        from tops.backbones._llava_video_model import LlavaVideoForConditionalGeneration

        return LlavaVideoForConditionalGeneration


class _SiglipSignals(PackedSignals):
    """Received attention of SigLIP's layers, pooled like the features."""

    def pooled(self, per_patch: Tensor) -> Tensor:
        """(U, patches) -> (N,): mean of each pooling cell."""
        from torch.nn.functional import avg_pool2d

        side = int(per_patch.shape[1] ** 0.5)
        stride = int(self.adapter.model.config.mm_spatial_pool_stride)
        return self.packed(avg_pool2d(per_patch.view(len(per_patch), 1, side, side), stride).flatten(1))
