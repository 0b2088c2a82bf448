"""Documents of three benchmarks where pruning hurts: OCRBench (printed words), ChartQA (bars), RefCOCO (boxes)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tops.miniature.documents import IMAGE, NUMBERS, STRING, STRINGS, Part, cycle, png, scene_for
from tops.miniature.printed import (
    LETTERS,
    Bar,
    chart_picture,
    digits,
    draw_bars,
    draw_string,
    draw_texts,
    words_picture,
)
from tops.miniature.questions import ask
from tops.miniature.scenes import Scene, SceneObject
from tops.miniature.words import ENGLISH

WRITTEN = "what is written in the image?"
# OCRBench's own kinds of text
OCR_KINDS = (
    "Regular Text Recognition",
    "Digit String Recognition",
    "Non-Semantic Text Recognition",
    "Handwriting Recognition",
    "Scene Text-centric VQA",
)
CHART_KINDS = ("value", "number", "tallest", "count")
CAPTION = "Please carefully observe the area circled in the image and come up with a caption for the area."


def ocrbench(rng: np.random.Generator, videos: Path) -> list[Part]:
    """200 pictures: a printed word, printed digits, letters that are no word, a written digit, one of several words."""
    rows = []
    for kind in cycle(OCR_KINDS, 200):
        image, question, answer = _ocr(rng, kind)
        rows.append(
            {
                "dataset": "miniature",
                "question": question,
                "question_type": kind,
                "answer": [answer],
                "image": image,
            }
        )
    columns = {"dataset": STRING, "question": STRING, "question_type": STRING, "answer": STRINGS, "image": IMAGE}
    return [Part("", "test", columns, rows)]


def _ocr(rng: np.random.Generator, kind: str) -> tuple[bytes, str, str]:
    if kind == "Handwriting Recognition":
        scene, found = scene_for(rng, lambda scene: ask(rng, scene, ("digit",)), "a written digit")
        return png(scene.image), found.text, found.answer
    if kind == "Scene Text-centric VQA":
        texts = draw_texts(rng, int(rng.integers(2, 4)))
        asked = texts[rng.integers(len(texts))]
        return png(words_picture(rng, texts)), f"what is the {asked.colour} word?", asked.text
    if kind == "Digit String Recognition":
        line, question = draw_string(rng, digits(), 2, 4), "what is the number in the image?"
    elif kind == "Non-Semantic Text Recognition":
        line, question = draw_string(rng, LETTERS, 3, 5), WRITTEN
    else:
        line, question = draw_texts(rng, 1)[0], WRITTEN
    return png(words_picture(rng, [line])), question, line.text


def chartqa(rng: np.random.Generator, videos: Path) -> list[Part]:
    """50 charts of two to four bars with four questions each, half of them of the human kind."""
    rows: list[dict[str, Any]] = []
    for _ in range(50):
        bars = draw_bars(rng)
        image = png(chart_picture(rng, bars))
        for kind in CHART_KINDS:
            question, answer = _about(rng, bars, kind)
            source = "human_test" if kind in ("tallest", "count") else "augmented_test"
            rows.append({"type": source, "question": question, "answer": answer, "image": image})
    return [Part("", "test", {"type": STRING, "question": STRING, "answer": STRING, "image": IMAGE}, rows)]


def _about(rng: np.random.Generator, bars: list[Bar], kind: str) -> tuple[str, str]:
    bar = bars[rng.integers(len(bars))]
    if kind == "value":
        return f"What is the value of the {bar.colour} bar?", str(bar.value)
    if kind == "number":
        return ENGLISH.say("digit", colour=bar.colour), str(bar.value)
    if kind == "count":
        return "How many bars are there?", str(len(bars))
    return "What color is the tallest bar?", max(bars, key=lambda b: b.value).colour


def refcoco(rng: np.random.Generator, videos: Path) -> list[Part]:
    """Two splits of 50 scenes with a box and two phrases for it: its colour and name, and its place beside these."""
    columns = {
        "question_id": STRING,
        "image": IMAGE,
        "question": STRING,
        "answer": STRINGS,
        "segmentation": NUMBERS,
        "bbox": NUMBERS,
        "iscrowd": "int8",
        "file_name": STRING,
    }
    return [Part("", split, columns, [_box(rng, split, i) for i in range(50)]) for split in ("testA", "testB")]


def _box(rng: np.random.Generator, split: str, number: int) -> dict[str, Any]:
    def alone(scene: Scene) -> SceneObject | None:
        known = [(item.name, item.colour) for item in scene.objects]
        single = [item for item, own in zip(scene.objects, known, strict=True) if known.count(own) == 1]
        return single[rng.integers(len(single))] if single else None

    scene, item = scene_for(rng, alone, "an object unlike the others")
    left, top, right, bottom = (float(v) for v in item.box)
    thing = ENGLISH.noun(item.name, item.colour)
    return {
        "question_id": f"{split}_{number}",
        "image": png(scene.image),
        "question": CAPTION,
        "answer": [thing, f"{thing} at the {ENGLISH.location(item.row, item.col)}"],
        "segmentation": [left, top, right, top, right, bottom, left, bottom],
        "bbox": [left, top, right - left, bottom - top],
        "iscrowd": 0,
        "file_name": f"scene_{split}_{number}.png",
    }
