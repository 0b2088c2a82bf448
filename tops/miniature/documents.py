"""What the builders of all miniature benchmarks share: parts of a data set, columns, images, balanced sampling."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tops.errors import DataError
from tops.miniature.scenes import Scene, make_scene

T = TypeVar("T")

STRING = "string"
INTEGER = "int64"
NUMBER = "float64"
IMAGE = "image"
STRINGS = "strings"
NUMBERS = "numbers"
ATTEMPTS = 500


@dataclass(frozen=True)
class Part:
    """One split of one configuration of a data set.

    Attributes
    ----------
    config : str
        Name of the configuration; "" for a data set without configurations.
    split : str
    columns : dict
        Column to type: "string", "int8", "int64", "float64", "bool", "image", "strings",
        "numbers" (a list of float32), or a dict of such.
    rows : list of dict
        The documents; an image is its PNG bytes, or None.
    """

    config: str
    split: str
    columns: dict[str, Any]
    rows: list[dict[str, Any]]


def png(image: NDArray[np.uint8]) -> bytes:
    """PNG bytes of an image of shape (height, width, 3)."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="PNG", compress_level=6)
    return buffer.getvalue()


def first_found(make: Callable[[], T | None], what: str) -> T:
    """The first answer of ``make`` that is not None.

    Raises
    ------
    DataError
        When none comes in many attempts.
    """
    for _ in range(ATTEMPTS):
        found = make()
        if found is not None:
            return found
    raise DataError(f"no scene carries {what} in {ATTEMPTS} attempts; its question kind and scenes do not fit together")


def scene_for(rng: np.random.Generator, fits: Callable[[Scene], T | None], what: str) -> tuple[Scene, T]:
    """A random evaluation scene that ``fits`` finds something in, with what it found."""

    def attempt() -> tuple[Scene, T] | None:
        scene = make_scene(rng, "evaluation")
        found = fits(scene)
        return None if found is None else (scene, found)

    return first_found(attempt, what)


def cycle(items: Sequence[T], count: int) -> Iterator[T]:
    """``count`` items, each as often as the others."""
    return (items[i % len(items)] for i in range(count))
