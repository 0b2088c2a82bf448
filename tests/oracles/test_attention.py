"""Attention read from one layer's projections equals the model's own eager attention."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import tiny
import tiny_families
import torch
from oracles.reference import worst
from probes import Fixed, keep_all

from tops.backbones import adapter_for
from tops.engine import prune
from tops.signals import PruningPoint, Signal

CASES = [pytest.param(build, id=name) for name, build in (tiny.FAMILIES | tiny_families.FAMILIES).items()]


@pytest.mark.parametrize("build", CASES)
@pytest.mark.parametrize("which", ["own", "previous"])
@torch.no_grad()
def test_decoder_rows_are_eager_attention(build: Any, which: Any) -> None:
    case, got, keys = build(), {}, {}

    def look(point: PruningPoint) -> None:
        got[point.layer] = point.attention(point.text_slots, layer=which)
        keys[point.layer] = point.keys(layer=which)

    layers = (1, 3)
    with prune(case.model, replace(keep_all("contiguous", layers), look=look)):
        out = case.model(**case.inputs, use_cache=True)
    case.model.set_attn_implementation("eager")
    reference = case.model(**case.inputs, output_attentions=True).attentions
    for layer in layers:
        at = layer if which == "own" else layer - 1
        rows = got[layer].shape[1]
        assert worst(got[layer], reference[at][0, :, -rows:]) <= 1e-5
        assert worst(keys[layer], out.past_key_values.layers[at].keys[0]) <= 1e-5


@torch.no_grad()
def test_previous_attention_is_that_of_the_layer_as_it_ran() -> None:
    """After a cut at layer 2 the layer before 3 has seen the shortened sequence, and its positions."""
    case, seen = tiny.llava(), {}

    def look(point: PruningPoint) -> None:
        seen[point.layer] = point.attention(point.text_slots, layer="previous" if point.layer == 3 else "own")

    with prune(case.model, Fixed((2, 3), look=look)) as run:
        case.model(**case.inputs)
    kept = run.last[0].tokens_per_layer[2]
    assert seen[3].shape[-1] == kept
    assert worst(seen[3].sum(-1), torch.ones(())) <= 1e-5
    with prune(case.model, Fixed((2,))):
        case.model.set_attn_implementation("eager")
        reference = case.model(**case.inputs, output_attentions=True).attentions[2][0]
    assert worst(seen[3], reference[:, -seen[3].shape[1] :]) <= 1e-5


@pytest.mark.parametrize("build", [c for c in CASES if Signal.ENCODER in adapter_for(c.values[0]().model).signals])
@torch.no_grad()
def test_cls_attention_is_eager_attention(build: Any) -> None:
    case, got = build(2), {}

    def look(point: PruningPoint) -> None:
        got["cls"], got["saliency"] = point.vision.cls_attention(), point.vision.saliency()
        got["embeddings"], got["tokens"] = point.vision.embeddings(), point.tokens.features

    with prune(case.model, Fixed((0,), look=look)):
        case.model(**case.inputs)
    assert torch.equal(got["embeddings"], got["tokens"])
    assert len(got["saliency"]) == len(got["tokens"])
    assert got["saliency"].dtype == torch.float32
    units, heads, _ = got["cls"].shape
    assert worst(got["cls"].sum(-1), torch.ones(units, heads)) <= 1e-5


@torch.no_grad()
def test_encoder_signals_of_clip() -> None:
    case, got = tiny.llava(images=2), {}

    def look(point: PruningPoint) -> None:
        vision = point.vision
        got.update(
            features=vision.encoder_features(), projected=vision.project(vision.encoder_features()[1, 1:]),
            embeddings=vision.embeddings(), packed=vision.packed(vision.encoder_features()[:, 1:]),
        )  # fmt: skip
        for layer in ("feature", "last"):
            query, keys = vision.encoder_cls_query(layer=layer), vision.encoder_keys(layer=layer)
            scores = (keys @ query[..., None])[..., 0] * query.shape[-1] ** -0.5
            got[layer] = scores.softmax(-1)

    with prune(case.model, Fixed((0,), look=look)):
        case.model(**case.inputs)
    tower = case.model.model.vision_tower
    tower.set_attn_implementation("eager")
    reference = tower(case.inputs["pixel_values"], output_attentions=True, output_hidden_states=True)
    assert worst(got["features"], reference.hidden_states[-2]) <= 1e-5
    assert worst(got["feature"], reference.attentions[-2][:, :, 0]) <= 1e-6
    assert worst(got["last"], reference.attentions[-1][:, :, 0]) <= 1e-6
    assert worst(got["projected"], got["embeddings"][16:]) <= 1e-5
    assert torch.equal(got["packed"], got["features"][:, 1:].flatten(0, 1))
