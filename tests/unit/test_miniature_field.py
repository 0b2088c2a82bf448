"""Miniature documents of OCRBench, ChartQA and RefCOCO: their answers are what the pictures show."""

import io
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tops.benchmarks.scorers import rule_of
from tops.miniature import field_documents
from tops.miniature.benchmarks import BENCHMARKS
from tops.miniature.chance import chance_of
from tops.miniature.printed import Bar, Text, chart_picture, draw_bars, text_mask, words_picture
from tops.miniature.scenes import COLOURS


def parts(name, seed=0):
    return getattr(field_documents, name)(np.random.default_rng(seed), Path())


def pixels(row):
    return np.asarray(Image.open(io.BytesIO(row["image"])).convert("RGB")).astype(int)


def share(image, colour):
    return (np.abs(image - np.array(COLOURS[colour])).sum(-1) == 0).mean()


def cropped(ink):
    rows, columns = np.flatnonzero(ink.any(1)), np.flatnonzero(ink.any(0))
    return ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def test_a_word_is_drawn_in_its_colour_and_in_nothing_else():
    rng = np.random.default_rng(0)
    image = words_picture(rng, [Text("cat", "red"), Text("owl", "blue")])
    for text, colour in (("cat", "red"), ("owl", "blue")):
        ink = (image == np.array(COLOURS[colour])).all(-1)
        assert (cropped(ink) == cropped(text_mask(text))).all()
    assert share(image, "green") == 0


def test_a_bar_is_as_high_as_its_value():
    for seed in range(8):
        bars = draw_bars(np.random.default_rng(seed))
        image = chart_picture(np.random.default_rng(seed), bars)
        assert len({bar.value for bar in bars}) == len({bar.colour for bar in bars}) == len(bars)
        for i, bar in enumerate(bars):
            middle = 96 // len(bars) * i + 96 // len(bars) // 2
            column = (image[:90, middle] == np.array(COLOURS[bar.colour])).all(-1)
            assert column[90 - 6 * bar.value :].all()
    image = chart_picture(np.random.default_rng(0), [Bar("red", 9), Bar("blue", 1)])
    assert share(image, "red") > 2 * share(image, "blue")


def test_ocr_asks_each_kind_of_text_equally_often():
    (part,) = parts("ocrbench")
    assert set(Counter(row["question_type"] for row in part.rows).values()) == {40}
    for row in part.rows:
        assert rule_of("ocrbench").row(f"It says {row['answer'][0].upper()}!", row)["score"] == 1.0
        assert pixels(row).shape == (96, 96, 3)


def test_chart_answers_are_those_of_the_bars():
    (part,) = parts("chartqa")
    charts = [part.rows[i : i + 4] for i in range(0, 200, 4)]
    for value, number, tallest, count in charts:
        assert len({row["image"] for row in (value, number, tallest, count)}) == 1
        assert 2 <= int(count["answer"]) <= 4
        image = pixels(tallest)
        seen = {c: share(image[:90], c) for c in COLOURS}
        assert max(seen, key=seen.get) == tallest["answer"]
        assert 1 <= int(value["answer"]) <= 9
    assert Counter(row["type"] for row in part.rows) == {"human_test": 100, "augmented_test": 100}


def test_a_box_holds_the_object_that_its_phrases_name():
    both = parts("refcoco")
    assert [part.split for part in both] == ["testA", "testB"]
    for row in (row for part in both for row in part.rows):
        left, top, width, height = (round(v) for v in row["bbox"])
        colour = row["answer"][0].split()[0]
        inside = (np.abs(pixels(row) - np.array(COLOURS[colour])).sum(-1) < 90)[top : top + height, left : left + width]
        assert inside.any()
        target = {**row, "image_width": 96, "image_height": 96, "part": "testA"}
        box = [left / 96, top / 96, (left + width) / 96, (top + height) / 96]
        assert rule_of("refcoco").row(f"[{', '.join(f'{v:.2f}' for v in box)}]", target)["score"] == 1.0


@pytest.mark.parametrize(("name", "documents"), [("ocrbench", 200), ("chartqa", 200), ("refcoco", 200)])
def test_how_many_are_asked_and_what_a_guess_gets(name, documents):
    made = parts(name)
    assert BENCHMARKS[name].asked(made) == documents
    assert 0 <= chance_of(name, made[0].rows) < (100 if name == "ocrbench" else 25)
    assert [p.rows for p in parts(name)] == [p.rows for p in made]  # the seed alone decides
