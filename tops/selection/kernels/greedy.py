"""Launchers of the Triton kernels. Arguments and results are those of :mod:`tops.selection.direct`."""

from __future__ import annotations

from typing import Any, Literal

import torch
import triton
from torch import Tensor

from tops.selection.direct import coverage_gain
from tops.selection.kernels import programs
from tops.selection.similarity import ONE, rank_floor

_TILE = 8192  # entries of one block of similarity rows in registers


def tops(
    similarity: Tensor | None,
    relevance: Tensor,
    k: int,
    *,
    alpha: float,
    lam: float,
    principles: str,
    normalisation: Literal["mean", "minmax"],
) -> tuple[Tensor, Tensor]:
    """TOPS' greedy."""
    order, score = _outputs(relevance, k)
    first = relevance.argmax(1, keepdim=True)
    if similarity is None:
        covered = torch.zeros_like(relevance, dtype=torch.int32)
    else:
        covered = similarity.gather(1, first[:, :, None].expand(-1, -1, relevance.shape[1]))[:, 0].contiguous()
    # The first gain is a plain reduction over all pairs: the whole device does it better than one program per entry.
    gain = coverage_gain(similarity, covered).long() if similarity is not None and "C" in principles else covered.long()
    # In memory, since Triton passes Python floats as float32; filled on the device, so without a synchronisation.
    weights = torch.full((2,), alpha, dtype=torch.float64, device=relevance.device)
    weights[1] = lam
    programs.tops_program[(relevance.shape[0],)](
        similarity if similarity is not None else covered,
        relevance,
        first,
        covered,
        gain,
        _scratch(covered),
        order,
        score,
        weights,
        relevance.shape[1],
        k,
        USE_R="R" in principles,
        USE_C="C" in principles,
        USE_D="D" in principles,
        MINMAX=normalisation == "minmax",
        **_shape(relevance.shape[1]),
    )
    return order, score


def max_min(similarity: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Max-min diversity."""
    n = similarity.shape[-1]
    itself = torch.eye(n, dtype=torch.bool, device=similarity.device)
    nearest = similarity.masked_fill(itself, -ONE).amax(1)
    order, score = _outputs(nearest, k)
    programs.max_min_program[(len(nearest),)](similarity, nearest, order, score, n, k, **_shape(n, tile=False))
    return order, score


def coverage(
    similarity: Tensor, weight: Tensor, k: int, *, combine: Literal["multiply", "add"]
) -> tuple[Tensor, Tensor]:
    """Facility location times, or plus, a weight per token."""
    order, score = _outputs(weight, k)
    gain = coverage_gain(similarity, torch.zeros_like(similarity[:, 0])).long()
    programs.coverage_program[(weight.shape[0],)](
        similarity,
        weight,
        gain,
        _scratch(gain),
        order,
        score,
        weight.shape[1],
        k,
        MULTIPLY=combine == "multiply",
        **_shape(weight.shape[1]),
    )
    return order, score


def dpp(similarity: Tensor, quality: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Greedy MAP of a determinantal point process."""
    batch, n = quality.shape
    order, score = _outputs(quality, k)
    factors = quality.new_empty(batch, k, n)
    floor = rank_floor(n) * quality.square()
    programs.dpp_program[(batch,)](similarity, quality, floor, factors, order, score, n, k, **_shape(n))
    return order, score


def _outputs(like: Tensor, k: int) -> tuple[Tensor, Tensor]:
    batch = like.shape[0]
    order = torch.empty(batch, k, dtype=torch.int64, device=like.device)
    return order, torch.empty(batch, k, dtype=torch.float64, device=like.device)


def _scratch(like: Tensor) -> Tensor:
    """Index, old and new bound of the rows that a pick changes, per batch entry."""
    return torch.empty(len(like), 3, like.shape[1], dtype=torch.int32, device=like.device)


def _shape(n: int, *, tile: bool = True) -> dict[str, Any]:
    """Compile-time sizes: the padded row, the rows of one tile, and warps in proportion."""
    block = max(16, triton.next_power_of_2(n))
    shape = {"BLOCK": block, "num_warps": min(32, max(4, block // 256)), "ONE": ONE}
    return shape | ({"ROWS": max(1, _TILE // block)} if tile else {})
