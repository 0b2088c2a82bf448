"""HoloV: one image, LLaVA-NeXT, Qwen2.5-VL, and crops of one and two tokens."""

from __future__ import annotations

import torch
from torch import Tensor

from tops.methods.holov import HoloV
from tops.selection.crops import Crops, pick_in_crops, weigh_crops
from tops.testing import ArrayPoint, ArrayVision, grid_tokens

from .compare import Arrays, Comparison


def case(case: Arrays, check: Comparison) -> None:
    """Variances, scores, weights, what each crop is given, and the rows in order."""
    hidden, cls, projector = case["hidden"], case["cls_attn"], case["projector"]
    crops, keep = case.number("num_crops"), case.number("num_keep")
    batch, width = len(hidden), projector.shape[1]
    features = hidden[:, 1:] @ projector
    n = features.shape[1]
    check.close("features", features, case["features"])
    vision = ArrayVision(cls=cls)
    attention = vision.saliency().view(batch, n)
    check.close("cls_score", attention, case["cls_score"])
    found = weigh_crops(features, attention, keep, crops)
    _check_crops(found, case, check)
    check.close("token_variance", found.variance, case["token_variance"])
    check.close("token_score", found.token_score, case["token_score"])
    check.close("crop_score", found.crop_score, case["crop_score"])
    check.same("kept_order", pick_in_crops(found, attention, keep, surplus="zeros"), case["kept_order"])
    tokens = grid_tokens(features.flatten(0, 1), units=batch, images=batch)
    method = HoloV(budget=keep, crops=crops, surplus="zeros")
    out = method.select(ArrayPoint(keep=batch * keep, tokens=tokens, vision=vision))
    assert out.rows is not None
    check.close("output", out.rows.view(batch, keep, width), case["output"])
    shared = HoloV(budget=keep, crops=crops).select(ArrayPoint(keep=batch * keep, tokens=tokens, vision=vision))
    assert len(shared.indices.unique()) == batch * keep


small_crops = case


def next_layout(case: Arrays, check: Comparison) -> None:
    """One selection over base tile and unpadded grid; features play no part."""
    packed, scores = case["packed"], case["cls_score"]
    for name in ("image_width", "image_height", "grid_w", "grid_h"):
        case.number(name)
    keep, crops = case.number("num_keep"), case.number("num_crops")
    attention = scores[packed // 10_000, packed % 10_000][None]
    features = torch.ones(1, len(packed), 1)
    _check_crops(weigh_crops(features, attention, keep, crops), case, check)
    point = ArrayPoint(keep=keep, tokens=grid_tokens(features[0]), vision=ArrayVision(received=attention[0]))
    out = HoloV(budget=keep, crops=crops, surplus="zeros").select(point)
    check.same("order", packed[out.indices], case["order"])


def qwen(case: Arrays, check: Comparison) -> None:
    """The rule for the number of crops, and the rows that remain of the official slice."""
    embeds, attention, positions = case["inputs_embeds"], case["image_attn"], case["position_ids"]
    start, n = case.number("slice_start"), case.number("image_length")
    check.same("slice_start", case["vision_start"], case["slice_start"])
    keep = int(n * case.real("keep_ratio"))
    check.same("num_keep", keep, case["num_keep"])
    method = HoloV(budget=keep, surplus="zeros")
    crops = method.crops_of(n, keep)
    check.same("num_crops", crops, case["num_crops"])
    features = embeds[start : start + n]
    found = weigh_crops(features[None], attention[None], keep, crops)
    check.same("allocated", found.allocated[0], case["allocated"])
    point = ArrayPoint(keep=keep, tokens=grid_tokens(features), vision=ArrayVision(received=attention))
    kept = method.select(point).indices
    check.same("kept_order", kept, case["kept_order"])
    rows = torch.cat([torch.arange(start), start + kept, torch.arange(start + n, len(embeds))])
    check.same("sequence_rows", rows, case["sequence_rows"])
    check.same("position_ids_out", positions[:, rows], case["position_ids_out"])


def _check_crops(found: Crops, case: Arrays, check: Comparison) -> None:
    one = case["weights"].ndim == 1
    check.same("crop_sizes", torch.tensor(found.sizes), case["crop_sizes"])
    check.close("weights", _first(found.weights, one), case["weights"])
    check.same("allocated", _first(found.allocated, one), case["allocated"])


def _first(values: Tensor, one: bool) -> Tensor:
    return values[0] if one else values
