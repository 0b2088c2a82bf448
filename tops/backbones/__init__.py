"""Model families, found by file: a module here with a subclass of ``Adapter`` serves its ``model_classes``.

Finding them loads no torch: a plan asks them what they have. Modules whose name begins with an underscore help several.
"""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from typing import TYPE_CHECKING

from tops.errors import ConfigurationError, UnsupportedModelError, nearest_names

if TYPE_CHECKING:
    from tops.backbones.base import Adapter

__all__ = ["adapter_for", "families", "family_named"]


@cache
def families() -> dict[str, type[Adapter]]:
    """Adapter class of every family, by its name."""
    from tops.backbones.base import Adapter

    found: dict[str, type[Adapter]] = {}
    for info in pkgutil.iter_modules(__path__):
        if info.name.startswith("_"):
            continue
        module = importlib.import_module(f"{__name__}.{info.name}")
        for value in vars(module).values():
            if (
                isinstance(value, type)
                and issubclass(value, Adapter)
                and value.model_classes
                and value.__module__ == module.__name__
            ):
                found[value.family] = value
    return found


def family_named(name: str) -> type[Adapter]:
    """A family by its short name.

    Raises
    ------
    ConfigurationError
        For an unknown name, with the nearest ones.
    """
    known = families()
    if name not in known:
        raise ConfigurationError(f"unknown family {name!r}. {nearest_names(name, known)}")
    return known[name]


def adapter_for(model: object) -> Adapter:
    """The adapter that serves a model.

    Raises
    ------
    UnsupportedModelError
        If no family serves its class; the message names those that are served.
    """
    from transformers import PreTrainedModel

    served = {name: cls for cls in families().values() for name in cls.model_classes}
    for base in type(model).__mro__:
        if base.__name__ in served and isinstance(model, PreTrainedModel):
            adapter = served[base.__name__](model)
            adapter.check()
            return adapter
    raise UnsupportedModelError(
        f"no adapter serves {type(model).__name__}; served are {', '.join(sorted(served))}. "
        "To add a family write one file in tops/backbones (see tops.backbones.base)"
    )
