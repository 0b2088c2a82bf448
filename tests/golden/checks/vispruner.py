"""VisPruner and FasterVLM: one image, and the order on LLaVA-NeXT."""

from __future__ import annotations

import torch

from tops.methods.vispruner import VisPruner
from tops.selection.rounds import MOST, duplicate_rounds
from tops.testing import ArrayPoint, ArrayVision, grid_tokens

from .compare import Arrays, Comparison
from .tiles import SIDE, packing_of, tile_tokens


def case(case: Arrays, check: Comparison) -> None:
    """Scores, every round, and what is kept; FasterVLM as the share 1."""
    hidden, cls, keep = case["hidden"], case["cls_attn"], case.number("num_keep")
    batch, _, width = hidden.shape
    features, n = hidden[:, 1:], hidden.shape[1] - 1
    vision = ArrayVision(cls=cls, encoder=hidden)
    scores = vision.saliency().view(batch, n)
    check.close("cls_score", scores, case["cls_score"])
    ratio = case.real("important_ratio")
    important = int(keep * ratio)
    check.same("num_important", important, case["num_important"])
    order = scores.sort(dim=1, descending=True, stable=True).indices
    check.same("important_idx", order[:, :important], case["important_idx"])
    check.same("residual_start", order[:, important:], case["residual_start"])
    rounds = list(duplicate_rounds(features, order[:, important:], keep - important))
    sizes = [n - important, *(step.left.shape[1] for step in rounds)]
    check.same("residual_sizes", torch.tensor(sizes[:-1]), case["residual_sizes"])
    removed = torch.full((batch, len(rounds), MOST), -1)
    similarity = torch.zeros(batch, len(rounds), MOST)
    for number, step in enumerate(rounds):
        count = step.dropped.shape[1]
        removed[:, number, :count] = step.dropped
        similarity[:, number, :count] = step.likeness.sort(dim=1, descending=True).values[:, :count]
    check.same("removed", removed, case["removed"])
    check.close("removed_score", similarity, case["removed_score"])
    if rounds:
        check.close("first_round_score", rounds[0].likeness, case["first_round_score"])
        check.same("residual_after_first", rounds[0].left, case["residual_after_first"])
        check.same("residual_end", rounds[-1].left, case["residual_end"])
    else:
        check.same("residual_end", order[:, important:], case["residual_end"])
        for name in {"first_round_score", "residual_after_first"} & set(case.names()):
            case[name]
    tokens = grid_tokens(features.flatten(0, 1), units=batch, images=batch)
    point = ArrayPoint(keep=batch * keep, tokens=tokens, vision=vision)
    first = n * torch.arange(batch)[:, None]
    out = VisPruner(budget=keep, important_ratio=ratio).select(point).indices.view(batch, keep)
    check.same("selected_sorted", out - first, case["selected_sorted"])
    check.close("output", tokens.features[out].view(batch, keep, width), case["output"])
    faster = VisPruner(budget=keep, important_ratio=1.0).select(point).indices.view(batch, keep)
    check.same("fastervlm_sorted", faster - first, case["fastervlm_sorted"])


def next_layout(case: Arrays, check: Comparison) -> None:
    """Only those to keep are salient."""
    kept = case["keep_idx"]
    tiles, count = kept.shape
    check.same("num_contextual", 0, case["num_contextual"])
    packing = packing_of(case)
    cls = torch.full((tiles, 1, SIDE**2 + 1), 1e-6)
    cls.scatter_(2, kept[:, None] + 1, 1.0)
    encoder = torch.eye(SIDE**2 + 1, SIDE**2).roll(1, 0).expand(tiles, -1, -1)
    vision = ArrayVision(cls=cls, encoder=encoder, order=packing)
    tokens = tile_tokens(packing, encoder[:, 1:])
    method = VisPruner(budget=tiles * count, important_ratio=1.0)
    out = packing[method.select(ArrayPoint(keep=tiles * count, tokens=tokens, vision=vision)).indices]
    check.same("order", case["codes"][out // SIDE**2, out % SIDE**2], case["order"])
