"""Validation of a whole result store: every fault by name, nothing repaired."""

from __future__ import annotations

import json
import multiprocessing
import os
from collections.abc import Generator, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tops.errors import DataError
from tops.store.answers import Answer, read_answers
from tops.store.cell import SCHEMA_VERSION, Cell
from tops.store.hashes import sha256_of
from tops.store.seal import SEALED, picture_fault, read_json, rescored_fault
from tops.store.store import Store
from tops.store.writer import CODE

LARGE = 200  # with fewer cells, starting processes does not pay
_KNOWN = {*SEALED, "complete.json", "failure.json", CODE, "lock", "rescored", "images"}
_BEGINNING = {"lock", "images"}  # what a kill before the first atomic write may leave behind


@dataclass(frozen=True)
class Fault:
    """A fault in one file of one cell."""

    key: str
    file: str
    message: str

    def __str__(self) -> str:
        return f"{self.key[:12]} {self.file}".strip() + f": {self.message}"


def check(store: Store) -> list[Fault]:
    """Faults of all cells of a store, sorted by key. An incomplete cell is no fault, but its files must be sound.

    Large stores are read by as many processes as this one may use cores.
    """
    places = [
        place
        for shelf in sorted(store.cells.glob("*"))
        for place in (sorted(shelf.iterdir()) if shelf.is_dir() else [shelf])
    ]
    of_place = partial(_faults, root=store.root, profile=store.profile)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if cores == 1 or len(places) < LARGE or "fork" not in multiprocessing.get_all_start_methods():
        return [fault for place in places for fault in of_place(place)]
    # Forked: the work starts at once, and what calls this needs no guard against being imported again.
    with ProcessPoolExecutor(cores, mp_context=multiprocessing.get_context("fork")) as pool:
        found = pool.map(of_place, places, chunksize=max(1, len(places) // (8 * cores)))
        return [fault for faults in found for fault in faults]


def _faults(place: Path, root: Path, profile: str) -> list[Fault]:
    if place.is_dir():
        return [Fault(place.name, file, message) for file, message in _cell(place, profile)]
    return [Fault("", str(place.relative_to(root)), "does not belong here")]


def _cell(folder: Path, profile: str) -> Iterator[tuple[str, str]]:
    names = {p.name for p in folder.iterdir() if not p.name.endswith(".tmp")}
    if names <= _BEGINNING:
        return
    for extra in sorted(names - _KNOWN):
        yield extra, "does not belong here"
    spec = yield from _object(folder / "spec.json")
    if spec is None:
        return
    if spec.get("schema") != SCHEMA_VERSION:
        yield "spec.json", f"schema {spec.get('schema')!r} instead of {SCHEMA_VERSION}"
        return
    try:
        key = Cell.from_dict(spec).key
    except (TypeError, KeyError, ValueError, AttributeError) as error:
        yield "spec.json", f"not a cell: {error}"
        return
    if key != folder.name or folder.parent.name != key[:2]:
        yield "spec.json", f"has the key {key[:12]}, but the folder is {folder.parent.name}/{folder.name[:12]}"
    if spec["profile"] != profile:
        yield "spec.json", f"a cell of profile {spec['profile']!r} in the store of {profile!r}"
    if (folder / "complete.json").exists():
        yield from _sealed(folder)
        yield from _rescored(folder)
    else:
        yield from _unfinished(folder)


def _object(path: Path) -> Generator[tuple[str, str], None, dict[str, Any] | None]:
    """Yield the fault of a JSON file, if any; the value of ``yield from`` is its object, or None after a fault."""
    if not path.exists():
        yield path.name, "missing"
        return None
    try:
        return read_json(path)
    except DataError as error:
        yield path.name, f"damaged: {error.__cause__ or error}"
        return None


def _unfinished(folder: Path) -> Iterator[tuple[str, str]]:
    """Faults of an unfinished cell. A cut-off last line is none: a kill leaves it, and the next run removes it."""
    if (folder / "failure.json").exists():
        yield from _object(folder / "failure.json")
    path = folder / "answers.jsonl"
    lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
    for number, line in enumerate(lines, 1):
        try:
            if line.endswith(b"\n") or number < len(lines):
                Answer.from_line(line)
        except ValueError as error:
            yield path.name, f"line {number} is {error}; the next run asks its document again"


def _sealed(folder: Path) -> Iterator[tuple[str, str]]:
    seal = yield from _object(folder / "complete.json")
    if seal is None:
        return
    try:
        hashes: dict[str, Any] = dict(seal["sha256"])
        documents = int(seal["documents"])
    except (KeyError, TypeError, ValueError) as error:
        yield "complete.json", f"damaged: {error!r}"
        return
    if seal.get("schema") != SCHEMA_VERSION:
        yield "complete.json", f"schema {seal.get('schema')!r} instead of {SCHEMA_VERSION}"
    for name in SEALED:
        if not (folder / name).exists():
            yield name, "missing from a complete cell"
        elif sha256_of(folder / name) != hashes.get(name):
            yield name, "changed after the cell was complete"
    if not (folder / "answers.jsonl").exists() or not (folder / "scores.json").exists():
        return
    scores = yield from _object(folder / "scores.json")
    if scores is None:
        return
    scorers = set(scores.get("scorers") or ())
    seen: list[int] = []
    try:
        for answer in read_answers(folder / "answers.jsonl"):
            seen.append(answer.doc_id)
            if answer.error is not None:
                yield "answers.jsonl", f"document {answer.doc_id} failed ({answer.error}) in a complete cell"
            if not scorers <= set(answer.scores):
                missing = ", ".join(sorted(scorers - set(answer.scores)))
                yield "answers.jsonl", f"document {answer.doc_id} has no row of {missing}"
            if answer.image is not None and (fault := picture_fault(folder, answer.image)):
                yield answer.image, f"{fault}; document {answer.doc_id} shows it"
    except ValueError as error:
        yield "answers.jsonl", str(error)
        return
    if len(seen) != documents:
        yield "answers.jsonl", f"{len(seen)} documents instead of {documents}"
    if seen != sorted(set(seen)):
        yield "answers.jsonl", "documents repeat or are out of order"


def _rescored(folder: Path) -> Iterator[tuple[str, str]]:
    for file in sorted((folder / "rescored").glob("*")):
        name = f"rescored/{file.name}"
        if file.name.startswith(".verdicts-") or file.name.endswith(".tmp"):
            continue
        if file.suffix != ".json":
            yield name, "does not belong here"
            continue
        try:
            fault = rescored_fault(json.loads(file.read_bytes()), file.stem, sha256_of(folder / "answers.jsonl"))
            if fault:
                yield name, fault
        except (OSError, ValueError, KeyError, TypeError) as error:
            yield name, f"damaged: {error!r}"
