"""LLaVA-OneVision: SigLIP on a base view and tiles, or on the frames of a video. The example of the docs.

An image is its base view, then its tiles stitched, unpadded and, beyond ``anyres_max_9``, scaled down, a newline after
every row; one of several images is its base view and one newline. A video is 14 x 14 tokens a frame and one newline.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, sqrt
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from tops.backbones._packed import PackedSignals
from tops.backbones._qwen import QWEN2_7B
from tops.backbones._received import received_per_unit
from tops.backbones._runs import check_pixels, tiled_noise
from tops.backbones._siglip import TOWER, SiglipLlava
from tops.backbones.base import Call, Layout, VisionContext, attention_of
from tops.backbones.image_layouts import NATIVE, ImageLayout
from tops.backbones.llava_next import join
from tops.errors import UnsupportedModelError
from tops.signals import TowerLayer, VisionSignals

if TYPE_CHECKING:
    import torch
    from torch import Tensor
    from transformers import PretrainedConfig


@dataclass(frozen=True)
class _Item:
    """An image or a video: where it begins among the tower's inputs, how many it has, and its layout."""

    start: int
    rows: int
    layout: Layout
    size: Tensor | None = None  # (2,), height and width; None for a video


class LlavaOnevision(SiglipLlava):
    """``LlavaOnevisionForConditionalGeneration`` with a SigLIP tower."""

    family = "llava-onevision"
    model_classes = ("LlavaOnevisionForConditionalGeneration",)
    model_types = ("llava_onevision",)
    checkpoints = ("llava-hf/llava-onevision-qwen2-7b-ov-hf",)
    published: ClassVar[dict[tuple[str, int, int], str]] = {("qwen2", 28, 3584): "llava-onevision-7b"}
    image_layouts: ClassVar[Mapping[str, ImageLayout]] = {
        "native": NATIVE,
        # Padded to a square: the base view and 2 x 2 tiles of 27 x 27 tokens; the 54 newlines are not counted.
        "fixed-768": ImageLayout("fixed-768", tokens=3645, side=768, pad=True, view=384, units=(729, 2916)),
    }

    @property
    def side(self) -> int:
        """Patches along a view's side."""
        vision: Any = self.model.config.vision_config
        return int(vision.image_size // vision.patch_size)

    def layout(self, call: Call, placeholders: Sequence[int]) -> list[Layout]:
        """The base view of an image is one unit, its stitched tiles another; a frame is one."""
        return [join([item.layout for item in items]) for items in self.items(call, placeholders)]

    def items(self, call: Call, placeholders: Sequence[int]) -> list[list[_Item]]:
        """Images, then videos, of every sample; they go to samples by the number of their placeholders."""
        for name in ("pixel_values", "pixel_values_videos"):
            if call.get(name) is not None:
                check_pixels(call[name], int(self.model.config.vision_config.image_size))
        found, start = [*self._images(call), *self._videos(call)], 0
        if any(item.size is None for item in found) and any(item.size is not None for item in found):
            raise UnsupportedModelError("images and videos in one batch: give prompts of one kind at a time")
        samples: list[list[_Item]] = []
        for count in placeholders:
            mine: list[_Item] = []
            while sum(len(item.layout) for item in mine) < count and start < len(found):
                mine.append(found[start])
                start += 1
            if (given := sum(len(item.layout) for item in mine)) != count:
                raise UnsupportedModelError(
                    f"a prompt has {count} placeholders, but its images or videos give {given}; let the processor "
                    "expand the token"
                )
            samples.append(mine)
        if start != len(found):
            raise UnsupportedModelError(
                f"{len(found)} image(s) or video(s) were given, but the prompts have placeholders for {start}"
            )
        return samples

    def _images(self, call: Call) -> list[_Item]:
        import torch
        from transformers.models.llava_onevision import modeling_llava_onevision as model

        grid_shape: Any = model.get_anyres_image_grid_shape
        unpad: Any = model.unpad_image

        sizes, counts, side, items = call.get("image_sizes"), call.get("batch_num_images"), self.side, []
        if call.get("pixel_values") is None or sizes is None:
            return []
        counts = [1] * len(sizes) if counts is None else torch.as_tensor(counts).tolist()
        alone = [count == 1 for count in counts for _ in range(count)]
        config: Any = self.model.config
        tile, start = config.vision_config.image_size, 0
        most = int(self.aspect.removeprefix("anyres_max_"))
        for size, tiled in zip(sizes, alone, strict=True):
            down = across = 0
            if not tiled:
                layout = _rows(side, side, every=False)
            else:
                down, across = grid_shape(size.tolist(), config.image_grid_pinpoints, tile)
                _, height, width = unpad(torch.zeros(1, down * side, across * side), size.tolist()).shape
                if (ratio := sqrt(height * width / (most * side**2))) > 1.1:
                    height, width = int(height // ratio), int(width // ratio)
                layout = join([Layout.grids([(side, side)]), _rows(height, width, every=True)])
                layout.image.zero_()
            items.append(_Item(start, 1 + down * across, layout, size))
            start += items[-1].rows
        return items

    def _videos(self, call: Call) -> list[_Item]:
        videos = call.get("pixel_values_videos")
        if videos is None:
            return []
        count, frames = videos.shape[:2]
        pooled = ceil(self.side / 2)
        layout = join([Layout.grids([(pooled, pooled)] * (frames - 1)), _rows(pooled, pooled, every=False)])
        return [_Item(number * frames, frames, layout) for number in range(count)]

    @property
    def aspect(self) -> str:
        """How many tiles' worth of tokens an image may have at most; the model reads its configuration alone."""
        return str(self.model.config.vision_aspect_ratio)

    def media(self, call: Call, layouts: Sequence[Layout]) -> dict[str, list[int]]:
        """Images, or videos, of each sample."""
        count = [len(items) for items in self.items(call, [len(layout) for layout in layouts])]
        return {"pixel_values": count, "image_sizes": count, "pixel_values_videos": count}

    def vision(self, context: VisionContext) -> VisionSignals:
        """Mean attention received in the feature layer, taken through the model's own packing."""
        return _OnevisionSignals(context, self)

    def bench_media(self, visual: int, frames: int, generator: torch.Generator) -> tuple[int, int, dict[str, Tensor]]:
        """A base view and 2 x 2 tiles, a newline per row of the tiles."""
        config: Any = self.model.config
        return config.image_token_id, *tiled_noise(int(config.vision_config.image_size), self.side, generator)

    @classmethod
    def real_config(cls, checkpoint: str) -> PretrainedConfig:
        """Sizes of ``llava-hf/llava-onevision-qwen2-7b-ov-hf``."""
        from transformers import LlavaOnevisionConfig

        return LlavaOnevisionConfig(
            vision_config=dict(TOWER),
            text_config={
                "model_type": "qwen2",
                "vocab_size": 152128,
                **QWEN2_7B,
                "max_position_embeddings": 32768,
                "rope_parameters": {"rope_type": "default", "rope_theta": 1e6},
            },
            image_token_index=151646,
            video_token_index=151647,
            image_grid_pinpoints=[[384 * down, 384 * across] for down in range(1, 7) for across in range(1, 7)],
        )


class _OnevisionSignals(PackedSignals):
    """Received attention of SigLIP's layers in the order of the prompt."""

    def __init__(self, context: VisionContext, adapter: LlavaOnevision) -> None:
        super().__init__(context, adapter)
        self._adapter = adapter

    def attention_received(self, *, reduce: Literal["mean", "sum"] = "mean", layer: TowerLayer = "feature") -> Tensor:
        """(N,) float32: mean attention received, over heads, scaled down where the features are."""
        import torch
        from torch.nn.functional import interpolate

        context, adapter, number = self.context, self._adapter, self.number(layer)
        outer: Any = adapter.outer
        module, side, parts = adapter.tower_attention[number], adapter.side, []
        states = torch.cat([seen.value for seen in context.seen[attention_of(number)]])
        for item in adapter.items(context.call, [len(layout) for layout in context.layouts])[context.sample]:
            patches = received_per_unit(module, states[item.start : item.start + item.rows], reduce)
            if item.size is None:
                grid = interpolate(patches.view(-1, 1, side, side), [ceil(side / 2)] * 2, mode="bilinear")
                parts.append(torch.cat([grid.flatten(), grid.new_zeros(1)]))
                continue
            newline, aspect = patches.new_zeros(1), adapter.aspect
            packed, _ = outer.pack_image_features([patches[..., None]], item.size[None], newline, aspect)
            parts.append(packed[0][:, 0])
        scores, newlines = torch.cat(parts).to(context.device), context.layout.newline.to(context.device)
        return scores if context.with_newlines else scores[~newlines]


def _rows(height: int, width: int, *, every: bool) -> Layout:
    """A grid with a newline after every row, or one at its end."""
    import torch

    if every:
        grid = Layout.grids([(height, width + 1)])
        newline = grid.col == width
    else:
        grid = Layout.grids([(1, height * width + 1)])
        newline = grid.col == height * width
        row = torch.where(newline, height - 1, grid.col // width)
        grid = Layout(grid.unit, grid.image, row, torch.where(newline, width, grid.col % width), grid.patch, newline)
    patch = torch.where(newline, -1, grid.row * width + grid.col)
    return Layout(grid.unit, grid.image, grid.row, grid.col, patch, newline)
