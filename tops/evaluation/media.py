"""Preparing a document's pictures for the processor: image controls, padding, frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tops.backbones.image_layouts import NATIVE, ImageLayout
from tops.backbones.inputs import Inputs
from tops.errors import ConfigurationError, DataError
from tops.evaluation.videos import Rule, read_frames
from tops.methods.base import InputContext, InputControl

if TYPE_CHECKING:
    from PIL.Image import Image

    from tops.benchmarks.tasks import Task

VICUNA = (
    "A chat between a curious user and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the user's questions."
)
MOST_ELONGATED = 200
"""Longer side over shorter, the limit of Qwen's own processor."""


@dataclass(frozen=True)
class Media:
    """Pictures of one document: images, or the frames of one video (with their numbers), or none."""

    images: tuple[Image, ...] = ()
    video: bool = False
    indices: tuple[int, ...] = ()
    total: int = 0
    fps: float = 0.0


def square(image: Image, colour: tuple[int, int, int]) -> Image:
    """Pad to a square, the image in the middle."""
    from PIL import Image as Pillow

    side = max(image.size)
    if image.size == (side, side):
        return image
    out = Pillow.new("RGB", (side, side), colour)
    out.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
    return out


def upright(image: Image, *, squared: bool) -> Image:
    """An image in RGB as a viewer shows it: turned as EXIF says, first frame, its transparent parts on white paper.

    Parameters
    ----------
    image : PIL image
        Any mode.
    squared : bool
        Whether the image will be padded or resized to a square afterwards, so that a thin shape does no harm.

    Raises
    ------
    DataError
        If the image is empty, or so thin that processors would enlarge it to gigabytes or refuse it.
    """
    from PIL import ImageOps

    turned = ImageOps.exif_transpose(image)
    short, long = sorted(turned.size)
    if short < 1 or (long > MOST_ELONGATED * short and not squared):
        raise DataError(
            f"an image of {turned.width} x {turned.height} pixels: one side may be at most {MOST_ELONGATED} times the "
            "other. Set the backbone option image_padding=square, or leave the document out"
        )
    return as_rgb(turned)


def as_rgb(image: Image) -> Image:
    """Any mode of Pillow as 8-bit RGB.

    Grey of more than 8 bits is scaled to 8 bits, not clipped; floating-point grey counts as 0 to 1 if it lies there.
    Transparency, of a channel, a palette or one colour, shows white.
    """
    from PIL import Image as Pillow
    from PIL import ImageCms

    if "transparency" in image.info or image.mode in ("LA", "PA", "La", "RGBA", "RGBa"):
        layer = image.convert("RGBA")
        return Pillow.alpha_composite(Pillow.new("RGBA", layer.size, "white"), layer).convert("RGB")
    if image.mode == "I" or image.mode.startswith("I;"):
        deep = np.asarray(image).astype(np.float64)
        deep = deep / 257 if image.mode != "I" or deep.max(initial=0) > 255 else deep
        return _grey(deep)
    if image.mode == "F":
        light = np.nan_to_num(np.asarray(image, dtype=np.float64))
        within = light.min(initial=0) >= 0 and light.max(initial=0) <= 1
        return _grey(light * 255 if within else light)
    if image.mode == "LAB":
        lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        turned = ImageCms.profileToProfile(image, lab, srgb, outputMode="RGB")
        assert turned is not None
        return turned
    return image if image.mode == "RGB" else image.convert("RGB")


def _grey(values: NDArray[np.float64]) -> Image:
    from PIL import Image as Pillow

    return Pillow.fromarray(values.round().clip(0, 255).astype(np.uint8)).convert("RGB")


class MediaReader:
    """Prepares the media of a task's documents.

    Parameters
    ----------
    task : Task
    inputs : Inputs
    method : object
        The cell's method. Only a control that changes images has ``prepare``; other methods have no effect here.
    mean : sequence of float
        Mean colour of the processor, 0 to 1.
    token_pixels : int
        Side of the square of pixels that one visual token covers.
    rule : str
        Which frames of a video to take.
    even : bool
        Whether the model takes frames in pairs.
    layout : ImageLayout
        Layout of images (not of frames).
    """

    def __init__(
        self,
        task: Task,
        inputs: Inputs,
        method: object,
        *,
        mean: Sequence[float] = (0.5, 0.5, 0.5),
        token_pixels: int = 14,
        rule: Rule = "floor",
        even: bool = False,
        layout: ImageLayout = NATIVE,
    ) -> None:
        self._task, self._inputs, self._method, self.layout = task, inputs, method, layout
        self._colour = (int(mean[0] * 255), int(mean[1] * 255), int(mean[2] * 255))
        self._token_pixels, self._rule, self._even = token_pixels, rule, even

    def raw(self, document: dict[str, Any]) -> Media:
        """Pictures as the task gives them."""
        visuals = self._task.visuals(document)
        if not any(isinstance(v, str) for v in visuals):
            squared = self._inputs.image_padding == "square" or self.layout.squares
            return Media(tuple(upright(image, squared=squared) for image in visuals))
        if len(visuals) != 1:
            raise ConfigurationError(f"{len(visuals)} videos in one document; one is supported")
        frames = read_frames(visuals[0], self._inputs.frames, self._rule, self._inputs.frames_per_second)
        keep = max(2, len(frames.images) // 2 * 2) if self._even else len(frames.images)
        images, indices = frames.images[:keep], frames.indices[:keep]
        if self._even and len(images) == 1:
            images, indices = images * 2, indices * 2
        return Media(images, not self._inputs.frames_as_images, indices, frames.total, frames.fps)

    def __call__(self, number: int, document: dict[str, Any]) -> Media:
        """Pictures as the processor receives them."""
        media = self.raw(document)
        images = list(media.images)
        if isinstance(self._method, InputControl):
            images = self._method.prepare(images, self._context(number))
        if self._inputs.image_padding == "square":
            images = [square(image, self._colour) for image in images]
        if not media.video:
            images = [self.layout.prepare(image, self._colour) for image in images]
        if not images:
            return Media()
        return Media(tuple(images), media.video, media.indices[: len(images)], media.total, media.fps)

    def _context(self, number: int) -> InputContext:
        documents = self._task.documents
        return InputContext(
            document=number,
            documents=len(documents),
            images_of=lambda other: self.raw(documents[other]).images,
            token_pixels=self._token_pixels,
        )
