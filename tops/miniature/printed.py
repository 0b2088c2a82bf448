"""Pictures with printed text and with bars, in the size and the colours of the scenes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from tops.miniature.scenes import (
    BACKGROUNDS,
    COLOURS,
    DIGITS,
    IMAGE_SIDE,
    coverage,
    glyph_image,
    glyphs,
    make_background,
)

WORDS = (
    *("ant", "bag", "bee", "box", "bus", "cap", "car", "cat", "cow", "cup", "dog", "egg", "fan", "fig", "fox", "hat"),
    *("hen", "jam", "key", "leg", "map", "nut", "owl", "pan", "pen", "pig", "pot", "sun", "tea", "toy", "van", "web"),
    *("bird", "boat", "book", "cake", "door", "fish", "frog", "lamp", "leaf", "moon", "nest", "ring", "rose", "ship"),
)
LETTERS = "BCDFGHJKLNPQRSTVXZ"  # no vowels: they make no word; M and W run into their neighbours
LINES = 3  # of text in a picture
UNITS = 9  # of the tallest bar
_BAR = 16  # pixels, width
_UNIT = 6  # pixels of height


@dataclass(frozen=True)
class Text:
    """One printed line of a picture."""

    text: str
    colour: str


@dataclass(frozen=True)
class Bar:
    """One bar of a chart; ``value`` is its height in units, 1 to `UNITS`."""

    colour: str
    value: int


def _canvas(rng: np.random.Generator) -> NDArray[np.float64]:
    return make_background(rng, BACKGROUNDS[rng.integers(len(BACKGROUNDS))])


def _colours(rng: np.random.Generator, count: int) -> list[str]:
    names = list(COLOURS)
    return [names[i] for i in rng.permutation(len(names))[:count]]


def text_mask(text: str, scale: int = 2) -> NDArray[np.bool_]:
    """Where the ink of a text lies: Pillow's bitmap font, every pixel enlarged.

    Returns
    -------
    ndarray of bool, shape (height, width)
    """
    font = ImageFont.load_default_imagefont()
    left, top, right, bottom = font.getbbox(text)
    image = Image.new("1", (int(right - left), int(bottom - top)))
    ImageDraw.Draw(image).text((-left, -top), text, fill=1, font=font)
    return np.kron(np.asarray(image), np.ones((scale, scale))).astype(bool)


def words_picture(rng: np.random.Generator, texts: list[Text]) -> NDArray[np.uint8]:
    """Short texts below each other, each at a random place of its third of the picture.

    Parameters
    ----------
    rng : numpy.random.Generator
        The only source of randomness.
    texts : list of Text
        One to three, of at most seven characters.

    Returns
    -------
    ndarray of uint8, shape (IMAGE_SIDE, IMAGE_SIDE, 3)
    """
    canvas = _canvas(rng)
    rows = sorted(int(i) for i in rng.permutation(LINES)[: len(texts)])
    high = IMAGE_SIDE // LINES
    for row, line in zip(rows, texts, strict=True):
        ink = text_mask(line.text)
        height, width = ink.shape
        top = row * high + int(rng.integers(0, high - height + 1))
        left = int(rng.integers(0, IMAGE_SIDE - width + 1))
        canvas[top : top + height, left : left + width][ink] = COLOURS[line.colour]
    return _image(canvas)


def chart_picture(rng: np.random.Generator, bars: list[Bar]) -> NDArray[np.uint8]:
    """Bars on a line, each with its value above it: a digit in the handwriting of the scenes, in the bar's colour.

    Returns
    -------
    ndarray of uint8, shape (IMAGE_SIDE, IMAGE_SIDE, 3)
    """
    canvas = _canvas(rng)
    foot, step = IMAGE_SIDE - 6, IMAGE_SIDE // len(bars)
    canvas[foot : foot + 2] = COLOURS["black"]
    for i, bar in enumerate(bars):
        ink = np.asarray(COLOURS[bar.colour], dtype=np.float64)
        left = i * step + (step - _BAR) // 2
        top = foot - bar.value * _UNIT
        canvas[top:foot, left : left + _BAR] = ink
        side = 22
        glyph = int(rng.choice(glyphs(str(bar.value), "evaluation")))
        alpha = coverage(glyph_image(glyph).resize((side, side), Image.Resampling.BILINEAR))[:, :, None]
        x, y = left + (_BAR - side) // 2, top - side - 1
        here = canvas[y : y + side, x : x + side]
        here += alpha * (ink - here)
    return _image(canvas)


def _image(canvas: NDArray[np.float64]) -> NDArray[np.uint8]:
    return np.clip(np.rint(canvas), 0, 255).astype(np.uint8)


def draw_texts(rng: np.random.Generator, count: int) -> list[Text]:
    """Different words in different colours."""
    words = [WORDS[i] for i in rng.permutation(len(WORDS))[:count]]
    return [Text(word, colour) for word, colour in zip(words, _colours(rng, count), strict=True)]


def draw_string(rng: np.random.Generator, letters: str, shortest: int, longest: int) -> Text:
    """Random characters."""
    count = int(rng.integers(shortest, longest + 1))
    return Text("".join(letters[rng.integers(len(letters))] for _ in range(count)), _colours(rng, 1)[0])


def draw_bars(rng: np.random.Generator) -> list[Bar]:
    """Two to four bars of different colours and values."""
    count = int(rng.integers(2, 5))
    values = rng.permutation(UNITS)[:count] + 1
    return [Bar(colour, int(value)) for colour, value in zip(_colours(rng, count), values, strict=True)]


def digits() -> str:
    """The digits as characters."""
    return "".join(DIGITS)
