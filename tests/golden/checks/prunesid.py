"""PruneSID: tiles, the order on LLaVA-NeXT, and Qwen2-VL."""

from __future__ import annotations

import torch
from torch import Tensor

from tops.methods.prunesid import PruneSID
from tops.selection.components import Thinned, principal_loadings, thin_groups
from tops.testing import ArrayPoint, ArrayVision, grid_tokens

from .compare import Arrays, Comparison
from .tiles import SIDE, packing_of, tile_tokens


def case(case: Arrays, check: Comparison) -> None:
    """Groups, duplicates, quotas and order with the recorded draw; kept tokens with an exact SVD."""
    hidden, budget = case["hidden"], case.number("need_token_num")
    groups, noise = budget // 4, case["test_matrix"]
    vision = ArrayVision(cls=case["cls_attn"], encoder=hidden)
    batch, length, width = hidden.shape
    scores = vision.saliency(reduce="sum").view(batch, -1)
    check.close("score", scores, case["score"])
    rows = hidden[:, 1:]
    loadings = torch.stack([principal_loadings(own, groups, noise=noise) for own in rows])
    _close_loadings(check, loadings, case["loadings"])
    component = loadings.argmax(-1)
    check.same("component", component, case["component"])
    found = [
        thin_groups(own, score, group, budget - 1, groups=groups, budget=budget, encoder=True)
        for own, score, group in zip(rows, scores, component, strict=True)
    ]
    thresholds = torch.tensor([one.threshold for one in found])
    check.close("threshold", thresholds, case["threshold"])
    check.close("similarity_mean", thresholds * 32 / budget, case["similarity_mean"])
    _check_groups(check, found, case)
    order = torch.stack([torch.cat([torch.zeros(1).long(), one.order + 1]) for one in found])
    check.same("indices", order, case["indices"])
    check.same("indices_sorted", order.sort(1).values, case["indices_sorted"])
    output = hidden.gather(1, order[..., None].expand(-1, -1, width))
    check.close("output", output, case["output"])
    exact = torch.stack([principal_loadings(own, groups).argmax(-1) for own in rows])
    check.same("component_exact", exact, case["component_exact"])
    tokens = grid_tokens(rows.flatten(0, 1), units=batch, images=batch)
    out = PruneSID(budget=budget).select(ArrayPoint(keep=batch * budget, tokens=tokens, vision=vision))
    assert out.rows is not None
    places = case["indices_exact"]
    check.close("indices_exact", out.rows, hidden.gather(1, places[..., None].expand(-1, -1, width)).flatten(0, 1))
    patches = out.indices.view(batch, budget)[:, 1:] - (length - 1) * torch.arange(batch)[:, None]
    check.same("indices_exact", patches + 1, places[:, 1:])


def qwen2_vl(case: Arrays, check: Comparison) -> None:
    """Merged tokens: loadings as scores, no CLS token."""
    features, groups = case["features"], case["loadings"].shape[1]
    n, budget = len(features), case.number("need_token_num")
    keep = max(round(n * budget / 576), 16)
    check.same("num_keep", keep, case["num_keep"])
    loadings = principal_loadings(features, groups, noise=case["test_matrix"])
    _close_loadings(check, loadings, case["loadings"])
    score, component = loadings.max(1)
    check.same("component", component, case["component"])
    check.absolute = 1e-3  # loadings again
    check.close("score", score, case["score"])
    check.absolute = 1e-6
    found = thin_groups(features, score, component, keep, groups=groups, budget=keep, encoder=False)
    check.close("threshold", found.threshold, case["threshold"])
    _check_groups(check, [found], case)
    check.same("indices", found.order, case["indices"])
    check.same("indices_sorted", found.order.sort().values, case["indices_sorted"])
    out = PruneSID(budget=keep).select(ArrayPoint(keep=keep, tokens=grid_tokens(features)))
    check.same("indices_exact", out.indices, case["indices_exact"])


def next_layout(case: Arrays, check: Comparison) -> None:
    """The official order, whose rows stand in the places of others of their tile."""
    kept, codes = case["keep_idx"], case["codes"]
    tiles, count = kept.shape
    check.same("num_contextual", 0, case["num_contextual"])
    packing = packing_of(case)
    encoder = torch.zeros(tiles, SIDE**2 + 1, 1).scatter_(1, kept[..., None], codes[..., None].float())
    vision = ArrayVision(cls=torch.zeros(tiles, 1, SIDE**2 + 1), encoder=encoder, order=packing)
    point = ArrayPoint(keep=tiles * count, tokens=tile_tokens(packing, encoder[:, 1:]), vision=vision)
    numbers = iter(kept[:, 1:] - 1)

    class Given(PruneSID):
        """Keeps what the file says, tile by tile."""

        def kept_of(self, *_: object) -> Tensor:
            return next(numbers)

    out = Given(budget=tiles * count, order="official").select(point)
    assert out.rows is not None
    check.same("order", out.rows[:, 0], case["order"])


def _close_loadings(check: Comparison, got: Tensor, want: Tensor) -> None:
    check.absolute = 1e-3
    check.close("loadings", got, want)
    check.absolute = 1e-6


def _check_groups(check: Comparison, found: list[Thinned], case: Arrays) -> None:
    one = case["quota"].ndim == 1
    longest = case["nms_picks"].shape[-1]
    picks = torch.tensor([[own + [-1] * (longest - len(own)) for own in unit.picks] for unit in found])
    counts = torch.tensor([[len(own) for own in unit.picks] for unit in found])
    sizes, quota = torch.stack([unit.sizes for unit in found]), torch.stack([unit.quota for unit in found])
    for name, value in (("nms_picks", picks), ("nms_counts", counts), ("group_counts", sizes), ("quota", quota)):
        check.same(name, value[0] if one else value, case[name])
