"""The tables that ``datasets`` builds from staged files: a cache beside them, verified before it is read."""

from __future__ import annotations

import json
import shutil
from contextlib import suppress
from pathlib import Path

from tops.store.answers import write_atomically
from tops.store.seal import hash_memory

NOTE = "tops-built.json"


def verified(folder: Path) -> Path:
    """A folder of built tables, emptied when they are not as they were built.

    ``datasets`` takes what it finds there for what it would build. The folder holds nothing that the staged files do
    not, so that a doubtful one is simply built again. One that another version left without a note is such a one.
    """
    if not folder.is_dir():
        return folder
    noted: object = None
    with suppress(OSError, ValueError):
        noted = json.loads((folder / NOTE).read_bytes())
    if noted != _hashes(folder):
        aside = folder.with_name(f".{folder.name}.doubtful")
        shutil.rmtree(aside, ignore_errors=True)
        with suppress(OSError):  # another process was quicker
            folder.rename(aside)
        shutil.rmtree(aside, ignore_errors=True)
    return folder


def note_built(folder: Path) -> None:
    """Take note of the tables that are there now."""
    if folder.is_dir():
        with suppress(OSError):
            write_atomically(folder / NOTE, json.dumps(_hashes(folder), indent=1, sort_keys=True).encode())
        hash_memory().save()


def _hashes(folder: Path) -> dict[str, str]:
    files = (p for p in sorted(folder.rglob("*.arrow")) if p.is_file())
    return {str(p.relative_to(folder)): hash_memory().sha256(p) for p in files}
