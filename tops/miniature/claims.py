"""Claims about a scene in pairs: the same question form once with the answer Yes and once with No."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tops.miniature.questions import COLOUR_NAMES, ROUND, SIDES, Question, apart, counted, existence, pick, refer
from tops.miniature.scenes import BACKGROUNDS, DIGITS, Scene
from tops.miniature.words import CHINESE, ENGLISH

Texts = tuple[str, str, tuple[int, ...]]
Contrast = Callable[[np.random.Generator, Scene], "Texts | None"]


def _named(rng: np.random.Generator, scene: Scene) -> tuple[int, str] | None:
    names = [item.name for item in scene.objects]
    unique = [i for i, name in enumerate(names) if names.count(name) == 1]
    if not unique:
        return None
    index = pick(rng, unique)
    return index, ENGLISH.noun(names[index])


def _wrong_colour(rng: np.random.Generator, scene: Scene, right: str) -> str:
    """Another colour, by preference one that is elsewhere in the scene."""
    near = [item.colour for item in scene.objects if item.colour != right]
    return pick(rng, near) if near and rng.random() < 0.6 else pick(rng, [c for c in COLOUR_NAMES if c != right])


def _colour(rng: np.random.Generator, scene: Scene) -> Texts | None:
    named = _named(rng, scene)
    if named is None:
        return None
    index, thing = named
    right = scene.objects[index].colour
    wrong = _wrong_colour(rng, scene, right)
    yes, no = (ENGLISH.say("colour check", thing=thing, colour=c) for c in (right, wrong))
    return yes, no, (index,)


def _translation(rng: np.random.Generator, scene: Scene) -> Texts | None:
    named = _named(rng, scene)
    if named is None:
        return None
    index, thing = named
    right = scene.objects[index].colour
    wrong = _wrong_colour(rng, scene, right)
    yes, no = (ENGLISH.say("translation", thing=thing, colour=CHINESE.word(c)) for c in (right, wrong))
    return yes, no, (index,)


def _count(rng: np.random.Generator, scene: Scene) -> Texts:
    things, members = counted(rng, scene, ENGLISH)
    right = len(members)
    wrong = pick(rng, [n for n in (right - 1, right + 1, right + 2) if n >= 0])
    yes, no = (ENGLISH.say("count check", number=str(n), things=things) for n in (right, wrong))
    return yes, no, members


def _position(rng: np.random.Generator, scene: Scene) -> Texts | None:
    pairs = apart(scene)
    if not pairs:
        return None
    one, other, side, opposite = pick(rng, pairs)
    first, second = refer(rng, scene, one, ENGLISH), refer(rng, scene, other, ENGLISH)
    if first is None or second is None:
        return None
    sides = dict(SIDES)
    yes, no = (ENGLISH.say("relation", one=first, side=sides[s], other=second) for s in (side, opposite))
    return yes, no, (one, other)


def _digit(rng: np.random.Generator, scene: Scene) -> Texts | None:
    digits = [i for i, item in enumerate(scene.objects) if item.kind == "digit"]
    colours = [scene.objects[i].colour for i in digits]
    unique = [i for i in digits if colours.count(scene.objects[i].colour) == 1]
    if not unique:
        return None
    index = pick(rng, unique)
    item = scene.objects[index]
    wrong = pick(rng, [d for d in DIGITS if d != item.name])
    yes, no = (ENGLISH.say("digit check", colour=item.colour, number=n) for n in (item.name, wrong))
    return yes, no, (index,)


def _background(rng: np.random.Generator, scene: Scene) -> Texts:
    wrong = pick(rng, [b for b in BACKGROUNDS if b != scene.background])
    yes, no = (ENGLISH.say("background check", pattern=b) for b in (scene.background, wrong))
    return yes, no, ()


def _roll(rng: np.random.Generator, scene: Scene) -> Texts | None:
    shapes = [i for i, item in enumerate(scene.objects) if item.kind == "shape"]
    colours = [scene.objects[i].colour for i in shapes]
    unique = [i for i in shapes if colours.count(scene.objects[i].colour) == 1]
    rolling = [i for i in unique if scene.objects[i].name in ROUND]
    resting = [i for i in unique if i not in rolling]
    if not rolling or not resting:
        return None
    chosen = pick(rng, rolling), pick(rng, resting)
    yes, no = (ENGLISH.say("roll", colour=scene.objects[i].colour) for i in chosen)
    return yes, no, chosen


def _sum(rng: np.random.Generator, scene: Scene) -> Texts | None:
    digits = tuple(i for i, item in enumerate(scene.objects) if item.kind == "digit")
    if len(digits) != 2:
        return None
    total = sum(int(scene.objects[i].name) for i in digits)
    wrong = pick(rng, [n for n in range(total - 3, total + 4) if n >= 0 and n != total])
    yes, no = (ENGLISH.say("sum check", number=str(n)) for n in (total, wrong))
    return yes, no, digits


def _size(rng: np.random.Generator, scene: Scene) -> Texts | None:
    rank = {"small": 0, "medium": 1, "large": 2}
    shapes = [(i, rank[item.size]) for i, item in enumerate(scene.objects) if item.kind == "shape"]
    pairs = [(i, j) for i, a in shapes for j, b in shapes if a > b]
    if not pairs:
        return None
    large, small = pick(rng, pairs)
    first, second = refer(rng, scene, large, ENGLISH), refer(rng, scene, small, ENGLISH)
    if first is None or second is None:
        return None
    yes = ENGLISH.say("size", one=first, other=second)
    no = ENGLISH.say("size", one=second, other=first)
    return yes, no, (large, small)


def _more(rng: np.random.Generator, scene: Scene) -> Texts | None:
    names = [item.name for item in scene.objects if item.kind == "shape"]
    kinds = sorted(set(names))
    pairs = [(a, b) for a in kinds for b in kinds if names.count(a) > names.count(b)]
    if not pairs:
        return None
    pair = pick(rng, pairs)
    many, few = (ENGLISH.noun(name, plural=True) for name in pair)
    members = tuple(i for i, item in enumerate(scene.objects) if item.name in pair)
    return ENGLISH.say("more", one=many, other=few), ENGLISH.say("more", one=few, other=many), members


CONTRASTS: dict[str, Contrast] = {
    "colour check": _colour,
    "count check": _count,
    "relation check": _position,
    "digit check": _digit,
    "background check": _background,
    "roll": _roll,
    "sum check": _sum,
    "translation": _translation,
    "size check": _size,
    "more": _more,
}


def contrast(rng: np.random.Generator, scene: Scene, kind: str) -> tuple[Question, Question] | None:
    """Two questions of one kind about one scene, the first with the answer Yes, the second with No.

    Parameters
    ----------
    rng : numpy.random.Generator
        The only source of randomness.
    scene : Scene
        What the questions are about.
    kind : str
        "existence" or a key of `CONTRASTS`.

    Returns
    -------
    pair of Question, or None
        None when the scene cannot carry the pair.
    """
    if kind == "existence":
        coloured = bool(rng.random() < 0.4)
        return existence(rng, scene, present=True, coloured=coloured), existence(
            rng, scene, present=False, coloured=coloured
        )
    texts = CONTRASTS[kind](rng, scene)
    if texts is None:
        return None
    yes, no, objects = texts
    pool = ("Yes", "No")
    return Question(kind, yes, "Yes", pool, objects=objects), Question(kind, no, "No", pool, objects=objects)
