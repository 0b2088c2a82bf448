"""Training material: a pool of scenes with labels, and conversations about them as token ids."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from scripts.miniature.packing import Picture
from tops.miniature.claims import CONTRASTS, contrast
from tops.miniature.prompts import IMAGE_FORMATS, VIDEO_FORMATS, Turn, make_turns, make_video_turn
from tops.miniature.questions import CHINESE_KINDS, ask, caption, pick
from tops.miniature.scenes import (
    BACKGROUNDS,
    COLOURS,
    DIGITS,
    SIZES,
    Glyph,
    Scene,
    coverage,
    glyph_alpha,
    glyph_image,
    make_scene,
    patch_labels,
)
from tops.miniature.videos import make_video
from tops.miniature.words import CHINESE, ENGLISH, Words

if TYPE_CHECKING:
    pass

CHUNK = 250
# Direct questions without a benchmark's instructions: the first part of the curriculum.
PLAIN = ("existence", "colour", "colour", "colour", "digit", "shape", "count", "count", "location", "location", "place")


@dataclass(frozen=True)
class Lesson:
    """Settings of the conversations about scenes.

    Attributes
    ----------
    direct : tuple of str
        Kinds of the direct questions; one may stand there repeatedly.
    chinese : float
        Share of the conversations of direct questions that are in Chinese (of those kinds that there are in it).
    formats : tuple of str
        Keys of `tops.miniature.prompts.FORMATS` for the other conversations; one may stand there repeatedly.
    captions : float
        Share of the other conversations that end with the caption.
    """

    direct: tuple[str, ...] = PLAIN
    chinese: float = 0.0
    formats: tuple[str, ...] = IMAGE_FORMATS
    captions: float = 0.3

    def turns(self, rng: np.random.Generator, scene: Scene, plain: bool, length: int) -> list[Turn]:
        """A conversation about one scene, direct questions or not, for about ``length`` tokens."""
        if not plain:
            return make_turns(rng, scene, length // 32, self.formats, with_caption=bool(rng.random() < self.captions))
        if rng.random() >= self.chinese:
            return plain_turns(rng, scene, 22, self.direct)
        return plain_turns(rng, scene, 22, [kind for kind in self.direct if kind in CHINESE_KINDS], CHINESE)


@dataclass(frozen=True)
class Pool:
    """Scenes with the labels of each patch.

    Attributes
    ----------
    scenes : list of Scene
    images : ndarray of uint8, shape (S, side, side, 3)
    labels : ndarray of int8, shape (S, patches, 6)
        Colour, name and size of the patch's object (0: background), whether it holds an object's centre, the scene's
        background, and the cell of the patch.
    digest : str
        sha256 of the images and labels.
    """

    scenes: list[Scene]
    images: NDArray[np.uint8]
    labels: NDArray[np.int8]
    digest: str

    def __len__(self) -> int:
        return len(self.scenes)

    def picture(self, rng: np.random.Generator, number: int, plain: float, lesson: Lesson, length: int) -> Picture:
        """A conversation about one scene, of direct questions for a ``plain`` share, for about ``length`` tokens."""
        scene = self.scenes[number]
        turns = lesson.turns(rng, scene, bool(rng.random() < plain), length)
        return Picture(turns, scene.objects, patch_labels(scene).owner.reshape(-1))


LABELS = {"colour": 9, "name": 16, "size": 4, "centre": 2, "background": 4, "cell": 9}


def scene_labels(scene: Scene) -> NDArray[np.int8]:
    """The labels of one scene's patches, shape (patches, 6), in the order of `LABELS`."""
    own = patch_labels(scene)
    side = own.owner.shape[0]
    sizes = np.array([0, *(1 + SIZES.index(item.size) for item in scene.objects)])
    centre = np.zeros((side, side), dtype=np.int64)
    scale = side / scene.image.shape[0]
    for item in scene.objects:
        x, y = item.centre
        centre[min(int(y * scale), side - 1), min(int(x * scale), side - 1)] = 1
    rows, cols = np.mgrid[0:side, 0:side] * 3 // side
    ground = np.full((side, side), BACKGROUNDS.index(scene.background))
    parts = (own.colour, own.name, sizes[own.owner + 1], centre, ground, rows * 3 + cols)
    return np.stack(parts, axis=-1).reshape(side * side, len(LABELS)).astype(np.int8)


def _count(rng: np.random.Generator, crowded: bool) -> int | None:
    draw = rng.random()
    if crowded:
        return int(rng.integers(6, 10)) if draw < 0.6 else int(rng.integers(1, 10)) if draw > 0.8 else None
    return int(rng.integers(1, 10)) if draw < 0.2 else None


