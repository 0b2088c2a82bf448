"""Methods that are not part of the package: registered in code, named by file or module, or by an entry point."""

from __future__ import annotations

from dataclasses import is_dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from tops.errors import ConfigurationError
from tops.references import Source, load, source_of

REGISTERED: dict[str, tuple[type[Any], Source]] = {}
INSTALLED: dict[str, Source] = {}  # of entry points


def register(cls: type[Any], source: Source | None = None, *, taken: dict[str, type[Any]]) -> str:
    """Make a class known under its ``name``; returns the name.

    Raises
    ------
    ConfigurationError
        If it is no method, or another method has that name.
    """
    check(cls, source)
    name = str(cls.name)
    source = source or source_of(cls)
    other = taken.get(name) or (REGISTERED[name][0] if name in REGISTERED else None)
    where = REGISTERED[name][1].reference if name in REGISTERED else _place(other)
    if other is not None and where != source.reference and _place(other) != _place(cls):
        raise ConfigurationError(
            f"two methods are named {name!r}: {where} and {source.reference}; give one of them another `name`"
        )
    REGISTERED[name] = cls, source
    return name


def register_reference(reference: str, *folders: Path, taken: dict[str, type[Any]]) -> str:
    """The name of the method that ``./mine.py:Mine`` or ``package.module:Mine`` names, known from here on."""
    cls, source = load(reference, *folders)
    return register(cls, source, taken=taken)


def from_entry_points(built_in: dict[str, type[Any]]) -> dict[str, type[Any]]:
    """Methods of installed packages, entry point group ``tops.methods``.

    Raises
    ------
    ConfigurationError
        If one is no method, cannot be imported, or has the name of another one.
    """
    found: dict[str, type[Any]] = {}
    for entry in entry_points(group="tops.methods"):
        cls, source = load(entry.value)
        check(cls, source)
        known = built_in.get(entry.name) or found.get(entry.name)
        if known is not None and known is not cls:
            raise ConfigurationError(
                f"two methods are named {entry.name!r}: {_place(known)} and {entry.value}; rename the entry point"
            )
        found[entry.name], INSTALLED[entry.name] = cls, source
    return found


def check(cls: Any, source: Source | None = None) -> None:
    """Refuse what is no method, with all that it lacks."""
    what = source.reference if source is not None else getattr(cls, "__qualname__", repr(cls))
    help_text = "see docs/add-a-method.md"
    if not isinstance(cls, type):
        raise ConfigurationError(f"{what} is no class but {type(cls).__name__} {cls!r}; name the class: {help_text}")
    lacking = [n for n in ("name", "title") if not isinstance(getattr(cls, n, None), str) or not getattr(cls, n)]
    lacking += [f"{n}()" for n in ("schedule", "select") if not callable(getattr(cls, n, None))]
    if not is_dataclass(cls):
        lacking.append("@dataclass(frozen=True)")
    if lacking:
        raise ConfigurationError(f"{what} is no method: it lacks {', '.join(lacking)}; {help_text}")


def _place(cls: type[Any] | None) -> str:
    return "" if cls is None else f"{cls.__module__}:{cls.__qualname__}"
