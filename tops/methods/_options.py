"""What the types of a method's options say about their values."""

from __future__ import annotations

import typing
from dataclasses import fields
from functools import cache
from types import NoneType
from typing import TYPE_CHECKING, Literal

from tops.errors import ConfigurationError, nearest_names

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


def check_options(method: DataclassInstance, title: str) -> None:
    """Turn lists of configuration files into tuples, and refuse a word that is not one of an option's choices.

    Parameters
    ----------
    method : dataclass
        A frozen one, whose types say which words an option takes.
    title : str
        Its name, for the error.

    Raises
    ------
    ConfigurationError
        With the nearest known words.
    """
    types = declared(type(method))
    for option in fields(method):
        choices, is_tuple = types.get(option.name, ((), False))
        value = getattr(method, option.name)
        if is_tuple and isinstance(value, list):
            object.__setattr__(method, option.name, tuple(value))
        elif choices and value not in choices:
            raise ConfigurationError(
                f"{title}: {option.name}={value!r}. {nearest_names(str(value), map(str, choices))}"
            )


@cache
def declared(cls: type) -> dict[str, tuple[tuple[object, ...], bool]]:
    """Per option the words that its type allows (empty: anything), and whether it is a tuple."""
    try:
        hints = typing.get_type_hints(cls)
    except NameError:  # a type imported for the type checker alone
        return {}
    out: dict[str, tuple[tuple[object, ...], bool]] = {}
    for name, hint in hints.items():
        parts = typing.get_args(hint) if typing.get_origin(hint) not in (Literal, tuple) else (hint,)
        words = [word for part in parts if typing.get_origin(part) is Literal for word in typing.get_args(part)]
        nothing = (None,) if NoneType in parts else ()
        out[name] = ((*words, *nothing) if words else (), any(typing.get_origin(part) is tuple for part in parts))
    return out