def _digits(rng: np.random.Generator) -> list[tuple[str, str]]:
    colours = list(COLOURS)
    return [(DIGITS[rng.integers(10)], colours[rng.integers(len(colours))]) for _ in range(int(rng.integers(7, 10)))]


def other_hands(rng: np.random.Generator) -> Glyph:
    """Draws every digit a little turned, slanted and stretched: the collection's 1400 are few."""

    def draw(index: int, side: int) -> NDArray[np.float64]:
        turn, slant = rng.uniform(-0.2, 0.2), rng.uniform(-0.25, 0.25)
        stretch = np.diag(rng.uniform(0.85, 1.15, 2) * 8 / side)
        into = np.array([[1, slant], [0, 1]]) @ [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]] @ stretch
        start = 4 + rng.uniform(-0.3, 0.3, 2) - into @ [side / 2, side / 2]
        rows = (*into[0], start[0], *into[1], start[1])
        glyph = glyph_image(index)
        return coverage(glyph.transform((side, side), Image.Transform.AFFINE, rows, Image.Resampling.BILINEAR))

    return draw


def _chunk(seed: int, crowded: bool, hands: bool, number: int) -> list[tuple[Scene, NDArray[np.int8]]]:
    rng = np.random.default_rng((seed, number))
    glyph = other_hands(np.random.default_rng((seed, number, 1))) if hands else glyph_alpha
    made = []
    for _ in range(CHUNK):
        # Handwritten digits are the hardest to tell apart, so crowded pools hold many.
        digits = _digits(rng) if crowded and number % 2 else None
        scene = make_scene(rng, "train", len(digits) if digits else _count(rng, crowded), digits, glyph)
        made.append((scene, scene_labels(scene)))
    return made


def make_pool(scenes: int, seed: int, crowded: bool = False, hands: bool = False, workers: int = 2) -> Pool:
    """Draw training scenes; the result does not depend on ``workers``.

    Parameters
    ----------
    scenes : int
        How many, a multiple of `CHUNK`.
    seed : int
        Seed of the scenes.
    crowded : bool
        Whether most scenes hold 6 to 9 objects, half of them digits only (more to learn from one image), or 2 to 5.
    hands : bool
        Whether handwritten digits vary beyond the collection (`other_hands`).
    workers : int
        Processes.
    """
    with ProcessPoolExecutor(workers) as executor:
        chunks = list(executor.map(partial(_chunk, seed, crowded, hands), range(scenes // CHUNK)))
    made = [pair for chunk in chunks for pair in chunk]
    images = np.stack([scene.image for scene, _ in made])
    labels = np.stack([label for _, label in made])
    digest = hashlib.sha256(images.tobytes() + labels.tobytes()).hexdigest()
    return Pool([scene for scene, _ in made], images, labels, digest)


def plain_turns(
    rng: np.random.Generator, scene: Scene, count: int, kinds: Sequence[str] = PLAIN, words: Words = ENGLISH
) -> list[Turn]:
    """Direct questions without instructions, no prompt twice; ``kinds`` may repeat, and hold claims in English."""
    turns: dict[str, Turn] = {}
    for _ in range(2 * count):
        if len(turns) == count:
            break
        kind = pick(rng, kinds)
        if kind in CONTRASTS:
            pair = contrast(rng, scene, kind)
            question = pick(rng, pair) if pair else None
        else:
            question = ask(rng, scene, [kind], words)
        if question is not None:
            turns.setdefault(question.text, Turn(question.text, question.answer, "plain", question))
    return list(turns.values())


def corpus(pool: Pool, seed: int, scenes: int = 3000) -> Iterator[str]:
    """Texts to train the tokenizer on: every benchmark format, captions in both languages."""
    rng = np.random.default_rng((seed, 1))
    for scene in pool.scenes[:scenes]:
        for turn in make_turns(rng, scene, 10, IMAGE_FORMATS, with_caption=True):
            yield f"USER: \n{turn.prompt} ASSISTANT: {turn.reply}"
        chinese = caption(rng, scene, CHINESE)
        yield f"{chinese.text} {chinese.answer}"
    for number in range(scenes // 10):
        video = make_video(rng, "train")
        for _ in range(20):
            asked = make_video_turn(rng, video, VIDEO_FORMATS[number % len(VIDEO_FORMATS)])
            if asked is not None:
                yield f"USER: \n{asked.prompt} ASSISTANT: {asked.reply}"


def short_caption(rng: np.random.Generator, scene: Scene) -> str:
    """A caption for the contrastive stage: the objects, some of them, or all with their places."""
    items = [scene.objects[i] for i in rng.permutation(len(scene.objects))]
    draw = rng.random()
    if draw < 0.2:
        return caption(rng, scene).answer
    if draw < 0.5:
        items = items[: int(rng.integers(1, len(items) + 1))]
    return ", ".join(ENGLISH.noun(item.name, item.colour) for item in items)
