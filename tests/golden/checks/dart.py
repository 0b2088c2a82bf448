"""DART: one cut, and whole forward passes."""

from __future__ import annotations

import torch

from tops.budget import Budget
from tops.methods.dart import DART
from tops.selection.duplication import largest_norms, pick_dissimilar

from .compare import Arrays, Comparison
from .decoder import check_forward, whole_sequence
from .points import kept_places, sequence


def case(case: Arrays, check: Comparison) -> None:
    """Norms, pivots and their order, what each pivot takes, and what remains of the sequence."""
    check.absolute = 1e-5
    hidden, keys = case["hidden_states"], case["key_states"]
    start, n, length = (case.number(name) for name in ("image_start", "image_length", "seq_len"))
    images, texts = case.number("pivot_image_token"), case.number("pivot_text_token")
    each = {
        0: case.number("max_num_trunction") // 8,
        1: min(case.number("retain_token_num_for_llava_next"), n - 4) // 8,
        2: int(n * (1 - case.real("reduction_ratio")) / 8),
    }[case.number("variant")]
    check.same("tokens_per_pivot", each, case["tokens_per_pivot"])
    point = sequence(hidden, start, n, images + (images + texts) * each)
    point.previous_keys = keys
    point.norm = case["final_norm_weight"], case.real("final_norm_eps")
    states = point.final_norm(hidden)
    check.close("last_layer_state", states, case["last_layer_state"])
    norms = keys.abs().sum((0, 2))
    visual, text = point.visual_slots, point.text_slots
    check.close("key_l1_norm_image", norms[visual], case["key_l1_norm_image"])
    check.close("key_l1_norm_text", norms[text], case["key_l1_norm_text"])
    image_pivots = visual[largest_norms(keys[:, visual], images)]
    text_pivots = text[largest_norms(keys[:, text], texts)]
    check.same("image_pivots", image_pivots, case["image_pivots"])
    check.same("text_pivots", text_pivots, case["text_pivots"])
    order = torch.tensor(list(set(image_pivots.tolist() + text_pivots.tolist())))
    check.same("pivot_order", order, case["pivot_order"])
    picks = pick_dissimilar(states, order, visual, [each] * len(order)).view(len(order), each)
    check.same_set("picks", picks, case["picks"])
    out = DART(fill=False).select(point).indices
    check.same("retained_visual", start + out, case["retained_visual"])
    kept = kept_places(point, out)
    check.same("keep_indices", kept, case["keep_indices"])
    variant = DART(fill=False, order="norm").select(point).indices
    check.same("retained_visual_norm_order", start + variant, case["retained_visual_norm_order"])
    check.same("seq_len", length, case["seq_len"])


def model(case: Arrays, check: Comparison) -> None:
    """Kept tokens of a whole forward pass."""
    images, texts = case.number("pivot_image_token"), case.number("pivot_text_token")
    keep = images + (images + texts) * (case.number("max_num_trunction") // 8)
    method = DART(
        budget=Budget(keep / case.number("image_length"), "kept"),
        layer=case.number("prune_layer"),
        of=None,
        image_pivots=images,
        text_pivots=texts,
        fill=False,
    )
    (point,), kept = check_forward(case, check, method)
    check.same("keep_indices", whole_sequence(case, kept[point.layer]), case["keep_indices"])
