"""Options of a method as settings: their defaults, their types, and the method that they build."""

from __future__ import annotations

from dataclasses import MISSING, fields
from functools import cache
from typing import Any, get_type_hints

from tops.budget import Budget
from tops.errors import ConfigurationError, DataError
from tops.methods import build, method_class, method_names, method_source
from tops.settings.schema import Role, typed
from tops.store.cell import MethodSpec
from tops.store.hashes import remember_earlier, same_content


def method_title(name: str) -> str:
    """Name of a method in tables."""
    if name == "none":
        return "Unpruned"
    return str(method_class(name).title) if name in method_names() else name


def method_role(name: str) -> Role:
    """``reference`` for the unpruned model, else the role that the method's class declares."""
    if name == "none":
        return "reference"
    return "control" if getattr(method_class(name), "role", "method") == "control" else "method"


def method_spec(name: str, options: dict[str, Any]) -> MethodSpec:
    """A method with every option, defaults included, so that a default written out or left out gives the same cell.

    Raises
    ------
    ConfigurationError
        For an unknown method or option.
    """
    if name == "none":
        if options:
            raise ConfigurationError(f"the unpruned model takes no options, not {', '.join(options)}")
        return MethodSpec("none")
    defaults = method_defaults(name)
    unknown = [o for o in options if o not in defaults]
    if unknown:
        build(name, **{o: options[o] for o in unknown})  # raises with the nearest names
    hints = _option_types(name)
    for option, value in options.items():
        typed(hints[option], value, f"method {name!r}: option {option!r}")
    # Options that came after cells had been stored are left out at their default, so that these cells keep their keys.
    later: frozenset[str] = getattr(method_class(name), "later", frozenset())
    chosen = {k: v for k, v in {**defaults, **options}.items() if k not in later or v != defaults[k]}
    source = method_source(name)
    if source is not None:
        remember_earlier(source.digest, source.earlier)
    return MethodSpec(name, chosen, source="" if source is None else source.digest)


def _option_types(name: str) -> dict[str, Any]:
    return _types(method_class(name))  # type: ignore[arg-type]


@cache
def _types(cls: type[Any]) -> dict[str, Any]:
    return get_type_hints(cls)


def method_defaults(name: str) -> dict[str, Any]:
    """Options of a method and their defaults, without budget and seed: these two are separate fields of a cell."""
    return _defaults(method_class(name))  # type: ignore[arg-type]


@cache
def _defaults(cls: type[Any]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for f in fields(cls):
        if f.name in ("budget", "seed") or not f.init:
            continue
        default = f.default if f.default is not MISSING else None
        if f.default_factory is not MISSING:
            default = f.default_factory()
        out[f.name] = list(default) if isinstance(default, tuple) else default
    return out


def changed_options(name: str, options: dict[str, Any]) -> dict[str, Any]:
    """The options that differ from the method's defaults."""
    defaults = {} if name == "none" else method_defaults(name)
    return {k: v for k, v in options.items() if k not in defaults or v != defaults[k]}


def build_method(method: MethodSpec, budget: Budget | None, *, seed: int) -> Any:
    """The method of a cell; None for the unpruned model.

    Raises
    ------
    DataError
        If the method is the user's own and its file has changed since the cell was planned.
    """
    if method.name == "none":
        return None
    source = method_source(method.name)
    if source is not None:
        remember_earlier(source.digest, source.earlier)
    if not same_content(source.digest if source else "", method.source):
        raise DataError(
            f"{source.file if source else method.name} is not what the cell of {method.name!r} was planned on: it was "
            "edited since; run again"
        )
    known = {f.name for f in fields(method_class(method.name))}
    options: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in method.options.items()}
    if budget is not None and "budget" in known:
        options["budget"] = budget
    if "seed" in known:
        options["seed"] = seed
    return build(method.name, **options)
