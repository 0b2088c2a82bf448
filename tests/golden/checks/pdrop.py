"""PyramidDrop: one cut, and whole forward passes."""

from __future__ import annotations

import torch

from tops.budget import PromptShape
from tops.methods.pdrop import PyramidDrop

from .compare import Arrays, Comparison
from .decoder import Decoder, check_forward, whole_sequence
from .points import kept_places, sequence


def case(case: Arrays, check: Comparison) -> None:
    """The next layer's attention from its own weights, read by the engine, and what remains of the sequence."""
    check.absolute = 1e-5
    from tops.engine.attention import layer_keys, rotate_half, row_attention

    hidden, positions = case["hidden_states"], case["position_ids_in"]
    start, n, stage = (case.number(name) for name in ("image_start", "image_tokens_current", "stage"))
    ratios = case["ratio_list"].tolist()
    original = case.number("image_tokens_original")
    check.same("image_tokens_current", int(original * ratios[stage]), case["image_tokens_current"])
    check.same("prompt_len", len(hidden) - n, case["prompt_len"])
    decoder = Decoder.of_one_layer(
        case["input_layernorm_weight"],
        case["q_proj_weight"],
        case["k_proj_weight"],
        heads=case.number("num_heads"),
        eps=case.real("rms_eps"),
        theta=case.real("rope_theta"),
    )
    adapter, layer = decoder.adapter, decoder.adapter.layers[0]
    last = torch.tensor([len(hidden) - 1])
    with torch.no_grad():
        check.close("k", layer_keys(adapter, layer, hidden, positions), case["k"])
        cos, sin = adapter.rotary(hidden[None], positions[None])
        queries, _ = adapter.queries_keys(layer, hidden, last)
        assert queries is not None
        check.close("q_last", (queries * cos[0, last] + rotate_half(queries) * sin[0, last])[:, 0], case["q_last"])
        row = row_attention(adapter, layer, hidden, positions, last)
    method = PyramidDrop(layers=tuple(range(1, len(ratios))), keeps=tuple(ratios[1:]), of=None)
    keep = method.schedule(PromptShape(original, len(ratios))).cuts[stage].keep
    check.same("num_keep", keep, case["num_keep"])
    point = sequence(hidden, start, n, keep)
    point.own = torch.zeros(len(row), len(hidden), len(hidden))
    point.own[:, last] = row
    check.close("score_visual", method.scores(point), case["score_visual"])
    kept = kept_places(point, method.select(point).indices)
    check.same("keep_indices", kept, case["keep_indices"])
    check.same("position_ids_out", torch.arange(len(kept)), case["position_ids_out"])


def model(case: Arrays, check: Comparison) -> None:
    """Kept tokens of every stage of a whole forward pass."""
    ratios = tuple(case["ratio_list"].tolist()[1:])
    method = PyramidDrop(layers=tuple(case["layer_list"].tolist()), keeps=ratios, of=None)
    _, kept = check_forward(case, check, method)
    for stage, layer in enumerate(sorted(kept)):
        name = f"kept_original_stage{stage}"
        check.same(name, whole_sequence(case, kept[layer]), case[name])
