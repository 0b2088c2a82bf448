"""One cell through lmms-eval, and the judge. Importing the package alone brings in neither torch nor lmms-eval."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tops.evaluation.evaluate import evaluate_cell
    from tops.evaluation.session import Progress

__all__ = ["Progress", "evaluate_cell"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from tops.evaluation import evaluate, session

        return getattr(session if name == "Progress" else evaluate, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
