"""FastV: one cut, and whole forward passes."""

from __future__ import annotations

import torch

from tops.budget import Budget
from tops.methods.fastv import FastV
from tops.selection import top_k_lowest_index

from .compare import Arrays, Comparison
from .decoder import check_forward, whole_sequence
from .points import kept_places, sequence


def case(case: Arrays, check: Comparison) -> None:
    """Attention of the last row, and what remains of the sequence."""
    check.absolute = 1e-5
    queries, keys, hidden = case["q"], case["k"], case["hidden_states"]
    start, n, length = (case.number(name) for name in ("image_start", "image_length", "seq_len"))
    products = queries @ keys.transpose(1, 2) / queries.shape[-1] ** 0.5
    attention = products.masked_fill(torch.ones(length, length).triu(1).bool(), -torch.inf).softmax(-1)
    check.close("attn_last_row", attention[:, -1], case["attn_last_row"])
    keep = round(n * (1 - case.real("prune_ratio")))
    check.same("num_keep", keep, case["num_keep"])
    point = sequence(hidden, start, n, keep)
    point.previous = attention
    method = FastV()
    scores = method.scores(point)
    check.close("score_visual", scores, case["score_visual"])
    check.same_set("topk_desc", start + top_k_lowest_index(scores, keep), case["topk_desc"])
    kept = kept_places(point, method.select(point).indices)
    check.same("keep_indices", kept, case["keep_indices"])
    check.same("position_ids", kept, case["position_ids"])
    check.same("attend_mask", torch.isin(torch.arange(length), kept), case["attend_mask"])
    check.close("pruned_hidden_sum", hidden[kept].double().sum(1), case["pruned_hidden_sum"])


def model(case: Arrays, check: Comparison) -> None:
    """Kept tokens and scores of a whole forward pass."""
    n = case.number("image_length")
    keep = round(n * (1 - case.real("prune_ratio")))
    method = FastV(budget=Budget(keep / n, "kept"), layer=case.number("prune_layer"), of=None)
    (point,), kept = check_forward(case, check, method)
    check.same("keep_indices", whole_sequence(case, kept[point.layer]), case["keep_indices"])
    check.close("score_visual", method.scores(point), case["score_visual"])
