"""Tiles of LLaVA-NeXT: base tile, then the stitched grid, as the official packing functions order them."""

from __future__ import annotations

import torch
from torch import Tensor

from tops.tokens import VisualTokens

from .compare import Arrays

SIDE = 24
TILE = 10_000  # codes are TILE * tile + place


def packing_of(case: Arrays) -> Tensor:
    """(N,): for every place in the prompt tile * 576 + patch: base tile, then the stitched grid row by row."""
    height, width = case.number("grid_h"), case.number("grid_w")
    grid = torch.arange(height * width * SIDE**2).view(height, width, SIDE, SIDE)
    stitched = grid.permute(0, 2, 1, 3).flatten()
    return torch.cat([torch.arange(SIDE**2), SIDE**2 + stitched])


def tile_tokens(packing: Tensor, patches: Tensor) -> VisualTokens:
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
