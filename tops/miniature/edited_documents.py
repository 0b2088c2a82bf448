"""Documents of HallusionBench: the same two questions about an image and about its edited twin."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from tops.miniature.documents import IMAGE, STRING, Part, first_found, png
from tops.miniature.questions import COLOUR_NAMES, SIDES, apart, pick
from tops.miniature.scenes import (
    BACKGROUNDS,
    DIGITS,
    NAMES,
    SHAPES,
    Scene,
    SceneObject,
    compose,
    make_background,
    make_object,
    make_scene,
)
from tops.miniature.words import ENGLISH, article

Edit = Callable[[np.random.Generator, Scene], "tuple[Sequence[SceneObject], str, str] | None"]


@dataclass(frozen=True)
class Twins:
    """An image, its edited twin, and two questions whose answers the edit turns round.

    Attributes
    ----------
    original, edited : Scene
    turns_false : str
        A question that is true of the original and false of the edited image.
    turns_true : str
        The reverse.
    """

    original: Scene
    edited: Scene
    turns_false: str
    turns_true: str


def _swap(objects: Sequence[SceneObject], index: int, *new: SceneObject) -> list[SceneObject]:
    return [*objects[:index], *new, *objects[index + 1 :]]


def _again(rng: np.random.Generator, item: SceneObject, **change: Any) -> SceneObject:
    """The object drawn anew in its cell, with another name, size or cell."""
    name, cell = change.get("name", item.name), change.get("cell", (item.row, item.col))
    return make_object(rng, name, item.colour, cell, "evaluation", change.get("size", item.size))


def _singles(scene: Scene) -> list[int]:
    names = [item.name for item in scene.objects]
    return [i for i, name in enumerate(names) if names.count(name) == 1]


def _colour(rng: np.random.Generator, scene: Scene) -> tuple[Sequence[SceneObject], str, str] | None:
    if not _singles(scene):
        return None
    index = pick(rng, _singles(scene))
    item = scene.objects[index]
    after = pick(rng, [colour for colour in COLOUR_NAMES if colour != item.colour])
    ask = [ENGLISH.say("colour check", thing=ENGLISH.noun(item.name), colour=c) for c in (item.colour, after)]
    return _swap(scene.objects, index, replace(item, colour=after)), ask[0], ask[1]


def _digit(rng: np.random.Generator, scene: Scene) -> tuple[Sequence[SceneObject], str, str] | None:
    digits = [i for i, item in enumerate(scene.objects) if item.kind == "digit"]
    colours = [scene.objects[i].colour for i in digits]
    digits = [i for i in digits if colours.count(scene.objects[i].colour) == 1]
    if not digits:
        return None
    index = pick(rng, digits)
    item = scene.objects[index]
    after = pick(rng, [digit for digit in DIGITS if digit != item.name])
    ask = [ENGLISH.say("digit check", colour=item.colour, number=number) for number in (item.name, after)]
    return _swap(scene.objects, index, _again(rng, item, name=after)), ask[0], ask[1]


def _position(rng: np.random.Generator, scene: Scene) -> tuple[Sequence[SceneObject], str, str] | None:
    singles = _singles(scene)
    pairs = [pair for pair in apart(scene) if pair[0] in singles and pair[1] in singles]
    if not pairs:
        return None
    one, other, side, opposite = pick(rng, pairs)
    first, second = scene.objects[one], scene.objects[other]
    objects = _swap(scene.objects, one, _again(rng, first, cell=(second.row, second.col)))
    objects = _swap(objects, other, _again(rng, second, cell=(first.row, first.col)))
    names = {"one": ENGLISH.noun(first.name), "other": ENGLISH.noun(second.name)}
    sides = dict(SIDES)
    ask = [ENGLISH.say("relation", side=sides[s], **names) for s in (side, opposite)]
    return objects, ask[0], ask[1]


def _existence(rng: np.random.Generator, scene: Scene) -> tuple[Sequence[SceneObject], str, str] | None:
    if not _singles(scene):
        return None
    index = pick(rng, _singles(scene))
    item = scene.objects[index]
    there = {other.name for other in scene.objects}
    after = pick(rng, [name for name in NAMES if name not in there])
    things = [ENGLISH.noun(name) for name in (item.name, after)]
    ask = [ENGLISH.say("existence", thing=thing, article=article(thing)) for thing in things]
    return _swap(scene.objects, index, _again(rng, item, name=after)), ask[0], ask[1]


def _more(rng: np.random.Generator, scene: Scene) -> tuple[Sequence[SceneObject], str, str] | None:
    names = [item.name for item in scene.objects]
    pairs = [(a, b) for a in SHAPES for b in SHAPES if names.count(b) and names.count(a) == names.count(b) + 1]
    if not pairs:
        return None
    many, few = pick(rng, pairs)
    index = names.index(many)
    one, other = (ENGLISH.noun(name, plural=True) for name in (many, few))
    objects = _swap(scene.objects, index, _again(rng, scene.objects[index], name=few))
    return objects, ENGLISH.say("more", one=one, other=other), ENGLISH.say("more", one=other, other=one)


# (category, subcategory) -> edit. VD questions need the image; VS questions could be asked without one.
# Sizes and claims about counts are left out: the miniature models answer them at chance.
EDITS: dict[tuple[str, str], Edit] = {
    ("VD", "illusion"): _existence,
    ("VD", "figure"): _colour,
    ("VD", "math"): _more,
    ("VD", "ocr"): _digit,
    ("VS", "chart"): _colour,
    ("VS", "table"): _existence,
    ("VS", "map"): _position,
    ("VS", "ocr"): _digit,
}


def make_twins(rng: np.random.Generator, edit: Edit) -> Twins:
    """A random evaluation scene and its twin on the same background."""

    def attempt() -> Twins | None:
        scene = make_scene(rng, "evaluation")
        found = edit(rng, scene)
        if found is None:
            return None
        background = pick(rng, BACKGROUNDS)
        canvas = make_background(rng, background)
        objects, turns_false, turns_true = found
        original = compose(canvas, background, scene.objects)
        return Twins(original, compose(canvas, background, objects), turns_false, turns_true)

    return first_found(attempt, "this edit")


def hallusionbench(rng: np.random.Generator, videos: Path) -> list[Part]:
    """56 pairs of images with two yes-or-no questions each; both questions change their answer with the edit.

    Figure 0 of a VS set is the one without an image, as in the original; it is in the split ``non_image``, which
    the stock task does not ask.
    """
    rows: dict[str, list[dict[str, Any]]] = {"image": [], "non_image": []}
    for (category, subcategory), edit in EDITS.items():
        for number in range(7):
            twins = make_twins(rng, edit)
            figures = [("1", twins.original, 0), ("2", twins.edited, 1)]
            for visual_input, scene, flipped in figures:
                figure = str(flipped if category == "VD" else flipped + 1)
                for question_id, question in enumerate((twins.turns_false, twins.turns_true)):
                    yes = question_id == flipped
                    common = {
                        "category": category,
                        "subcategory": subcategory,
                        "set_id": str(number),
                        "sample_note": "scene",
                        "question_id": str(question_id),
                        "question": question,
                    }
                    rows["image"].append(
                        common
                        | {
                            "visual_input": visual_input,
                            "figure_id": figure,
                            "gt_answer": str(int(yes)),
                            "gt_answer_details": f"{'Yes' if yes else 'No'}.",
                            "filename": f"./{category}/{subcategory}/{number}_{figure}.png",
                            "image": png(scene.image),
                        }
                    )
                    if category == "VS" and flipped == 0:
                        rows["non_image"].append(
                            common
                            | {
                                "visual_input": "0",
                                "figure_id": "0",
                                "gt_answer": "0",
                                "gt_answer_details": "Without the image this cannot be told.",
                                "filename": None,
                                "image": None,
                            }
                        )
    texts = (
        "category",
        "subcategory",
        "visual_input",
        "set_id",
        "figure_id",
        "sample_note",
        "question_id",
        "question",
        "gt_answer_details",
        "gt_answer",
        "filename",
    )
    columns: dict[str, Any] = dict.fromkeys(texts, STRING) | {"image": IMAGE}
    return [Part("", split, columns, found) for split, found in rows.items()]
