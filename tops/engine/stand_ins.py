"""Hooks and methods that stand in a module while it is pruned, and never in a copy of it."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable
from functools import update_wrapper
from typing import Any

from torch import nn

Around = Callable[[Callable[..., Any], tuple[Any, ...], dict[str, Any]], Any]
"""Called with a method, its arguments and its keyword arguments; gives its result."""


def inert(*args: Any, **kwargs: Any) -> None:
    """A hook that does nothing: what a copy of a pruned module has where the module has a hook."""


def _inert() -> Callable[..., None]:
    return inert


class Hook:
    """A forward hook of one module. Copies of the module (``deepcopy``, pickle) are not pruned, so theirs is inert."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    def __call__(self, *args: Any) -> Any:
        return self._function(*args)

    def __deepcopy__(self, memo: dict[int, Any]) -> Callable[..., None]:
        return inert

    def __reduce__(self) -> tuple[Any, ...]:
        return _inert, ()


class StandIn:
    """A function in place of a module's method, until ``remove()``; a copy of the module has its own method.

    Parameters
    ----------
    module : nn.Module
        Whose.
    name : str
        Of the method.
    around : callable
        What is called instead.
    """

    def __init__(self, module: nn.Module, name: str, around: Around) -> None:
        self._module, self._name, self._around = module, name, around
        self._own, self._method = vars(module).get(name), getattr(module, name)
        update_wrapper(self, self._method)
        setattr(module, name, self)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._around(self._method, args, kwargs)

    def remove(self) -> None:
        """Give the module its method back, unless somebody else stands there now, who calls this one."""
        if vars(self._module).get(self._name) is not self:
            return
        delattr(self._module, self._name)
        if self._own is not None:
            setattr(self._module, self._name, self._own)

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        copied = memo.get(id(self._module))
        if copied is None:
            return self
        return method_of(copied, self._name) if self._own is None else copy.deepcopy(self._own, memo)

    def __reduce__(self) -> tuple[Any, ...]:
        return method_of, (self._module, self._name)


def method_of(module: nn.Module, name: str) -> Any:
    """A module's method as its class defines it."""
    return inspect.getattr_static(type(module), name).__get__(module, type(module))
