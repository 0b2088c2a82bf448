"""Ways to cut an image into visual tokens. No torch.

A family names its own in :attr:`tops.backbones.base.Adapter.image_layouts`. One of them is named in a backbone's
options (``image_layout: fixed-672``), so it is part of every result's record. It says what is done to an image before
the processor sees it, and in what range the processor may then choose.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tops.errors import ConfigurationError

if TYPE_CHECKING:
    from PIL.Image import Image


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
    units : tuple of int
        Tokens of each unit of an image (tile, view), where ``tokens`` is known and there are several.
    """

    name: str
    tokens: int | None = None
    side: int | None = None
    pad: bool = False
    pixels: tuple[int, int] | None = None
    tiles: tuple[int, int] | None = None
    view: int | None = None
    views: Callable[[Image], list[Image]] | None = None
    units: tuple[int, ...] = ()

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


NATIVE = ImageLayout("native")
"""The processor's own way."""


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
