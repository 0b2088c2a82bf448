"""What the vision tower made of an image, found again: the same bits, one pass, and nothing mistaken for another."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import pytest
import torch
from tiny import Case, llava
from tiny_families import FAMILIES
from torch import Tensor

from tops import prune
from tops.budget import Budget
from tops.engine.vision_memory import VisionMemory
from tops.errors import ConfigurationError
from tops.methods import build
from tops.methods.base import Method

BUILDERS: dict[str, Callable[..., Case]] = {"llava": llava, **FAMILIES}
PLENTY = 10**9


def ask(case: Case, method: Method, memory: VisionMemory | None) -> tuple[Tensor, Any]:
    """Logits of the prompt and what was kept."""
    with torch.inference_mode(), prune(case.model, method, memory=memory, record_kept=True) as run:
        logits = case.model(**case.inputs).logits
    return logits, [record.kept for record in run.last]


# Whatever a method reads of the tower: attention received, its keys and states (only CLIP's are offered), or nothing.
READERS = [
    *((family, name) for family in BUILDERS for name in ("tops", "visionzip", "fastv", "random")),
    *((family, "prumerge_plus") for family in ("llava", "llava-next")),
]


@pytest.mark.parametrize(("family", "name"), READERS)
def test_answers_are_those_of_the_tower(family: str, name: str) -> None:
    case, memory = BUILDERS[family](), VisionMemory(PLENTY)
    method = build(name, budget=Budget(0.5))
    plain = ask(case, method, None)
    ask(case, build("divprune", budget=Budget(0.5)), memory)  # reads nothing of the tower, yet fills the memory
    found = ask(case, method, memory)
    assert (memory.calls, memory.found) == (2, 1)
    assert torch.equal(found[0], plain[0])
    assert found[1] == plain[1]


def test_another_image_is_another_pass() -> None:
    case, memory = llava(), VisionMemory(PLENTY)
    ask(case, build("divprune", budget=Budget(0.5)), memory)
    case.inputs["pixel_values"] = case.inputs["pixel_values"].clone()
    case.inputs["pixel_values"][..., 0, 0] += 1e-3
    ask(case, build("divprune", budget=Budget(0.5)), memory)
    assert (memory.calls, memory.found, len(memory)) == (2, 0, 2)


def test_full_memory_takes_no_more_and_still_answers() -> None:
    case, memory = llava(), VisionMemory(100)
    method = build("divprune", budget=Budget(0.5))
    assert torch.equal(ask(case, method, memory)[0], ask(case, method, None)[0])
    ask(case, method, memory)
    assert (memory.found, len(memory), memory.held_bytes) == (0, 0, 0)


def test_time_saved_is_that_of_the_pass() -> None:
    now = iter([0.0, 1.0, 6.0, 7.0, 10.0, 10.5])  # a pass of 5 s with 2 s around it, then one found in half a second

    def compute(pixels: Tensor) -> Any:
        return type("Output", (), {"pooler_output": pixels})

    memory = VisionMemory(PLENTY)
    with patch("tops.engine.vision_memory.time.perf_counter", lambda: next(now)):
        memory.features(compute, (torch.zeros(1),), {}, {})
        assert memory.saved_seconds == -2.0
        memory.features(compute, (torch.zeros(1),), {}, {})
    assert memory.saved_seconds == 2.5


def test_what_is_held_cannot_be_changed_from_outside() -> None:
    given = torch.zeros(3)

    def compute(pixels: Tensor) -> Any:
        return type("Output", (), {"pooler_output": [given]})

    memory = VisionMemory(PLENTY)
    for _ in range(3):
        memory.features(compute, (torch.ones(1),), {}, {}).pooler_output[0].add_(1)
    assert memory.found == 2
    assert memory.features(compute, (torch.ones(1),), {}, {}).pooler_output[0].tolist() == [0, 0, 0]


def test_a_memory_serves_one_model() -> None:
    first, second, memory = llava(), llava(), VisionMemory(PLENTY)
    method = build("divprune", budget=Budget(0.5))
    ask(first, method, memory)
    with pytest.raises(ConfigurationError, match="another model"):
        ask(second, method, memory)
    ask(second, method, None)  # the refusal left the model as it was


def test_gradients_go_through_the_tower() -> None:
    case, memory = llava(), VisionMemory(PLENTY)
    case.inputs["pixel_values"].requires_grad_()
    for _ in range(2):
        with prune(case.model, build("divprune", budget=Budget(0.5)), memory=memory):
            case.model(**case.inputs).logits.sum().backward()
    assert case.inputs["pixel_values"].grad is not None
    assert memory.calls == 0


def test_the_model_is_as_before() -> None:
    case = llava()
    before = set(vars(case.model.model))
    with prune(case.model, build("divprune", budget=Budget(0.5)), memory=VisionMemory(PLENTY)):
        assert "get_image_features" in vars(case.model.model)
    assert set(vars(case.model.model)) == before


def test_arguments_that_have_no_certain_name_are_computed() -> None:
    class Opaque:
        pass

    calls = []

    def compute(pixels: Tensor, **options: Any) -> Any:
        calls.append(options)
        return type("Output", (), {"pooler_output": pixels})

    memory = VisionMemory(PLENTY)
    for _ in range(2):
        memory.features(compute, (torch.zeros(1),), {"option": Opaque()}, {})
    assert len(calls) == 2
    assert not len(memory)
