"""The grammar of the command line: KEY=VALUE for settings with a value, flags for switches."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import click
from click.shell_completion import CompletionItem

from tops.errors import ConfigurationError, nearest_names


@dataclass(frozen=True)
class Key:
    """A key of KEY=VALUE words.

    Attributes
    ----------
    help : str
        One line for ``--help``.
    choices : callable or None
        Gives the names for shell completion; None where any value may be written.
    default : str
        Value that is used when the key is not given.
    """

    help: str
    choices: Callable[[], Iterable[str]] | None = None
    default: str = ""


class Words(click.ParamType[str]):
    """Words KEY=VALUE, completed by the shell from the known keys and the known names."""

    name = "KEY=VALUE"

    def __init__(self, keys: Callable[[], Mapping[str, Key]]) -> None:
        self._keys = keys

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Keys with their sign, or the names that fit a key.

        bash cuts words at the sign ``=``: there the key arrives as the word before, and only the value is completed.
        """
        keys = self._keys()
        before = [word for word in ctx.params.get(param.name or "") or () if word]
        key, sign, value = incomplete.partition("=")
        start = f"{key}="
        if not sign and before and before[-1] == "=" and len(before) > 1:
            key, sign, value, start = before[-2], "=", incomplete, ""
        elif not incomplete and before and before[-1] in keys:  # click has removed the sign
            key, sign, value, start = before[-1], "=", "", ""
        if not sign:
            return [CompletionItem(f"{name}=", help=entry.help) for name, entry in keys.items() if name.startswith(key)]
        entry = keys.get(key)
        names = list(entry.choices()) if entry is not None and entry.choices is not None else []
        return [CompletionItem(start + name) for name in names if name.startswith(value)]


class Command(click.Command):
    """A command whose help is the text of its own file, line for line."""

    def __init__(
        self,
        name: str,
        run: Callable[..., int],
        *,
        text: Callable[[], str],
        keys: Callable[[], Mapping[str, Key]] = dict,
        switches: Mapping[str, str] | None = None,
    ) -> None:
        """
        Parameters
        ----------
        name : str
            As in ``tops NAME``.
        run : callable
            Takes the words and, by name, every switch; returns the exit status.
        text : callable
            The text of ``--help``.
        keys : callable
            Known keys, for completion.
        switches : dict
            Flags, such as ``{"--watch": "redraw every few seconds"}``; several names of one flag are separated by
            commas.
        """
        params: list[click.Parameter] = [click.Argument(["words"], nargs=-1, type=Words(keys))]
        for names, help_text in (switches or {}).items():
            params.append(click.Option(names.split(","), is_flag=True, help=help_text))
        super().__init__(name, callback=run, params=params)
        self._text = text

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The text as it stands."""
        formatter.write(self._text().rstrip() + "\n")


def keys_text(keys: Mapping[str, Key]) -> str:
    """Keys with their help, a line each."""
    width = max(map(len, keys), default=0) + 1
    return "\n".join(f"  {f'{name}=':<{width}}  {key.help}" for name, key in keys.items())


def values(words: Sequence[str], keys: Mapping[str, Key], example: str) -> dict[str, str]:
    """Value of each key, with the defaults of keys that were not given.

    Raises
    ------
    ConfigurationError
        For a word without a sign, an unknown key (with the nearest ones), or a key that is given twice.
    """
    found: dict[str, str] = {}
    for word in words:
        key, sign, value = word.partition("=")
        if not sign:
            raise ConfigurationError(f"{word!r} is not KEY=VALUE; for example: {example}")
        if key not in keys:
            raise ConfigurationError(f"unknown key {key!r}. {nearest_names(key, keys)}")
        if key in found:
            raise ConfigurationError(f"{key} is given twice, as {found[key]!r} and {value!r}; give it once")
        found[key] = value
    return {name: found.get(name, key.default) for name, key in keys.items()}


def names(text: str) -> list[str]:
    """Names from a comma-separated text, with or without the brackets of a list; each once."""
    parts = (part.strip() for part in text.strip().removeprefix("[").removesuffix("]").split(","))
    return list(dict.fromkeys(part for part in parts if part))


def number(text: str, key: str) -> Any:
    """A whole number, or None for an empty text.

    Raises
    ------
    ConfigurationError
        For any other text; the message names ``key``.
    """
    if not text:
        return None
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if not isinstance(value, int) or isinstance(value, bool):
        raise ConfigurationError(f"{key}={text!r} is not a whole number; write {key}=20")
    return value
