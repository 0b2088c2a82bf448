"""Every pruning method, found by file: a module here that defines a frozen dataclass with a ``name`` is registered.

Third-party packages add one through the entry point group ``tops.methods``.
"""

from __future__ import annotations

import importlib
import pkgutil
from dataclasses import fields, is_dataclass
from functools import cache
from importlib.metadata import entry_points
from typing import Any

from tops.errors import ConfigurationError, nearest_names
from tops.methods.base import Method

__all__ = ["Method", "build", "method_class", "method_names"]


@cache
def _registry() -> dict[str, type[Any]]:
    found: dict[str, type[Any]] = {}
    for info in pkgutil.iter_modules(__path__):
        if info.name == "base" or info.name.startswith("_"):
            continue
        module = importlib.import_module(f"{__name__}.{info.name}")
        for value in vars(module).values():
            if isinstance(value, type) and value.__module__ == module.__name__ and is_dataclass(value):
                name = getattr(value, "name", None)
                if isinstance(name, str):
                    found[name] = value
    for entry in entry_points(group="tops.methods"):
        found.setdefault(entry.name, entry.load())
    return found


def method_names() -> list[str]:
    """Names of all methods, sorted."""
    return sorted(_registry())


def method_class(name: str) -> type[Any]:
    """The dataclass of a method.

    Raises
    ------
    ConfigurationError
        If no method has that name; the message gives the nearest ones.
    """
    try:
        return _registry()[name]
    except KeyError:
        raise ConfigurationError(f"unknown method {name!r}. {nearest_names(name, _registry())}") from None


def build(name: str, **options: Any) -> Method:
    """A method from its name and options.

    Raises
    ------
    ConfigurationError
        For an unknown method or option, with the nearest known names.
    """
    cls = method_class(name)
    known = [f.name for f in fields(cls) if f.init]
    for option in options:
        if option not in known:
            raise ConfigurationError(f"method {name!r} has no option {option!r}. {nearest_names(option, known)}")
    method: Method = cls(**options)
    return method
