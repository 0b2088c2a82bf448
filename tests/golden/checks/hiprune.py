"""HiPrune: tiles, the order on LLaVA-NeXT, and Qwen2.5-VL."""

from __future__ import annotations

import torch
from torch import Tensor

from tops.backbones._received import received_attention
from tops.methods.hiprune import HiPrune
from tops.selection.hierarchy import anchor_count, select_hierarchy
from tops.signals import Tower
from tops.testing import ArrayPoint, ArrayVision, grid_tokens

from .compare import Arrays, Comparison
from .tiles import SIDE, packing_of, tile_tokens


def case(case: Arrays, check: Comparison) -> None:
    """Attention received in both layers, anchors, their surroundings, registers, and the kept features."""
    hidden, alpha = case["hidden"], case.real("alpha")
    batch, length, width = hidden.shape
    n, keep = length - 1, case.number("retention") // batch
    check.same("num_keep", keep, case["num_keep"])
    received = {}
    for name in ("object", "deep"):
        received[name] = _received(case, name).mean(1)[:, 1:]
        check.close(f"received_{name}", received[name], case[f"received_{name}"])
    anchors = anchor_count(keep, alpha)
    check.same("num_anchors", anchors, case["num_anchors"])
    columns = torch.full((batch,), round(n**0.5))
    found = select_hierarchy(received["object"], received["deep"], keep, anchors=anchors, columns=columns)
    check.same("anchors", found.anchors, case["anchors"])
    check.same("anchor_buffer", found.buffer, case["anchor_buffer"])
    check.same("num_registers", keep - found.buffer.sum(1), case["num_registers"])
    check.same("index_mask", found.kept, case["index_mask"])
    tokens = grid_tokens(hidden[:, 1:].flatten(0, 1), units=batch)
    vision = ArrayVision(
        cls=torch.zeros(batch, 1, length),
        received_at={"feature": received["deep"].flatten(), 8: received["object"].flatten()},
    )
    point = ArrayPoint(keep=batch * keep, tokens=tokens, vision=vision)
    for registers in ("exact", "subtract"):
        out = HiPrune(budget=batch * keep, alpha=alpha, registers=registers).select(point).indices.view(batch, keep)
        check.same("kept_sorted", out - n * torch.arange(batch)[:, None], case["kept_sorted"])
        check.close("output", tokens.features[out].view(batch, keep, width), case["output"])


def next_layout(case: Arrays, check: Comparison) -> None:
    """Only those to keep receive attention in the deep layer; no anchors."""
    kept = case["keep_idx"]
    tiles, count = kept.shape
    check.same("num_contextual", 0, case["num_contextual"])
    packing = packing_of(case)
    deep = torch.zeros(tiles, SIDE**2).scatter_(1, kept, 1.0).flatten()[packing]
    vision = ArrayVision(received_at={"feature": deep, 8: deep}, order=packing)
    tokens = tile_tokens(packing, torch.zeros(tiles, SIDE**2, 1))
    method = HiPrune(budget=tiles * count, alpha=0.0)
    out = packing[method.select(ArrayPoint(keep=tiles * count, tokens=tokens, vision=vision)).indices]
    check.same("order", case["codes"][out // SIDE**2, out % SIDE**2], case["order"])


def qwen(case: Arrays, check: Comparison) -> None:
    """Scores that are sums in window order, the official set that falls short, and the exact one."""
    rows, columns, alpha = case.number("grid_h"), case.number("grid_w"), case.real("alpha")
    n, window = rows * columns, case["window_index"]
    keep = round(n * case.real("retain_ratio"))
    check.same("num_keep", keep, case["num_keep"])
    received = {}
    for name in ("object", "deep"):
        mean = _received(case, name).mean(0)
        merged = torch.empty(n)
        merged[window] = mean.view(n, -1).mean(1)
        received[name] = merged
        check.close(f"received_{name}", merged * len(mean), case[f"received_{name}"])
    anchors = anchor_count(keep, alpha)
    check.same("num_anchors", anchors, case["num_anchors"])
    found = select_hierarchy(
        received["object"][None],
        received["deep"][None] * len(mean),
        keep,
        anchors=anchors,
        columns=torch.tensor([columns]),
        exclude=False,
    )
    check.same("anchors", found.anchors[0], case["anchors"])
    check.same("anchor_buffer", found.buffer[0].nonzero()[:, 0], case["anchor_buffer"])
    scores = received["deep"] * len(mean) - found.buffer[0].float()
    registers = scores.sort(descending=True, stable=True).indices[: keep - int(found.buffer.sum())]
    check.same("registers", registers.sort().values, case["registers"])
    vision = ArrayVision(
        received=received["deep"], received_at={15: received["object"]}, tower=Tower(32, 31, (7, 15, 23, 31))
    )
    point = ArrayPoint(keep=keep, tokens=grid_tokens(torch.zeros(n, 1), columns=columns), vision=vision)
    official = HiPrune(budget=keep, alpha=alpha, registers="subtract").select(point).indices
    check.same("kept_official", official, case["kept_official"])
    check.same("kept_exclusive", HiPrune(budget=keep, alpha=alpha).select(point).indices, case["kept_exclusive"])


def _received(case: Arrays, name: str) -> Tensor:
    """(..., H, T): mean over queries of the attention that every key receives."""
    queries, keys = case[f"q_{name}"], case[f"k_{name}"]
    return received_attention(queries, keys, queries.shape[-1] ** -0.5)
