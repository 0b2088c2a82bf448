"""A user's own methods and benchmarks, named on the command line or in configuration files by a reference or a path.

``method=./mine.py:Mine`` becomes the name of that method, ``benchmark=./okvqa.yaml`` the name of that file; from
there on they are choices like all others.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tops.backbones import named_family
from tops.methods import named_method
from tops.references import is_reference
from tops.settings import folders

_FILES = ("backbone", "benchmark", "suite", "profile", "launcher", "tracking", "experiment")
_APART = re.compile(r",(?![^\[{(]*[\]})])")  # commas outside brackets


def named_words(words: Sequence[str]) -> list[str]:
    """The words with every reference replaced by its name; names stay as they are.

    Raises
    ------
    ConfigurationError
        For a file or class that does not exist, or is of another kind than its key takes.
    """
    return [_named_word(word) for word in words]


def _named_word(word: str) -> str:
    key, sign, value = word.partition("=")
    if not sign or (key != "method" and key not in _FILES):
        return word
    pieces = [piece.strip().strip("'\"") for piece in _APART.split(value)]
    named = [name(key, piece) for piece in pieces]
    return word if named == pieces else f"{key}={','.join(named)}"


def name(group: str, text: str, *near: Path) -> str:
    """The name of a choice that is given by name, by reference (``./mine.py:Mine``) or by file.

    Parameters
    ----------
    group : str
        ``method``, ``benchmark``, ...
    text : str
        The name, reference or path.
    *near : Path
        Folders in which a relative path is looked for before the working folder.
    """
    if group == "method":
        return named_method(text, *near, Path()) if is_reference(text) else text
    if not text.endswith(".yaml"):
        return text
    places = [folder / Path(text).expanduser() for folder in (*near, Path())]
    return folders.add_file(group, next((place for place in places if place.is_file()), places[-1]))


def named_content(group: str, content: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The content of an experiment's, a suite's or a backbone's file with its references replaced by names.

    Relative paths start from the file's own folder, or else from the working folder.
    """
    out = dict(content)
    if group == "backbone" and isinstance(out.get("family"), str):
        out["family"] = named_family(out["family"], folder, Path())
    if group not in ("experiment", "suite"):
        return out
    for key, kind in (("backbones", "backbone"), ("benchmarks", "benchmark")):
        if isinstance(out.get(key), list):
            out[key] = [_named_entry(kind, entry, folder) for entry in out[key]]
    if isinstance(out.get("subject"), str):
        out["subject"] = name("method", out["subject"], folder)
    if isinstance(out.get("rows"), list):
        out["rows"] = [
            {**row, "methods": [name("method", m, folder) if isinstance(m, str) else m for m in row["methods"]]}
            if isinstance(row, dict) and isinstance(row.get("methods"), list)
            else row
            for row in out["rows"]
        ]
    return out


def _named_entry(kind: str, entry: Any, folder: Path) -> Any:
    if isinstance(entry, str):
        return name(kind, entry, folder)
    if isinstance(entry, dict) and isinstance(entry.get(kind), str):
        return {**entry, kind: name(kind, entry[kind], folder)}
    return entry
