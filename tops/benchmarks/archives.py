"""Unpacking archives of videos, those that come in parts included, without leaving the target folder."""

from __future__ import annotations

import io
import re
import tarfile
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from tops.errors import DataError

_PART = re.compile(r"^(?P<whole>.+?\.(?:tar|tar\.gz|tgz|zip))[._-]?(?:part)?[._-]?(?P<part>[a-z]{2}|\d+)$")


def is_archive(name: str) -> bool:
    """Whether a file is an archive or a part of one, by its name."""
    return bool(_PART.match(name)) or name.endswith((".zip", ".tar", ".tar.gz", ".tgz"))


def wholes(files: Iterable[Path]) -> list[tuple[Path, ...]]:
    """Archives among some files; each is a tuple of its parts in order."""
    groups: dict[str, list[Path]] = {}
    for file in sorted(files):
        if is_archive(file.name):
            match = _PART.match(file.name)
            whole = match["whole"] if match else file.name
            groups.setdefault(str(file.with_name(whole)), []).append(file)
    return [tuple(sorted(parts)) for _, parts in sorted(groups.items())]


def unpack(parts: Sequence[Path], target: Path) -> int:
    """Unpack one archive; returns the number of files. Files that are already there in full are left alone.

    Raises
    ------
    DataError
        If the archive is damaged, or has a member outside the folder.
    """
    target.mkdir(parents=True, exist_ok=True)
    name = parts[0].name
    try:
        if ".zip" in name:
            return _unzip(parts, target)
        with tarfile.open(fileobj=_open(parts), mode="r|*") as archive:
            count = 0
            for member in archive:
                if member.isfile():
                    there = target / member.name
                    if not (there.is_file() and there.stat().st_size == member.size):
                        archive.extract(member, target, filter="data")
                    count += 1
            return count
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, OSError) as error:
        raise DataError(f"{parts[0]}: {error}; delete it and fetch again") from error


def _unzip(parts: Sequence[Path], target: Path) -> int:
    with zipfile.ZipFile(_open(parts)) as archive:
        members = [m for m in archive.infolist() if not m.is_dir()]
        root = target.resolve()
        for member in members:
            there = (target / member.filename).resolve()
            if not there.is_relative_to(root):
                raise DataError(
                    f"{parts[0]} wants to write {member.filename!r} outside {target}; it is not to be trusted"
                )
            if not (there.is_file() and there.stat().st_size == member.file_size):
                archive.extract(member, target)
        return len(members)


def _open(parts: Sequence[Path]) -> Any:
    joined: Any = _Joined(parts)
    return io.BufferedReader(joined, 1 << 20)


class _Joined(io.RawIOBase):
    """Several files read as one stream, one after the other."""

    def __init__(self, parts: Sequence[Path]) -> None:
        self._files = [part.open("rb") for part in parts]
        self._sizes = [part.stat().st_size for part in parts]
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: sum(self._sizes)}[whence]
        self._at = max(0, base + offset)
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
        place = self._at
        for file, size in zip(self._files, self._sizes, strict=True):
            if place < size:
                file.seek(place)
                got = file.read(min(len(buffer), size - place))
                buffer[: len(got)] = got
                self._at += len(got)
                return len(got)
            place -= size
        return 0

    def close(self) -> None:
        for file in self._files:
            file.close()
        super().close()
