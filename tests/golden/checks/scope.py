"""SCOPE: one image, and the order on LLaVA-NeXT."""

from __future__ import annotations

import torch

from tops.methods.scope import SCOPE
from tops.selection import select_coverage
from tops.selection.similarity import cosine_similarity
from tops.testing import ArrayPoint, ArrayVision, grid_tokens

from .compare import Arrays, Comparison
from .tiles import SIDE, packing_of, tile_tokens


def case(case: Arrays, check: Comparison) -> None:
    """The order of picks and their scores, tile by tile, and the kept features."""
    hidden, cls, alpha = case["hidden"], case["cls_attn"], case.real("alpha")
    batch, _, width = hidden.shape
    keep = case.number("num_token_total") // batch
    vision = ArrayVision(cls=cls, encoder=hidden)
    saliency = vision.saliency(reduce="sum").view(batch, -1)
    check.close("saliency", saliency, case["saliency"])
    patches = hidden[:, 1:]
    order = select_coverage(patches, saliency, keep, alpha=alpha)
    check.same("selected_order", order, case["selected_order"])
    similarity = cosine_similarity(patches)
    cover = torch.zeros(batch, patches.shape[1])
    entry, steps = torch.arange(batch), []
    for step in range(keep):
        scores = (similarity - cover[..., None]).clamp_min(0).sum(1) * saliency**alpha
        if step == 0:
            check.close("first_scores", scores, case["first_scores"])
        steps.append(scores[entry, order[:, step]])
        cover = cover.maximum(similarity[entry, :, order[:, step]])
    check.close("step_scores", torch.stack(steps, 1), case["step_scores"])
    tokens = grid_tokens(patches.flatten(0, 1), units=batch)
    point = ArrayPoint(keep=batch * keep, tokens=tokens, vision=vision)
    out = SCOPE(budget=batch * keep, alpha=alpha).select(point).indices.view(batch, keep)
    check.same("selected_sorted", out - patches.shape[1] * entry[:, None], case["selected_sorted"])
    check.close("output", tokens.features[out].view(batch, keep, width), case["output"])


def next_layout(case: Arrays, check: Comparison) -> None:
    """Orthogonal patches, of which only those to keep are salient."""
    kept = case["keep_idx"]
    tiles, count = kept.shape
    check.same("num_contextual", 0, case["num_contextual"])
    packing = packing_of(case)
    saliency = torch.full((tiles, 1, SIDE**2 + 1), 1e-6)
    saliency.scatter_(2, kept[:, None], torch.arange(count, 0, -1.0).expand(tiles, 1, -1))
    encoder = torch.eye(SIDE**2 + 1, SIDE**2).roll(1, 0).expand(tiles, -1, -1)
    vision = ArrayVision(cls=saliency, encoder=encoder, order=packing)
    tokens = tile_tokens(packing, encoder[:, 1:])
    out = SCOPE(budget=tiles * count).select(ArrayPoint(keep=tiles * count, tokens=tokens, vision=vision)).indices
    tile, patch = packing[out] // SIDE**2, packing[out] % SIDE**2 + 1
    place = (kept[tile].sort(1).values == patch[:, None]).long().argmax(1)
    check.same("order", case["codes"][tile, place], case["order"])
