"""Queries and keys of vision towers, and the mean attention that every token of a tower receives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from tops.backbones._precision import as_the_model_runs

if TYPE_CHECKING:
    from torch import Tensor


def split_heads(states: Tensor, heads: int) -> Tensor:
    """(U, T, H * c) -> (U, H, T, c)."""
    return states.view(*states.shape[:-1], heads, -1).transpose(1, 2)


def tower_queries(module: Any, states: Tensor) -> Tensor:
    """(U, T, c) -> (U, H, T, c / H): query projection of a tower's attention and its norm, where it has one."""
    queries = module.q_proj(states)
    return split_heads(module.q_norm(queries) if hasattr(module, "q_norm") else queries, module.num_heads)


def tower_keys(module: Any, states: Tensor) -> Tensor:
    """(U, T, c) -> (U, H, T, c / H): as :func:`tower_queries`, for keys."""
    keys = module.k_proj(states)
    return split_heads(module.k_norm(keys) if hasattr(module, "k_norm") else keys, module.num_heads)


def cls_rows(module: Any, states: Tensor) -> Tensor:
    """(U, T, c) -> (U, H, T) float32: softmaxed attention of the first token, the CLS, over all.

    Parameters
    ----------
    module : nn.Module
        Attention of the layer, with ``q_proj``, ``k_proj``, ``num_heads`` and ``scale``.
    states : Tensor, (U, T, c)
        Its input.
    """

    with as_the_model_runs():
        query, keys = tower_queries(module, states[:, :1]).float(), tower_keys(module, states).float()
    scores: Tensor = (query @ keys.transpose(-1, -2)) * module.scale
    return scores.softmax(-1)[:, :, 0]


def received_per_unit(module: Any, states: Tensor, reduce: Literal["mean", "sum"]) -> Tensor:
    """(U, T, c) -> (U, T) float32: mean attention that each token of a unit receives in a layer.

    One unit at a time: 64 frames of 16 heads and 729 x 729 maps would not be flat in memory.

    Parameters
    ----------
    module, states
        As in :func:`cls_rows`.
    reduce : {"mean", "sum"}
        Over heads.
    """
    import torch

    rows = []
    for unit in torch.split(states, 1):
        with as_the_model_runs():
            queries, keys = tower_queries(module, unit), tower_keys(module, unit)
        received = received_attention(queries, keys, module.scale)
        rows.append(received.mean(1) if reduce == "mean" else received.sum(1))
    return torch.cat(rows)


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
    import torch

    keys = keys.float().transpose(-1, -2)
    total = torch.zeros(queries.shape[:-1], dtype=torch.float32, device=queries.device)
    for block in torch.split(queries.float(), rows, dim=-2):
        total += ((block @ keys) * scale).softmax(-1).sum(-2)
    return total / queries.shape[-2]
