"""The documents of a split as they are asked: rows of its tables, some left out, some taken apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

from tops.errors import DataError


class Documents:
    """Documents of one split, read when asked for, so that a damaged one fails alone.

    Parameters
    ----------
    with_media, plain : sequence of mapping
        The rows with their pictures, and the same rows without.
    images, image_of
        A separate table of pictures, and the row of that table for each document (GQA).
    only : mapping
        Field to the value of the rows that are asked.
    explode : str
        Field with a list, each entry of which is a document (:attr:`tops.benchmarks.source.DataSource.explode`).

    Raises
    ------
    DataError
        If no row is asked.
    """

    def __init__(
        self,
        with_media: Any,
        plain: Any,
        images: Any = None,
        image_of: Sequence[int] | None = None,
        *,
        only: Mapping[str, str] | None = None,
        explode: str = "",
    ) -> None:
        self._media, self._plain, self._images, self._image_of = with_media, plain, images, image_of
        self._explode, self._places = explode, _places(plain, only or {}, explode)

    def __len__(self) -> int:
        return len(self._plain) if self._places is None else len(self._places)

    def plain(self, number: int) -> dict[str, Any]:
        """A document without its picture."""
        row, entry = self._place(number)
        return self._taken_apart(dict(self._plain[row]), entry)

    def __getitem__(self, number: int) -> dict[str, Any]:
        """A document with its picture decoded."""
        row, entry = self._place(number)
        document = self._taken_apart(dict(self._media[row]), entry)
        if self._images is not None and self._image_of is not None:
            document["image"] = self._images[self._image_of[row]]["image"]
        if self._explode:
            document["image_width"], document["image_height"] = document["image"].size
        return document

    def _place(self, number: int) -> tuple[int, int]:
        return (number, 0) if self._places is None else self._places[number]

    def _taken_apart(self, document: dict[str, Any], entry: int) -> dict[str, Any]:
        if self._explode:
            document[self._explode] = document[self._explode][entry]
        return document


class Joined:
    """Documents of several parts as one sequence, part after part; each has the field ``part``."""

    def __init__(self, parts: Mapping[str, Documents]) -> None:
        self._parts = list(parts.items())
        self._ends = list(accumulate(len(documents) for documents in parts.values()))

    def __len__(self) -> int:
        return self._ends[-1]

    def plain(self, number: int) -> dict[str, Any]:
        """A document without its picture."""
        name, documents, place = self._find(number)
        return {**documents.plain(place), "part": name}

    def __getitem__(self, number: int) -> dict[str, Any]:
        """A document with its picture decoded."""
        name, documents, place = self._find(number)
        return {**documents[place], "part": name}

    def _find(self, number: int) -> tuple[str, Documents, int]:
        index = next(i for i, end in enumerate(self._ends) if number < end)
        name, documents = self._parts[index]
        return name, documents, number - (self._ends[index] - len(documents))


def _places(plain: Any, only: Mapping[str, str], explode: str) -> list[tuple[int, int]] | None:
    """Row and entry of each document; None where every row is one."""
    if not only and not explode:
        return None
    rows = list(range(len(plain)))
    for field, wanted in only.items():
        values = _column(plain, field)
        rows = [row for row in rows if str(values[row]) == wanted]
    if not rows:
        asked = ", ".join(f"{field} = {value}" for field, value in only.items())
        raise DataError(f"no document has {asked}; correct data.only of the benchmark's YAML, or fetch the data again")
    if not explode:
        return [(row, 0) for row in rows]
    lists = _column(plain, explode)
    return [(row, entry) for row in rows for entry in range(len(lists[row]))]


def _column(plain: Any, field: str) -> Sequence[Any]:
    if field not in plain.column_names:
        raise DataError(
            f"documents have no field {field!r} (they have {', '.join(sorted(plain.column_names))}); correct the "
            "benchmark's YAML, or fetch the data again"
        )
    values: Sequence[Any] = plain[field][:]
    return values
