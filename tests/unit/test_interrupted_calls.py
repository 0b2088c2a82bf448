"""Ctrl-C and errors in the middle of a forward or a generation: the next call is as if nothing had been."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import tiny
import torch
from oracles.reference import generate
from probes import Fixed, Given
from transformers import DynamicCache

from tops import prune
from tops.engine import hooks as engine_hooks
from tops.errors import UnsupportedModelError

METHOD = Fixed((0, 2))
PLACES = ["model.vision_tower", "model.language_model.layers.0", "model.language_model.layers.3.mlp", "lm_head"]


@contextmanager
def ended_at(model: Any, part: str, how: Callable[[], Any]) -> Iterator[None]:
    """``how`` is called once, when a module runs for the first time."""
    left = [how]
    handle = model.get_submodule(part).register_forward_pre_hook(lambda module, args: left.pop()() if left else None)
    try:
        yield
    finally:
        handle.remove()


def interrupt() -> None:
    """What Ctrl-C does."""
    signal.raise_signal(signal.SIGINT)


def fail() -> None:
    """What a device without memory does."""
    raise RuntimeError("out of memory")


@pytest.mark.parametrize("part", PLACES)
@pytest.mark.parametrize(
    "run", [lambda case: case.model(**case.inputs).logits, lambda c: generate(c.model, c.inputs)[1]]
)
def test_a_block_goes_on_after_ctrl_c(part: str, run: Any) -> None:
    case = tiny.llava()
    plain = run(case)
    with prune(case.model, METHOD):
        whole = run(case)
    with prune(case.model, METHOD) as record:
        with ended_at(case.model, part, interrupt), pytest.raises(KeyboardInterrupt):
            run(case)
        before = len(record.prompts)
        assert torch.equal(run(case), whole)
        assert len(record.prompts) == before + 1
    assert torch.equal(run(case), plain)
    assert not engine_hooks._INSTALLED
    assert "forward" not in vars(case.model) | vars(case.model.model)


@pytest.mark.parametrize("part", PLACES)
def test_ctrl_c_that_leaves_the_block_leaves_the_model_clean(part: str) -> None:
    case = tiny.llava()
    plain = generate(case.model, case.inputs)[1]
    with ended_at(case.model, part, interrupt), pytest.raises(KeyboardInterrupt), prune(case.model, METHOD):
        case.model(**case.inputs)
    assert torch.equal(generate(case.model, case.inputs)[1], plain)
    assert not engine_hooks._INSTALLED


def test_ctrl_c_in_a_method() -> None:
    case = tiny.llava()
    with prune(case.model, Given({2: lambda point: interrupt()})):  # type: ignore[arg-type, return-value]
        for _ in range(2):
            with pytest.raises(KeyboardInterrupt):
                case.model(**case.inputs)


@pytest.mark.parametrize("how", [interrupt, fail])
def test_a_cache_of_a_prompt_that_never_ended_is_refused(how: Any) -> None:
    case, cache = tiny.llava(), DynamicCache()
    after = {"input_ids": torch.tensor([[5]]), "past_key_values": cache}
    with prune(case.model, METHOD):
        with (
            ended_at(case.model, "model.language_model.layers.3", how),
            pytest.raises((KeyboardInterrupt, RuntimeError)),
        ):
            case.model(**case.inputs, past_key_values=cache)
        with pytest.raises(UnsupportedModelError, match=r"ended before its last layer.*a new cache"):
            case.model(**after)


def test_places_of_logits_do_not_outlive_their_call() -> None:
    case = tiny.llava()
    with prune(case.model, METHOD):
        whole = case.model.model(**case.inputs).last_hidden_state
        with ended_at(case.model, "model", fail), pytest.raises(RuntimeError, match="out of memory"):
            case.model(**case.inputs, logits_to_keep=torch.tensor([0, 1]))
        assert torch.equal(case.model.model(**case.inputs).last_hidden_state, whole)
