"""Validation of a whole result store: every fault by name, nothing repaired."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tops.errors import DataError
from tops.experiments.answers import read_answers, sha256_of
from tops.experiments.cell import SCHEMA_VERSION, Cell
from tops.experiments.store import SEALED, Store, read_json

_KNOWN = {*SEALED, "complete.json", "failure.json", "lock", "rescored", "images"}


@dataclass(frozen=True)
class Fault:
    """What is wrong with one file of one cell."""

    key: str
    file: str
    message: str

    def __str__(self) -> str:
        return f"{self.key[:12]} {self.file}: {self.message}"


def check(store: Store) -> list[Fault]:
    """Faults of all cells of a store, sorted by key. An incomplete cell is no fault; what it holds must be sound."""
    faults: list[Fault] = []
    for folder in sorted(store.cells.glob("*/*")):
        faults += [Fault(folder.name, file, message) for file, message in _cell(folder)]
    return faults


def _cell(folder: Path) -> Iterator[tuple[str, str]]:
    for extra in sorted(p.name for p in folder.iterdir() if p.name not in _KNOWN and not p.name.endswith(".tmp")):
        yield extra, "does not belong here"
    try:
        spec = read_json(folder / "spec.json")
    except DataError as error:
        yield "spec.json", str(error)
        return
    if spec.get("schema") != SCHEMA_VERSION:
        yield "spec.json", f"schema {spec.get('schema')!r} instead of {SCHEMA_VERSION}"
        return
    try:
        key = Cell.from_dict(spec).key
    except (TypeError, KeyError, ValueError) as error:
        yield "spec.json", f"not a cell: {error}"
        return
    if key != folder.name or folder.parent.name != key[:2]:
        yield "spec.json", f"has the key {key[:12]}, but the folder is {folder.parent.name}/{folder.name[:12]}"
    if (folder / "complete.json").exists():
        yield from _sealed(folder)
        yield from _rescored(folder)


def _sealed(folder: Path) -> Iterator[tuple[str, str]]:
    try:
        seal = read_json(folder / "complete.json")
        hashes: dict[str, Any] = dict(seal["sha256"])
        documents = int(seal["documents"])
    except (DataError, KeyError, TypeError, ValueError) as error:
        yield "complete.json", f"damaged: {error}"
        return
    for name in SEALED:
        if not (folder / name).exists():
            yield name, "missing from a complete cell"
        elif sha256_of(folder / name) != hashes.get(name):
            yield name, "changed after the cell was complete"
    if not (folder / "answers.jsonl").exists() or not (folder / "scores.json").exists():
        return
    try:
        scorers = set(read_json(folder / "scores.json")["scorers"])
        seen: list[int] = []
        for answer in read_answers(folder / "answers.jsonl"):
            seen.append(answer.doc_id)
            if answer.error is not None:
                yield "answers.jsonl", f"document {answer.doc_id} failed ({answer.error}) in a complete cell"
            if not scorers <= set(answer.scores):
                missing = ", ".join(sorted(scorers - set(answer.scores)))
                yield "answers.jsonl", f"document {answer.doc_id} has no row of {missing}"
    except (DataError, ValueError, KeyError) as error:
        yield "answers.jsonl", str(error)
        return
    if len(seen) != documents:
        yield "answers.jsonl", f"{len(seen)} documents instead of {documents}"
    if seen != sorted(set(seen)):
        yield "answers.jsonl", "documents repeat or are out of order"


def _rescored(folder: Path) -> Iterator[tuple[str, str]]:
    for file in sorted((folder / "rescored").glob("[!.]*.json")):
        name = f"rescored/{file.name}"
        try:
            content = json.loads(file.read_bytes())
            if content["scorer"] != file.stem:
                yield name, f"holds the scores of {content['scorer']!r}"
            if content["answers_sha256"] != sha256_of(folder / "answers.jsonl"):
                yield name, "scores other answers than those stored; run `tops score` again"
        except (OSError, ValueError, KeyError, TypeError) as error:
            yield name, f"damaged: {error}"
