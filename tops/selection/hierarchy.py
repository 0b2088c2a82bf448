"""Anchors with their neighbours from one layer, registers from a deeper one (HiPrune)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tops.errors import BudgetError
from tops.selection.checks import check_count, check_finite
from tops.selection.topk import top_k_lowest_index


@dataclass(frozen=True)
class Hierarchy:
    """What HiPrune keeps of B units of N tokens.

    Attributes
    ----------
    anchors : Tensor, (B, A) int64
        By falling score in the middle layer.
    buffer : Tensor, (B, N) bool
        Anchors and their neighbours.
    kept : Tensor, (B, N) bool
        These and the registers.
    """

    anchors: Tensor
    buffer: Tensor
    kept: Tensor


def anchor_count(keep: int, alpha: float) -> int:
    """Anchors of a unit: a fifth of the share ``alpha``, since each brings four neighbours; half to even."""
    return round(keep * alpha / 5)


def select_hierarchy(
    middle: Tensor, deep: Tensor, keep: int, *, anchors: int, columns: Tensor, exclude: bool = True
) -> Hierarchy:
    """The best tokens of a middle layer with their four neighbours, and the best of a deep layer up to the count.

    Parameters
    ----------
    middle, deep : Tensor, (B, N)
        Attention received in either layer.
    keep : int
        Tokens to keep, 1..N.
    anchors : int
        At most ``keep / 5`` can be sure of their neighbours; more are refused.
    columns : Tensor, (B,) int64
        Width of each unit's grid. Neighbours are numbers in the flat sequence: those of a token at the edge lie on the
        row above or below, and numbers outside are clamped, as in the official code.
    exclude : bool
        Registers are none of the anchors and neighbours. False: 1 is subtracted from their deep score instead, which
        keeps fewer than asked where scores above 1 are common (official Qwen2.5-VL code).

    Returns
    -------
    Hierarchy

    Raises
    ------
    BudgetError
        ``keep`` outside 1..N, or anchors and neighbours alone exceed it.
    NonFiniteError
        NaN or infinity.

    Notes
    -----
    Source: HiPrune, arXiv 2508.00553, and its official code.
    """
    batch, n = middle.shape
    check_count(keep, n)
    check_finite("attention received", middle)
    check_finite("attention received", deep)
    best = top_k_lowest_index(middle, anchors) if anchors else middle.new_empty(batch, 0, dtype=torch.long)
    width = columns[:, None]
    around = torch.cat([best, best - 1, best + 1, best - width, best + width], 1).clamp(0, n - 1)
    buffer = torch.zeros_like(middle, dtype=torch.bool).scatter_(1, around, True)
    most = int(buffer.sum(1).max())
    if most > keep:
        raise BudgetError(
            f"{anchors} anchors and their neighbours are {most} tokens, more than the {keep} to keep; lower alpha"
        )
    scores = deep.masked_fill(buffer, -torch.inf) if exclude else deep - buffer.to(deep)
    rank = scores.sort(dim=1, descending=True, stable=True).indices.argsort(1)
    return Hierarchy(best, buffer, buffer | (rank < keep - buffer.sum(1, keepdim=True)))
