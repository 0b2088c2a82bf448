"""The seal of a complete cell, which holds the hashes of its files, and the checks of files against it."""

from __future__ import annotations

import atexit
import hashlib
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from tops.errors import DataError
from tops.fingerprint import cache_folder
from tops.store.cell import SCHEMA_VERSION, Cell
from tops.store.hashes import HashMemory, sha256_of

SEALED = ("spec.json", "answers.jsonl", "provenance.json", "scores.json")
REMEDY = "run `tops results check`; delete its folder and run again, or put it back from a copy"


def sealed(folder: Path, documents: int) -> dict[str, Any]:
    """Content of ``complete.json`` for the files of a folder, its pictures among them."""
    pictures = sorted(p for p in (folder / "images").glob("*") if p.is_file())
    seal: dict[str, Any] = {
        "schema": SCHEMA_VERSION,
        "documents": documents,
        "sha256": {name: sha256_of(folder / name) for name in SEALED},
    }
    if pictures:
        seal["pictures"] = {f"images/{p.name}": sha256_of(p) for p in pictures}
    return seal


def fault_of(folder: Path, key: str) -> str:
    """Why the seal (``complete.json``) of a folder does not hold; empty when it holds.

    Every sealed file is hashed; a file that has not changed since it was last hashed is not read again.
    """
    try:
        seal = read_json(folder / "complete.json")
        hashes = seal["sha256"]
        if seal.get("schema") != SCHEMA_VERSION:
            return f"complete.json is of schema {seal.get('schema')!r}, not {SCHEMA_VERSION}"
        if not isinstance(seal.get("documents"), int):
            return "complete.json is damaged: it does not tell its documents"
        for name in SEALED:
            if not (folder / name).exists():
                return f"{name} is missing"
            if hashes.get(name) != hash_memory().sha256(folder / name):
                return f"{name} changed after the cell was complete"
        found = key_of(folder)
    except (DataError, KeyError, TypeError, AttributeError, OSError) as error:
        return _short(error)
    if found != key:
        return f"its specification is that of cell {found[:12]}: the folder was renamed, or swapped with another"
    return ""


def key_of(folder: Path) -> str:
    """Key of the specification in a folder.

    Raises
    ------
    DataError
        If there is no specification, or it is damaged.
    """
    return cell_of(read_json(folder / "spec.json"), folder / "spec.json").key


def cell_of(spec: Mapping[str, Any], path: Path) -> Cell:
    """A cell from the content of its ``spec.json``.

    Raises
    ------
    DataError
        If the content is not a specification.
    """
    try:
        return Cell.from_dict(dict(spec))
    except (TypeError, KeyError, ValueError, AttributeError) as error:
        raise DataError(f"{path} is not the specification of a cell: {error}") from None


def rescored_fault(content: Mapping[str, Any], name: str, answers_sha256: str) -> str:
    """Why scores that were added after the seal cannot be trusted; empty when they can."""
    try:
        if content["scorer"] != name:
            return f"holds the scores of {content['scorer']!r}"
        if content["answers_sha256"] != answers_sha256:
            return "scores other answers than those stored; run `tops score` again"
        if content["sha256"] != content_hash(content):
            return "changed after it was written; delete it and run `tops score` again"
    except (KeyError, TypeError, ValueError) as error:
        return f"damaged: {error!r}"
    return ""


def picture_fault(folder: Path, name: str) -> str:
    """Why a picture that an answer names must not be shown; empty when it may be.

    A name that leads out of the cell's folder, through ``..``, an absolute path or a link, is never followed.
    """
    inside = (folder / "images").resolve()
    place = (folder / name).resolve()
    if not place.is_relative_to(inside) or (folder / name).is_symlink():
        return f"{name!r} leads out of the cell's folder of pictures"
    if not place.is_file():
        return "missing"
    try:
        pictures = read_json(folder / "complete.json").get("pictures")
    except DataError:
        return ""  # not sealed yet
    if isinstance(pictures, dict) and pictures.get(name) != hash_memory().sha256(place):
        return "changed after the cell was complete"
    return ""


def as_json(value: Any) -> bytes:
    """A value as the store writes JSON: sorted keys, indented, no NaN."""
    return (json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n").encode()


def content_hash(content: Mapping[str, Any]) -> str:
    """sha256 of a JSON object without its own ``sha256``, hex."""
    return hashlib.sha256(as_json({k: v for k, v in content.items() if k != "sha256"})).hexdigest()


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file of the store.

    Raises
    ------
    DataError
        If the file is missing or damaged.
    """
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path}: {error}; run `tops results check`") from error
    if not isinstance(value, dict):
        raise DataError(f"{path}: not a JSON object; run `tops results check`")
    return value


def _short(error: BaseException) -> str:
    cause = error.__cause__
    return f"damaged: {cause or error}" if isinstance(error, DataError) else f"complete.json is damaged: {error!r}"


def hash_memory() -> HashMemory:
    """The hash memory of this process; it is written to its file when the process ends."""
    return _memory_at(cache_folder() / "hashes.json")


@cache
def _memory_at(path: Path) -> HashMemory:
    memory = HashMemory(path)
    atexit.register(memory.save)
    return memory
