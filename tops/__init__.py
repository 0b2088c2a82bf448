"""Visual token pruning for multimodal LLMs.

    from tops import TOPS, prune

    with prune(model, TOPS(budget=64)) as run:
        output = model.generate(**inputs)
    run.visual_tokens_per_layer

Nothing heavy is imported before it is used: ``import tops`` imports no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tops.backbones.loading import Backbone as Backbone
    from tops.backbones.loading import load_backbone as load_backbone
    from tops.budget import Budget as Budget
    from tops.engine import PromptRecord as PromptRecord
    from tops.engine import Run as Run
    from tops.engine import prune as prune
    from tops.methods.tops import TOPS as TOPS
    from tops.registration import register as register
    from tops.tokens import Selection as Selection
    from tops.tokens import VisualTokens as VisualTokens

_HOMES = {
    "Backbone": "tops.backbones.loading",
    "Budget": "tops.budget",
    "PromptRecord": "tops.engine",
    "Run": "tops.engine",
    "Selection": "tops.tokens",
    "VisualTokens": "tops.tokens",
    "load_backbone": "tops.backbones.loading",
    "prune": "tops.engine",
    "register": "tops.registration",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    if not name.startswith("_") and name[:1].isupper():
        # Every method is public under the name of its class: ``from tops import FastV``.
        from tops.methods import method_class, method_names

        for method in method_names():
            cls = method_class(method)
            if cls.__name__ == name:
                return cls
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
