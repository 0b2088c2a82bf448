"""What an engine of vLLM answers to pruned images is what ``prune()`` answers, in float32, token by token."""

from __future__ import annotations

from functools import partial
from importlib.util import find_spec
from typing import Any

import pytest
import torch

if find_spec("vllm") is None:
    pytest.skip("vLLM is not installed: make serving-env, make test-serving", allow_module_level=True)

from serving.engines import FAMILIES, Engine, prompts
from serving.signals import engine_signals, library_signals

PROMPTS = 200
CLIP = ("llava-1.5", "llava-next")
METHODS: dict[str, dict[str, Any]] = {
    "none": {"method": "none"},
    "tops": {"method": "tops", "stages": "first"},
    "visionzip": {"method": "visionzip"},
    "divprune": {"method": "divprune"},
    "scope": {"method": "scope"},
    "prumerge_plus": {"method": "prumerge_plus"},
    "random": {"method": "random", "sample": "a name"},
    "uniform": {"method": "uniform"},
    "pooling": {"method": "pooling"},
    "free_truncation": {"method": "free_truncation"},
}
BUDGETS = {"llava-1.5": 24, "llava-next": 60, "qwen2.5-vl": 0.3, "internvl3": 30}
CASES = [
    pytest.param(family, method, id=f"{family}-{method}")
    for family in FAMILIES
    for method in METHODS
    if method != "prumerge_plus" or family in CLIP
]
by_family = pytest.mark.parametrize("engine", FAMILIES, indirect=True)


def pruning_of(family: str, method: str) -> dict[str, Any]:
    return METHODS[method] | ({} if method == "none" else {"budget": BUDGETS[family]})


@pytest.mark.parametrize(("engine", "method"), CASES, indirect=["engine"])
def test_greedy_tokens_are_those_of_prune(engine: Engine, method: str) -> None:
    asked, pruning = prompts(PROMPTS, seed=3), pruning_of(engine.family, method)
    got = engine.ask(asked, [pruning] * len(asked))
    wanted = engine.library(asked, pruning)
    pairs = [(a, b) for one, other in zip(got, wanted, strict=True) for a, b in zip(one[1], other[1], strict=True)]
    differing = sum(a != b for a, b in pairs)
    print(f"{engine.family} {method}: {len(asked)} prompts, {differing} differing tokens")
    assert [length for length, _ in got] == [length for length, _ in wanted]
    assert differing == 0


@by_family
def test_every_image_of_a_prompt_is_pruned_alone(engine: Engine) -> None:
    asked = prompts(20, seed=5, images=2)
    for method in ("tops", "visionzip", "divprune"):
        pruning = METHODS[method] | {"budget": 20}
        got = engine.ask(asked, [pruning] * len(asked))
        assert got == engine.library(asked, pruning), method


@by_family
def test_signals_of_the_tower_are_those_of_the_library(engine: Engine) -> None:
    wanted, got = library_signals(engine), engine_signals(engine)
    assert wanted.keys() == got.keys()
    for name, value in wanted.items():  # vLLM's tower also runs the tiles that pad an image to the prompt's largest
        torch.testing.assert_close(
            got[name][: len(value)], value, rtol=2e-4, atol=2e-5, msg=partial("{}: {}".format, name)
        )


@by_family
def test_caches_were_at_work(engine: Engine) -> None:
    assert engine.counter("vllm:prefix_cache_hits") > 0
    assert engine.counter("vllm:mm_cache_hits") > 0
