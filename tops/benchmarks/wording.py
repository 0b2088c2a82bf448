"""Prompts in the words of a toolkit other than lmms-eval, put together from the parts of a document."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from string import Formatter, ascii_uppercase
from typing import Any

from tops.errors import ConfigurationError, DataError, nearest_names

# Template of a wording to the fields that it may name.
TEMPLATES: dict[str, tuple[str, ...]] = {
    "text": ("hint", "question", "options"),
    "text_chinese": ("hint", "question", "options"),
    "hint": ("hint",),
    "option": ("letter", "option"),
}
LETTERS, INLINE = "letters", "inline"  # values of ``Benchmark.choices``, besides the name of a field with a list
_CHINESE = re.compile("[\u4e00-\u9fff]")
_INLINE = re.compile(r"([A-D]): (.*?)(?=, [A-D]: |$)", re.DOTALL)


@dataclass(frozen=True)
class Parts:
    """The parts of a document that a prompt is made of.

    Attributes
    ----------
    question, hint : str
        The question without its options; the hint is empty where there is none.
    options : dict of str to str
        Letter to text; empty for questions without options.
    """

    question: str
    hint: str = ""
    options: dict[str, str] = field(default_factory=dict)


def parts_of(document: Mapping[str, Any], *, question: str, hint: str = "", choices: str = "") -> Parts:
    """The parts of a document.

    Parameters
    ----------
    document : mapping
        The document; its picture may be left out.
    question, hint : str
        Fields with the question and the hint; an empty name for none.
    choices : str
        Where the options are: a field with a list of them, ``letters`` (fields A, B, C, ...), or ``inline``
        ("Options: A: one, B: two" at the end of the question); empty for none.

    Raises
    ------
    DataError
        If a field is missing, or no options are found although ``choices`` is given.
    """
    for name in (question, hint, choices if choices not in ("", LETTERS, INLINE) else ""):
        if name and name not in document:
            raise DataError(
                f"documents have no field {name!r} (they have {', '.join(sorted(document))}); fetch the data again"
            )
    asked = str(document[question])
    options: dict[str, str] = {}
    if choices == INLINE:
        asked, options = inline_options(asked)
    elif choices == LETTERS:
        options = {c: str(document[c]) for c in ascii_uppercase if not absent(document.get(c))}
    elif choices:
        options = dict(zip(ascii_uppercase, map(str, document[choices]), strict=False))
    if choices and not options:
        raise DataError(f"the question {asked[:60]!r} has no options ({choices})")
    said = "" if not hint or absent(document[hint]) else str(document[hint])
    return Parts(asked, said, options)


def inline_options(question: str) -> tuple[str, dict[str, str]]:
    """A question and the options that stand at its end, as MMStar writes them: ``Options: A: one, B: two``."""
    asked, there, listed = question.rpartition("Options:")
    return (asked.rstrip(), dict(_INLINE.findall(listed.strip()))) if there else (question, {})


def absent(value: Any) -> bool:
    """Whether a field of a document holds nothing: tables write that as None, NaN, "nan" or an empty text."""
    return (
        value is None or (isinstance(value, float) and math.isnan(value)) or str(value).lower() in ("", "nan", "none")
    )


def is_wording(settings: Mapping[str, Any]) -> bool:
    """Whether prompt settings are a wording rather than settings of the stock task."""
    return "text" in settings


def check_wording(settings: Mapping[str, Any], where: str) -> None:
    """Refuse templates that name fields which a prompt does not have.

    Raises
    ------
    ConfigurationError
        With the known names.
    """
    if not is_wording(settings):
        return
    for name, template in settings.items():
        if name not in TEMPLATES:
            raise ConfigurationError(f"{where}: a wording has no {name!r}. {nearest_names(name, TEMPLATES)}")
        if not isinstance(template, str):
            raise ConfigurationError(f"{where}: {name} is {template!r}, not a text")
        try:
            named = [part for _, part, _, _ in Formatter().parse(template) if part is not None]
        except ValueError as error:
            raise ConfigurationError(f"{where}: {name} is {template!r}: {error}") from None
        for part in named:
            if part not in TEMPLATES[name]:
                raise ConfigurationError(f"{where}: {name} names {{{part}}}. {nearest_names(part, TEMPLATES[name])}")


def worded(settings: Mapping[str, str], parts: Parts) -> str:
    """The prompt of a document.

    Parameters
    ----------
    settings : mapping
        ``text`` with the fields hint, question and options; ``hint`` and ``option`` say how each of these reads;
        ``text_chinese`` stands for ``text`` where a part has a Chinese character.
    parts : Parts
        The document's parts, from :func:`parts_of`.
    """
    option = settings.get("option", "\n{letter}. {option}")
    fields = {
        "hint": settings.get("hint", "{hint}").format(hint=parts.hint) if parts.hint else "",
        "question": parts.question,
        "options": "".join(option.format(letter=key, option=text) for key, text in parts.options.items()),
    }
    chinese = "text_chinese" in settings and any(_CHINESE.search(part) for part in fields.values())
    return settings["text_chinese" if chinese else "text"].format(**fields)
