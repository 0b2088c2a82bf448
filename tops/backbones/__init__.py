"""Model families, found by file: a module here with a subclass of ``Adapter`` serves its ``model_classes``.

Finding them loads no torch: a plan asks them what they have. Modules whose name begins with an underscore help several.
"""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from tops.errors import ConfigurationError, UnsupportedModelError, nearest_names
from tops.references import Source, is_reference, load, source_of

if TYPE_CHECKING:
    from tops.backbones.base import Adapter

__all__ = ["adapter_for", "families", "family_named", "family_sources", "named_family", "register_family"]


REGISTERED: dict[str, tuple[type[Adapter], Source]] = {}


def family_sources() -> dict[str, Source]:
    """Where each family is defined that is not part of the package, by name."""
    return {name: source for name, (_, source) in REGISTERED.items()}


def register_family(cls: type[Adapter], source: Source | None = None) -> str:
    """Let a family of your own be served; returns its name.

    Raises
    ------
    ConfigurationError
        If the class is no adapter, or another family has its name.
    """
    from tops.backbones.base import Adapter

    source = source or source_of(cls)
    lacking = (
        "" if isinstance(cls, type) and issubclass(cls, Adapter) else "it is no subclass of tops.backbones.Adapter"
    )
    if not lacking and not (cls.family and cls.model_classes):
        lacking = "it names no family and model_classes"
    if lacking:
        raise ConfigurationError(f"{source.reference} serves no family: {lacking}; see docs/add-a-backbone.md")
    known = REGISTERED.get(cls.family)
    if cls.family in _built_in() or (known is not None and known[1].reference != source.reference):
        other = known[1].reference if known else f"{_built_in()[cls.family].__module__}"
        raise ConfigurationError(
            f"two families are named {cls.family!r}: {other} and {source.reference}; give one another `family`"
        )
    REGISTERED[cls.family] = cls, source
    return cls.family


def named_family(text: str, *folders: Path) -> str:
    """The name of the family that a reference such as ``./mine.py:MyAdapter`` names; a name stays as it is."""
    if not is_reference(text):
        return text
    cls, source = load(text, *folders)
    return register_family(cls, source)


def families() -> dict[str, type[Adapter]]:
    """Adapter class of every family, by its name."""
    return {**_built_in(), **{name: cls for name, (cls, _) in REGISTERED.items()}}


@cache
def _built_in() -> dict[str, type[Adapter]]:
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
    """The adapter that serves a model, also inside a wrapper of PEFT or of distributed data parallelism.

    Raises
    ------
    UnsupportedModelError
        If no family serves its class; the message names those that are served. For compiled models and copies in
        threads; the message names the model inside.
    """
    from transformers import PreTrainedModel

    from tops.backbones._wrappers import unwrapped

    model = unwrapped(model)
    served = {name: cls for cls in families().values() for name in cls.model_classes}
    for base in type(model).__mro__:
        if base.__name__ in served and isinstance(model, PreTrainedModel):
            adapter = served[base.__name__](model)
            adapter.check()
            return adapter
    raise UnsupportedModelError(
        f"no adapter serves {type(model).__name__}; served are {', '.join(sorted(served))}. "
        "To add a family write one class (docs/add-a-backbone.md) and call tops.register on it"
    )
