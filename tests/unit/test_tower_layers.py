"""Signals of any layer of the vision tower, and attention rows of the language model without RoPE."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from oracles.reference import entering
from probes import Fixed, Given
from test_family_signals import expected
from tiny import Case, llava
from tiny_families import FAMILIES, qwen25vl

from tops import prune
from tops.backbones import adapter_for
from tops.engine.vision_memory import VisionMemory
from tops.errors import ConfigurationError, MissingSignalError
from tops.methods import build
from tops.signals import PruningPoint, Signal, Tower
from tops.tokens import Selection

BUILDERS = {"llava": llava, **FAMILIES}


@dataclass(frozen=True)
class Reads(Fixed):
    """Reads the layers that it names."""

    names: tuple[int, ...] = ()

    def tower_layers(self, tower: Tower) -> tuple[int, ...]:
        return self.names


@torch.no_grad()
def read(case: Case, layers: tuple[int, ...], look: Any, **options: Any) -> None:
    with prune(case.model, Reads((0,), names=layers, look=look), **options):
        case.model(**case.inputs)


@pytest.mark.parametrize("name", BUILDERS)
def test_every_layer_equals_eager_attention(name: str) -> None:
    case, got = BUILDERS[name](2), {}
    layers = tuple(range(len(adapter_for(case.model).tower_attention)))

    def look(point: PruningPoint) -> None:
        assert point.vision.tower.depth == len(layers)
        assert point.vision.tower.whole[-1] == point.vision.tower.feature or Signal.ENCODER in point.vision.signals
        for layer in layers:
            got[layer] = point.vision.saliency(layer=layer), point.vision.attention_received(layer=layer)
        torch.testing.assert_close(
            point.vision.attention_received(reduce="sum", layer=0), got[0][1] * 4, atol=1e-6, rtol=0
        )

    read(case, layers, look)
    for layer, (saliency, received) in got.items():
        assert saliency.dtype == received.dtype == torch.float32
        torch.testing.assert_close(saliency, expected(name, case, layer), atol=1e-6, rtol=0)
        torch.testing.assert_close(received, expected(name, case, layer, received=True), atol=1e-6, rtol=0)
    assert not torch.equal(got[0][0], got[layers[-1]][0])


def test_layers_that_were_not_named_or_are_not_there_are_refused() -> None:
    case = llava()

    def look(point: PruningPoint) -> None:
        with pytest.raises(MissingSignalError, match=r"layer 0 .* were not kept; .*tower_layers"):
            point.vision.cls_attention(layer=0)
        with pytest.raises(MissingSignalError, match="has 4 layers and no layer 9"):
            point.vision.attention_received(layer=9)

    read(case, (1,), look)
    with pytest.raises(ConfigurationError, match="layer 4 is outside the vision tower of llava: its layers are 0 to 3"):
        read(case, (4,), None)


def test_a_memory_filled_for_fewer_layers_does_not_answer_for_more() -> None:
    case, memory, got = llava(), VisionMemory(10**9), []
    with torch.no_grad(), prune(case.model, build("tops", budget=0.5), memory=memory):
        case.model(**case.inputs)

    def look(point: PruningPoint) -> None:
        got.append(point.vision.cls_attention(layer=0))

    for _ in range(2):
        read(case, (0,), look, memory=memory)
    assert (memory.calls, memory.found, len(memory)) == (3, 1, 1)
    assert torch.equal(*got)


@pytest.mark.parametrize("build_case", [llava, qwen25vl])
@torch.no_grad()
def test_rows_without_rope_are_those_of_one_place(build_case: Any) -> None:
    case, got = build_case(attention="eager"), {}

    def look(point: PruningPoint) -> Selection:
        got["plain"] = point.attention(point.text_slots, layer="previous", rope=False)
        got["turned"] = point.attention(point.text_slots, layer="previous")
        return Selection(torch.arange(1))

    with prune(case.model, Given({1: look})):
        case.model(**case.inputs)
    embeds, ids = entering(case.model, case.inputs)
    places = torch.zeros(embeds.shape[:2], dtype=torch.int64) if ids is None else torch.zeros_like(ids)
    text = case.model.model.language_model
    reference = text(
        inputs_embeds=embeds, position_ids=places, attention_mask=case.inputs["attention_mask"], output_attentions=True
    ).attentions[0][0]
    rows = got["plain"].shape[1]
    torch.testing.assert_close(got["plain"], reference[:, -rows:], atol=1e-6, rtol=0)
    assert (got["plain"] - got["turned"]).abs().max() > 1e-2


def test_the_comparison_sees_another_layer() -> None:
    case, got = llava(), {}

    def look(point: PruningPoint) -> None:
        got["one"] = point.vision.attention_received(layer=1)

    read(case, (1,), look)
    assert (got["one"] - expected("llava", case, 2, received=True)).abs().max() > 1e-3
