"""DivPrune: one image."""

from __future__ import annotations

import torch

from tops.methods.divprune import DivPrune
from tops.selection import select_max_min
from tops.selection.similarity import cosine_similarity
from tops.testing import ArrayPoint, grid_tokens

from .compare import Arrays, Comparison


def case(case: Arrays, check: Comparison) -> None:
    """The order of picks, their distances, and the sequence that remains."""
    features = case["features"]
    n, ratio = len(features), case.real("ratio")
    keep = round(ratio * n)
    check.same("num_keep", keep, case["num_keep"])
    distance = 1 - cosine_similarity(features)
    order = select_max_min(features, keep)
    check.same("selected_order", order, case["selected_order"])
    nearest = distance.sort(0).values[1]
    check.close("first_scores", nearest, case["first_scores"])
    steps = [nearest[order[0]], *(distance[order[:i], order[i]].min() for i in range(1, keep))]
    check.close("step_scores", torch.stack(steps), case["step_scores"])
    out = DivPrune(budget=keep).select(ArrayPoint(keep=keep, tokens=grid_tokens(features))).indices
    check.same("selected_sorted", out, case["selected_sorted"])
    start, after = case.number("sys_len"), case.number("text_len")
    kept = torch.cat([torch.arange(start), start + out, start + n + torch.arange(after)])
    check.same("kept_positions", kept, case["kept_positions"])
