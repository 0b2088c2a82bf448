"""VisionZip: one image, and the order on LLaVA-NeXT."""

from __future__ import annotations

import torch

from tops.methods.visionzip import VisionZip
from tops.selection import top_k_lowest_index
from tops.selection.merging import contextual_groups
from tops.testing import ArrayPoint, ArrayVision, grid_tokens

from .compare import Arrays, Comparison
from .tiles import SIDE, packing_of, tile_tokens


def case(case: Arrays, check: Comparison) -> None:
    """Dominant and contextual tokens, and the sequence before the projector; every tile is an image here."""
    hidden, keys, cls = case["hidden"], case["keys"], case["cls_attn"]
    dominant, contextual = case.number("dominant"), case.number("contextual")
    batch, length, width = hidden.shape
    vision = ArrayVision(cls=cls, encoder=hidden, feature_keys=keys)
    scores = vision.saliency(reduce="sum").view(batch, -1)
    check.close("cls_score", scores, case["cls_score"])
    metric = keys.mean(1)
    check.close("metric", metric, case["metric"])
    cls_place = torch.zeros(batch, 1, dtype=torch.int64)
    by_score = top_k_lowest_index(scores, dominant - 1) + 1
    check.same("dominant_idx", torch.cat([cls_place, by_score], 1), case["dominant_idx"])
    chosen, targets, group = contextual_groups(scores, metric[:, 1:], dominant - 1, contextual)
    check.same("dominant_idx_sorted", torch.cat([cls_place, chosen + 1], 1), case["dominant_idx_sorted"])
    check.same("target_idx", targets + 1, case["target_idx"])
    merged = (group >= 0).nonzero()[:, 1].view(batch, -1)
    check.same("merged_idx", merged + 1, case["merged_idx"])
    check.same("assign", group.gather(1, merged), case["assign"])
    sizes = torch.stack([torch.bincount(row[row >= 0], minlength=contextual) for row in group]).clamp_min(1)
    check.close("counts", sizes, case["counts"])
    left = torch.ones(length - 1, dtype=torch.bool)
    left[chosen[0]] = False
    local = torch.searchsorted(left.nonzero()[:, 0], targets[0].contiguous())
    check.same("target_local", local, case["target_local"])
    method = VisionZip(budget=dominant + contextual, contextual=contextual / (dominant + contextual))
    tokens = grid_tokens(hidden[:, 1:].flatten(0, 1), units=batch, images=batch)
    out = method.select(ArrayPoint(keep=batch * (dominant + contextual), tokens=tokens, vision=vision))
    assert out.rows is not None
    rows = out.rows.view(batch, -1, width)
    check.close("output", rows, case["output"])
    check.close("contextual_tokens", rows[:, dominant:], case["contextual_tokens"])


def next_layout(case: Arrays, check: Comparison) -> None:
    """Every encoder row holds its own code; what arrives tells the order."""
    kept, codes = case["keep_idx"], case["codes"]
    tiles, dominant = kept.shape
    contextual = case.number("num_contextual")
    packing = packing_of(case)
    cls = torch.zeros(tiles, 1, SIDE**2 + 1)
    cls.scatter_(2, kept[:, None], torch.arange(dominant, 0, -1.0).expand(tiles, 1, -1))
    encoder = torch.zeros(tiles, SIDE**2 + 1, 1)
    for tile in range(tiles):
        chosen = kept[tile].sort().values
        encoder[tile, chosen, 0] = codes[tile, :dominant].float()
        rest = torch.tensor(sorted(set(range(SIDE**2 + 1)) - set(chosen.tolist())))
        # All else is zero, so that a contextual token is its target.
        targets = rest[:: len(rest) // contextual][:contextual]
        encoder[tile, targets, 0] = codes[tile, dominant:].float()
    keys = torch.ones(tiles, 1, SIDE**2 + 1, 1)
    vision = ArrayVision(cls=cls, encoder=encoder, feature_keys=keys, order=packing)
    keep = tiles * (dominant + contextual)
    method = VisionZip(budget=keep, contextual=contextual / (dominant + contextual))
    out = method.select(ArrayPoint(keep=keep, tokens=tile_tokens(packing, encoder[:, 1:]), vision=vision))
    assert out.rows is not None
    check.same("order", out.rows[:, 0], case["order"])
