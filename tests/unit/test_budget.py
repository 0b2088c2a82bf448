"""Budgets, published schedules and weights, and what the solver does where nothing is published."""

from __future__ import annotations

import csv
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tops.budget import Budget, Cut, PromptShape, Schedule
from tops.errors import BudgetError, ConfigurationError
from tops.methods._tops_schedules import STAGE_TWO, stage_two_weights
from tops.methods.tops import TOPS

PAPER = Path(__file__).parents[2] / "tops" / "paper" / "data"
DEPTH = {"llava-1.5-13b": 40, "llava-next-13b": 40, "qwen2.5-vl-7b": 28, "internvl3-8b": 28, "llava-video-7b": 28}
TOKENS = {"llava-1.5": 576, "llava-next": 2880, "qwen": 1296, "internvl": 1280, "llava-video": 169}


def shape(backbone: str, images: int = 1) -> PromptShape:
    visual = next(count for name, count in TOKENS.items() if backbone.startswith(name))
    return PromptShape(visual * images, DEPTH.get(backbone, 32), images, backbone)


def cuts(method: TOPS, prompt: PromptShape) -> list[tuple[int, int]]:
    return [(cut.layer, cut.keep) for cut in method.schedule(prompt).cuts]


def rows(name: str) -> list[dict[str, str]]:
    with (PAPER / name).open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("row", [r for r in rows("schedules.csv") if r["table"] in ("9", "10")])
def test_as_printed_is_the_paper(row: dict[str, str]) -> None:
    prompt = shape(row["backbone"])
    assert (prompt.visual, prompt.depth) == (int(row["initial_tokens"]), int(row["llm_layers"]))
    layers = [0, *map(int, row["stage2_layers"].split(";"))]
    counts = [int(row["stage1_budget"]), *map(int, row["stage2_budgets"].split(";"))]
    got = cuts(TOPS(budget=Budget(int(row["target"]), "as_printed")), prompt)
    assert got == list(zip(layers, counts, strict=True))


@pytest.mark.parametrize("row", [r for r in rows("schedules.csv") if r["table"] in ("9", "10")])
def test_the_default_averages_the_budget(row: dict[str, str]) -> None:
    target = int(row["target"])
    assert TOPS(budget=target).schedule(shape(row["backbone"])).layer_average == target


@pytest.mark.parametrize(
    ("backbone", "target", "counts"),
    [
        ("llava-1.5-7b", 128, [(0, 256), (12, 64), (24, 32)]),
        ("llava-1.5-13b", 64, [(0, 128), (15, 32), (30, 16)]),
        ("llava-next-7b", 320, [(0, 640), (12, 160), (24, 80)]),
        ("qwen2.5-vl-7b", 256, [(0, 512), (12, 139), (16, 39)]),
        ("internvl3-8b", 128, [(0, 256), (12, 71), (16, 19)]),
    ],
)
def test_matched_schedules(backbone: str, target: int, counts: list[tuple[int, int]]) -> None:
    assert cuts(TOPS(budget=target), shape(backbone)) == counts


@pytest.mark.parametrize("row", [r for r in rows("schedules.csv") if r["table"] == "17"])
def test_table_17(row: dict[str, str]) -> None:
    layers = tuple(map(int, row["stage2_layers"].split(";")))
    counts = (int(row["stage1_budget"]), *map(int, row["stage2_budgets"].split(";")))
    given_counts = TOPS(budget=128, cut_layers=layers, counts=counts)
    assert cuts(given_counts, shape("llava-1.5-7b")) == list(zip((0, *layers), counts, strict=True))
    if len(layers) == 1:
        assert cuts(TOPS(budget=128, cut_layers=layers), shape("llava-1.5-7b"))[-1] == (layers[0], counts[-1])


def test_table_6() -> None:
    prompt = shape("llava-1.5-7b")
    assert cuts(TOPS(budget=128, stages="first"), prompt) == [(0, 128)]
    with pytest.raises(BudgetError, match=r"floor is 216\.6"):
        TOPS(budget=128, stages="second").schedule(prompt)
    second = TOPS(budget=128, stages="second", cut_layers=(2, 14)).schedule(prompt)
    assert abs(second.layer_average - 128) < 0.3
    assert second.tokens_per_layer[:2] == (576, 576)


