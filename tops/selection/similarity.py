"""Cosine similarity, plain and in exact fixed point."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Values = NDArray[np.float32] | NDArray[np.float64]
Ints = NDArray[np.int32]

ONE = 2**29
"""Similarity 1 in the units of :func:`fixed_point_similarity`: differences of two similarities still fit int32."""

_ROWS = 256  # rows of one product on a GPU, or of a large entry: bounds the float64 scratch
LARGE = 8192
"""Tokens of an entry beyond which a CPU computes it in parts: the float64 product of all would take 0.5 GB and more."""

_CELLS = 2**20  # float64 numbers of one piece of work on a CPU, so that it stays in the cache


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
    and on any device. On a CPU one half of the symmetric product is computed (BLAS ``syrk``), which costs what the
    whole product costs in float32.

    Parameters
    ----------
    features : Tensor, (N, d) or (B, N, d)
        Any float dtype.

    Returns
    -------
    Tensor, (N, N) or (B, N, N) int32
        The diagonal is ``ONE``: a token is wholly similar to itself, also a token of zeros.
    """
    *batch, n, width = features.shape
    if features.device.type == "cpu":
        fixed = fixed_point_on_cpu(as_array(features).reshape(-1, n, width))
        return torch.from_numpy(fixed).reshape(*batch, n, n)
    result = torch.empty(*batch, n, n, dtype=torch.int32, device=features.device)
    with torch.no_grad(), torch.autocast(features.device.type, enabled=False):
        _fill(result, features)
    return result


def as_array(features: Tensor) -> Values:
    """The same numbers for numpy: float64 as it is, every other float dtype as float32."""
    features = features.detach()
    array: Values = (features if features.dtype == torch.float64 else features.float()).numpy()
    return array


def fixed_point_on_cpu(values: Values) -> Ints:
    """:func:`fixed_point_similarity` of arrays.

    Parameters
    ----------
    values : ndarray, (B, N, d) float32 or float64
        Features.

    Returns
    -------
    ndarray, (B, N, N) int32
    """
    batch, n, width = values.shape
    result: Ints = np.empty((batch, n, n), dtype=np.int32)
    if n > LARGE:
        for own, entry in zip(result, values, strict=True):
            _fill(torch.from_numpy(own), torch.from_numpy(entry))
        return result
    entries = max(1, _CELLS // (n * width))
    for start in range(0, batch, entries):
        rows = _exact_rows(values[start : start + entries])
        products = rows @ rows.swapaxes(1, 2)
        inverse = _inverse_norms(products.diagonal(axis1=1, axis2=2))
        _round_cosines(products, inverse, inverse, result[start : start + entries])
    place = np.arange(n)
    result[:, place, place] = ONE
    return result


def _exact_rows(values: Values) -> NDArray[np.float64]:
    """A float64 copy whose products stay in range: float64 rows are divided by their largest entry.

    Squares of huge or tiny float64 numbers would leave the range; those of float32 do not.
    """
    if values.dtype != np.float64:
        return values.astype(np.float64)
    scaled: NDArray[np.float64] = values / np.abs(values).max(-1, keepdims=True).clip(min=np.finfo(np.float64).tiny)
    return scaled


def _inverse_norms(square: NDArray[np.float64]) -> NDArray[np.float64]:
    """One over the root; zero for zero."""
    return np.divide(1.0, np.sqrt(square), out=np.zeros(square.shape), where=square > 0)


def _round_cosines(
    products: NDArray[np.float64], left: NDArray[np.float64], right: NDArray[np.float64], result: Ints
) -> None:
    """Products of rows, (B, M, N), times both inverse norms and ``ONE``, rounded into ``result``."""
    # Powers of two are exact: the factors of (i, j) and (j, i) are equal to the last bit.
    left, right = left * 2.0**15, right * 2.0**14
    step = max(1, _CELLS // 8 // products.shape[2])
    for start in range(0, products.shape[1], step):
        scaled = left[:, start : start + step, None] * right[:, None]
        scaled *= products[:, start : start + step]
        # Two unit vectors: at most 1 + 1e-15, which rounds to ONE.
        result[:, start : start + step] = np.rint(scaled, out=scaled)


def exact_pairs(
    values: Values, entry: NDArray[np.int64], left: NDArray[np.int64], right: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Single numbers of :func:`fixed_point_on_cpu`.

    Parameters
    ----------
    values : ndarray, (B, N, d) float32 or float64
        Features.
    entry, left, right : ndarray, (P,) int64
        Batch entry and both tokens of each pair.

    Returns
    -------
    ndarray, (P,) float64
        Whole numbers of 1 / ONE.
    """
    found = np.empty(len(entry))
    step = max(1, _CELLS // 8 // values.shape[2])
    for start in range(0, len(entry), step):
        part = slice(start, start + step)
        a, b = (_exact_rows(values[entry[part], side[part]]) for side in (left, right))
        square = np.einsum("pd,pd->p", a, a) * np.einsum("pd,pd->p", b, b)
        product = np.einsum("pd,pd->p", a, b)
        found[part] = np.divide(product * ONE, np.sqrt(square), out=np.zeros(len(a)), where=square > 0)
    return np.rint(found, out=found)


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
