"""Seeded images with a known scene graph: coloured shapes and handwritten digits on textured backgrounds.

Only additions, products and square roots enter a pixel, so one seed gives one image on every machine.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

IMAGE_SIDE = 96
PATCH_SIDE = 8
GRID = 3
CELL = IMAGE_SIDE // GRID

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (220, 30, 30),
    "green": (30, 165, 50),
    "blue": (40, 70, 230),
    "yellow": (238, 218, 40),
    "purple": (150, 50, 180),
    "orange": (250, 140, 20),
    "white": (248, 248, 248),
    "black": (12, 12, 12),
}
SHAPES = ("circle", "square", "triangle", "cross", "ring")
DIGITS = tuple("0123456789")
NAMES = SHAPES + DIGITS
BACKGROUNDS = ("plain", "noisy", "striped", "checked")
SIZES = ("small", "medium", "large")

# Names that share a scene more often than chance, so that a likely guess about a scene may be a wrong one.
THEMES: tuple[tuple[str, ...], ...] = (
    ("circle", "ring", "0", "6", "8", "9"),
    ("square", "triangle", "cross", "1", "4", "7"),
)
SHAPE_WEIGHTS = (0.26, 0.23, 0.2, 0.17, 0.14)

_SIDES = {"small": (15, 18), "medium": (20, 24), "large": (27, 30)}
_DIGIT_SIDES = {"small": (18, 20), "medium": (22, 25), "large": (28, 30)}
_DIGIT_SHARE = 0.35
_TRAIN_DIGITS = 1400

Split = Literal["train", "evaluation"]
# Index into the UCI digits and side in pixels to coverage, (side, side) float64 in 0 to 1.
Glyph = Callable[[int, int], NDArray[np.float64]]


@dataclass(frozen=True)
class SceneObject:
    """One object of a scene.

    Attributes
    ----------
    name : str
        One of `NAMES`: a shape, or the digit as a character.
    kind : {"shape", "digit"}
    colour : str
        A key of `COLOURS`.
    box : tuple of int
        Left, top, right, bottom in pixels; right and bottom are exclusive.
    row, col : int
        Cell of the `GRID` x `GRID` grid that holds the object.
    size : {"small", "medium", "large"}
    glyph : int
        Index into the UCI digits for a digit, -1 for a shape.
    """

    name: str
    kind: Literal["shape", "digit"]
    colour: str
    box: tuple[int, int, int, int]
    row: int
    col: int
    size: str
    glyph: int = -1

    @property
    def centre(self) -> tuple[float, float]:
        """Horizontal and vertical centre, pixels."""
        left, top, right, bottom = self.box
        return (left + right) / 2, (top + bottom) / 2


@dataclass(frozen=True)
class Scene:
    """An image and all that is in it.

    Attributes
    ----------
    image : ndarray of uint8, shape (IMAGE_SIDE, IMAGE_SIDE, 3)
    objects : tuple of SceneObject
        In reading order: by row, then by column.
    background : str
        One of `BACKGROUNDS`.
    instance : ndarray of int8, shape (IMAGE_SIDE, IMAGE_SIDE)
        Index into `objects` of the object that owns the pixel, -1 on background and clutter.
    """

    image: NDArray[np.uint8]
    objects: tuple[SceneObject, ...]
    background: str
    instance: NDArray[np.int8]


@dataclass(frozen=True)
class PatchLabels:
    """What each image patch shows.

    Attributes
    ----------
    owner : ndarray of int64, shape (rows, columns)
        Index of the object that covers most of the patch, -1 where none covers enough.
    colour, name : ndarray of int64, shape (rows, columns)
        0 on background, else 1 + index into `COLOURS` and `NAMES`.
    """

    owner: NDArray[np.int64]
    colour: NDArray[np.int64]
    name: NDArray[np.int64]


@lru_cache(maxsize=1)
def _digits() -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    from sklearn.datasets import load_digits

    data = load_digits()
    images = np.minimum(data.images * 17.0, 255.0).astype(np.uint8)
    return images, np.asarray(data.target, dtype=np.int64)


@lru_cache(maxsize=64)
def glyphs(name: str, split: Split) -> NDArray[np.int64]:
    """Indices of the UCI digits that show ``name``; those of the two splits are disjoint."""
    target = _digits()[1]
    index: NDArray[np.int64] = np.flatnonzero(target == int(name))
    return index[index < _TRAIN_DIGITS] if split == "train" else index[index >= _TRAIN_DIGITS]


@lru_cache(maxsize=64)
def _offsets(side: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    centre = (side - 1) / 2
    dy, dx = np.mgrid[0:side, 0:side]
    return (dy - centre) / (side / 2), (dx - centre) / (side / 2)


@lru_cache(maxsize=256)
def _shape_alpha(name: str, side: int) -> NDArray[np.float64]:
    dy, dx = _offsets(side)
    x, y = np.abs(dx), np.abs(dy)
    if name == "circle":
        inside = 1.0 - np.sqrt(dx * dx + dy * dy)
    elif name == "ring":
        radius = np.sqrt(dx * dx + dy * dy)
        inside = np.minimum(1.0 - radius, radius - 0.55)
    elif name == "square":
        inside = 0.86 - np.maximum(x, y)
    elif name == "triangle":
        inside = np.minimum(0.9 - dy, (dy + 1.0) * 0.5 - x)
    else:
        inside = np.maximum(np.minimum(0.3 - x, 1.0 - y), np.minimum(1.0 - x, 0.3 - y))
    return np.clip(0.5 + inside * (side / 2), 0.0, 1.0)


def glyph_image(index: int) -> Image.Image:
    """One of the UCI digits, 8 x 8, ink white."""
    return Image.fromarray(_digits()[0][index])


def coverage(glyph: Image.Image) -> NDArray[np.float64]:
    """Ink to coverage: fat strokes with soft rims."""
    return np.clip(np.asarray(glyph, dtype=np.float64) / 255.0 * 1.5 - 0.2, 0.0, 1.0)


def glyph_alpha(index: int, side: int) -> NDArray[np.float64]:
    """The handwritten digit as it is in the collection."""
    return coverage(glyph_image(index).resize((side, side), Image.Resampling.BILINEAR))


def make_background(rng: np.random.Generator, kind: str) -> NDArray[np.float64]:
    """A low-contrast textured background with clutter.

    Parameters
    ----------
    rng : numpy.random.Generator
        The only source of randomness.
    kind : str
        One of `BACKGROUNDS`.

    Returns
    -------
    ndarray of float64, shape (IMAGE_SIDE, IMAGE_SIDE, 3), on the 0 to 255 scale.
    """
    side = IMAGE_SIDE
    base = rng.uniform(95, 155) + rng.uniform(-12, 12, 3)
    y, x = np.mgrid[0:side, 0:side]
    slope = rng.uniform(-0.15, 0.15, 2)
    pattern = (x - side / 2) * slope[0] + (y - side / 2) * slope[1]
    contrast = rng.uniform(8, 13)
    if kind == "noisy":
        coarse = rng.integers(-100, 101, (side // 4, side // 4)) / 100.0
        pattern = pattern + contrast * 1.6 * np.repeat(np.repeat(coarse, 4, axis=0), 4, axis=1)
    elif kind == "striped":
        across, along = ((1, 0), (0, 1), (1, 1), (1, -1))[rng.integers(4)]
        period = int(rng.integers(9, 15))
        phase = (x * across + y * along + int(rng.integers(period))) % period
        pattern = pattern + contrast * np.where(phase < period / 2, 1.0, -1.0)
    elif kind == "checked":
        period = int(rng.integers(8, 13))
        shift = rng.integers(0, period, 2)
        pattern = pattern + contrast * np.where(
            ((x + shift[0]) // period + (y + shift[1]) // period) % 2 == 0, 1.0, -1.0
        )
    canvas: NDArray[np.float64] = base + pattern[:, :, None] + rng.integers(-4, 5, (side, side, 1))
    for _ in range(int(rng.integers(0, 7))):
        left, top = (int(v) for v in rng.integers(0, side - 6, 2))
        width, height = (int(v) for v in rng.integers(2, 6, 2))
        canvas[top : top + height, left : left + width] += rng.choice((-1, 1)) * rng.uniform(20, 40) + rng.uniform(
            -8, 8, 3
        )
    return canvas


def paint(
    canvas: NDArray[np.float64], objects: Sequence[SceneObject], glyph: Glyph = glyph_alpha
) -> tuple[NDArray[np.uint8], NDArray[np.int8]]:
    """Draw objects over a background.

    Parameters
    ----------
    canvas : ndarray of float64, shape (IMAGE_SIDE, IMAGE_SIDE, 3)
        Left unchanged.
    objects : sequence of SceneObject
        Drawn in order; a box may reach over the border.
    glyph : callable
        How a handwritten digit is drawn.

    Returns
    -------
    image : ndarray of uint8, shape (IMAGE_SIDE, IMAGE_SIDE, 3)
    instance : ndarray of int8, shape (IMAGE_SIDE, IMAGE_SIDE)
        As in `Scene`.
    """
    canvas = canvas.copy()
    instance = np.full(canvas.shape[:2], -1, dtype=np.int8)
    for index, item in enumerate(objects):
        left, top, right, bottom = item.box
        side = right - left
        alpha = glyph(item.glyph, side) if item.kind == "digit" else _shape_alpha(item.name, side)
        x0, y0 = max(left, 0), max(top, 0)
        x1, y1 = min(right, IMAGE_SIDE), min(bottom, IMAGE_SIDE)
        if x0 >= x1 or y0 >= y1:
            continue
        alpha = alpha[y0 - top : y1 - top, x0 - left : x1 - left]
        here = (slice(y0, y1), slice(x0, x1))
        canvas[here] += alpha[:, :, None] * (np.asarray(COLOURS[item.colour], dtype=np.float64) - canvas[here])
        instance[here][alpha > 0.5] = index
    return np.clip(np.rint(canvas), 0, 255).astype(np.uint8), instance


def draw_name(rng: np.random.Generator, theme: int) -> str:
    """A random object name; half of the time from ``THEMES[theme]``, else from all."""
    digit = rng.random() < _DIGIT_SHARE
    pool = DIGITS if digit else SHAPES
    weights = np.ones(len(DIGITS)) if digit else np.asarray(SHAPE_WEIGHTS)
    if rng.random() < 0.5:
        weights = weights * np.array([name in THEMES[theme] for name in pool])
    return pool[rng.choice(len(pool), p=weights / weights.sum())]


def make_object(
    rng: np.random.Generator, name: str, colour: str, cell: tuple[int, int], split: Split, size: str | None = None
) -> SceneObject:
    """An object of this name and colour, of random size and place within a grid cell (row, column)."""
    kind: Literal["shape", "digit"] = "digit" if name in DIGITS else "shape"
    size = size or SIZES[rng.integers(3)]
    low, high = (_DIGIT_SIDES if kind == "digit" else _SIDES)[size]
    side = int(rng.integers(low, high + 1))
    left = cell[1] * CELL + int(rng.integers(0, CELL - side + 1))
    top = cell[0] * CELL + int(rng.integers(0, CELL - side + 1))
    glyph = int(rng.choice(glyphs(name, split))) if kind == "digit" else -1
    return SceneObject(name, kind, colour, (left, top, left + side, top + side), cell[0], cell[1], size, glyph)


def compose(
    canvas: NDArray[np.float64], background: str, objects: Sequence[SceneObject], glyph: Glyph = glyph_alpha
) -> Scene:
    """The scene of these objects on a canvas of `make_background`; the objects are put in reading order."""
    ordered = tuple(sorted(objects, key=lambda item: (item.row, item.col)))
    image, instance = paint(canvas, ordered, glyph)
    return Scene(image, ordered, background, instance)


def make_scene(
    rng: np.random.Generator,
    split: Split = "train",
    count: int | None = None,
    contents: Sequence[tuple[str, str]] | None = None,
    glyph: Glyph = glyph_alpha,
) -> Scene:
    """One random scene.

    Parameters
    ----------
    rng : numpy.random.Generator
        The only source of randomness.
    split : {"train", "evaluation"}
        Which handwritten digits may appear; the two sets share none.
    count : int, optional
        Number of objects, 1 to 9; 2 to 5 at random when absent.
    contents : sequence of (name, colour), optional
        Objects that must be there; ``count`` then counts them too.
    glyph : callable
        How a handwritten digit is drawn.

    Returns
    -------
    Scene
    """
    contents = contents or ()
    count = max(int(rng.integers(2, 6)) if count is None else count, len(contents))
    theme = int(rng.integers(len(THEMES)))
    colours = tuple(COLOURS)
    wanted = [*contents]
    wanted += [(draw_name(rng, theme), colours[rng.integers(len(colours))]) for _ in range(count - len(wanted))]
    cells = [divmod(int(c), GRID) for c in rng.choice(GRID * GRID, count, replace=False)]
    objects = [make_object(rng, name, colour, cell, split) for (name, colour), cell in zip(wanted, cells, strict=True)]
    background = BACKGROUNDS[rng.integers(len(BACKGROUNDS))]
    return compose(make_background(rng, background), background, objects, glyph)


def patch_labels(scene: Scene, patch: int = PATCH_SIDE, coverage: float = 0.125) -> PatchLabels:
    """Label every patch by the object it shows.

    Parameters
    ----------
    scene : Scene
        The image and its objects.
    patch : int
        Side of a patch in pixels; divides `IMAGE_SIDE`.
    coverage : float
        Least share of the patch that an object must cover to own it.

    Returns
    -------
    PatchLabels
        Arrays of shape (IMAGE_SIDE / patch, IMAGE_SIDE / patch).
    """
    side = scene.instance.shape[0] // patch
    blocks = scene.instance.reshape(side, patch, side, patch)
    share = np.stack([(blocks == i).mean(axis=(1, 3)) for i in range(len(scene.objects))])
    owner = np.where(share.max(axis=0) >= coverage, share.argmax(axis=0), -1)
    colours, names = list(COLOURS), list(NAMES)
    colour = np.array([0] + [1 + colours.index(item.colour) for item in scene.objects])
    name = np.array([0] + [1 + names.index(item.name) for item in scene.objects])
    return PatchLabels(owner, colour[owner + 1], name[owner + 1])
