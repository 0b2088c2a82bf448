"""Saliency for towers without a CLS token: the mean attention that every token receives."""

from __future__ import annotations

import torch
from torch import Tensor


def received_attention(queries: Tensor, keys: Tensor, scale: float, *, rows: int = 512) -> Tensor:
    """Mean over queries of the softmaxed attention each key receives.

    Parameters
    ----------
    queries, keys : Tensor, (..., N, c)
        After the layer's own norms and rotations; every leading entry is one attention head of one unit.
    scale : float
        Factor on query-key products.
    rows : int
        Query rows worked on at a time, so that no (N, N) map is ever held whole.

    Returns
    -------
    Tensor, (..., N) float32
        Sums to 1 over N.
    """
    keys = keys.float().transpose(-1, -2)
    total = torch.zeros(queries.shape[:-1], dtype=torch.float32, device=queries.device)
    for block in torch.split(queries.float(), rows, dim=-2):
        total += ((block @ keys) * scale).softmax(-1).sum(-2)
    return total / queries.shape[-2]
