"""sha256 of files, remembered under file attributes that no program can set back (the inode's change time)."""

from __future__ import annotations

import hashlib
import json
import os
import time
from contextlib import suppress
from pathlib import Path

from tops.fingerprint import cache_folder

SETTLED = 2.0  # seconds after a change before a hash is remembered: clocks of file systems are coarse
MOST = 100_000  # entries, the newest stay


def sha256_of(path: Path) -> str:
    """sha256 of a file's bytes, hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


_EARLIER: dict[str, set[str]] = {}


def remember_earlier(now: str, earlier: str) -> None:
    """Note that the hashes ``now`` and ``earlier`` (by an older version's coarser formula) are of the same files."""
    if now != earlier:
        _EARLIER.setdefault(now, set()).add(earlier)


def same_content(here: str, there: str) -> bool:
    """Whether the stored hash ``there`` is of the files whose hash is ``here``, by today's formula or an earlier."""
    return here == there or there in _EARLIER.get(here, ())


class HashMemory:
    """Hashes of files by path, inode, size, time of change and time of the inode's change.

    Size and time of change can be put back after an edit (``touch -d``, ``cp -p``, rsync); the time of the inode's
    change (``ctime``) cannot. A file that changed within the last seconds is hashed again each time.

    Parameters
    ----------
    path : Path, optional
        File in which the hashes are remembered; ``hashes.json`` in :func:`cache_folder` for None.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path or cache_folder() / "hashes.json"
        self._known: dict[str, str] = {}
        self._new = False
        with suppress(OSError, ValueError, TypeError):
            self._known = dict(json.loads(self._path.read_text()))

    def sha256(self, file: Path) -> str:
        """sha256 of a file's bytes, hex.

        Raises
        ------
        OSError
            If it cannot be read.
        """
        stat = file.stat()
        key = f"{file.resolve()}|{stat.st_ino}|{stat.st_size}|{stat.st_mtime_ns}|{stat.st_ctime_ns}"
        known = self._known.get(key)
        if known is None:
            known = sha256_of(file)
            if time.time() - max(stat.st_mtime, stat.st_ctime) > SETTLED:
                self._known[key] = known
                self._new = True
        return known

    def save(self) -> None:
        """Write new hashes to the file; a folder that cannot be written is no error."""
        if not self._new:
            return
        with suppress(OSError):  # a read-only home folder is allowed
            self._path.parent.mkdir(parents=True, exist_ok=True)
            temporary = self._path.with_suffix(f".{os.getpid()}.tmp")
            temporary.write_text(json.dumps(dict(list(self._known.items())[-MOST:])))
            temporary.replace(self._path)
        self._new = False
