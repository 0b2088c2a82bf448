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
    """A folder of built tables; it is emptied first if the tables differ from the note of their build.

    ``datasets`` trusts any tables that it finds there. The folder holds only what can be built again from the staged
    files, so that doubtful tables, also those without a note, are built again.
    """
    if not folder.is_dir():
        return folder
    noted: object = None
    with suppress(OSError, ValueError):
        noted = json.loads((folder / NOTE).read_bytes())
    if noted != _hashes(folder):
        aside = folder.with_name(f".{folder.name}.doubtful")
        shutil.rmtree(aside, ignore_errors=True)
        with suppress(OSError):  # another process removed it first
            folder.rename(aside)
        shutil.rmtree(aside, ignore_errors=True)
    return folder


def note_built(folder: Path) -> None:
    """Write the note of the present tables, against which :func:`verified` compares later."""
    if folder.is_dir():
        with suppress(OSError):
            write_atomically(folder / NOTE, json.dumps(_hashes(folder), indent=1, sort_keys=True).encode())
        hash_memory().save()


def _hashes(folder: Path) -> dict[str, str]:
    files = (p for p in sorted(folder.rglob("*.arrow")) if p.is_file())
    return {str(p.relative_to(folder)): hash_memory().sha256(p) for p in files}
