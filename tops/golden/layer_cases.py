"""Methods that cut inside the language model: one pruning event each, and TOPS' own selection."""

from __future__ import annotations

import torch
from torch import Tensor

from tops.budget import PromptShape
from tops.golden.compare import Arrays, Comparison
from tops.golden.point import ArrayPoint, ArrayText, ArrayVision, grid_tokens
from tops.methods.dart import DART
from tops.methods.fastv import FastV
from tops.methods.pdrop import PyramidDrop
from tops.methods.sparsevlm import SparseVLM, recycling
from tops.selection import select_tops, top_k_lowest_index
from tops.selection.clustering import cluster_density_peaks, cluster_means
from tops.selection.duplication import largest_norms, pick_dissimilar
from tops.selection.raters import most_looking_heads, rope_gravity, select_raters

SURE_GAP = 2e-6


def fastv(case: Arrays, check: Comparison) -> None:
    """Attention of the last row, and what remains of the sequence."""
    queries, keys, hidden = case["q"], case["k"], case["hidden_states"]
    start, n, length = (case.number(name) for name in ("image_start", "image_length", "seq_len"))
    products = queries @ keys.transpose(1, 2) / queries.shape[-1] ** 0.5
    attention = products.masked_fill(torch.ones(length, length).triu(1).bool(), -torch.inf).softmax(-1)
    check.close("attn_last_row", attention[:, -1], case["attn_last_row"])
    keep = round(n * (1 - case.real("prune_ratio")))
    check.same("num_keep", keep, case["num_keep"])
    point = _sequence(hidden, start, n, keep)
    point.previous = attention
    method = FastV()
    scores = method.scores(point)
    check.close("score_visual", scores, case["score_visual"])
    check.same_set("topk_desc", start + top_k_lowest_index(scores, keep), case["topk_desc"])
    kept = _kept(point, method.select(point).indices)
    check.same("keep_indices", kept, case["keep_indices"])
    check.same("position_ids", kept, case["position_ids"])
    check.same("attend_mask", torch.isin(torch.arange(length), kept), case["attend_mask"])
    check.close("pruned_hidden_sum", hidden[kept].double().sum(1), case["pruned_hidden_sum"])


def pdrop(case: Arrays, check: Comparison) -> None:
    """The next layer's attention from its own weights, read by the engine, and what remains of the sequence."""
    from tops.engine.attention import layer_keys, rotate_half, row_attention
    from tops.golden.model import Decoder

    hidden, positions = case["hidden_states"], case["position_ids_in"]
    start, n, stage = (case.number(name) for name in ("image_start", "image_tokens_current", "stage"))
    ratios = case["ratio_list"].tolist()
    original = case.number("image_tokens_original")
    check.same("image_tokens_current", int(original * ratios[stage]), case["image_tokens_current"])
    check.same("prompt_len", len(hidden) - n, case["prompt_len"])
    decoder = Decoder.of_one_layer(
        case["input_layernorm_weight"],
        case["q_proj_weight"],
        case["k_proj_weight"],
        heads=case.number("num_heads"),
        eps=case.real("rms_eps"),
        theta=case.real("rope_theta"),
    )
    adapter, layer = decoder.adapter, decoder.adapter.layers[0]
    last = torch.tensor([len(hidden) - 1])
    with torch.no_grad():
        check.close("k", layer_keys(adapter, layer, hidden, positions), case["k"])
        cos, sin = adapter.rotary(hidden[None], positions[None])
        queries, _ = adapter.queries_keys(layer, hidden, last)
        assert queries is not None
        check.close("q_last", (queries * cos[0, last] + rotate_half(queries) * sin[0, last])[:, 0], case["q_last"])
        row = row_attention(adapter, layer, hidden, positions, last)
    method = PyramidDrop(layers=(8, 16, 24), keeps=tuple(ratios[1:]))
    keep = method.schedule(PromptShape(original, 32)).cuts[stage].keep
    check.same("num_keep", keep, case["num_keep"])
    point = _sequence(hidden, start, n, keep)
    point.own = torch.zeros(len(row), len(hidden), len(hidden))
    point.own[:, last] = row
    check.close("score_visual", method.scores(point), case["score_visual"])
    kept = _kept(point, method.select(point).indices)
    check.same("keep_indices", kept, case["keep_indices"])
    check.same("position_ids_out", torch.arange(len(kept)), case["position_ids_out"])


def dart(case: Arrays, check: Comparison) -> None:
    """Norms, pivots and their order, what each pivot takes, and what remains of the sequence."""
    hidden, keys = case["hidden_states"], case["key_states"]
    start, n, length = (case.number(name) for name in ("image_start", "image_length", "seq_len"))
    images, texts = case.number("pivot_image_token"), case.number("pivot_text_token")
    each = {
        0: case.number("max_num_trunction") // 8,
        1: min(case.number("retain_token_num_for_llava_next"), n - 4) // 8,
        2: int(n * (1 - case.real("reduction_ratio")) / 8),
    }[case.number("variant")]
    check.same("tokens_per_pivot", each, case["tokens_per_pivot"])
    point = _sequence(hidden, start, n, images + (images + texts) * each)
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
    kept = _kept(point, out)
    check.same("keep_indices", kept, case["keep_indices"])
    variant = DART(fill=False, order="norm").select(point).indices
    check.same("retained_visual_norm_order", start + variant, case["retained_visual_norm_order"])
    check.same("seq_len", length, case["seq_len"])


def sparsevlm(case: Arrays, check: Comparison) -> None:
    """Raters, one pruning event with recycling, the first release's rank rule, and SparseVLM+."""
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
    point = _sequence(hidden, start, n, n - dropped + clusters)
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


def tops(case: Arrays, check: Comparison) -> None:
    """Order of selection for every subset of the principles and both normalisations."""
    features, relevance, k = case["features"], case["relevance"], case.number("k")
    alpha, lam = case.real("alpha"), case.real("lam")
    for name in case.names("order_"):
        _, normalisation, principles = name.split("_")
        want = case[name]
        if case.real(f"gap_{normalisation}_{principles}") <= SURE_GAP:
            continue  # two scores so close that the order of float32 sums decides
        order = select_tops(
            features,
            relevance,
            k,
            alpha=alpha,
            lam=lam,
            principles=principles,
            normalisation="mean" if normalisation == "mean" else "minmax",
        )
        check.same(name, order, want)


def _sequence(hidden: Tensor, start: int, n: int, keep: int) -> ArrayPoint:
    return ArrayPoint(
        keep=keep,
        tokens=grid_tokens(hidden[start : start + n], columns=n),
        layer=2,
        shape=PromptShape(n, 8),
        start=start,
        length=len(hidden),
        states=hidden,
    )


def _kept(point: ArrayPoint, indices: Tensor) -> Tensor:
    """Places of the sequence that stay."""
    return torch.cat([torch.arange(point.start), point.start + indices, point.text_slots])
