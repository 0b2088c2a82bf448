"""Evaluation of one cell through lmms-eval, scorers over stored answers, judge, data staging.

Importing this package, its ``benchmark``, ``data`` and ``scorers`` brings in neither torch nor lmms-eval.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tops.evaluation.evaluate import Progress, evaluate_cell

__all__ = ["Progress", "evaluate_cell"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from tops.evaluation import evaluate

        return getattr(evaluate, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
