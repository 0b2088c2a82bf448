"""No request is served with what another left in vLLM's caches, and a refused one leaves the engine running."""

from __future__ import annotations

import json
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest

if find_spec("vllm") is None:
    pytest.skip("vLLM is not installed: make serving-env, make test-serving", allow_module_level=True)

from serving.engines import QUESTIONS, Engine, Prompt, pictures, prompts

PAIRS = 1000
PRUNINGS: tuple[dict[str, Any], ...] = (
    {"method": "none"},
    {"method": "divprune", "budget": 12},
    {"method": "divprune", "budget": 24},
    {"method": "visionzip", "budget": 24},
    {"method": "random", "budget": 24, "sample": "one"},
    {"method": "random", "budget": 24, "sample": "two"},
)
on_llava = pytest.mark.parametrize("engine", ["llava-1.5"], indirect=True)


@on_llava
def test_a_thousand_random_pairs_and_none_is_stale(engine: Engine) -> None:
    shown, draw = pictures(12, seed=1), np.random.default_rng(0)
    asked, prunings, keys = [], [], []
    for _ in range(PAIRS):
        picture, question, which = (int(draw.integers(n)) for n in (len(shown), len(QUESTIONS), len(PRUNINGS)))
        # Clients may name a picture themselves; then vLLM does not look at its pixels.
        names = (f"picture {picture}",) if draw.random() < 0.5 else ()
        asked.append(Prompt(QUESTIONS[question], (shown[picture],), names))
        prunings.append(PRUNINGS[which])
        keys.append((picture, question, which))
    got = engine.ask(asked, prunings, tokens=4)
    answers: dict[tuple[int, int, int], Any] = {}
    for which, pruning in enumerate(PRUNINGS):
        mine = {key: prompt for key, prompt in zip(keys, asked, strict=True) if key[2] == which}
        answers |= zip(mine, engine.library(list(mine.values()), pruning, tokens=4), strict=True)
    stale = [key for key, answer in zip(keys, got, strict=True) if answer != answers[key]]
    distinct = len({json.dumps(answer) for answer in answers.values()})
    print(f"{PAIRS} pairs, {len(answers)} of them different, with {distinct} different answers: {len(stale)} stale")
    assert not stale
    assert distinct > 50


@on_llava
@pytest.mark.parametrize(
    ("pruning", "says"),
    [
        ({"method": "cdpruner", "budget": 24}, "cdpruner reads the question"),
        ({"method": "fastv", "budget": 24}, "fastv cuts inside the language model"),
        ({"method": "divprune", "budget": 145}, "exceeds the 144 visual tokens"),
        ({"budget": 24}, "the engine has none"),
        ({"method": "divprune", "budget": 24, "positions": "original"}, "leave positions out"),
    ],
)
def test_a_refused_request_leaves_the_engine_running(engine: Engine, pruning: dict[str, Any], says: str) -> None:
    asked = prompts(2, seed=8)
    with pytest.raises(ValueError, match=says):
        engine.ask(asked, [pruning] * 2)
    answer = engine.ask(asked, [{"method": "divprune", "budget": 1}] * 2, tokens=2)
    assert answer == engine.library(asked, {"method": "divprune", "budget": 1}, tokens=2)


def test_other_models_and_wrong_methods_are_refused_before_they_load(monkeypatch: pytest.MonkeyPatch) -> None:
    from vllm import ModelRegistry

    from tops.errors import ConfigurationError, UnsupportedModelError
    from tops.serving import plugin

    known = dict(ModelRegistry.models)
    monkeypatch.setattr(ModelRegistry, "inspect_model_cls", lambda names, config: (None, names[0]))
    monkeypatch.setenv("TOPS_PRUNING", '{"method": "visionzip", "budget": 24}')
    try:
        plugin.register()
        assert ModelRegistry.inspect_model_cls(["LlavaForConditionalGeneration"], None)
        with pytest.raises(UnsupportedModelError, match="Gemma3ForConditionalGeneration is not pruned inside vLLM"):
            ModelRegistry.inspect_model_cls(["Gemma3ForConditionalGeneration"], None)
        monkeypatch.setenv("TOPS_PRUNING", '{"method": "trim", "budget": 24}')
        with pytest.raises(ConfigurationError, match="trim reads the question"):
            plugin.register()
    finally:
        ModelRegistry.models.clear()
        ModelRegistry.models.update(known)
