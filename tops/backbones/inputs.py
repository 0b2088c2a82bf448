"""How pictures and prompts are prepared for a backbone: its options in ``configs/backbone``. No torch."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from tops.backbones import family_named
from tops.backbones.image_layouts import NATIVE, ImageLayout
from tops.errors import ConfigurationError, nearest_names

OPTIONS = (
    "system_prompt",
    "image_padding",
    "image_layout",
    "min_pixels",
    "max_pixels",
    "min_patches",
    "max_patches",
    "frames",
    "frames_per_second",
    "frames_as_images",
)


@dataclass(frozen=True)
class Inputs:
    """How pictures and prompts are prepared: the part of a backbone's options that the evaluation carries out.

    Attributes
    ----------
    system_prompt : str or None
        ``vicuna`` puts Vicuna's system prompt before the chat template's text, as LLaVA's own code does (the template
        of the Hugging Face checkpoint lacks it); None leaves the template as it is.
    image_padding : str or None
        ``square`` pads every image to a square in the processor's mean colour, as LLaVA's own code does; None leaves it
        to the processor (which crops the centre).
    image_layout : str or None
        Named way to cut an image into tokens (:mod:`tops.backbones.image_layouts`), such as ``fixed-672``; sets the
        pixel range or the tiles below. None leaves it to the processor.
    min_pixels, max_pixels : int or None
        Pixel range of processors with dynamic resolution; None leaves the processor's own.
    min_patches, max_patches : int
        Tiles of InternVL.
    frames : int
        Frames of a video.
    frames_per_second : int or None
        As many frames as a video has seconds, times this, and ``frames`` evenly spaced ones only where that would be
        more: stock ``llava_vid`` without forced sampling. None always takes ``frames``.
    frames_as_images : bool
        Show the frames of a video as so many images, for a model that takes several images but no video.
    """

    system_prompt: str | None = None
    image_padding: str | None = None
    image_layout: str | None = None
    min_pixels: int | None = None
    max_pixels: int | None = None
    min_patches: int = 1
    max_patches: int = 12
    frames: int = 64
    frames_per_second: int | None = None
    frames_as_images: bool = False

    def __post_init__(self) -> None:
        for name, known in (("system_prompt", ("vicuna",)), ("image_padding", ("square",))):
            value = getattr(self, name)
            if value is not None and value not in known:
                raise ConfigurationError(f"backbone option {name}={value!r}. {nearest_names(str(value), known)}")
        for name in ("frames", "frames_per_second"):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, int) or value < 1):
                raise ConfigurationError(f"backbone option {name}={value!r} must be a whole number of at least 1")

    @classmethod
    def of(cls, options: dict[str, Any]) -> Inputs:
        """A backbone's options.

        Raises
        ------
        ConfigurationError
            For an unknown name: it would enter the key of a result without doing anything.
        """
        for name in options:
            if name not in OPTIONS:
                raise ConfigurationError(f"unknown backbone option {name!r}. {nearest_names(name, OPTIONS)}")
        return cls(**options)

    def laid_out(self, family: str) -> tuple[Inputs, ImageLayout]:
        """The named image layout of a model family, and the inputs with the range that it sets.

        Raises
        ------
        ConfigurationError
            If the family has no such layout, or the options also give the range by hand.
        """
        if self.image_layout is None:
            return self, NATIVE
        layout, default = family_named(family).image_layout_named(self.image_layout), Inputs()
        names = ("min_pixels", "max_pixels") if layout.pixels else ("min_patches", "max_patches")
        ranges: Any = layout.pixels or layout.tiles
        if self.image_padding is not None and layout.squares:
            raise ConfigurationError(f"image_layout={layout.name!r} decides on padding; leave image_padding out")
        if ranges is None:
            return self, layout
        for name, value in zip(names, ranges, strict=True):
            if getattr(self, name) not in (getattr(default, name), value):
                raise ConfigurationError(
                    f"image_layout={layout.name!r} means {name}={value}, not {getattr(self, name)}; leave {name} out"
                )
        values: dict[str, Any] = dict(zip(names, ranges, strict=True))
        return replace(self, **values), layout
