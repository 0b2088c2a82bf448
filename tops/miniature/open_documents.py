"""Documents of the benchmarks with a word, a phrase or a yes for an answer: GQA, TextVQA, POPE, MME, MM-Vet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tops.miniature.claims import contrast
from tops.miniature.documents import IMAGE, INTEGER, STRING, STRINGS, Part, cycle, png, scene_for
from tops.miniature.prompts import FORMATS
from tops.miniature.questions import NEGATIVES, Question, ask, existence
from tops.miniature.scenes import Scene, make_scene
from tops.miniature.words import ENGLISH

# The categories that the miniature models answer above chance: a guess tells no two methods apart.
MME_KINDS = {
    "existence": "existence",
    "position": "relation check",
    "color": "colour check",
    "OCR": "digit check",
    "commonsense_reasoning": "roll",
}
# capabilities of an MM-Vet question -> question kinds
MM_VET_KINDS = {
    "rec": ("colour", "shape", "colours"),
    "ocr": ("digit", "numbers"),
    "ocr,math": ("sum",),
    "rec,spat": ("location", "relation", "place"),
    "rec,know": ("rule",),
    "rec,spat,gen": ("caption",),
}
_UPPER = {"top": "upper", "bottom": "lower", "center": "middle"}


def _several(rng: np.random.Generator, scene: Scene, kinds: tuple[str, ...], count: int) -> list[Question] | None:
    """``count`` questions of different text about one scene, or None."""
    found: dict[str, Question] = {}
    for _ in range(6 * count):
        question = ask(rng, scene, kinds)
        if question is not None:
            found.setdefault(question.text, question)
        if len(found) == count:
            return list(found.values())
    return None


def gqa(rng: np.random.Generator, videos: Path) -> list[Part]:
    """60 images with four questions each, questions and images in two configurations as in the original."""
    kinds = tuple(kind for kind in FORMATS["gqa"].kinds if kind != "relation check")
    images: list[dict[str, Any]] = []
    questions: list[dict[str, Any]] = []
    for number in range(60):
        scene, asked = scene_for(rng, lambda scene: _several(rng, scene, kinds, 4), "four different questions")
        image = f"n{number:04d}"
        images.append({"id": image, "image": png(scene.image)})
        for question in asked:
            questions.append(
                {
                    "id": f"{len(questions):06d}",
                    "imageId": image,
                    "question": question.text,
                    "answer": question.answer.lower(),
                    "fullAnswer": f"{question.answer}.",
                    "isBalanced": True,
                }
            )
    columns = dict.fromkeys(("id", "imageId", "question", "answer", "fullAnswer"), STRING) | {"isBalanced": "bool"}
    return [
        Part("testdev_balanced_instructions", "testdev", columns, questions),
        Part("testdev_balanced_images", "testdev", {"id": STRING, "image": IMAGE}, images),
    ]


def textvqa(rng: np.random.Generator, videos: Path) -> list[Part]:
    """100 images with two written digits or more, two questions each, with the readings of an imperfect recogniser."""

    def numbers(scene: Scene) -> list[Question] | None:
        several = sum(item.kind == "digit" for item in scene.objects) > 1
        return _several(rng, scene, ("digit",), 2) if several else None

    rows: list[dict[str, Any]] = []
    for number in range(100):
        scene, asked = scene_for(rng, numbers, "two written digits")
        image = png(scene.image)
        for question in asked:
            rows.append(
                {
                    "image_id": f"{number:016x}",
                    "question_id": 34602 + len(rows),
                    "question": question.text.lower().rstrip("?") + "?",
                    "question_tokens": question.text.lower().rstrip("?").split(),
                    "image": image,
                    "image_width": scene.image.shape[1],
                    "image_height": scene.image.shape[0],
                    "answers": [question.answer] * 10,
                    "image_classes": sorted({ENGLISH.noun(item.name) for item in scene.objects}),
                    "set_name": "val",
                    "ocr_tokens": list(asked[0].tokens),
                }
            )
    columns = {
        "image_id": STRING,
        "question_id": INTEGER,
        "question": STRING,
        "question_tokens": STRINGS,
        "image": IMAGE,
        "image_width": INTEGER,
        "image_height": INTEGER,
        "answers": STRINGS,
        "image_classes": STRINGS,
        "set_name": STRING,
        "ocr_tokens": STRINGS,
    }
    return [Part("", "validation", columns, rows)]


def pope(rng: np.random.Generator, videos: Path) -> list[Part]:
    """25 images in three splits, per image and split two questions with yes and two with no.

    One of the two names the object alone, one with its colour. The questions with yes are the same in all splits.
    """
    rows: dict[str, list[dict[str, Any]]] = {split: [] for split in NEGATIVES}
    for number in range(25):
        scene = make_scene(rng, "evaluation", count=int(rng.integers(3, 6)))
        image = png(scene.image)
        there = [existence(rng, scene, present=True, coloured=coloured) for coloured in (False, True)]
        for split in NEGATIVES:
            absent = [
                existence(rng, scene, negative=split, present=False, coloured=coloured) for coloured in (False, True)
            ]
            for question in (q for pair in zip(there, absent, strict=True) for q in pair):
                name = str(len(rows[split]) + 1)
                rows[split].append(
                    {
                        "id": name,
                        "question_id": name,
                        "question": question.text,
                        "answer": question.answer.lower(),
                        "image_source": f"scene_{number:012d}",
                        "image": image,
                        "category": split,
                    }
                )
    columns = dict.fromkeys(("id", "question_id", "question", "answer", "image_source", "category"), STRING)
    columns["image"] = IMAGE
    splits = ("adversarial", "popular", "random")
    together = [row for split in splits for row in rows[split]]
    return [Part("", "test", columns, together), *(Part("Full", split, columns, rows[split]) for split in splits)]


def mme(rng: np.random.Generator, videos: Path) -> list[Part]:
    """Five of MME's fourteen categories, 22 images each, one question with yes and one with no per image.

    Posters, celebrities, landmarks, artworks and code need knowledge that shapes and digits do not carry; claims about
    counts, backgrounds, sums and translations no miniature model has learned to check.
    """
    rows = []
    for category, kind in MME_KINDS.items():
        for number in range(22):
            scene, pair = scene_for(rng, lambda scene, kind=kind: contrast(rng, scene, kind), f"a {kind} pair")  # type: ignore[misc]
            for question in pair:
                rows.append(
                    {
                        "question_id": f"{category}/{number:04d}.png",
                        "image": png(scene.image),
                        "question": f"{question.text} Please answer yes or no.",
                        "answer": question.answer,
                        "category": category,
                    }
                )
    columns = {"question_id": STRING, "image": IMAGE, "question": STRING, "answer": STRING, "category": STRING}
    return [Part("", "test", columns, rows)]


def reference_answer(question: Question) -> str:
    """An MM-Vet answer: ``<AND>`` between what must all be said, ``<OR>`` between equal wordings."""
    if question.kind in ("caption", "colours", "numbers"):
        return "<AND>".join(question.answer.split(", "))
    if question.kind == "location":
        other = " ".join(_UPPER.get(word, word) for word in question.answer.split())
        return question.answer if other == question.answer else f"{question.answer}<OR>{other}"
    return question.answer


def mmvet(rng: np.random.Generator, videos: Path) -> list[Part]:
    """120 images with one question each, over six combinations of capabilities."""
    rows = []
    for number, (capability, kinds) in enumerate(cycle(list(MM_VET_KINDS.items()), 120)):
        kind = kinds[number // len(MM_VET_KINDS) % len(kinds)]
        scene, question = scene_for(rng, lambda scene, kind=kind: ask(rng, scene, (kind,)), kind)  # type: ignore[misc]
        rows.append(
            {
                "question_id": f"v1_{number}",
                "image": png(scene.image),
                "question": f"{question.hint} {question.text}".strip(),
                "answer": reference_answer(question),
                "image_source": "scene",
                "capability": capability,
            }
        )
    columns = dict.fromkeys(("question_id", "question", "answer", "image_source", "capability"), STRING)
    return [Part("", "test", columns | {"image": IMAGE}, rows)]
