"""Prompts of random pixels and words for every family, at the input size of a backbone's configuration file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import isqrt
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from tops.backbones.base import Adapter

TEXT = 60  # tokens of the question
Inputs = dict[str, Any]


@dataclass(frozen=True)
class BenchPrompt:
    """Arguments of one forward and what they hold.

    Attributes
    ----------
    inputs : dict
        Batch of one, on the device.
    visual : int
        Visual tokens, newlines not counted.
    images : int
        Images, or frames of the video.
    """

    inputs: Inputs
    visual: int
    images: int


def prompt(adapter: Adapter, visual: int, frames: int, device: torch.device) -> BenchPrompt:
    """One image, or one video, and :data:`TEXT` random words around it.

    Parameters
    ----------
    adapter : Adapter
        Its model may be on the meta device.
    visual : int
        Visual tokens of an image or frame, for families whose input size varies (Qwen2.5-VL, InternVL3).
    frames : int
        Frames, for LLaVA-Video.
    device : torch.device
        Where the inputs go.
    """
    generator = torch.Generator().manual_seed(0)
    config: Any = adapter.model.config
    mark, count, pixels = _MEDIA[adapter.family](config, visual, frames, generator)
    words = torch.randint(5, 200, (TEXT,), generator=generator)
    words[torch.isin(words, torch.tensor(adapter.placeholder_ids))] = 200
    ids = torch.cat([words[:30], torch.full((count,), mark), words[30:]])[None]
    inputs: Inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids), **pixels}
    if adapter.family == "qwen2.5-vl":
        inputs["mm_token_type_ids"] = (ids == mark).int()
    layout = adapter.layout(inputs, [count])[0]
    dtype = adapter.model.dtype
    moved = {k: v.to(device, dtype if v.is_floating_point() else v.dtype) for k, v in inputs.items()}
    return BenchPrompt(moved, int((~layout.newline).sum()), layout.images)


def _llava(config: Any, visual: int, frames: int, generator: torch.Generator) -> tuple[int, int, Inputs]:
    pixels, side = _view(config)
    return config.image_token_id, side**2, {"pixel_values": torch.randn(1, 3, pixels, pixels, generator=generator)}


def _llava_next(config: Any, visual: int, frames: int, generator: torch.Generator) -> tuple[int, int, Inputs]:
    """2 x 2 tiles and a base view; a newline per row of the tiles."""
    pixels, side = _view(config)
    media: Inputs = {
        "pixel_values": torch.randn(1, 5, 3, pixels, pixels, generator=generator),
        "image_sizes": torch.tensor([[2 * pixels, 2 * pixels]]),
    }
    return config.image_token_id, side**2 + 2 * side * (2 * side + 1), media


def _llava_video(config: Any, visual: int, frames: int, generator: torch.Generator) -> tuple[int, int, Inputs]:
    pixels, side = _view(config)
    rows = side // int(config.mm_spatial_pool_stride)
    media: Inputs = {"pixel_values_videos": torch.randn(1, frames, 3, pixels, pixels, generator=generator)}
    return config.video_token_id, frames * rows * (rows + 1), media


def _qwen(config: Any, visual: int, frames: int, generator: torch.Generator) -> tuple[int, int, Inputs]:
    vision = config.vision_config
    side = isqrt(visual) * int(vision.spatial_merge_size)
    width = 3 * int(vision.temporal_patch_size) * int(vision.patch_size) ** 2
    media: Inputs = {
        "pixel_values": torch.randn(side**2, width, generator=generator),
        "image_grid_thw": torch.tensor([[1, side, side]]),
    }
    return config.image_token_id, isqrt(visual) ** 2, media


def _internvl(config: Any, visual: int, frames: int, generator: torch.Generator) -> tuple[int, int, Inputs]:
    vision = config.vision_config
    pixels = int(vision.image_size[0])
    side = int(pixels // vision.patch_size[0] * config.downsample_ratio)
    tiles = visual // side**2
    media: Inputs = {"pixel_values": torch.randn(tiles, 3, pixels, pixels, generator=generator)}
    return config.image_token_id, tiles * side**2, media


def _view(config: Any) -> tuple[int, int]:
    """Pixels and patches along the side of the tower's input."""
    vision = config.vision_config
    return int(vision.image_size), int(vision.image_size // vision.patch_size)


_MEDIA: dict[str, Callable[[Any, int, int, torch.Generator], tuple[int, int, Inputs]]] = {
    "llava": _llava,
    "llava-next": _llava_next,
    "llava-video": _llava_video,
    "qwen2.5-vl": _qwen,
    "internvl3": _internvl,
}
"""Placeholder id, number of placeholders and pixels of each family."""
