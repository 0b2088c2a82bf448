"""Which tokens to keep: pure functions from tensors to indices. Importing this package does not import torch."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tops.selection.greedy import select_coverage as select_coverage
    from tops.selection.greedy import select_dpp as select_dpp
    from tops.selection.greedy import select_max_min as select_max_min
    from tops.selection.greedy import select_tops as select_tops
    from tops.selection.similarity import cosine_similarity as cosine_similarity
    from tops.selection.topk import top_k_lowest_index as top_k_lowest_index

_HOMES = {
    "cosine_similarity": "similarity",
    "select_coverage": "greedy",
    "select_dpp": "greedy",
    "select_max_min": "greedy",
    "select_tops": "greedy",
    "top_k_lowest_index": "topk",
}
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
