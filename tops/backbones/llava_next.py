"""LLaVA-NeXT with Vicuna (7B, 13B): LLaVA-1.5's tower on a base view and on tiles. One view or tile = one unit.

A prompt holds, for every image, the base view, then the stitched tiles row by row without their padding, a newline
embedding after every row; none under the image layout ``cdpruner-672``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar

from tops.backbones._runs import check_pixels, tiled_noise
from tops.backbones.base import Call, Layout
from tops.backbones.image_layouts import NATIVE, ImageLayout
from tops.backbones.llava15 import Llava15
from tops.errors import UnsupportedModelError

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image
    from torch import Tensor
    from transformers import BatchFeature, PretrainedConfig

PINPOINTS: list[list[int]] = [[336, 672], [672, 336], [672, 672], [1008, 336], [336, 1008]]
"""Resolutions (height, width) of the published checkpoints."""


def two_by_two(image: Image, view: int) -> list[Image]:
    """Base view and 2 x 2 tiles of an image, as CDPruner's code cuts it for LLaVA-NeXT.

    The base view is the image stretched to a square. The tiles, row by row, are those of a black square twice as wide,
    in whose middle the image stands, scaled to fit. Source: ``llava/mm_utils.py`` at
    https://github.com/Theia-4869/CDPruner, commit 9541616.

    Parameters
    ----------
    image : PIL image
        RGB.
    view : int
        Side of the tower's input, pixels.

    Returns
    -------
    list of PIL images
        Five, ``view`` x ``view``.
    """
    from PIL import Image as Pillow

    side = 2 * view
    across, down = side / image.width, side / image.height
    if across < down:
        size = side, min(math.ceil(image.height * across), side)
    else:
        size = min(math.ceil(image.width * down), side), side
    canvas = Pillow.new("RGB", (side, side))
    canvas.paste(image.resize(size), ((side - size[0]) // 2, (side - size[1]) // 2))
    corners = [(left, top) for top in (0, view) for left in (0, view)]
    tiles = [canvas.crop((left, top, left + view, top + view)) for left, top in corners]
    return [image.resize((view, view)), *tiles]


class LlavaNext(Llava15):
    """``LlavaNextForConditionalGeneration`` with a CLIP tower."""

    family = "llava-next"
    placing = "whole"
    model_classes = ("LlavaNextForConditionalGeneration",)
    model_types = ("llava_next",)
    checkpoints = ("llava-hf/llava-v1.6-vicuna-7b-hf", "llava-hf/llava-v1.6-vicuna-13b-hf")
    # Not the Mistral and Yi versions, which the paper does not use.
    published: ClassVar[dict[tuple[str, int, int], str]] = {
        ("llama", 32, 4096): "llava-next-7b",
        ("llama", 40, 5120): "llava-next-13b",
    }
    image_layouts: ClassVar[Mapping[str, ImageLayout]] = {
        "native": NATIVE,
        # Base view and 2 x 2 tiles of 24 x 24 tokens; the 48 newlines are not counted.
        "fixed-672": ImageLayout("fixed-672", tokens=2880, side=672, pad=True, view=336, units=(576,) * 5),
        # The paper's: the same number of tokens, no newlines, the picture in black and its base view stretched.
        "cdpruner-672": ImageLayout(
            "cdpruner-672", tokens=2880, view=336, views=lambda image: two_by_two(image, 336), units=(576,) * 5
        ),
    }

    def layout(self, call: Call, placeholders: Sequence[int]) -> list[Layout]:
        """Every image as the model packs it; images go to samples by the number of their placeholders."""
        pixels = call.get("pixel_values")
        sizes = None if pixels is None else call.get("image_sizes")
        if pixels is not None:
            check_pixels(pixels, int(self.model.config.vision_config.image_size))
        images = [] if sizes is None else [self.image_layout(size.tolist()) for size in sizes]
        layouts, at = [], 0
        for count in placeholders:
            mine: list[Layout] = []
            while sum(map(len, mine)) < count and at < len(images):
                mine.append(images[at])
                at += 1
            if sum(map(len, mine)) != count:
                raise UnsupportedModelError(
                    f"a prompt has {count} image placeholders, but its images give {sum(map(len, mine))} (height "
                    f"and width of all: {[] if sizes is None else sizes.tolist()}); let the processor expand the image "
                    "token, and give pixel_values and image_sizes as it returns them"
                )
            layouts.append(join(mine))
        if at != len(images):
            raise UnsupportedModelError(f"{len(images)} images were given, but the prompts have placeholders for {at}")
        return layouts

    def image_layout(self, size: Sequence[int]) -> Layout:
        """Layout of one image of the given (height, width)."""
        import torch
        from transformers.models.llava_next.modeling_llava_next import get_anyres_image_grid_shape, unpad_image

        config: Any = self.model.config
        tile, side = config.vision_config.image_size, self.side
        down, across = get_anyres_image_grid_shape(  # type: ignore[no-untyped-call]
            tuple(size), config.image_grid_pinpoints, tile
        )
        base = torch.arange(side**2)
        cells = torch.arange(side**2, side**2 * (1 + down * across)).view(down, across, side, side)
        padded = cells.permute(0, 2, 1, 3).reshape(1, down * side, across * side)
        stitched = unpad_image(padded, tuple(size))[0]  # type: ignore[no-untyped-call]
        ends = stitched.new_full((len(stitched), 1 if self.newlines else 0), -1)
        flat = torch.cat([base, torch.cat([stitched, ends], 1).flatten()])
        newline = flat < 0
        # A newline belongs to the unit and row of the last patch before it; a row that is padding has none of its own.
        place = flat[torch.where(newline, 0, torch.arange(len(flat))).cummax(0).values]
        patch = place % side**2
        return Layout(
            unit=place // side**2,
            image=torch.zeros_like(place),
            row=patch // side,
            col=patch % side + newline.long(),
            patch=torch.where(newline, -1, patch),
            newline=newline,
            ran=1 + down * across,
        )

    @property
    def newlines(self) -> bool:
        """Whether the model ends every row of the tiles with a newline embedding."""
        outer: Any = self.outer
        return outer.image_newline is not None

    @property
    def packing(self) -> str:
        """Whether there are newlines."""
        return "" if self.newlines else "no newlines"

    @contextmanager
    def shown(self, layout: ImageLayout) -> Iterator[None]:
        """Without the newline embedding where the layout brings its own views: the stock packing then adds none."""
        outer: Any = self.outer
        newline = outer.image_newline
        if layout.views is not None:
            outer.image_newline = None
        try:
            yield
        finally:
            outer.image_newline = newline

    def process(
        self, processor: Any, layout: ImageLayout, *, text: Any, images: Sequence[Image] | None, **options: Any
    ) -> BatchFeature:
        """As the processor; where the layout brings its own views, these through the same normalisation.

        Their number and grid are those of a square image, so that the model finds nothing to unpad."""
        import torch

        if layout.views is None or not images:
            return super().process(processor, layout, text=text, images=images, **options)
        view, side = int(self.model.config.vision_config.image_size), self.side
        square = [2 * view, 2 * view]
        if square not in [list(size) for size in self.model.config.image_grid_pinpoints]:
            raise UnsupportedModelError(
                f"image_layout={layout.name!r} needs the resolution {square} among this checkpoint's, which are "
                f"{self.model.config.image_grid_pinpoints}; use image_layout=native"
            )
        views = [layout.views(image) for image in images]
        # With one resolution, that of the tower, the processor gives each view twice: as base view and as only tile.
        pixels = processor.image_processor(
            images=[one for each in views for one in each], image_grid_pinpoints=[[view, view]], return_tensors="pt"
        )["pixel_values"][:, 0]
        mark = processor.image_token
        texts = [text] if isinstance(text, str) else list(text)
        features: BatchFeature = processor(
            text=[one.replace(mark, mark * (len(views[0]) * side**2)) for one in texts], **options
        )
        features["pixel_values"] = pixels.view(len(views), len(views[0]), *pixels.shape[1:])
        features["image_sizes"] = torch.tensor([square] * len(views))
        return features

    def bench_media(self, visual: int, frames: int, generator: torch.Generator) -> tuple[int, int, dict[str, Tensor]]:
        """2 x 2 tiles and a base view; a newline per row of the tiles."""
        config: Any = self.model.config
        return config.image_token_id, *tiled_noise(int(config.vision_config.image_size), self.side, generator)

    @classmethod
    def real_config(cls, checkpoint: str) -> PretrainedConfig:
        """Sizes of ``llava-hf/llava-v1.6-vicuna-7b-hf`` and ``-13b-hf``."""
        from transformers import LlavaNextConfig

        like: Any = super().real_config(checkpoint)
        return LlavaNextConfig(
            vision_config=like.vision_config,
            text_config=like.text_config,
            image_token_index=32000,
            image_seq_length=576,
            vision_feature_layer=-2,
            vision_feature_select_strategy="default",
            image_grid_pinpoints=PINPOINTS,
        )


def join(layouts: Sequence[Layout]) -> Layout:
    """Layouts of several images one after the other; units and images are renumbered."""
    import torch

    if not layouts:
        return Layout.grids([])
    units = images = 0
    unit: list[Tensor] = []
    image: list[Tensor] = []
    for layout in layouts:
        unit.append(layout.unit + units)
        image.append(layout.image + images)
        units += layout.units
        images += layout.images
    return Layout(
        unit=torch.cat(unit),
        image=torch.cat(image),
        row=torch.cat([layout.row for layout in layouts]),
        col=torch.cat([layout.col for layout in layouts]),
        patch=torch.cat([layout.patch for layout in layouts]),
        newline=torch.cat([layout.newline for layout in layouts]),
        ran=units,
    )
