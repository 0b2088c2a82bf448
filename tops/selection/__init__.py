"""Which tokens to keep: pure functions from tensors to indices. Importing this package does not import torch."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tops.selection.similarity import cosine_similarity as cosine_similarity
    from tops.selection.tops_greedy import select_tops as select_tops

_HOMES = {
    "cosine_similarity": "similarity",
    "select_tops": "tops_greedy",
}
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
