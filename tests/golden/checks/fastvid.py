"""FastVID: one video in either port, a whole forward pass, and SigLIP's pooling head."""

from __future__ import annotations

import torch
from torch import Tensor

from tops.methods.fastvid import FastVID
from tops.selection.pooling_head import pool_attention, pool_frames
from tops.selection.segments import (
    neighbour_similarity,
    segment_sizes,
    share_in_segments,
    spread,
)
from tops.testing import ArrayPoint, ArrayVision, grid_tokens
from tops.tokens import VisualTokens

from .compare import Arrays, Comparison
from .decoder import check_forward, whole_sequence


def case(case: Arrays, check: Comparison) -> None:
    """Segments, counts, salient tokens, anchors and their groups, what is kept and in which rows."""
    features, attention = case["features"], case["frame_attention"]
    frames, size, _ = features.shape
    onevision = case.number("variant") == 1
    method, keep = _method(case, size), int(size * case.real("retention_ratio"))
    similarity = neighbour_similarity(case["frame_global"])
    check.close("frame_similarity", similarity, case["frame_similarity"])
    sizes = segment_sizes(similarity, method.segments, method.tau)
    check.same("segment_sizes", torch.tensor(sizes), case["segment_sizes"])
    each = spread(keep * frames, frames)
    salient, anchors = share_in_segments(sizes, each, size, method.context, method.step, equal=onevision)
    check.same("salient_counts", torch.tensor(salient), case["salient_counts"])
    check.same("context_counts", torch.tensor(anchors), case["context_counts"])
    found = method.dense(features, attention, keep * frames)
    check.same("salient", found.salient, case["salient"])
    check.same("context", found.anchors, case["context"])
    if "group_sizes" in case:
        check.same("group_sizes", found.group_sizes, case["group_sizes"])
    check.same("keep", torch.cat([found.salient, found.anchors]).sort().values, case["keep"])
    tokens, saliency = grid_tokens(features.flatten(0, 1), units=frames, images=frames), attention.flatten()
    if not onevision:
        tokens = _with_newlines(features, case["newline"])
        saliency = torch.zeros(len(tokens)).masked_scatter(~tokens.newline, saliency)
    point = ArrayPoint(keep=keep * frames, tokens=tokens, vision=ArrayVision(received=saliency))
    out = method.select(point)
    assert out.rows is not None
    check.close("output", out.rows, case["output"])
    before, text = case.number("text_before"), case["text"]
    after = before + len(tokens) + torch.arange(len(text) - before)
    whole = torch.cat([torch.arange(before), before + out.indices, after])
    check.same("keep_indices", whole, case["keep_indices"])
    check.same("position_ids", whole, case["position_ids"])


def model(case: Arrays, check: Comparison) -> None:
    """A whole forward pass: positions with gaps, new tokens from the unpruned length."""
    frames = case.number("frames")
    size = case.number("image_length") // frames
    check.same("variant", 1, case["variant"])
    method = _method(case, size)
    similarity = neighbour_similarity(case["frame_global"])
    sizes = segment_sizes(similarity, method.segments, method.tau)
    check.same("segment_sizes", torch.tensor(sizes), case["segment_sizes"])
    vision = ArrayVision(received=case["frame_attention"].flatten())
    (point,), kept = check_forward(case, check, method, frames=frames, vision=vision)
    check.same("keep_indices", whole_sequence(case, kept[0]), case["keep_indices"])
    rows = method.select(point).rows
    assert rows is not None
    check.close("merged_rows", rows, case["merged_rows"])


def head(case: Arrays, check: Comparison) -> None:
    """The probe's attention, averaged over heads and pooled, and the vector of each frame."""
    check.absolute = 1e-5
    weights = {name: case[name] for name in (*case.names("head/"), *case.names("post_layernorm/"))}
    attention, vectors = pool_frames(
        case["encoder_features"], weights, heads=case.number("heads"), eps=case.real("eps")
    )
    check.same("heads", case["heads"], case["heads"])
    check.close("attention", attention, case["attention"])
    check.close("frame_global", vectors, case["frame_global"])
    check.close("pooled_average", pool_attention(attention, "average"), case["pooled_average"])
    check.close("pooled_bilinear", pool_attention(attention, "bilinear"), case["pooled_bilinear"])


def _method(case: Arrays, size: int) -> FastVID:
    """With the recorded frame vectors instead of means of tokens."""
    vectors, onevision = case["frame_global"], case.number("variant") == 1

    class Recorded(FastVID):
        def frame_vectors(self, frames: Tensor) -> Tensor:
            return vectors

    return Recorded(
        budget=int(size * case.real("retention_ratio")),
        version="onevision" if onevision else "video",
        newlines="drop" if onevision else "touched",
        segments=case.number("dyseg_c"),
        tau=case.real("dyseg_tau"),
        context=case.real("stprune_d"),
        step=case.number("dtm_p"),
        beta=case.real("dtm_beta"),
    )


def _with_newlines(features: Tensor, newline: Tensor) -> VisualTokens:
    """LLaVA-Video's sequence: a newline behind every row of every frame."""
    frames, size, width = features.shape
    side = round(size**0.5)
    rows = torch.cat([features.view(frames, side, side, width), newline.expand(frames, side, 1, width)], 2)
    frame, row, column = (
        part.flatten()
        for part in torch.meshgrid(torch.arange(frames), torch.arange(side), torch.arange(side + 1), indexing="ij")
    )
    return VisualTokens(rows.flatten(0, 2), torch.arange(len(frame)), frame, frame, row, column, column == side)
