"""Position ids after a cut."""

from __future__ import annotations

import torch
from torch import Tensor

from tops.methods.base import Positions


def renumber(positions: Tensor, visual: Tensor, source: Tensor, mode: Positions) -> tuple[Tensor, Tensor]:
    """Position ids of a sequence from which visual tokens were taken out.

    ``original`` keeps every id. ``contiguous`` closes the gaps: 1-D ids count up from the first one, 0..M-1 where the
    prompt begins at 0 (Algorithm 2), as every unpadded one does; under mRoPE each axis of a visual block is re-ranked
    with its own step, and the text after it moves left by what the block's larger spatial extent has lost (time does
    not advance the text), so that keeping everything is the identity.

    Parameters
    ----------
    positions : Tensor, (L,) or (A, L) int64
        Ids before the cut, unpadded.
    visual : Tensor, (L,) bool
        Visual tokens before the cut, newlines included.
    source : Tensor, (M,) int64
        Place before the cut of each token after it; places of visual tokens may repeat.
    mode : {"contiguous", "original"}
        What becomes of the ids.

    Returns
    -------
    Tensor, (M,) or (A, M) int64
        Ids after the cut.
    Tensor, () or (A,) int64
        What must be added to the ids of all later (generated) tokens.
    """
    kept = positions[..., source]
    if mode == "original":
        return kept, torch.zeros_like(positions[..., 0])
    if positions.ndim == 1:
        new = positions[0] + torch.arange(len(source), device=positions.device)
        return new, new[-1] - kept[-1]
    out = positions.clone()
    shift = 0
    edges = torch.nonzero(visual[1:] != visual[:-1])[:, 0] + 1
    present = torch.zeros_like(visual)
    present[source] = True
    for block in torch.tensor_split(torch.arange(len(visual)), edges):
        if not visual[block[0]]:
            out[:, block] += shift
            continue
        stays = block[present[block]]
        before = after = 0
        for axis in range(len(positions)):
            full = torch.unique(positions[axis, block])
            if axis:
                before = max(before, len(full))
            if not len(stays):
                continue
            step = int((full[1:] - full[:-1]).min()) if len(full) > 1 else 1
            values, rank = torch.unique(positions[axis, stays], return_inverse=True)
            out[axis, stays] = full[0] + shift + rank * step
            if axis:
                after = max(after, len(values))
        shift -= before - after
    return out[:, source], torch.full_like(positions[:, 0], shift)
