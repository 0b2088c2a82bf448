"""SparseVLM: one cut with recycling, its other versions, and whole forward passes."""

from __future__ import annotations

import torch
from torch import Tensor

from tops.methods.sparsevlm import SparseVLM, recycling
from tops.selection import top_k_lowest_index
from tops.selection.clustering import cluster_density_peaks, cluster_means
from tops.selection.raters import most_looking_heads, rope_gravity, select_raters
from tops.testing import ArrayPoint, ArrayText, ArrayVision

from .compare import Arrays, Comparison
from .decoder import check_forward
from .points import sequence


def case(case: Arrays, check: Comparison) -> None:
    """Raters, one pruning event with recycling, the first release's rank rule, and SparseVLM+."""
    check.absolute = 1e-5
    inputs, hidden, rows = case["inputs_embeds"], case["hidden_states"], case["attn_text_rows"]
    start, n, length = (case.number(name) for name in ("image_start", "image_length", "seq_len"))
    visual, text = inputs[start : start + n], inputs[start + n :]
    check.close("rater_scores", (visual @ text.T).softmax(-1).mean(0), case["rater_scores"])
    raters = start + n + select_raters(visual, text)
    check.same("rater_indices", raters, case["rater_indices"])
    budget = case.number("budget")
    dropped = n - min(budget, n - 1)
    recycled, clusters = recycling(dropped)
    check.same("num_clusters", clusters, case["num_clusters"])
    point = sequence(hidden, start, n, n - dropped + clusters)
    point.vision, point.text = ArrayVision(inputs=visual), ArrayText(tokens=text)
    point.previous = torch.zeros(len(rows), length, length)
    point.previous[:, start + n :] = rows
    method = SparseVLM()
    scores = method.attention(point).mean((0, 1))
    check.close("score_visual", scores, case["score_visual"])
    by_score = top_k_lowest_index(scores, n)[n - dropped :]
    check.same("deleted_visual", start + by_score.sort().values, case["deleted_visual"])
    check.same("recycled_visual", start + by_score[:recycled], case["recycled_visual"])
    vectors = hidden[start + by_score[:recycled]]
    noisy = cluster_density_peaks(vectors, clusters, noise=case["density_noise"])
    check.close("density", noisy.density, case["density"])
    for groups in (noisy, cluster_density_peaks(vectors, clusters)):
        check.same("cluster_centers", groups.centres, case["cluster_centers"])
        check.same("cluster_assign", groups.member, case["cluster_assign"])
        check.close("merged_tokens", cluster_means(vectors, groups), case["merged_tokens"])
    out = method.select(point)
    assert out.rows is not None
    kept = out.indices[: n - dropped]
    check.same("kept_visual", start + kept, case["kept_visual"])
    check.same("new_visual_length", len(out.indices), case["new_visual_length"])
    check.close("new_hidden", torch.cat([hidden[:start], out.rows, hidden[start + n :]]), case["new_hidden"])
    check.same("new_position_ids", torch.arange(length - n + len(out.indices)), case["new_position_ids"])
    _first_release(case, check, point, method)
    _plus(case, check, point, raters, n - dropped)


def _first_release(case: Arrays, check: Comparison, point: ArrayPoint, method: SparseVLM) -> None:
    check.same("rank", int(torch.linalg.matrix_rank(method.attention(point).mean(0))), case["rank"])
    first = SparseVLM(version="v1", scale=case.real("v1_scale"), bias=case.real("v1_bias"))
    keep = case.number("v1_num_keep")
    out = first.select(point).indices
    check.same("v1_num_keep", len(out) - recycling(len(point.tokens) - keep)[1], case["v1_num_keep"])
    check.same("v1_kept_visual", point.start + out[:keep], case["v1_kept_visual"])


def _plus(case: Arrays, check: Comparison, point: ArrayPoint, raters: Tensor, keep: int) -> None:
    theta, width = case.real("v2_rope_theta"), case.number("v2_head_dim")
    point.ids, point.keep = case["v2_position_ids"], keep
    point.previous_keys = torch.zeros(1, point.length, width)
    visual, text = point.ids[point.visual_slots], point.ids[point.text_slots]
    check.close("v2_rope_weights", rope_gravity(text[::5], visual, width, theta), case["v2_rope_weights"])
    corrected = point.attention(raters, layer="previous")[:, :, point.visual_slots]
    corrected = corrected / rope_gravity(point.ids[raters], visual, width, theta)
    check.close("v2_head_scores", corrected.sum((1, 2)), case["v2_head_scores"])
    heads = case.number("v2_num_heads_selected")
    check.same("v2_selected_heads", most_looking_heads(corrected, heads), case["v2_selected_heads"])
    plus = SparseVLM(version="plus", rope_theta=theta, heads=round(heads * 32 / len(corrected)))
    check.close("v2_score_visual", plus.attention(point).mean((0, 1)), case["v2_score_visual"])
    check.same("v2_kept_visual", point.start + plus.select(point).indices, case["v2_kept_visual"])


def model(case: Arrays, check: Comparison) -> None:
    """Raters, and what every stage of a whole forward pass keeps and merges."""
    # The official code prunes at the output of a layer: before the next one.
    layers = tuple(layer + 1 for layer in case["pruning_loc"].tolist())
    budgets = case["budgets"].tolist()
    points, kept = check_forward(case, check, SparseVLM(layers=layers, keeps=tuple(budgets), of=None))
    # Offsets inside the block of a stage, merged tokens of earlier stages last.
    block = list(range(case.number("image_length")))
    for stage, (layer, budget) in enumerate(zip(sorted(kept), budgets, strict=True)):
        indices = kept[layer].tolist()
        check.same(f"num_clusters[{stage}]", len(indices) - budget, case["num_clusters"][stage])
        places = torch.tensor([block.index(index) for index in indices[:budget]])
        check.same(f"kept_visual_stage{stage}", places, case[f"kept_visual_stage{stage}"])
        block = indices
        case[f"density_noise_stage{stage}"]
    check.same("rater_indices", points[0].text_slots[points[0].memory["raters"]], case["rater_indices"])