def test_a_backbone_without_a_schedule() -> None:
    assert cuts(TOPS(budget=128), PromptShape(576, 16)) == [(0, 256), (6, 64), (12, 32)]
    video = TOPS(budget=64).schedule(shape("llava-video-7b", images=64))
    assert cuts(TOPS(budget=64), shape("llava-video-7b", images=64)) == [(0, 8192), (12, 2224), (16, 624)]
    assert abs(video.layer_average - 64 * 64) <= 1
    later = TOPS(budget=64, cut_layers=(10, 21)).schedule(shape("llava-video-7b", images=64))
    assert [cut.layer for cut in later.cuts] == [0, 10, 21]
    with pytest.raises(BudgetError, match="prints no"):
        TOPS(budget=Budget(64, "as_printed")).schedule(shape("llava-video-7b"))


def test_a_published_backbone_in_miniature() -> None:
    """Layers scale with the depth, weights are those of the nearest kept share."""
    small = PromptShape(144, 8, 1, "llava-1.5-7b")
    assert cuts(TOPS(budget=32), small) == [(0, 64), (3, 16), (6, 8)]
    assert stage_two_weights(small, 32) == (0.5, 0.5)
    assert stage_two_weights(small, 16) == (0.5, 1.0)
    assert [cut.layer for cut in TOPS(budget=32).schedule(PromptShape(144, 8, 1, "internvl3-8b")).cuts] == [0, 3, 5]


def test_twice_the_budget_may_exceed_the_tokens() -> None:
    schedule = TOPS(budget=400).schedule(shape("llava-1.5-7b"))
    assert schedule.tokens_per_layer[0] == 576
    assert abs(schedule.layer_average - 400) < 0.5


def test_ratios() -> None:
    prompt = shape("llava-1.5-7b")
    assert cuts(TOPS(budget=1.0), prompt) == []
    assert cuts(TOPS(budget=576), prompt) == []
    assert cuts(TOPS(budget=128 / 576), prompt) == cuts(TOPS(budget=128), prompt)
    assert cuts(TOPS(budget=Budget(128, "kept")), prompt) == [(0, 128), (12, 32), (24, 16)]


@pytest.mark.parametrize("row", rows("hyperparameters.csv"))
def test_weights_are_the_paper(row: dict[str, str]) -> None:
    want = (float(row["alpha"]), float(row["lambda"]))
    if row["stage"] == "1":
        assert (TOPS().stage1_alpha, TOPS().stage1_lam) == want
        return
    assert stage_two_weights(shape(row["backbone"]), int(row["budget"])) == want
    assert any(w.backbone == row["backbone"] and (w.alpha, w.lam) == want for w in STAGE_TWO)


@given(
    st.integers(1, 600), st.integers(4, 48), st.floats(0.01, 1.0), st.integers(1, 3),
    st.sampled_from(["", "llava-1.5-7b", "qwen2.5-vl-7b"]),
)  # fmt: skip
def test_any_average_that_is_possible_is_met(each: int, depth: int, share: float, images: int, backbone: str) -> None:
    prompt = PromptShape(each * images, depth, images, backbone)
    target = max(1, round(each * share))
    schedule = TOPS(budget=target).schedule(prompt)
    counts = schedule.tokens_per_layer
    assert all(a >= b for a, b in pairwise(counts))
    # One token more or less after the last cut is the finest step there is.
    last = depth - (schedule.cuts[-1].layer if schedule.cuts else 0)
    assert abs(schedule.layer_average - target * images) <= max(1.0, last / depth)


@pytest.mark.parametrize(
    ("value", "words"),
    [(True, "neither"), ("64", "neither"), (float("nan"), "neither"), (0, "at least 1"), (64.0, "such as 64")],
)
def test_wrong_budgets(value: Any, words: str) -> None:
    with pytest.raises(BudgetError, match=words):
        Budget(value)


def test_wrong_schedules() -> None:
    with pytest.raises(BudgetError, match="only 8 are there"):
        Schedule(16, 4, (Cut(0, 8), Cut(2, 9)))
    with pytest.raises(BudgetError, match="must rise"):
        Schedule(16, 4, (Cut(2, 8), Cut(1, 4)))
    with pytest.raises(BudgetError, match="protocol 'kep'"):
        Budget(4, "kep")  # type: ignore[arg-type]
    with pytest.raises(BudgetError, match=r"average 196\.0 tokens, the budget says 128"):
        TOPS(budget=128, counts=(256, 200, 100)).schedule(shape("llava-1.5-7b"))
    with pytest.raises(BudgetError, match="the budget says 576"):  # not: prunes nothing
        TOPS(counts=(256, 64, 32)).schedule(shape("llava-1.5-7b"))
    with pytest.raises(ConfigurationError, match="2 counts for cuts at"):
        TOPS(budget=128, counts=(256, 64)).schedule(shape("llava-1.5-7b"))
