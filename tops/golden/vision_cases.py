"""Methods that choose before the language model: one pruning event each, from the encoder's arrays."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import layer_norm

from tops.budget import Budget, PromptShape
from tops.golden.compare import Arrays, Comparison
from tops.golden.point import ArrayPoint, ArrayText, ArrayVision, grid_tokens
from tops.methods.cdpruner import CDPruner
from tops.methods.divprune import DivPrune
from tops.methods.prumerge_plus import PruMergePlus
from tops.methods.scope import SCOPE
from tops.methods.trim import TRIM
from tops.methods.visionzip import VisionZip
from tops.selection import select_coverage, select_dpp, select_max_min, top_k_lowest_index
from tops.selection.merging import contextual_groups, mean_of_rest
from tops.selection.outliers import quartile_outliers
from tops.selection.similarity import cosine_similarity
from tops.selection.supplement import choose_literal


def visionzip(case: Arrays, check: Comparison) -> None:
    """Dominant and contextual tokens, and the sequence before the projector; every tile is an image here."""
    hidden, keys, cls = case["hidden"], case["keys"], case["cls_attn"]
    dominant, contextual = case.number("dominant"), case.number("contextual")
    batch, length, width = hidden.shape
    vision = ArrayVision(cls=cls, encoder=hidden, feature_keys=keys)
    scores = vision.saliency(reduce="sum").view(batch, -1)
    check.close("cls_score", scores, case["cls_score"])
    metric = keys.mean(1)
    check.close("metric", metric, case["metric"])
    cls_place = torch.zeros(batch, 1, dtype=torch.int64)
    by_score = top_k_lowest_index(scores, dominant - 1) + 1
    check.same("dominant_idx", torch.cat([cls_place, by_score], 1), case["dominant_idx"])
    chosen, targets, group = contextual_groups(scores, metric[:, 1:], dominant - 1, contextual)
    check.same("dominant_idx_sorted", torch.cat([cls_place, chosen + 1], 1), case["dominant_idx_sorted"])
    check.same("target_idx", targets + 1, case["target_idx"])
    merged = (group >= 0).nonzero()[:, 1].view(batch, -1)
    check.same("merged_idx", merged + 1, case["merged_idx"])
    check.same("assign", group.gather(1, merged), case["assign"])
    sizes = torch.stack([torch.bincount(row[row >= 0], minlength=contextual) for row in group]).clamp_min(1)
    check.close("counts", sizes, case["counts"])
    left = torch.ones(length - 1, dtype=torch.bool)
    left[chosen[0]] = False
    local = torch.searchsorted(left.nonzero()[:, 0], targets[0].contiguous())
    check.same("target_local", local, case["target_local"])
    method = VisionZip(budget=dominant + contextual, contextual=contextual / (dominant + contextual))
    tokens = grid_tokens(hidden[:, 1:].flatten(0, 1), units=batch, images=batch)
    out = method.select(ArrayPoint(keep=batch * (dominant + contextual), tokens=tokens, vision=vision))
    assert out.rows is not None
    rows = out.rows.view(batch, -1, width)
    check.close("output", rows, case["output"])
    check.close("contextual_tokens", rows[:, dominant:], case["contextual_tokens"])


def divprune(case: Arrays, check: Comparison) -> None:
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


def scope(case: Arrays, check: Comparison) -> None:
    """The order of picks and their scores, tile by tile, and the kept features."""
    hidden, cls, alpha = case["hidden"], case["cls_attn"], case.real("alpha")
    batch, _, width = hidden.shape
    keep = case.number("num_token_total") // batch
    vision = ArrayVision(cls=cls, encoder=hidden)
    saliency = vision.saliency(reduce="sum").view(batch, -1)
    check.close("saliency", saliency, case["saliency"])
    patches = hidden[:, 1:]
    order = select_coverage(patches, saliency, keep, alpha=alpha)
    check.same("selected_order", order, case["selected_order"])
    similarity = cosine_similarity(patches)
    cover = torch.zeros(batch, patches.shape[1])
    entry, steps = torch.arange(batch), []
    for step in range(keep):
        scores = (similarity - cover[..., None]).clamp_min(0).sum(1) * saliency**alpha
        if step == 0:
            check.close("first_scores", scores, case["first_scores"])
        steps.append(scores[entry, order[:, step]])
        cover = cover.maximum(similarity[entry, :, order[:, step]])
    check.close("step_scores", torch.stack(steps, 1), case["step_scores"])
    tokens = grid_tokens(patches.flatten(0, 1), units=batch)
    point = ArrayPoint(keep=batch * keep, tokens=tokens, vision=vision)
    out = SCOPE(budget=batch * keep, alpha=alpha).select(point).indices.view(batch, keep)
    check.same("selected_sorted", out - patches.shape[1] * entry[:, None], case["selected_sorted"])
    check.close("output", tokens.features[out].view(batch, keep, width), case["output"])


def cdpruner(case: Arrays, check: Comparison) -> None:
    """Relevance over all tiles, the order of picks and their gains, and the kept features."""
    features, joint, text = case["features"], case["image_embeds"], case["text_embeds"]
    batch, n, width = features.shape
    keep = case.number("num_keep")
    tokens = grid_tokens(features.flatten(0, 1), units=batch)
    vision = ArrayVision(encoder=torch.zeros(batch, n + 1, 1), joint=joint)
    point = ArrayPoint(keep=batch * keep, tokens=tokens, vision=vision, text=ArrayText("question", clip=text))
    method = CDPruner(budget=batch * keep)
    relevance = method.quality(point).view(batch, n)
    check.close("relevance", relevance, case["relevance"])
    kernel = relevance[..., None] * cosine_similarity(features) * relevance[:, None]
    check.close("kernel_diag", kernel.diagonal(dim1=1, dim2=2), case["kernel_diag"])
    order = select_dpp(features, relevance, keep)
    check.same("selected_order", order, case["selected_order"])
    check.close("step_gains", _residuals(kernel.double(), order), case["step_gains"])
    out = method.select(point).indices.view(batch, keep)
    check.same("selected_sorted", out - n * torch.arange(batch)[:, None], case["selected_sorted"])
    check.close("output", tokens.features[out].view(batch, keep, width), case["output"])


def _residuals(kernel: Tensor, order: Tensor) -> Tensor:
    """(B, K): what of each pick's diagonal the earlier picks leave, by a plain linear solve."""
    out = torch.zeros(order.shape, dtype=kernel.dtype)
    for b, picks in enumerate(order):
        for step, pick in enumerate(picks):
            before, cross = picks[:step], kernel[b, picks[:step], pick]
            known = cross @ torch.linalg.solve(kernel[b][before][:, before], cross) if step else 0.0
            out[b, step] = kernel[b, pick, pick] - known
    return out


