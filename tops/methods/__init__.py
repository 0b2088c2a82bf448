"""Every pruning method, found by file: a module here that defines a frozen dataclass with a ``name`` is registered.

Others come from users' own files (``method=./mine.py:Mine``), from code (``tops.register(Mine)``) and from packages
with the entry point group ``tops.methods``.
"""

from __future__ import annotations

import importlib
import pkgutil
from dataclasses import fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any

from tops.errors import ConfigurationError, nearest_names
from tops.methods import _outside
from tops.methods.base import Method, adopted
from tops.references import Source, is_reference

__all__ = [
    "Method",
    "build",
    "method_class",
    "method_names",
    "method_source",
    "named_method",
    "register",
    "registered_methods",
]


@cache
def _built_in() -> dict[str, type[Any]]:
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
    return found


@cache
def _registry() -> dict[str, type[Any]]:
    """Methods of this package and of installed ones."""
    return {**_built_in(), **_outside.from_entry_points(_built_in())}


def register(cls: type[Any], source: Source | None = None) -> str:
    """Make a method of your own known to this process under its ``name``; returns it.

    Raises
    ------
    ConfigurationError
        If it is no method, is defined in no file, or another method has that name.
    """
    return _outside.register(cls, source, taken=_registry())


def named_method(text: str, *folders: Path) -> str:
    """The name that a reference such as ``./mine.py:Mine`` gets; a name stays as it is.

    Parameters
    ----------
    text : str
        Name or reference.
    *folders : Path
        Where a relative path is looked for; the working folder by default.

    Raises
    ------
    ConfigurationError
        If the file cannot be imported, has no such class, or it is no method, or has the name of another one.
    """
    return _outside.register_reference(text, *folders, taken=_registry()) if is_reference(text) else text


def method_source(name: str) -> Source | None:
    """Where a method that is not part of this package is defined; None for those that are."""
    if name in _outside.REGISTERED:
        return _outside.REGISTERED[name][1]
    return _outside.INSTALLED.get(name) if name in _registry() else None


def registered_methods() -> dict[str, Source]:
    """Methods of users' own files and code, and where they are defined."""
    return {name: source for name, (_, source) in _outside.REGISTERED.items()}


def method_names() -> list[str]:
    """Names of all methods, sorted."""
    return sorted({**_registry(), **_outside.REGISTERED})


def method_class(name: str) -> type[Any]:
    """The dataclass of a method.

    Raises
    ------
    ConfigurationError
        If no method has that name; the message gives the nearest ones.
    """
    if name in _outside.REGISTERED:
        return _outside.REGISTERED[name][0]
    if name in _registry():
        return _registry()[name]
    raise ConfigurationError(
        f"unknown method {name!r}. {nearest_names(name, method_names())} One of your own: method=./mine.py:Mine."
    )


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
    return adopted(cls(**options))
