"""Reading files that somebody else wrote: JSON and nothing but JSON, with a sentence for all that it may be instead."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

from tops.errors import DataError

EXPECTED = (
    "give lmms-eval's *_samples_TASK.jsonl (written by --log_samples), AngelSlim's final_summary_*.json, or a folder "
    "that holds them"
)


def not_a_log(path: Path, why: str) -> DataError:
    """What a file is told that is no log."""
    return DataError(f"{path} is no log that can be imported: {why}; {EXPECTED}")


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number of JSON")


def parsed(text: bytes) -> Any:
    """One JSON value.

    Raises
    ------
    ValueError
        For anything else, NaN and infinities among it.
    """
    try:
        return json.loads(text, parse_constant=_no_number)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def json_file(path: Path) -> dict[str, Any]:
    """A file that is one JSON object.

    Raises
    ------
    DataError
        If it is not.
    """
    try:
        content = parsed(path.read_bytes())
    except ValueError as error:
        raise not_a_log(path, f"it is not JSON ({error})") from None
    if not isinstance(content, dict):
        raise not_a_log(path, f"it holds a {type(content).__name__} and no object")
    return content


def json_lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Numbers and objects of a file with one JSON object a line.

    Raises
    ------
    DataError
        At the first line that is not one, with its number.
    """
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                row = parsed(line)
            except ValueError as error:
                if number == 1:
                    raise not_a_log(path, f"its first line is not JSON ({error})") from None
                raise DataError(
                    f"{path}: line {number} is cut off or damaged ({error}); copy the file again, or take the line out "
                    "if the run was stopped there"
                ) from None
            if not isinstance(row, dict):
                raise not_a_log(path, f"line {number} holds a {type(row).__name__} and no object")
            yield number, row
