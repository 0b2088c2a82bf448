"""TRIM: one image."""

from __future__ import annotations

import torch
from torch.nn.functional import layer_norm

from tops.methods.trim import TRIM
from tops.selection.merging import mean_of_rows
from tops.testing import ArrayPoint, ArrayText, ArrayVision, grid_tokens

from .compare import Arrays, Comparison
from .points import quartiles


def case(case: Arrays, check: Comparison) -> None:
    """Scores, the automatic count, the kept patches and their mean."""
    hidden, text = case["hidden"], case["text_embed"]
    n, width = hidden.shape
    normed = layer_norm(hidden, (width,), case["ln_weight"], case["ln_bias"], case.real("ln_eps"))
    joint = normed @ case["proj_weight"].T
    vision = ArrayVision(encoder=torch.cat([hidden[:1], hidden])[None], joint=joint[None])
    ratio = case.real("k_param")
    automatic = ratio < 0
    keep = int(n * case.real("ratio"))
    check.same("num_keep", keep, case["num_keep"])
    method = TRIM(count="outliers") if automatic else TRIM(budget=keep + 1)
    point = ArrayPoint(
        keep=n if automatic else keep + 1,
        tokens=grid_tokens(hidden),
        vision=vision,
        text=ArrayText("question", clip=text[None]),
    )
    opposed = method.opposed(point)
    check.close("dot", -opposed, case["dot"])
    scores = opposed.softmax(0)
    check.close("scores", scores, case["scores"])
    outliers = quartiles(scores, case, check)
    check.close("ratio", outliers / n if automatic else ratio, case["ratio"])
    out = method.select(point)
    assert out.rows is not None
    check.same("kept_sorted", out.indices[:-1], case["kept_sorted"])
    rest = torch.ones(n, dtype=torch.bool).scatter_(0, out.indices[:-1], False).nonzero().T
    check.close("aggregated", mean_of_rows(hidden, rest)[0], case["aggregated"])
    check.close("output", out.rows, case["output"])
