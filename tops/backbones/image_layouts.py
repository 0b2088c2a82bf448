"""Named ways to cut an image into visual tokens, one of them the paper's. No torch.

A layout is named in a backbone's options (``image_layout: fixed-672``), so it is part of every result's record. It says
what is done to an image before the processor sees it, and in what range the processor may then choose.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tops.errors import ConfigurationError, nearest_names

if TYPE_CHECKING:
    from PIL.Image import Image

MERGED = 28
"""Side in pixels of the square that one token of Qwen2.5-VL covers: 14-pixel patches, merged 2 x 2."""


@dataclass(frozen=True)
class ImageLayout:
    """What becomes of every image.

    Attributes
    ----------
    name : str
    tokens : int or None
        Visual tokens of every image, newlines not counted; None where they depend on the image.
    side : int or None
        Images are brought to a square of so many pixels; None leaves their size.
    pad : bool
        Keep the aspect ratio and fill up with the processor's mean colour; otherwise stretch.
    pixels : (int, int) or None
        Least and most pixels, for processors with dynamic resolution.
    tiles : (int, int) or None
        Least and most tiles, for processors that tile.
    view : int or None
        Side of the tower's input that ``tokens`` is true for.
    views : callable or None
        Cuts an image into the inputs of the tower, in the order of their tokens, where the processor is not to choose
        them. The model then adds no newline tokens.
    """

    name: str
    tokens: int | None = None
    side: int | None = None
    pad: bool = False
    pixels: tuple[int, int] | None = None
    tiles: tuple[int, int] | None = None
    view: int | None = None
    views: Callable[[Image], list[Image]] | None = None

    @property
    def squares(self) -> bool:
        """Whether every image becomes a square, whatever its shape."""
        return self.side is not None or self.views is not None

    def prepare(self, image: Image, colour: tuple[int, int, int]) -> Image:
        """The image as the processor gets it, RGB.

        Parameters
        ----------
        image : PIL image
            Any mode.
        colour : (int, int, int)
            Of the padding.
        """
        from PIL import Image as Pillow

        if self.side is None:
            return image
        if self.pad and image.width != image.height:
            whole = Pillow.new("RGB", (max(image.size), max(image.size)), colour)
            whole.paste(image, ((whole.width - image.width) // 2, (whole.height - image.height) // 2))
            image = whole
        return image.convert("RGB").resize((self.side, self.side), Pillow.Resampling.BICUBIC)


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


NATIVE = ImageLayout("native")
_DYNAMIC = re.compile(r"dynamic-(\d+)-(\d+)")

LAYOUTS: dict[str, dict[str, ImageLayout]] = {
    "llava": {"native": NATIVE},
    "llava-next": {
        "native": NATIVE,
        # Base view and 2 x 2 tiles of 24 x 24 tokens; the 48 newlines are not counted.
        "fixed-672": ImageLayout("fixed-672", tokens=2880, side=672, pad=True, view=336),
        # The paper's: the same number of tokens, no newlines, the picture in black and its base view stretched.
        "cdpruner-672": ImageLayout("cdpruner-672", tokens=2880, view=336, views=lambda image: two_by_two(image, 336)),
    },
    "qwen2.5-vl": {
        # The range of the stock lmms-eval model.
        "dynamic": ImageLayout("dynamic", pixels=(256 * MERGED**2, 2048 * MERGED**2)),
        "fixed-1008": ImageLayout("fixed-1008", tokens=1296, side=1008, pixels=(1008**2, 1008**2)),
        # The paper's: padded to a square first, as an author of CDPruner says in its issue 13.
        "square-1008": ImageLayout("square-1008", tokens=1296, side=1008, pad=True, pixels=(1008**2, 1008**2)),
    },
    "internvl3": {
        "dynamic": ImageLayout("dynamic", tiles=(1, 12)),
        # Four tiles, 2 x 2 or in a row as the image is shaped, and the thumbnail.
        "fixed-5-tiles": ImageLayout("fixed-5-tiles", tokens=1280, tiles=(4, 4), view=448),
        # The paper's: every image 896 x 896, so 2 x 2 tiles and the thumbnail (CDPruner's issue 17).
        "fixed-896": ImageLayout("fixed-896", tokens=1280, side=896, tiles=(4, 4), view=448),
    },
}
"""Layouts of each family by name. Qwen2.5-VL also reads ``dynamic-<least>-<most>``, in visual tokens."""


def image_layout(family: str, name: str) -> ImageLayout:
    """A family's layout by name.

    Raises
    ------
    ConfigurationError
        If the family has no such layout.
    """
    known = LAYOUTS.get(family, {"native": NATIVE})
    if name in known:
        return known[name]
    spoken = _DYNAMIC.fullmatch(name)
    if spoken and "dynamic" in known and known["dynamic"].pixels:
        least, most = (int(number) for number in spoken.groups())
        if not 1 <= least <= most:
            raise ConfigurationError(f"image_layout={name!r}: the range of visual tokens must be 1 <= least <= most")
        return ImageLayout(name, pixels=(least * MERGED**2, most * MERGED**2))
    raise ConfigurationError(f"{family} has no image_layout {name!r}. {nearest_names(name, known)}")


def check_view(layout: ImageLayout, view: int | None) -> None:
    """Refuse a layout whose token count would not be true for this checkpoint.

    Parameters
    ----------
    layout : ImageLayout
        The one chosen.
    view : int or None
        Side in pixels of the tower's input, from the checkpoint's processor; None when unknown.

    Raises
    ------
    ConfigurationError
        If the layout is made for views of another size.
    """
    if layout.view is not None and view is not None and view != layout.view:
        raise ConfigurationError(
            f"image_layout={layout.name!r} gives {layout.tokens} tokens with views of {layout.view} pixels; those of "
            f"this checkpoint are {view}. Use image_layout=native or dynamic"
        )


def view_side(vision: Mapping[str, Any]) -> int | None:
    """Side in pixels of a tower's input, from its configuration; None where it is not fixed."""
    side = vision.get("image_size")
    return None if side is None else int(side[0] if isinstance(side, list | tuple) else side)


@cache
def view_of(checkpoint: Path) -> int | None:
    """Side in pixels of the tower's input of a checkpoint on disk, from its ``config.json``; None where none is said.

    Parameters
    ----------
    checkpoint : path
        Folder with ``config.json`` in the layout of transformers.
    """
    content = json.loads((checkpoint / "config.json").read_text(encoding="utf-8"))
    return view_side(content.get("vision_config") or {})
