"""VScan: tiles, one cut inside the model, whole forward passes, LLaVA-NeXT, and Qwen2.5-VL."""

from __future__ import annotations

import torch
from torch import Tensor

from tops.methods.vscan import VScan
from tops.selection.scan import SIDE as WINDOWS
from tops.selection.scan import merge_into_nearest, select_scans, window_of
from tops.signals import Tower
from tops.testing import ArrayPoint, ArrayVision, grid_tokens

from .compare import Arrays, Comparison
from .decoder import Decoder, check_forward, whole_sequence
from .points import kept_places, sequence
from .tiles import SIDE, TILE, packing_of


def case(case: Arrays, check: Comparison) -> None:
    """Both scans, what merges into what, and the merged rows."""
    features, keep = case["projected"], case.number("visual_token_num")
    batch, n, width = features.shape
    scores = {}
    for name in ("shallow", "deep"):
        scores[name] = case[f"{name}_attn"].mean(1)
        check.close(f"{name}_score", scores[name], case[f"{name}_score"])
    tokens = grid_tokens(features.flatten(0, 1), units=batch, images=batch)
    window = window_of(tokens.row.view(batch, n), tokens.col.view(batch, n), "sixteen")
    found = select_scans(scores["shallow"], scores["deep"], window, keep, windows="sixteen", exact=False)
    each = keep // 2 // WINDOWS**2
    check.same("local_per_window", each, case["local_per_window"])
    # Recorded window by window; a stable sort keeps the falling order inside each.
    order = window.gather(1, found.local).sort(dim=1, stable=True).indices
    check.same("local_idx", found.local.gather(1, order), case["local_idx"])
    check.same("global_idx", found.globally, case["global_idx"])
    check.same("keep_idx", found.kept, case["keep_idx"])
    _check_merging(features, found.kept, case, check)
    vision = ArrayVision(cls=_with_cls(case["deep_attn"]), cls_at={5: _with_cls(case["shallow_attn"])})
    point = ArrayPoint(keep=batch * keep, tokens=tokens, vision=vision)
    out = VScan(budget=keep, local="floor").select(point)
    assert out.rows is not None
    check.close("output", out.rows.view(batch, -1, width), case["output"])


