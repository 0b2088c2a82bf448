"""Order of tokens on LLaVA-NeXT: base tile, then the stitched grid, as the official packing functions give it."""

from __future__ import annotations

import torch
from torch import Tensor

from tops.golden.compare import Arrays, Comparison
from tops.golden.point import ArrayPoint, ArrayText, ArrayVision
from tops.methods.cdpruner import CDPruner
from tops.methods.scope import SCOPE
from tops.methods.visionzip import VisionZip
from tops.tokens import VisualTokens

SIDE = 24
TILE = 10_000  # codes are TILE * tile + place


def visionzip(case: Arrays, check: Comparison) -> None:
    """Every encoder row holds its own code; what arrives tells the order."""
    kept, codes = case["keep_idx"], case["codes"]
    tiles, dominant = kept.shape
    contextual = case.number("num_contextual")
    packing = _packing(case)
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
    out = method.select(ArrayPoint(keep=keep, tokens=_tokens(packing, encoder[:, 1:]), vision=vision))
    assert out.rows is not None
    check.same("order", out.rows[:, 0], case["order"])


def scope(case: Arrays, check: Comparison) -> None:
    """Orthogonal patches, of which only those to keep are salient."""
    kept = case["keep_idx"]
    tiles, count = kept.shape
    check.same("num_contextual", 0, case["num_contextual"])
    packing = _packing(case)
    saliency = torch.full((tiles, 1, SIDE**2 + 1), 1e-6)
    saliency.scatter_(2, kept[:, None], torch.arange(count, 0, -1.0).expand(tiles, 1, -1))
    encoder = torch.eye(SIDE**2 + 1, SIDE**2).roll(1, 0).expand(tiles, -1, -1)
    vision = ArrayVision(cls=saliency, encoder=encoder, order=packing)
    tokens = _tokens(packing, encoder[:, 1:])
    out = SCOPE(budget=tiles * count).select(ArrayPoint(keep=tiles * count, tokens=tokens, vision=vision)).indices
    tile, patch = packing[out] // SIDE**2, packing[out] % SIDE**2 + 1
    place = (kept[tile].sort(1).values == patch[:, None]).long().argmax(1)
    check.same("order", case["codes"][tile, place], case["order"])


def cdpruner(case: Arrays, check: Comparison) -> None:
    """Orthogonal patches, of which only those to keep are relevant."""
    kept = case["keep_idx"]
    tiles, count = kept.shape
    check.same("num_contextual", 0, case["num_contextual"])
    packing = _packing(case)
    joint = torch.ones(tiles, SIDE**2, 1)
    joint.scatter_(1, kept[..., None], -1.0)
    features = torch.eye(SIDE**2).expand(tiles, -1, -1)
    vision = ArrayVision(encoder=features, joint=joint, order=packing)
    point = ArrayPoint(
        keep=tiles * count,
        tokens=_tokens(packing, features),
        vision=vision,
        text=ArrayText("question", clip=torch.ones(1, 1)),
    )
    out = packing[CDPruner(budget=tiles * count).select(point).indices]
    check.same("order", case["codes"][out // SIDE**2, out % SIDE**2], case["order"])


def _packing(case: Arrays) -> Tensor:
    """(N,): for every place in the prompt tile * 576 + patch: base tile, then the stitched grid row by row."""
    height, width = case.number("grid_h"), case.number("grid_w")
    grid = torch.arange(height * width * SIDE**2).view(height, width, SIDE, SIDE)
    stitched = grid.permute(0, 2, 1, 3).flatten()
    return torch.cat([torch.arange(SIDE**2), SIDE**2 + stitched])


def _tokens(packing: Tensor, patches: Tensor) -> VisualTokens:
    tile, patch = packing // SIDE**2, packing % SIDE**2
    return VisualTokens(
        features=patches.flatten(0, 1)[packing],
        index=torch.arange(len(packing)),
        unit=tile,
        image=torch.zeros_like(tile),
        row=patch // SIDE,
        col=patch % SIDE,
        newline=torch.zeros_like(tile, dtype=torch.bool),
    )
