"""Cosine similarity, plain and in exact fixed point."""

from __future__ import annotations

import torch
from torch import Tensor

ONE = 2**29
"""Similarity 1 in the units of :func:`fixed_point_similarity`: differences of two similarities still fit int32."""

_ROWS = 256  # rows of one product in fixed_point_similarity: bounds the float64 scratch, fits the cache when mirrored


def cosine_similarity(left: Tensor, right: Tensor | None = None) -> Tensor:
    """Cosine of every row of ``left`` with every row of ``right``, in true float32.

    Neither autocast nor TF32 lowers the precision, whatever the caller has switched on.

    Parameters
    ----------
    left : Tensor, (..., N, d)
        Any float dtype.
    right : Tensor, (..., M, d), optional
        ``left`` itself by default.

    Returns
    -------
    Tensor, (..., N, M) float32
        A row of zeros has similarity 0 with every row.
    """
    with torch.no_grad(), torch.autocast(left.device.type, enabled=False):
        a = unit_rows(left, torch.float32)
        b = a if right is None else unit_rows(right, torch.float32)
        if a.device.type != "cuda":
            return a @ b.mT
        allowed = torch.backends.cuda.matmul.allow_tf32
        torch.backends.cuda.matmul.allow_tf32 = False
        try:
            return a @ b.mT
        finally:
            torch.backends.cuda.matmul.allow_tf32 = allowed


def fixed_point_similarity(features: Tensor) -> Tensor:
    """Cosine similarities in whole numbers of 2**-29, exactly symmetric.

    Products are taken in float64 and rounded once, an error of 1e-9 (float32: 1e-7). Sums of whole numbers have no
    error: a gain kept up to date by adding and taking away equals the gain computed anew, in any order of summation
    and on any device.

    Parameters
    ----------
    features : Tensor, (N, d) or (B, N, d)
        Any float dtype.

    Returns
    -------
    Tensor, (N, N) or (B, N, N) int32
        The diagonal is ``ONE``: a token is wholly similar to itself, also a token of zeros.
    """
    *batch, n, _ = features.shape
    result = torch.empty(*batch, n, n, dtype=torch.int32, device=features.device)
    with torch.no_grad(), torch.autocast(features.device.type, enabled=False):
        if features.device.type == "cpu" and batch:
            # An entry must not depend on its batch, and batched products round in another order.
            for entry, own in zip(features, result, strict=True):
                _fill(own, entry)
        else:
            _fill(result, features)
    return result


def _fill(result: Tensor, features: Tensor) -> None:
    """Similarities of the features into ``result``, the upper half computed and the lower one mirrored."""
    rows = unit_rows(features, torch.float64)
    wide = rows * ONE
    n = rows.shape[-2]
    for start in range(0, n, _ROWS):
        stop = min(start + _ROWS, n)
        # Two unit vectors: at most 1 + 1e-15, which rounds to ONE.
        result[..., start:stop, start:] = (wide[..., start:stop, :] @ rows[..., start:, :].mT).round_()
        corner = result[..., start:stop, start:stop].triu(1)
        result[..., start:stop, start:stop] = corner + corner.mT
        result[..., stop:, start:stop] = result[..., start:stop, stop:].mT
    result.diagonal(dim1=-2, dim2=-1).fill_(ONE)


def rank_floor(n: int) -> float:
    """Share of a vector's squared length under which what other vectors leave of it is rounding, not volume."""
    return n / ONE


def unit_rows(features: Tensor, dtype: torch.dtype) -> Tensor:
    """Rows divided by their L2 norm.

    Parameters
    ----------
    features : Tensor, (..., N, d)
        Any float dtype.
    dtype : torch.dtype
        float32 or float64, in which to compute.

    Returns
    -------
    Tensor, (..., N, d) of ``dtype``
        A row of zeros stays a row of zeros.
    """
    rows = features.to(dtype)
    least = torch.finfo(dtype).tiny
    # The largest entry first: squares of huge or tiny rows then stay inside the dtype.
    rows = rows / rows.abs().amax(-1, keepdim=True).clamp_min(least)
    norms: Tensor = torch.linalg.vector_norm(rows, dim=-1, keepdim=True)
    return rows / norms.clamp_min(least)