def trim(case: Arrays, check: Comparison) -> None:
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
    outliers = _quartiles(scores, case, check)
    check.close("ratio", outliers / n if automatic else ratio, case["ratio"])
    out = method.select(point)
    assert out.rows is not None
    check.same("kept_sorted", out.indices[:-1], case["kept_sorted"])
    check.close("aggregated", mean_of_rest(hidden[None], out.indices[None, :-1])[0, 0], case["aggregated"])
    check.close("output", out.rows, case["output"])


def prumerge_plus(case: Arrays, check: Comparison) -> None:
    """Scores, the adaptive choice of PruMerge and PruMerge+, and the merged sequences."""
    point, n = _prumerge_point(case)
    method = PruMergePlus(rule="adaptive")
    scores, _ = method.scores_keys(point)
    check.close("cls_attn", scores, case["cls_attn"])
    ratio = _quartiles(scores, case, check) / n
    check.close("ratio", ratio, case["ratio"])
    step = int(1 / ratio)
    check.same("step_length", step, case["step_length"])
    check.same("stride", int(step / 3), case["stride"])
    top = int(n * ratio)
    check.same("num_topk", top, case["num_topk"])
    for name, plus in (("prumerge", False), ("plus", True)):
        variant = PruMergePlus(rule="adaptive", supplement=plus)
        out = variant.select(point)
        assert out.rows is not None
        check.close(f"output_{name}", out.rows, case[f"output_{name}"])
        chosen = out.indices[:-1]
        check.same("topk_idx", chosen[:top], case["topk_idx"])
        if plus:
            check.same("supplement_idx", chosen[top:], case["supplement_idx"])
            check.same("selected_plus", chosen, case["selected_plus"])
            left = torch.ones(n, dtype=torch.bool)
            left[chosen] = False
            check.same("complement_plus", left.nonzero()[:, 0], case["complement_plus"])


def prumerge_fixed(inputs: Arrays, case: Arrays, check: Comparison) -> None:
    """The official non-adaptive branch at several budgets, with its repeated and lost patches."""
    point, n = _prumerge_point(inputs)
    for name in case.names("output_"):
        slots = int(name.removeprefix("output_"))
        check.close(f"ratio_{slots}", slots / (2 * n), case[f"ratio_{slots}"])
        method = PruMergePlus(budget=Budget(slots), rule="literal")
        assert method.schedule(PromptShape(n, 8)).cuts
        point.keep = slots
        out = method.select(point)
        assert out.rows is not None
        check.same(f"idx_{slots}", out.indices[:-1], case[f"idx_{slots}"])
        check.close(name, out.rows, case[name])
        scores, _ = method.scores_keys(point)
        _, rest = choose_literal(scores[None], slots, supplement=True)
        check.same(f"complement_{slots}", rest[0], case[f"complement_{slots}"])


def _prumerge_point(case: Arrays) -> tuple[ArrayPoint, int]:
    hidden, keys, query = case["hidden"], case["keys"], case["q_cls"]
    n = len(hidden) - 1
    vision = ArrayVision(
        cls=torch.zeros(1, 1, n + 1), encoder=hidden[None], last_keys=keys[None, None], last_query=query[None, None]
    )
    return ArrayPoint(keep=n, tokens=grid_tokens(hidden[1:]), vision=vision), n


def _quartiles(scores: Tensor, case: Arrays, check: Comparison) -> int:
    q1, q3 = torch.quantile(scores, torch.tensor([0.25, 0.75]))
    check.close("q1", q1, case["q1"])
    check.close("q3", q3, case["q3"])
    check.close("upper_bound", q3 + 1.5 * (q3 - q1), case["upper_bound"])
    count = quartile_outliers(scores)
    check.same("n_outliers", count, case["n_outliers"])
    return count
