"""CDPruner: one image, and the order on LLaVA-NeXT."""

from __future__ import annotations

import torch
from torch import Tensor

from tops.methods.cdpruner import CDPruner
from tops.selection import select_dpp
from tops.selection.similarity import cosine_similarity
from tops.testing import ArrayPoint, ArrayText, ArrayVision, grid_tokens

from .compare import Arrays, Comparison
from .tiles import SIDE, packing_of, tile_tokens


def case(case: Arrays, check: Comparison) -> None:
    """Relevance over all tiles, the order of picks and their gains, and the kept features."""
    features, joint, text = case["features"], case["image_embeds"], case["text_embeds"]
    batch, n, width = features.shape
    keep = case.number("num_keep")
    tokens = grid_tokens(features.flatten(0, 1), units=batch)
    vision = ArrayVision(encoder=torch.zeros(batch, n + 1, 1), joint=joint)
    point = ArrayPoint(keep=batch * keep, tokens=tokens, vision=vision, text=ArrayText("question", clip=text))
    method = CDPruner(budget=batch * keep)
    relevance = method.quality(point).view(batch, n)
    check.close("relevance", relevance, case["relevance"])
    kernel = relevance[..., None] * cosine_similarity(features) * relevance[:, None]
    check.close("kernel_diag", kernel.diagonal(dim1=1, dim2=2), case["kernel_diag"])
    order = select_dpp(features, relevance, keep)
    check.same("selected_order", order, case["selected_order"])
    check.close("step_gains", _residuals(kernel.double(), order), case["step_gains"])
    out = method.select(point).indices.view(batch, keep)
    check.same("selected_sorted", out - n * torch.arange(batch)[:, None], case["selected_sorted"])
    check.close("output", tokens.features[out].view(batch, keep, width), case["output"])


def _residuals(kernel: Tensor, order: Tensor) -> Tensor:
    """(B, K): what of each pick's diagonal the earlier picks leave, by a plain linear solve."""
    out = torch.zeros(order.shape, dtype=kernel.dtype)
    for b, picks in enumerate(order):
        for step, pick in enumerate(picks):
            before, cross = picks[:step], kernel[b, picks[:step], pick]
            known = cross @ torch.linalg.solve(kernel[b][before][:, before], cross) if step else 0.0
            out[b, step] = kernel[b, pick, pick] - known
    return out


def next_layout(case: Arrays, check: Comparison) -> None:
    """Orthogonal patches, of which only those to keep are relevant."""
    kept = case["keep_idx"]
    tiles, count = kept.shape
    check.same("num_contextual", 0, case["num_contextual"])
    packing = packing_of(case)
    joint = torch.ones(tiles, SIDE**2, 1)
    joint.scatter_(1, kept[..., None], -1.0)
    features = torch.eye(SIDE**2).expand(tiles, -1, -1)
    vision = ArrayVision(encoder=features, joint=joint, order=packing)
    point = ArrayPoint(
        keep=tiles * count,
        tokens=tile_tokens(packing, features),
        vision=vision,
        text=ArrayText("question", clip=torch.ones(1, 1)),
    )
    out = packing[CDPruner(budget=tiles * count).select(point).indices]
    check.same("order", case["codes"][out // SIDE**2, out % SIDE**2], case["order"])
