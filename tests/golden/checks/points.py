"""Pruning points of recorded sequences, and what several methods compare."""

from __future__ import annotations

import torch
from torch import Tensor

from tops.budget import PromptShape
from tops.selection.outliers import quartile_outliers
from tops.testing import ArrayPoint, grid_tokens

from .compare import Arrays, Comparison


def sequence(hidden: Tensor, start: int, n: int, keep: int) -> ArrayPoint:
    return ArrayPoint(
        keep=keep,
        tokens=grid_tokens(hidden[start : start + n], columns=n),
        layer=2,
        shape=PromptShape(n, 8),
        start=start,
        length=len(hidden),
        states=hidden,
    )


def kept_places(point: ArrayPoint, indices: Tensor) -> Tensor:
    """Places of the sequence that stay."""
    return torch.cat([torch.arange(point.start), point.start + indices, point.text_slots])


def quartiles(scores: Tensor, case: Arrays, check: Comparison) -> int:
    q1, q3 = torch.quantile(scores, torch.tensor([0.25, 0.75]))
    check.close("q1", q1, case["q1"])
    check.close("q3", q3, case["q3"])
    check.close("upper_bound", q3 + 1.5 * (q3 - q1), case["upper_bound"])
    count = quartile_outliers(scores)
    check.same("n_outliers", count, case["n_outliers"])
    return count