def qwen2_5_vl(case: Arrays, check: Comparison) -> None:
    """Windows with the rows and columns that are over, attention received."""
    features, rows, columns = case["features"], case.number("token_h"), case.number("token_w")
    shallow, deep = case["local_received"], case["global_received"]
    keep = int(case.real("ratio") * len(features))
    check.same("num_keep", keep, case["num_keep"])
    tokens = grid_tokens(features, columns=columns)
    check.same("token_h", len(features) // columns, torch.tensor(rows))
    window = window_of(tokens.row[None], tokens.col[None], "four")
    found = select_scans(shallow[None], deep[None], window, keep, windows="four", exact=True)
    check.same("local_idx", found.local[0], case["local_idx"])
    check.same("global_idx", found.globally[0], case["global_idx"])
    check.same("keep_idx", found.kept[0], case["keep_idx"])
    _check_merging(features[None], found.kept, case, check)
    vision = ArrayVision(received=deep, received_at={7: shallow}, tower=Tower(32, 31, (7, 15, 23, 31)))
    out = VScan(budget=keep).select(ArrayPoint(keep=keep, tokens=tokens, vision=vision))
    assert out.rows is not None
    check.close("output", out.rows, case["output"])


def layer(case: Arrays, check: Comparison) -> None:
    """One cut from the layer's own weights, with RoPE, positions closed up."""
    from tops.engine.attention import layer_keys, rotate_half

    hidden, positions = case["hidden_states"], case["position_ids_in"]
    decoder = _one_layer(case, theta=case.real("rope_theta"))
    module, last = decoder.adapter.layers[0], torch.tensor([len(hidden) - 1])
    check.absolute = 1e-5
    check.same("prompt_len", len(hidden) - case.number("image_tokens"), case["prompt_len"])
    with torch.no_grad():
        check.close("k", layer_keys(decoder.adapter, module, hidden, positions), case["k"])
        cos, sin = decoder.adapter.rotary(hidden[None], positions[None])
        queries, _ = decoder.adapter.queries_keys(module, hidden, last)
        assert queries is not None
        check.close("q_last", (queries * cos[0, last] + rotate_half(queries) * sin[0, last])[:, 0], case["q_last"])
    kept = _check_cut(case, check, decoder, rope=True)
    check.same("position_ids_out", torch.arange(len(kept)), case["position_ids_out"])


def qwen2_5_vl_layer(case: Arrays, check: Comparison) -> None:
    """One cut without RoPE, with biases and fewer key heads, position ids kept."""
    check.absolute = 1e-5
    check.same("num_keep", int(case.number("image_tokens") * case.real("ratio")), case["num_keep"])
    kept = _check_cut(case, check, _one_layer(case, theta=10_000.0), rope=False)
    check.same("position_ids_out", case["position_ids_in"][:, kept], case["position_ids_out"])


def model(case: Arrays, check: Comparison) -> None:
    """The cut inside the model, in a whole forward pass."""
    (before, after), (at,) = case["image_token_list"].tolist(), case["layer_list"].tolist()
    check.same("image_length", before, case["image_length"])
    method = VScan(keeps=(before, after), layer=at, of=None)
    (point,), kept = check_forward(case, check, method)
    check.close("score_visual", method.scores(point), case["score_visual"])
    check.same("kept_original_stage0", whole_sequence(case, kept[at]), case["kept_original_stage0"])


def next_layout(case: Arrays, check: Comparison) -> None:
    """Base tile, then the stitched grid without its padding, a newline behind every row."""
    kept, codes = case["keep_idx"], case["codes"]
    rows, columns = case.number("grid_h") * SIDE, case.number("grid_w") * SIDE
    wide, high = case.number("image_width"), case.number("image_height")
    packing = packing_of(case)
    grid = packing[SIDE**2 :].view(rows, columns)
    if wide / high > columns / rows:
        pad = (rows - int(high * (columns / wide))) // 2
        grid = grid[pad : rows - pad]
    else:
        pad = (columns - int(wide * (rows / high))) // 2
        grid = grid[:, pad : columns - pad]
    newline = torch.full((len(grid), 1), -1)
    places = torch.cat([packing[: SIDE**2], torch.cat([grid, newline], 1).flatten()])
    tile, patch = places // SIDE**2, places % SIDE**2
    among = torch.zeros(len(kept), SIDE**2, dtype=torch.bool).scatter_(1, kept, True)
    stays = (places < 0) | among[tile, patch]
    order = torch.where(places < 0, -1, codes[tile, patch])[stays]
    check.same("codes", codes, TILE * torch.arange(len(codes))[:, None] + torch.arange(SIDE**2))
    check.same("order", order, case["order"])


def _with_cls(rows: Tensor) -> Tensor:
    return torch.cat([torch.zeros_like(rows[..., :1]), rows], -1)


def _check_merging(features: Tensor, kept: Tensor, case: Arrays, check: Comparison) -> None:
    one = case["keep_idx"].ndim == 1
    rows, member = merge_into_nearest(features, kept)
    left = torch.ones(features.shape[:2], dtype=torch.bool).scatter_(1, kept, False)
    merged = left.nonzero()[:, 1].view(len(features), -1)
    assign = member.gather(1, merged)
    counts = torch.stack([row.bincount(minlength=kept.shape[1]) for row in assign])
    for name, value in (("merged_idx", merged), ("assign", assign), ("counts", counts)):
        check.same(name, value[0] if one else value, case[name])
    check.close("output", rows[0] if one else rows, case["output"])


def _one_layer(case: Arrays, *, theta: float) -> Decoder:
    biases = (case["q_proj_bias"], case["k_proj_bias"]) if "q_proj_bias" in case else None
    return Decoder.of_one_layer(
        case["input_layernorm_weight"],
        case["q_proj_weight"],
        case["k_proj_weight"],
        heads=case.number("num_heads"),
        kv_heads=case.number("num_kv_heads") if "num_kv_heads" in case else None,
        eps=case.real("rms_eps"),
        theta=theta,
        biases=biases,
    )


def _check_cut(case: Arrays, check: Comparison, decoder: Decoder, *, rope: bool) -> Tensor:
    """Scores, and the places of the sequence that stay."""
    from tops.engine.attention import row_attention

    hidden, positions = case["hidden_states"], case["position_ids_in"]
    start, n, keep = (case.number(name) for name in ("image_start", "image_tokens", "num_keep"))
    last = torch.tensor([len(hidden) - 1])
    flat = positions if positions.ndim == 1 else positions[0]
    with torch.no_grad():
        row = row_attention(decoder.adapter, decoder.adapter.layers[0], hidden, flat, last, rope=rope)
    point = sequence(hidden, start, n, keep)
    point.own = torch.zeros(len(row), len(hidden), len(hidden))
    point.own[:, last] = row
    method = VScan(budget=keep)
    check.close("score_visual", method.scores(point), case["score_visual"])
    kept = kept_places(point, method.select(point).indices)
    check.same("keep_indices", kept, case["keep_indices"])
    return kept
