"""Attention probabilities of a few query rows of one decoder layer, from its q/k projections alone."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tops.backbones._precision import as_the_model_runs
from tops.backbones.base import Adapter


def rotate_half(x: Tensor) -> Tensor:
    """(..., 2h) -> (..., 2h): the partner of each channel under RoPE."""
    first, second = x.chunk(2, -1)
    return torch.cat((-second, first), -1)


def layer_keys(adapter: Adapter, layer: nn.Module, hidden: Tensor, positions: Tensor) -> Tensor:
    """Keys of one decoder layer after RoPE.

    Parameters
    ----------
    adapter : Adapter
        The model's family.
    layer : nn.Module
        Decoder layer.
    hidden : Tensor, (L, d)
        Its input.
    positions : Tensor, (L,) or (3, L) int64
        Position ids.

    Returns
    -------
    Tensor, (KV, L, head_dim)
    """
    with as_the_model_runs():
        cos, sin = adapter.rotary(hidden[None], positions[..., None, :])
        _, keys = adapter.queries_keys(layer, hidden, None)
    return keys * cos[0] + rotate_half(keys) * sin[0]


def row_attention(
    adapter: Adapter, layer: nn.Module, hidden: Tensor, positions: Tensor, rows: Tensor, *, rope: bool = True
) -> Tensor:
    """Causal attention probabilities of some query rows over the whole sequence.

    Parameters
    ----------
    adapter, layer, hidden, positions
        As in :func:`layer_keys`.
    rows : Tensor, (R,) int64
        Query rows in 0..L-1.
    rope : bool
        Whether queries and keys are rotated to their positions.

    Returns
    -------
    Tensor, (H, R, L) float32
        Products and softmax in float32 whatever the model's dtype.
    """
    with as_the_model_runs():
        queries, keys = adapter.queries_keys(layer, hidden, rows)
        cos, sin = adapter.rotary(hidden[None], positions[..., None, :])
    assert queries is not None
    if rope:
        keys = keys * cos[0] + rotate_half(keys) * sin[0]
        queries = queries * cos[0, rows] + rotate_half(queries) * sin[0, rows]
    grouped = queries.float().reshape(len(keys), -1, *queries.shape[1:])
    scores: Tensor = (grouped @ keys.float().transpose(-1, -2)[:, None]).flatten(0, 1) * adapter.scaling(layer)
    future = torch.arange(len(hidden), device=rows.device) > rows[:, None]
    return scores.masked_fill_(future, float("-inf")).softmax(-1)
