"""What every selection refuses before it computes anything."""

from __future__ import annotations

import torch
from torch import Tensor

from tops.errors import BudgetError, ConfigurationError, NonFiniteError


def check_count(k: int, n: int) -> None:
    """Refuse a count of kept tokens outside 1..n.

    Raises
    ------
    BudgetError
        If ``k`` is not an int, or out of range.
    """
    if isinstance(k, bool) or not isinstance(k, int) or not 1 <= k <= n:
        raise BudgetError(f"k={k!r} tokens to keep out of {n}: k must be an int in 1..{n}. Lower the budget to {n}.")


def check_features(features: Tensor, k: int) -> None:
    """Refuse features that are not a finite float tensor (N, d) or (B, N, d), or a k outside 1..N.

    Raises
    ------
    ConfigurationError
        Wrong number of dimensions or an integer dtype.
    BudgetError
        ``k`` outside 1..N.
    NonFiniteError
        NaN or infinity anywhere.
    """
    if features.ndim not in (2, 3) or features.shape[-1] == 0 or not features.is_floating_point():
        raise ConfigurationError(
            f"features of shape {tuple(features.shape)} and dtype {features.dtype}: "
            "a float tensor (N, d) or (B, N, d) is needed."
        )
    check_count(k, features.shape[-2])
    check_finite("features", features)


def check_scores(name: str, scores: Tensor, features: Tensor) -> None:
    """Refuse per-token scores that do not match the features, (N,) or (B, N), or are not finite.

    Raises
    ------
    ConfigurationError
        Wrong shape or device.
    NonFiniteError
        NaN or infinity anywhere.
    """
    if scores.shape != features.shape[:-1]:
        raise ConfigurationError(
            f"{name} of shape {tuple(scores.shape)} for features of shape {tuple(features.shape)}: "
            f"one score per token is needed, shape {tuple(features.shape[:-1])}."
        )
    if scores.device != features.device:
        raise ConfigurationError(
            f"{name} on {scores.device}, features on {features.device}: move them to one device first."
        )
    check_finite(name, scores)


def check_finite(name: str, values: Tensor) -> None:
    """Refuse NaN and infinity, telling how many there are and where the first is.

    Raises
    ------
    NonFiniteError
        If any entry is not finite.
    """
    # A sum is infinite or NaN where any of its terms is, and thirty times faster than looking at each of them.
    if bool(torch.isfinite(values.detach().sum(dtype=torch.promote_types(values.dtype, torch.float32)))):
        return
    finite = torch.isfinite(values)
    if bool(finite.all()):
        return
    first = tuple(int(i) for i in (~finite).nonzero()[0])
    raise NonFiniteError(
        f"{name} has {int((~finite).sum())} values that are not finite, the first at {first}. "
        "Look for an overflow in the layer before; float16 overflows at 65504, bfloat16 or float32 do not."
    )
