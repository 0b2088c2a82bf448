"""Qwen2.5-VL-7B: a windowed ViT, 2 x 2 patches merged into a token, mRoPE. One image or pair of frames = one unit."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import isqrt
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from tops.backbones._packed import PackedSignals
from tops.backbones._precision import as_the_model_runs
from tops.backbones._qwen import MARKS, MROPE, QWEN2_7B
from tops.backbones._received import received_attention
from tops.backbones._runs import placeholder_runs
from tops.backbones.base import Adapter, Call, Layout, Seen, VisionContext, attention_of
from tops.backbones.image_layouts import ImageLayout
from tops.errors import ConfigurationError, UnsupportedModelError
from tops.signals import Signal, Tower, TowerLayer, VisionSignals

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn
    from transformers import PretrainedConfig

    from tops.backbones.inputs import Inputs


MERGED = 28
"""14-pixel patches, merged 2 x 2."""


@dataclass(frozen=True)
class _Item:
    """One image or video of a prompt: which call of the tower it was in, and where in that call's tokens."""

    video: bool
    start: int
    grid: tuple[int, int, int]

    @property
    def tokens(self) -> int:
        return self.grid[0] * self.grid[1] * self.grid[2]


class Qwen25VL(Adapter):
    """``Qwen2_5_VLForConditionalGeneration``."""

    family = "qwen2.5-vl"
    model_classes = ("Qwen2_5_VLForConditionalGeneration",)
    model_types = ("qwen2_5_vl",)
    checkpoints = ("Qwen/Qwen2.5-VL-7B-Instruct",)
    signals: ClassVar[frozenset[Signal]] = frozenset({Signal.SALIENCY, Signal.RECEIVED, Signal.FRAMES})
    default_positions = "original"
    published: ClassVar[dict[tuple[str, int, int], str]] = {("qwen2_5_vl_text", 28, 3584): "qwen2.5-vl-7b"}
    turns = (("<|im_start|>user\n", "<|im_end|>"),)
    merged: ClassVar[int] = MERGED
    """Side in pixels of the square that one token covers."""
    chat = "qwen2_5_vl"
    frame_rule = "round"  # that of Qwen's own utilities
    frame_pairs = True
    token_types = True
    frames_apart: ClassVar[bool] = False
    """Whether text stands between the steps of a video, so that each is a run of placeholders of its own."""
    image_layouts: ClassVar[Mapping[str, ImageLayout]] = {
        # The range of the stock lmms-eval model.
        "dynamic": ImageLayout("dynamic", pixels=(256 * MERGED**2, 2048 * MERGED**2)),
        "fixed-1008": ImageLayout("fixed-1008", tokens=1296, side=1008, pixels=(1008**2, 1008**2)),
        # The paper's: padded to a square first, as an author of CDPruner says in its issue 13.
        "square-1008": ImageLayout("square-1008", tokens=1296, side=1008, pad=True, pixels=(1008**2, 1008**2)),
    }

    @property
    def visual(self) -> Any:
        """The vision tower."""
        return self._module(self.outer, "visual")

    @property
    def tower_attention(self) -> list[nn.Module]:
        """Attention of the blocks; most of them attend in windows."""
        return [block.attn for block in self.visual.blocks]

    @property
    def tower(self) -> Tower:
        """The blocks; those with full attention are ``whole``, and the last of them is what saliency reads."""
        depth = len(self.visual.blocks)
        whole = tuple(sorted(i for i in self.visual.fullatt_block_indexes if i < depth))
        return Tower(depth, whole[-1] if whole else depth - 1, whole)

    @property
    def feature_layer(self) -> int:
        """The last block with full attention: the others see windows only."""
        return self.tower.feature

    @property
    def own_signals(self) -> frozenset[Signal]:
        """Without saliency on a tower of windows alone: no block of it sees a whole image."""
        return self.signals if self.tower.whole else self.signals - {Signal.SALIENCY}

    @property
    def lacks(self) -> str:
        """The setting that leaves windows alone."""
        if self.tower.whole:
            return ""
        return (
            f"fullatt_block_indexes={list(self.visual.fullatt_block_indexes)} names none of the tower's "
            f"{len(self.visual.blocks)} blocks, and saliency needs one with full attention"
        )

    def layout(self, call: Call, placeholders: Sequence[int]) -> list[Layout]:
        """Each temporal step of an image or video a grid of merged tokens."""
        layouts = []
        for items in self.items(call, len(placeholders)):
            steps = [(item.grid[1], item.grid[2]) for item in items for _ in range(item.grid[0])]
            layouts.append(Layout.grids(steps))
        return layouts

    def items(self, call: Call, samples: int) -> list[list[_Item]]:
        """Images and videos of every sample in prompt order.

        Raises
        ------
        UnsupportedModelError
            If placeholders and grids do not fit together.
        """
        merge = int(self.visual.spatial_merge_size)
        grids = {
            video: [(t, h // merge, w // merge) for t, h, w in ([] if call.get(name) is None else call[name].tolist())]
            for video, name in ((False, "image_grid_thw"), (True, "video_grid_thw"))
        }
        for video, name in ((False, "pixel_values"), (True, "pixel_values_videos")):
            wanted = sum(t * h * w for t, h, w in grids[video]) * merge**2
            given = 0 if call.get(name) is None else len(call[name])
            if given != wanted:
                raise UnsupportedModelError(
                    f"{name} has {given} patches, and the grids of its images or videos {wanted}; give pixels and "
                    "grids as the processor returns them"
                )
        if self.frames_apart:
            grids[True] = [(1, h, w) for t, h, w in grids[True] for _ in range(t)]
        video_id = self.model.config.video_token_id
        used, offset = {False: 0, True: 0}, {False: 0, True: 0}
        prompts: list[list[_Item]] = []
        for sample in range(samples):
            items: list[_Item] = []
            for token, length in placeholder_runs(call, sample, self.placeholder_ids):
                video, kind = token == video_id, "video" if token == video_id else "image"
                if used[video] >= len(grids[video]):
                    raise UnsupportedModelError(f"the prompts have more {kind}s than the {len(grids[video])} given")
                item = _Item(video, offset[video], grids[video][used[video]])
                if item.tokens != length:
                    raise UnsupportedModelError(
                        f"{kind} {used[video]} of grid {item.grid} gives {item.tokens} tokens, but its prompt has "
                        f"{length} placeholders; let the processor expand the token"
                    )
                used[video] += 1
                offset[video] += length
                items.append(item)
            prompts.append(items)
        for video, kind in ((False, "image"), (True, "video")):
            if used[video] != len(grids[video]):
                raise UnsupportedModelError(
                    f"{len(grids[video])} {kind}(s) were given, but the prompts have placeholders for {used[video]}"
                )
        return prompts

    def patch_order(self, grid: Tensor) -> Tensor | None:
        """(M,) int64: which merged token of grids (n, 3) stands at each place of the tower; None for their own order.

        This tower sorts them by window."""
        from transformers.vision_utils import get_vision_window_index

        visual = self.visual
        order: Tensor = get_vision_window_index(
            grid,
            spatial_merge_size=visual.spatial_merge_size,
            window_size=visual.window_size,
            patch_size=visual.patch_size,
        )[0]
        return order

    def vision(self, context: VisionContext) -> VisionSignals:
        """Mean attention received, over the patches that make a token, in the order of the prompt."""
        return _QwenSignals(context, self)

    @classmethod
    def image_layout_named(cls, name: str) -> ImageLayout:
        """Also ``dynamic-<least>-<most>``, in visual tokens."""
        spoken = re.fullmatch(r"dynamic-(\d+)-(\d+)", name)
        if spoken is None:
            return super().image_layout_named(name)
        least, most = (int(number) for number in spoken.groups())
        if not 1 <= least <= most:
            raise ConfigurationError(f"image_layout={name!r}: the range of visual tokens must be 1 <= least <= most")
        return ImageLayout(name, pixels=(least * cls.merged**2, most * cls.merged**2))

    def chat_settings(self, inputs: Inputs) -> dict[str, Any]:
        """Pixel range of images, frames of a video."""
        stock = self.image_layouts["dynamic"].pixels
        assert stock is not None
        return {
            "min_pixels": inputs.min_pixels or stock[0],
            "max_pixels": inputs.max_pixels or stock[1],
            "max_num_frames": inputs.frames,
            "fps": None,
            "_max_length": 2048,
        }

    def bench_media(self, visual: int, frames: int, generator: torch.Generator) -> tuple[int, int, dict[str, Tensor]]:
        """The largest square image of at most ``visual`` tokens."""
        import torch

        config: Any = self.model.config
        vision, side = config.vision_config, isqrt(visual) * int(config.vision_config.spatial_merge_size)
        width = 3 * int(vision.temporal_patch_size) * int(vision.patch_size) ** 2
        media = {
            "pixel_values": torch.randn(side**2, width, generator=generator),
            "image_grid_thw": torch.tensor([[1, side, side]]),
        }
        return config.image_token_id, isqrt(visual) ** 2, media

    @classmethod
    def real_config(cls, checkpoint: str) -> PretrainedConfig:
        """Sizes of ``Qwen/Qwen2.5-VL-7B-Instruct``."""
        from transformers import Qwen2_5_VLConfig

        return Qwen2_5_VLConfig(
            text_config={
                "vocab_size": 152064,
                **QWEN2_7B,
                "max_position_embeddings": 128000,
                "rope_parameters": MROPE,
            },
            vision_config={
                "depth": 32,
                "hidden_size": 1280,
                "intermediate_size": 3420,
                "num_heads": 16,
                "out_hidden_size": 3584,
                "patch_size": 14,
                "spatial_merge_size": 2,
                "temporal_patch_size": 2,
                "window_size": 112,
                "fullatt_block_indexes": [7, 15, 23, 31],
                "tokens_per_second": 2,
            },
            **MARKS,
        )


class _QwenSignals(PackedSignals):
    """Received attention of a block, per segment that attends to itself: an image or a window of it."""

    def __init__(self, context: VisionContext, adapter: Qwen25VL) -> None:
        super().__init__(context, adapter)
        self._adapter = adapter

    def attention_received(self, *, reduce: Literal["mean", "sum"] = "mean", layer: TowerLayer = "feature") -> Tensor:
        """(N,) float32: mean attention received, over heads and over the 2 x 2 patches of each token."""
        import torch

        context, adapter, number = self.context, self._adapter, self.number(layer)
        samples = adapter.items(context.call, len(context.layouts))
        calls = list(context.seen[attention_of(number)])
        # The model runs its tower on all images first, then on all videos.
        towers = [video for video in (False, True) if any(item.video == video for items in samples for item in items)]
        parts = {
            video: self._received(call, video, reduce, adapter.tower_attention[number])
            for video, call in zip(towers, calls, strict=True)
        }
        mine = [parts[item.video][item.start : item.start + item.tokens] for item in samples[context.sample]]
        return torch.cat(mine).to(context.device)

    def _received(self, call: Seen, video: bool, reduce: Literal["mean", "sum"], module: Any) -> Tensor:
        """(M,): every merged token of one tower call, in the order in which the model hands them on."""
        import torch
        from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import apply_rotary_pos_emb_vision

        visual, states = self._adapter.visual, call.value
        with as_the_model_runs():
            queries, keys, _ = (
                module.qkv(states).reshape(len(states), 3, module.num_heads, -1).permute(1, 0, 2, 3).unbind(0)
            )
            queries, keys = apply_rotary_pos_emb_vision(queries, keys, *call.kwargs["position_embeddings"])
        queries, keys = queries.transpose(0, 1), keys.transpose(0, 1)
        bounds = call.kwargs["cu_seqlens"].tolist()
        pieces = []
        for low, high in pairwise(bounds):
            received = received_attention(queries[:, low:high], keys[:, low:high], module.scaling)
            pieces.append(received.mean(0) if reduce == "mean" else received.sum(0))
        merged = torch.cat(pieces).view(-1, int(visual.spatial_merge_size) ** 2).mean(-1)
        order = self._adapter.patch_order(self.context.call["video_grid_thw" if video else "image_grid_thw"])
        return merged if order is None else merged[torch.argsort(order.to(merged.device))]
