"""VidCom2: one video, with the official counts and order, and with exact counts."""

from __future__ import annotations

import torch

from tops.methods.vidcom2 import VidCom2
from tops.selection.frames import frame_scales, select_unique, uniqueness
from tops.testing import ArrayPoint, grid_tokens
from tops.tokens import VisualTokens

from .compare import Arrays, Comparison


def case(case: Arrays, check: Comparison) -> None:
    """Channels, both scores, scales, counts, the kept set, its order with newlines, and the exact count."""
    features, ratio = case["features"], case.real("ratio")
    frames, size, _ = features.shape
    rows = features.flatten(0, 1)
    frame = torch.arange(frames).repeat_interleave(size)
    found = uniqueness(rows, frame)
    check.close("channel_variance", found.variance, case["channel_variance"])
    check.same("channels", found.channels, case["channels"])
    check.close("video_score", found.video.view(frames, size), case["video_score"])
    check.close("frame_score", found.frame.view(frames, size), case["frame_score"])
    check.close("frame_uniqueness", -found.video.view(frames, size).mean(1), case["frame_uniqueness"])
    check.close("scales", frame_scales(found, frame, ratio), case["scales"])
    keep = select_unique(found, frame, ratio, exact=None)
    check.same("counts", torch.bincount(keep // size, minlength=frames), case["counts"])
    check.same("keep", keep, case["keep"])
    check.close("output_sum", rows[keep].double().sum(1), case["output_sum"])
    with_newlines, grid = case.number("layout") == 1, case.number("grid")
    method = VidCom2(budget=ratio, count="rounded", newlines="keep" if with_newlines else "drop")
    tokens = _with_newlines(features, grid) if with_newlines else grid_tokens(rows, units=frames, images=frames)
    point = ArrayPoint(keep=len(tokens), tokens=tokens)
    check.same("order", method.select(point).indices, case["order"])
    rate = case.real("pruning_rate")
    target = max(frames, min(int(len(rows) * (1 - rate)), len(rows)))
    exact = select_unique(found, frame, ratio, exact=target)
    check.same("keep_exact", exact, case["keep_exact"])


def _with_newlines(features: torch.Tensor, grid: int) -> VisualTokens:
    """LLaVA-Video's sequence: a newline behind every row of every frame."""
    frames, size, width = features.shape
    shape = features.view(frames, -1, grid, width)
    row, column = torch.meshgrid(torch.arange(shape.shape[1]), torch.arange(grid + 1), indexing="ij")
    whole = torch.cat([shape, torch.zeros(frames, shape.shape[1], 1, width)], 2).flatten(0, 2)
    frame = torch.arange(frames).repeat_interleave(size + shape.shape[1])
    row, column = row.flatten().repeat(frames), column.flatten().repeat(frames)
    return VisualTokens(whole, torch.arange(len(whole)), frame, frame, row, column, column == grid)
