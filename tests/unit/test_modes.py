"""Modes that change inside a block: autocast, training, kernels, weights and settings under a vision memory."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pytest
import tiny
import torch
from oracles.reference import generate, worst
from probes import Fixed, Given
from test_family_signals import eager_weights
from tiny_families import FAMILIES, llava_next

from tops import prune
from tops.backbones import adapter_for
from tops.engine.vision_memory import VisionMemory
from tops.errors import UnsupportedModelError
from tops.signals import PruningPoint, Signal
from tops.tokens import Selection

# transformers' SmolVLM cannot merge bfloat16 features into float32 embeddings, pruned or not.
BUILDERS = {name: build for name, build in {"llava": tiny.llava, **FAMILIES}.items() if name != "smolvlm"}
METHOD = Fixed((0, 2))
PLENTY = 10**9


def autocast() -> Any:
    return torch.autocast("cpu", dtype=torch.bfloat16)


def scores(case: tiny.Case) -> dict[str, torch.Tensor]:
    """What a method reads, and a product of its own."""
    got = {}

    def look(point: PruningPoint) -> Selection:
        vision, rows = point.vision, point.text_slots[-2:]
        got.update(
            saliency=vision.saliency(), received=vision.attention_received(), attention=point.attention(rows),
            previous=point.attention(rows, layer="previous"), keys=point.keys().float(),
            product=torch.ones(3, 3) / 3 @ torch.ones(3, 3), embeddings=vision.embeddings().float(),
        )  # fmt: skip
        if Signal.CLS in vision.signals:
            got["cls"] = vision.cls_attention()
        return Selection(torch.arange(1))

    with prune(case.model, Given({2: look})):
        case.model(**case.inputs)
    return got


@pytest.mark.parametrize("name", BUILDERS)
@torch.no_grad()
def test_scores_are_float32_under_autocast(name: str) -> None:
    case = BUILDERS[name]()
    plain = scores(case)
    with autocast():
        cast = scores(case)
    for key, values in cast.items():
        assert values.dtype == plain[key].dtype == torch.float32
        if key not in ("keys", "embeddings", "product"):  # the layers themselves ran in bfloat16
            assert values.unique().numel() >= 0.8 * plain[key].unique().numel(), key
            assert worst(values, plain[key]) < 0.1
            assert not torch.equal(values.bfloat16().float(), values)
    assert torch.equal(cast["product"], plain["product"])
    assert not torch.equal(cast["keys"], plain["keys"]), "projections run as the model's own"


@torch.no_grad()
def test_saliency_under_autocast_is_the_towers_own_attention() -> None:
    case, got = tiny.llava(), {}

    def look(point: PruningPoint) -> None:
        got["cls"] = point.vision.cls_attention()

    with autocast():
        with prune(case.model, Fixed((0,), look=look)):
            case.model(**case.inputs)
        adapter = adapter_for(case.model)
        (weights,) = eager_weights(adapter.tower_attention[adapter.feature_layer], case)
    assert worst(got["cls"], weights[:, :, 0]) < 2e-2  # eager multiplies in bfloat16, from the same projections


@torch.no_grad()
def test_generation_under_autocast_is_recomputation() -> None:
    case = tiny.llava()
    with autocast(), prune(case.model, METHOD):
        logits = generate(case.model, case.inputs, 3)[1]
        again = generate(case.model, case.inputs, 3, use_cache=False)[1]
    assert worst(logits, again) < 0.3
    assert torch.is_autocast_enabled("cpu") is False


@pytest.mark.parametrize("part", ["", "model", "model.language_model", "model.language_model.layers.1"])
def test_training_mode_inside_a_block_is_refused(part: str) -> None:
    case = tiny.llava()
    case.model.gradient_checkpointing_enable()
    with prune(case.model, METHOD):
        want = case.model(**case.inputs).logits
        module = case.model.get_submodule(part)
        module.train()
        for call in (case.model, case.model.generate):
            with pytest.raises(UnsupportedModelError, match=r"training mode.*model\.eval"):
                call(**case.inputs)
        case.model.eval()
        assert torch.equal(case.model(**case.inputs).logits, want)


def test_a_kernel_that_is_not_served_is_refused_inside_a_block() -> None:
    case = tiny.llava()
    with prune(case.model, METHOD):
        case.model.config.text_config._attn_implementation = "flex_attention"
        with pytest.raises(UnsupportedModelError, match="flex_attention"):
            case.model(**case.inputs)


def _scale(model: Any) -> None:
    model.model.multi_modal_projector.linear_1.weight.mul_(1.5)


def _replace(model: Any) -> None:
    linear = model.model.multi_modal_projector.linear_1
    linear.weight = torch.nn.Parameter(linear.weight * 1.5, requires_grad=False)


def _hook(model: Any) -> None:
    model.model.vision_tower.register_forward_hook(lambda module, args, out: None)


def _setting(model: Any) -> None:
    model.model.vision_tower.encoder.layers[1].self_attn.scale *= 2


def _kernel(model: Any) -> None:
    model.model.vision_tower.set_attn_implementation("eager")


def _adapter(model: Any) -> None:
    tower = model.model.vision_tower.encoder.layers[1].mlp
    tower.fc1 = torch.nn.Sequential(tower.fc1, torch.nn.Identity())


CHANGES = [_scale, _replace, _hook, _setting, _kernel, _adapter]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__.strip("_"))
@torch.no_grad()
def test_a_memory_knows_the_state_of_the_tower(change: Callable[[Any], None]) -> None:
    case, memory = tiny.llava(), VisionMemory(PLENTY)
    with prune(case.model, METHOD, memory=memory):
        for _ in range(2):
            case.model(**case.inputs)
    assert (memory.calls, memory.found) == (2, 1)
    change(case.model)
    with prune(case.model, METHOD):
        want = case.model(**case.inputs).logits
    with prune(case.model, METHOD, memory=memory):
        assert torch.equal(case.model(**case.inputs).logits, want)
    assert (memory.calls, memory.found) == (3, 1)


@pytest.mark.parametrize("build", [tiny.llava, llava_next])
@torch.no_grad()
def test_a_memory_knows_autocast(build: Any) -> None:
    case, memory = build(), VisionMemory(PLENTY)
    for surrounded in (nullcontext, autocast, nullcontext, autocast):
        with surrounded():
            with prune(case.model, METHOD):
                want = case.model(**case.inputs).logits
            with prune(case.model, METHOD, memory=memory):
                assert torch.equal(case.model(**case.inputs).logits, want)
    assert (memory.calls, memory.found) == (4, 2)
