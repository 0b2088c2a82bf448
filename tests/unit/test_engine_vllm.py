"""The grid through vLLM, as far as it can be known without it: keys, refusals, what an engine is told of a cell."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

import tops.planning.engines as engines
from tops.errors import ConfigurationError
from tops.methods import build
from tops.planning.plan import PlannedCell, PlanStatus
from tops.planning.request import request
from tops.serving.pruning import Pruning
from tops.store.cell import Cell

CELL = ["backbone=llava-1.5-7b", "benchmark=pope", "profile=miniature", "limit=4"]
SERVED = ["method=visionzip", "budget=16"]


@pytest.fixture(autouse=True)
def there(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """vLLM, as far as a plan looks."""
    monkeypatch.setattr(engines, "installed", lambda: "0.32.0")
    return


def planned(*words: str, cell: list[str] = CELL) -> PlannedCell:
    (found,) = request([*cell, *words, "engine=vllm"]).plan.cells
    return found


def test_the_engine_is_part_of_the_key_and_of_the_label() -> None:
    (library,) = request([*CELL, *SERVED]).plan.cells
    inside = planned(*SERVED)
    assert inside.cell is not None
    assert library.cell is not None
    assert "engine" not in library.cell.as_dict()["backbone"]
    assert inside.cell.versions == {**library.cell.versions, "vllm": "0.32.0"}
    assert inside.cell.key != library.cell.key
    assert "llava-1.5-7b in vllm / visionzip" in inside.cell.label
    assert Cell.from_dict(inside.cell.as_dict()) == inside.cell
    same = replace(inside.cell, backbone=replace(inside.cell.backbone, engine=""), versions=library.cell.versions)
    assert same == library.cell


def test_a_sweep_runs_in_it_too() -> None:
    swept = request([*CELL, "method=visionzip,random", "budget=16", "engine=vllm"], multirun=True).plan
    assert {c.cell.backbone.engine for c in swept.cells if c.cell is not None} == {"vllm"}
    named = request(["experiment=smoke", "profile=miniature", "engine=vllm"]).plan
    assert {c.cell.backbone.engine for c in named.cells if c.cell is not None} == {"vllm"}


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["method=tops", "budget=16"], '"stages": "first"'),
        (["method=fastv", "budget=48"], "fastv cuts inside the language model"),
        (["method=cdpruner", "budget=16"], "cdpruner reads the question"),
        (["method=downsampling", "budget=16"], "changes pictures"),
        (["method=prumerge_plus", "method.rule=literal", "budget=16"], "one token more"),
        (["method=visionzip", "budget=16", "method.positions=original"], "leave positions out"),
        ([*SERVED, "backbone.attention=eager"], "vLLM chooses its own kernels"),
        (["backbone=llava-video-7b", *SERVED], "does not serve llava-video-7b"),
    ],
)
def test_what_vllm_cannot_do_is_refused_by_the_plan(words: list[str], says: str) -> None:
    cell = [w for w in CELL if w.partition("=")[0] not in {x.partition("=")[0] for x in words}]
    found = planned(*words, cell=cell)
    assert found.status is PlanStatus.REFUSED
    assert says in found.reason


def test_controls_that_change_pictures_run_unpruned() -> None:
    for method in ("none", "blank_image", "text_only", "shuffled_image"):
        assert planned(f"method={method}").status is PlanStatus.MISSING
    assert planned("method=tops", "method.stages=first", "budget=16").status is PlanStatus.MISSING


def test_without_vllm_the_plan_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> str:
        raise ConfigurationError("vLLM is not installed; make serving-env")

    monkeypatch.setattr(engines, "installed", none)
    assert "make serving-env" in planned(*SERVED).reason


def test_settings_that_would_do_nothing_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="does not tell which tokens stayed"):
        request([*CELL, *SERVED, "engine=vllm", "record_kept=true"])
    with pytest.raises(ConfigurationError, match="leave one of them out"):
        request([*CELL, *SERVED, "engine=library", "profile.engine=vllm"])
    with pytest.raises(ConfigurationError, match="engine is 'vlm'"):
        request([*CELL, *SERVED, "engine=vlm"])


def test_an_engine_is_told_what_differs_from_the_defaults() -> None:
    told = Pruning.of("visionzip", build("visionzip", budget=64, contextual=0.5), "pope/3")
    assert told.text == '{"budget":64,"contextual":0.5,"method":"visionzip"}'
    drawn = Pruning.of("random", build("random", budget=64, seed=2), "pope/3")
    assert drawn.text == '{"budget":64,"method":"random","sample":"pope/3","seed":2}'
    stage = Pruning.of("tops", build("tops", budget=0.25, stages="first", principles="RC"))
    assert Pruning.read(stage.as_dict()).build() == build("tops", budget=0.25, stages="first", principles="RC")
