"""EVS: one video, and the position ids that vLLM gives what is left."""

from __future__ import annotations

import torch

from tops.budget import PromptShape
from tops.methods.evs import EVS
from tops.selection.frames import change_since_last
from tops.testing import ArrayPoint, grid_tokens

from .compare import Arrays, Comparison


def case(case: Arrays, check: Comparison) -> None:
    """Change, count, kept set, counts by frame, positions."""
    features = case["features"]
    frames, size, _ = features.shape
    check.close("dissimilarity", change_since_last(features), case["dissimilarity"])
    method = EVS(budget=1 - case.real("pruning_rate"), count="vllm")
    (cut,) = method.schedule(PromptShape(frames * size, 8, images=frames)).cuts
    check.same("num_keep", cut.keep, case["num_keep"])
    tokens = grid_tokens(features.flatten(0, 1), units=frames, images=frames)
    keep = method.select(ArrayPoint(keep=cut.keep, tokens=tokens)).indices
    check.same("keep", keep, case["keep"])
    check.same("frame_counts", torch.bincount(keep // size, minlength=frames), case["frame_counts"])
    _positions(case, check, keep)


def _positions(case: Arrays, check: Comparison, keep: torch.Tensor) -> None:
    """Kept tokens have the ids of the whole video; vLLM's text goes on at the width of the grid."""
    steps, high, wide = case["grid_thw"].tolist()
    merge, before, after = (case.number(name) for name in ("merge", "text_before", "text_after"))
    rows, columns = high // merge, wide // merge
    check.same("grid_thw", steps * rows * columns, torch.tensor(case["features"].shape[:2]).prod())
    base = before + 1
    second = case.real("tokens_per_second") * int(case.real("second_per_grid"))
    time = (keep // (rows * columns) * second).long()
    place = keep % (rows * columns)
    video = base + torch.stack([time, place // columns, place % columns])
    text = base + columns + torch.arange(after + 1)
    whole = torch.cat([torch.arange(base).expand(3, -1), video, text.expand(3, -1)], 1)
    check.same("mrope", whole, case["mrope"])
    check.same("mrope_delta", int(whole.max()) + 1 - whole.shape[1], case["mrope_delta"])
