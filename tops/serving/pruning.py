"""What an engine is told to prune: a method, its options and a budget, as one JSON object. No torch."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cache
from typing import Any

from tops.budget import Budget
from tops.errors import ConfigurationError
from tops.methods import build
from tops.methods.base import Method
from tops.serving.refusals import check_method

VARIABLE = "TOPS_PRUNING"
"""Environment variable that holds the JSON object of an engine."""
KEY = "tops_pruning"
"""Name of the object in ``--hf-overrides`` of an engine, and in ``mm_processor_kwargs`` of a request."""
UNPRUNED = "none"
"""The method that prunes nothing."""
_HELP = f'write for example {{"method": "visionzip", "budget": 64}}; {{"method": "{UNPRUNED}"}} prunes nothing'


@dataclass(frozen=True)
class Pruning:
    """A method, its options and its budget.

    Attributes
    ----------
    method : str
        Name of a method, or ``none``.
    budget : int, float or None
        Tokens per image, or a keep ratio.
    options : mapping
        Other options of the method.
    sample : str
        The caller's name for the image, which seeds random choices.
    """

    method: str = UNPRUNED
    budget: int | float | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    sample: str = ""

    @classmethod
    def read(cls, value: str | Mapping[str, Any], where: str = VARIABLE) -> Pruning:
        """From a JSON text, or from the object that it holds.

        Parameters
        ----------
        value : str or mapping
            ``method``, ``budget``, ``sample``, and options of the method beside them.
        where : str
            Where it was written, for errors.

        Raises
        ------
        ConfigurationError
            If it is no JSON object, names no method, or the method with these options cannot be served.
        BudgetError
            If the budget is no budget, or there is none.
        """
        given = _object(value, where)
        if not isinstance(given.get("method"), str):
            raise ConfigurationError(f"{where} names no method in {json.dumps(given)}; {_HELP}")
        out = cls._of(given, where)
        out.build()
        return out

    @classmethod
    def of(cls, name: str, method: Method, sample: str = "") -> Pruning:
        """What tells an engine of a method that is already built; options at their defaults are left out.

        Parameters
        ----------
        name : str
            Of the method in the registry.
        method : Method
            With its options and budget.
        sample : str
            As in the class; dropped for methods that draw nothing, so that all prompts about an image share its tokens.
        """
        options = {
            option.name: getattr(method, option.name)
            for option in fields(method)  # type: ignore[arg-type]
            if option.init and option.name != "budget" and getattr(method, option.name) != option.default
        }
        sample = sample if hasattr(method, "seed") else ""
        return cls(name, method.budget.value, json.loads(json.dumps(options)), sample)

    @classmethod
    def _of(cls, given: Mapping[str, Any], where: str) -> Pruning:
        for name in ("method", "sample"):
            if name in given and not isinstance(given[name], str):
                raise ConfigurationError(f"{where}: {name}={given[name]!r} is no text; {_HELP}")
        options = {name: value for name, value in given.items() if name not in ("method", "budget", "sample")}
        if given["method"] == UNPRUNED and (options or given.get("budget") is not None):
            extra = sorted(options) or ["budget"]
            raise ConfigurationError(f"{where}: the unpruned model has no {', '.join(extra)}; leave it out")
        return cls(given["method"], given.get("budget"), options, given.get("sample", ""))

    def changed(self, value: str | Mapping[str, Any]) -> Pruning:
        """What one request asks for: another budget for the same method, or another method altogether.

        Parameters
        ----------
        value : str or mapping
            As :meth:`read` takes it; without ``method`` it changes the named keys of this one.

        Raises
        ------
        ConfigurationError
            As :meth:`read`.
        """
        where = f"mm_processor_kwargs[{KEY!r}]"
        given = _object(value, where)
        if "method" in given:
            return Pruning.read(given, where)
        if self.method == UNPRUNED and "budget" in given:
            raise ConfigurationError(f"{where}={json.dumps(given)} names no method, and the engine has none; {_HELP}")
        return Pruning.read({**self.as_dict(), **given}, where)

    def as_dict(self) -> dict[str, Any]:
        """What :meth:`read` takes; keys that say nothing are left out."""
        out: dict[str, Any] = {"method": self.method, **self.options}
        if self.budget is not None:
            out["budget"] = self.budget
        return out | ({"sample": self.sample} if self.sample else {})

    @property
    def text(self) -> str:
        """One JSON text for all ways to write the same: what caches tell prunings apart by."""
        return json.dumps(self.as_dict(), sort_keys=True, separators=(",", ":"))

    @property
    def prunes(self) -> bool:
        """Whether there is a method at all."""
        return self.method != UNPRUNED

    def build(self) -> Method | None:
        """The method; None for the unpruned model. Built once for each text.

        Raises
        ------
        ConfigurationError
            For unknown names, and for methods that cannot be served.
        """
        return _built(replace(self, sample="").text)


@cache
def _built(text: str) -> Method | None:
    """The checked method of a canonical text."""
    given = json.loads(text)
    name, budget = given.pop("method"), given.pop("budget", None)
    if name == UNPRUNED:
        return None
    method = build(name, **given, **({} if budget is None else {"budget": Budget(budget)}))
    check_method(method, name)
    return method


def engine_pruning(config: Any) -> Pruning:
    """What an engine was told: by the environment, or by a key in the model's configuration.

    Parameters
    ----------
    config : PretrainedConfig or None
        Of the model, as vLLM holds it with its overrides; None reads the environment alone.

    Raises
    ------
    ConfigurationError
        If both say something, and not the same.
    """
    given = ((getattr(config, KEY, None), f"--hf-overrides {KEY}"), (os.environ.get(VARIABLE) or None, VARIABLE))
    found = [Pruning.read(value, where) for value, where in given if value is not None]
    if len(found) == 2 and found[0] != found[1]:
        raise ConfigurationError(
            f"--hf-overrides say {found[0].text} and {VARIABLE} says {found[1].text}; leave one of them out"
        )
    return found[0] if found else Pruning()


def parsed(text: str) -> Pruning:
    """A pruning from the canonical text that this process, or the one before it, has checked."""
    return Pruning._of(json.loads(text), KEY)


def _object(value: str | Mapping[str, Any], where: str) -> dict[str, Any]:
    given: Any = value
    if isinstance(value, str):
        try:
            given = json.loads(value)
        except ValueError as error:
            raise ConfigurationError(f"{where}={value!r} is no JSON ({error}); {_HELP}") from None
    if not isinstance(given, Mapping):
        raise ConfigurationError(f"{where}={value!r} is no JSON object; {_HELP}")
    return dict(given)
