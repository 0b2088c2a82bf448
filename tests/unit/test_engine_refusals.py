"""Each refusal names the value, the constraint and the next step, before compute is spent."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
import tiny
import torch
from accelerate import cpu_offload
from probes import Fixed, Given
from transformers import DynamicCache, GenerationConfig

from tops.budget import Budget
from tops.engine import prune
from tops.errors import (
    BudgetError,
    ConfigurationError,
    MissingSignalError,
    NonFiniteError,
    UnsupportedModelError,
)
from tops.methods.tops import TOPS
from tops.signals import Signal
from tops.tokens import Selection


@pytest.fixture(scope="module")
def case() -> tiny.Case:
    return tiny.llava()


def _no_vision(case: tiny.Case) -> Any:
    def fail(*args: Any) -> None:
        raise AssertionError("the vision tower ran before the refusal")

    return case.model.model.vision_tower.register_forward_pre_hook(fail)


@pytest.mark.parametrize(
    ("method", "words"),
    [
        (TOPS(budget=17), "exceeds the 16 visual tokens.*use at most 16"),
        (TOPS(budget=4, cut_layers=(2, 5)), r"cut layers \[2, 5\].*1 to 4"),
        (TOPS(budget=2, stages="second"), "floor is"),
        (TOPS(budget=Budget(4, "as_printed")), "paper prints no"),
        (Fixed((0, 9)), "pruning layer 9 is outside the model: its layers are 0 to 4"),
    ],
)
def test_budgets_and_layers(case: tiny.Case, method: Any, words: str) -> None:
    guard = _no_vision(case)
    try:
        with prune(case.model, method), pytest.raises(BudgetError, match=words):
            case.model.generate(**case.inputs, max_new_tokens=1)
    finally:
        guard.remove()
    assert case.model(**case.inputs).logits.shape[1] == case.inputs["input_ids"].shape[1]


def test_a_budget_below_one() -> None:
    with pytest.raises(BudgetError, match="at least 1 token"):
        TOPS(budget=0)
    with pytest.raises(BudgetError, match=r"keep ratio 1\.5"):
        TOPS(budget=1.5)


def test_unsupported_model() -> None:
    with (
        pytest.raises(UnsupportedModelError, match="LlavaForConditionalGeneration"),
        prune(torch.nn.Linear(1, 1), TOPS(4)),
    ):  # type: ignore[arg-type]
        pass


def test_two_pruners_and_recovery(case: tiny.Case) -> None:
    with prune(case.model, TOPS(budget=4)):
        with pytest.raises(UnsupportedModelError, match="TOPS already prunes"), prune(case.model, TOPS(budget=8)):
            pass
        with pytest.raises(UnsupportedModelError, match="labels"):
            case.model(**case.inputs, labels=case.inputs["input_ids"])
        names = list(inspect.signature(type(case.model).forward).parameters)[1:]
        by_position = [
            {**case.inputs, "labels": case.inputs["input_ids"]}.get(n) for n in names[: names.index("labels") + 1]
        ]
        with pytest.raises(UnsupportedModelError, match="labels"):
            case.model(*by_position)
    with prune(case.model, TOPS(budget=4)) as run, torch.no_grad():
        case.model(**case.inputs)
    assert run.visual_tokens_per_layer == [8, 8, 1, 1, 1]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"attention_mask": torch.ones(1, 1, 28, 28)}, "only 2-D masks"),
        ({"attention_mask": torch.ones(1, 40)}, "chunked prefill"),
        ({"input_ids": None, "inputs_embeds": torch.zeros(1, 28, 64), "pixel_values": None}, "inputs_embeds without"),
        ({"pixel_values": torch.zeros(2, 3, 28, 28)}, r"placeholders for 1 image\(s\), but 2"),
        ({"input_ids": torch.full((1, 28), tiny.IMAGE)}, "28 image placeholders.*16"),
    ],
)
def test_calls(case: tiny.Case, change: dict[str, Any], words: str) -> None:
    guard = _no_vision(case)
    try:
        with prune(case.model, TOPS(budget=4)), pytest.raises(UnsupportedModelError, match=words):
            case.model(**{**case.inputs, **change})
    finally:
        guard.remove()


def test_static_cache(case: tiny.Case) -> None:
    with prune(case.model, TOPS(budget=4)), pytest.raises(UnsupportedModelError, match="static cache"):
        case.model.generate(**case.inputs, max_new_tokens=2, cache_implementation="static")


@pytest.mark.parametrize("name", ["prefill_chunk_size", "prompt_lookup_num_tokens", "assistant_model"])
def test_ways_of_generating_that_show_the_prompt_in_parts(case: tiny.Case, name: str) -> None:
    value = case.model if name == "assistant_model" else 8
    guard = _no_vision(case)
    try:
        with prune(case.model, TOPS(budget=4)):
            with pytest.raises(UnsupportedModelError, match=f"{name}=.*leave it out"):
                case.model.generate(**case.inputs, max_new_tokens=2, **{name: value})
            if value == 8:
                options = GenerationConfig(max_new_tokens=2, **{name: value})
                with pytest.raises(UnsupportedModelError, match=f"{name}=8"):
                    case.model.generate(**case.inputs, generation_config=options)
    finally:
        guard.remove()
    assert "generate" not in vars(case.model)


@torch.no_grad()
def test_caches_from_elsewhere(case: tiny.Case) -> None:
    token = torch.tensor([[5]])
    outside = case.model(**case.inputs, use_cache=True).past_key_values
    with prune(case.model, TOPS(budget=4)):
        with pytest.raises(UnsupportedModelError, match="outside this prune"):
            case.model(input_ids=token, past_key_values=outside, use_cache=True)
        cache = case.model(**case.inputs, use_cache=True).past_key_values
        turn = torch.ones(1, 60, dtype=torch.int64)
        with pytest.raises(UnsupportedModelError, match="mask of the whole conversation"):
            case.model(input_ids=token, attention_mask=turn, past_key_values=cache, use_cache=True)
        again = torch.full((1, 16), tiny.IMAGE)
        with pytest.raises(UnsupportedModelError, match="new image"):
            case.model(input_ids=again, past_key_values=cache, use_cache=True)
        cache.crop(-3)
        with pytest.raises(UnsupportedModelError, match="cropped"):
            case.model(input_ids=token, past_key_values=cache, use_cache=True)


@torch.no_grad()
def test_a_given_cache_is_a_pruned_one_whatever_use_cache_says(case: tiny.Case) -> None:
    token = torch.tensor([[5]])
    with prune(case.model, TOPS(budget=4)):
        used = case.model(**case.inputs, use_cache=True).past_key_values
        want = case.model(input_ids=token, past_key_values=used).logits
        cache = DynamicCache()
        case.model(**case.inputs, past_key_values=cache, use_cache=False)
        assert torch.equal(case.model(input_ids=token, past_key_values=cache).logits, want)
    with pytest.raises(UnsupportedModelError, match="only inside a prune"):
        case.model(input_ids=token, past_key_values=cache)


def test_model_modes() -> None:
    case = tiny.llava()
    case.model.train()
    with pytest.raises(UnsupportedModelError, match=r"model\.eval"), prune(case.model, TOPS(budget=4)):
        pass
    case.model.eval()
    text = case.model.config.text_config
    text.layer_types = ["sliding_attention"] * text.num_hidden_layers
    with pytest.raises(UnsupportedModelError, match="sliding_attention"), prune(case.model, TOPS(budget=4)):
        pass
    text.layer_types = None
    text.sliding_window = 8
    with pytest.raises(UnsupportedModelError, match="window"), prune(case.model, TOPS(budget=4)):
        pass
    text.use_sliding_window = False
    with prune(case.model, TOPS(budget=4)):
        pass
    text._attn_implementation = "flex_attention"
    with pytest.raises(UnsupportedModelError, match="flex_attention"), prune(case.model, TOPS(budget=4)):
        pass


@dataclass(frozen=True)
class NeedsText(Fixed):
    title: ClassVar[str] = "Needs text"
    signals: ClassVar[frozenset[Signal]] = frozenset({Signal.TEXT_TOWER})


def test_offloaded_weights() -> None:
    case = tiny.llava()
    cpu_offload(case.model.model.language_model.layers[3])
    with pytest.raises(UnsupportedModelError, match=r"layers\.3\..* is offloaded"), prune(case.model, TOPS(budget=4)):
        pass


def test_missing_signals(case: tiny.Case) -> None:
    with pytest.raises(MissingSignalError, match=r"text_tower.*text_encoder="), prune(case.model, NeedsText()):
        pass


@pytest.mark.parametrize(
    ("selection", "error", "words"),
    [
        (Selection(torch.tensor([], dtype=torch.int64)), BudgetError, "no visual token of 16"),
        (Selection(torch.tensor([0, 16])), ConfigurationError, "outside 0 to 15"),
        (Selection(torch.tensor([0, 3, 3])), ConfigurationError, "1 tokens are kept twice"),
        (Selection(torch.tensor([0.0])), ConfigurationError, "int64"),
        (Selection(torch.tensor([0]), torch.zeros(1, 3)), ConfigurationError, r"wanted \(1, 64\)"),
        (Selection(torch.tensor([0]), torch.full((1, 64), torch.nan)), NonFiniteError, "not finite"),
    ],
)
def test_selections(case: tiny.Case, selection: Selection, error: Any, words: str) -> None:
    with prune(case.model, Given({2: lambda point: selection})), pytest.raises(error, match=words):
        case.model(**case.inputs)


def test_non_finite_features() -> None:
    case = tiny.llava()
    with torch.no_grad():
        case.model.model.multi_modal_projector.linear_2.bias[3] = torch.inf
    with prune(case.model, TOPS(budget=4)), pytest.raises(NonFiniteError, match="not finite"):
        case.model(**case.inputs)


def test_no_text_after_the_image() -> None:
    case = tiny.llava()
    inputs = tiny.prompt(tiny.words(4), [tiny.IMAGE] * 16)
    with prune(case.model, TOPS(budget=4)), pytest.raises(ConfigurationError, match="no text follows"):
        case.model(**inputs, pixel_values=case.inputs["pixel_values"])
