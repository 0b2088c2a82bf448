"""Documents of the image benchmarks with options: ScienceQA, MMBench, MMStar, AI2D."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tops.miniature.documents import IMAGE, INTEGER, STRING, STRINGS, Part, cycle, png, scene_for
from tops.miniature.prompts import FORMATS, mmstar_question
from tops.miniature.questions import LETTERS, Question, ask, with_options
from tops.miniature.scenes import Scene
from tops.miniature.words import CHINESE, ENGLISH, Words

CIRCULAR_STEP = 1_000_000
INSTANCE, ACROSS = "finegrained_perception (instance-level)", "finegrained_perception (cross-instance)"
# Kinds that the miniature models answer at chance with the letter of an option (sides, backgrounds, sums), or not often
# enough to be right in all rotations (counts, where something is), are left out: a guess tells no two methods apart.
# question kind -> MMBench category and level-2 category
MMBENCH_KINDS = {
    "colour": ("attribute_recognition", INSTANCE),
    "shape": ("attribute_recognition", INSTANCE),
    "digit": ("ocr", INSTANCE),
    "neighbour": ("spatial_relationship", ACROSS),
    "place": ("object_localization", INSTANCE),
    "contents": ("image_topic", "coarse_perception"),
}
# What LLaVA-1.5 answers in Chinese: colours and places are at chance there.
READ_IN_CHINESE = ("shape", "digit", "neighbour", "contents")
# MMStar category -> (level-2 category, question kinds)
MMSTAR_KINDS = {
    "coarse perception": (("image scene and topic", "contents"), ("image style & quality", "largest")),
    "fine-grained perception": (("recognition", "shape"), ("localization", "location")),
    "instance reasoning": (
        ("single-instance reasoning", "colour"),
        ("cross-instance relation reasoning", "neighbour"),
    ),
    "logical reasoning": (("diagram reasoning", "place"), ("common reasoning", "neighbour")),
    "science & technology": (("biology & chemistry & physics", "rule"),),
    "math": (("numeric commonsense and calculation", "count"), ("numeric commonsense and calculation", "digit")),
}


def _choices(rng: np.random.Generator, scene: Scene, kinds: tuple[str, ...], words: Words = ENGLISH) -> Question | None:
    question = ask(rng, scene, kinds, words)
    return None if question is None else with_options(rng, question)


def scienceqa(rng: np.random.Generator, videos: Path) -> list[Part]:
    """200 images with one question each, half of them resting on a rule that the hint states."""
    rows = []
    kinds = ("rule", *(kind for kind in FORMATS["scienceqa_img"].kinds if kind != "rule"))
    for number in range(200):
        kind = kinds[0] if number % 2 else kinds[1 + number // 2 % (len(kinds) - 1)]
        scene, question = scene_for(rng, lambda scene, kind=kind: _choices(rng, scene, (kind,)), kind)  # type: ignore[misc]
        rows.append(
            {
                "image": png(scene.image),
                "question": question.text,
                "choices": list(question.options),
                "answer": question.options.index(question.answer),
                "hint": question.hint,
                "task": "closed choice",
                "grade": "grade2",
                "subject": "natural science",
                "topic": "physics" if kind == "rule" else "geography",
                "category": "Materials" if kind == "rule" else "Maps",
                "skill": "Apply a rule" if kind == "rule" else "Read a map",
                "lecture": "",
                "solution": f"The answer is {question.answer}.",
            }
        )
    texts = ("question", "hint", "task", "grade", "subject", "topic", "category", "skill", "lecture", "solution")
    columns: dict[str, Any] = dict.fromkeys(texts, STRING)
    return [Part("ScienceQA-IMG", "test", columns | {"image": IMAGE, "choices": STRINGS, "answer": "int8"}, rows)]


def _circular(scene: Scene, question: Question, index: int) -> list[dict[str, Any]]:
    """One row per rotation of the options, ``index`` growing by `CIRCULAR_STEP`, as MMBench stores them."""
    category, level2 = MMBENCH_KINDS[question.kind]
    image, count = png(scene.image), len(question.options)
    rows = []
    for turn in range(count):
        options = question.options[turn:] + question.options[:turn]
        rows.append(
            {
                "index": index + turn * CIRCULAR_STEP,
                "question": question.text,
                "hint": "nan" if question.language == "en" else None,
                "answer": LETTERS[options.index(question.answer)],
                **{letter: options[i] if i < count else "nan" for i, letter in enumerate("ABCD")},
                "category": category,
                "image": image,
                "source": "scene",
                "L2-category": level2,
                "comment": "nan",
                "split": "dev",
            }
        )
    return rows


def mmbench(rng: np.random.Generator, videos: Path) -> list[Part]:
    """72 questions in each language, each with all rotations of its options."""
    parts: dict[str, list[dict[str, Any]]] = {}
    for config, kinds, words in (("en", tuple(MMBENCH_KINDS), ENGLISH), ("cn", READ_IN_CHINESE, CHINESE)):
        parts[config] = []
        for number, kind in enumerate(cycle(kinds, 72)):
            scene, question = scene_for(rng, lambda s, k=kind, w=words: _choices(rng, s, (k,), w), kind)  # type: ignore[misc]
            parts[config] += _circular(scene, question, 241 + number)
    texts = ("question", "hint", "answer", *"ABCD", "category", "source", "L2-category", "comment", "split")
    columns: dict[str, Any] = {"index": INTEGER} | dict.fromkeys(texts, STRING) | {"image": IMAGE}
    for rows in parts.values():
        rows.sort(key=lambda row: int(row["index"]))
    return [Part(config, "dev", columns, rows) for config, rows in parts.items()]


def mmstar(rng: np.random.Generator, videos: Path) -> list[Part]:
    """Thirty questions in each of the six categories, one per image."""
    rows: list[dict[str, Any]] = []
    for category, level2_kinds in MMSTAR_KINDS.items():
        for level2, kind in cycle(level2_kinds, 30):
            scene, question = scene_for(rng, lambda scene, kind=kind: _choices(rng, scene, (kind,)), kind)  # type: ignore[misc]
            rows.append(
                {
                    "index": len(rows),
                    "question": mmstar_question(question),
                    "image": png(scene.image),
                    "answer": question.letter,
                    "category": category,
                    "l2_category": level2,
                    "meta_info": {"source": "scene", "split": "val", "image_path": f"images/{len(rows)}.png"},
                }
            )
    texts = dict.fromkeys(("question", "answer", "category", "l2_category"), STRING)
    meta = dict.fromkeys(("source", "split", "image_path"), STRING)
    return [Part("", "val", {"index": INTEGER, "image": IMAGE, **texts, "meta_info": meta}, rows)]


def ai2d(rng: np.random.Generator, videos: Path) -> list[Part]:
    """50 images as diagrams, with four questions each about what lies where."""
    rows = []
    kinds = FORMATS["ai2d"].kinds

    def four(scene: Scene) -> list[Question] | None:
        found: dict[str, Question] = {}
        for _ in range(20):
            question = _choices(rng, scene, kinds)
            if question is not None:
                found.setdefault(question.text, question)
            if len(found) == 4:
                return list(found.values())
        return None

    for _ in range(50):
        scene, asked = scene_for(rng, four, "four different questions")
        for question in asked:
            rows.append(
                {
                    "question": question.text,
                    "options": list(question.options),
                    "answer": str(question.options.index(question.answer)),
                    "image": png(scene.image),
                }
            )
    return [Part("", "test", {"question": STRING, "options": STRINGS, "answer": STRING, "image": IMAGE}, rows)]
