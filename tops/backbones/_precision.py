"""Autocast and selection: scores are computed in float32, projections as the model itself computes them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

_DEVICES = ("cpu", "cuda", "mps", "xpu", "hpu")
_AMBIENT: ContextVar[tuple[tuple[str, torch.dtype], ...]] = ContextVar("tops_autocast", default=())


def autocast_state() -> tuple[tuple[str, torch.dtype], ...]:
    """Devices under autocast, and to what type."""
    import torch

    return tuple((kind, torch.get_autocast_dtype(kind)) for kind in _DEVICES if torch.is_autocast_enabled(kind))


@contextmanager
def full_precision() -> Iterator[None]:
    """No gradient and no autocast: float32 stays float32, in a method's own products too."""
    import torch

    ambient = autocast_state()
    before = _AMBIENT.get()
    _AMBIENT.set(ambient)
    try:
        with torch.no_grad(), ExitStack() as stack:
            for kind, dtype in ambient:
                stack.enter_context(torch.autocast(kind, dtype=dtype, enabled=False))
            yield
    finally:
        _AMBIENT.set(before)


@contextmanager
def as_the_model_runs() -> Iterator[None]:
    """Inside :func:`full_precision`: no gradient, and autocast as around the model, for its own layers."""
    import torch

    with torch.no_grad(), ExitStack() as stack:
        for kind, dtype in _AMBIENT.get():
            stack.enter_context(torch.autocast(kind, dtype=dtype))
        yield
