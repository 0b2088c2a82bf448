"""Staged data: where it lies, whether it is all there, and its hash. No network, no torch.

Layout of a data folder::

    mirror/<organisation>/<name>/...   data sets as on the hub: README.md, *.parquet
    hf_home/<folder>/...               videos, where the stock tasks look for them
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tops.benchmarks.benchmark import Benchmark, load_benchmark
from tops.errors import DataError
from tops.store.hashes import remember_earlier
from tops.store.seal import hash_memory

ARCHIVES = (".zip", ".tar", ".gz", ".tgz")
TABLES = (".parquet", ".json", ".jsonl")
VIDEOS = (".mp4", ".webm", ".avi", ".mkv")


class Staged(Protocol):
    """Protocol of an object that gives the folders of staged data, such as the miniature's cache."""

    @property
    def mirror(self) -> Path: ...

    @property
    def hf_home(self) -> Path: ...


@dataclass(frozen=True)
class DataRoot:
    """A data folder."""

    mirror: Path
    hf_home: Path

    @classmethod
    def at(cls, root: str | Path | Staged | None = None) -> DataRoot:
        """The data folder at a path; for None the folder that ``tops fetch`` uses."""
        if root is None:
            root = default_data_folder()
        if isinstance(root, str | Path):
            path = Path(root).expanduser().resolve()
            return cls(path / "mirror", path / "hf_home")
        return cls(Path(root.mirror).resolve(), Path(root.hf_home).resolve())


def default_data_folder() -> Path:
    """``$TOPS_DATA``, else ``~/.cache/tops/data``."""
    return Path(os.environ.get("TOPS_DATA") or Path.home() / ".cache" / "tops" / "data")


def dataset_folder(benchmark: Benchmark, root: DataRoot) -> Path:
    """Folder of a benchmark's documents."""
    return root.mirror / benchmark.data.path


def document_files(benchmark: Benchmark, root: DataRoot) -> list[Path]:
    """Staged files that hold the documents, sorted; archives and videos are not among them."""
    folder = dataset_folder(benchmark, root)
    found = {p for pattern in benchmark.data.files for p in folder.glob(pattern)}
    found |= {p for pattern in benchmark.data.files if "/" not in pattern for p in folder.rglob(pattern)}
    return sorted(p for p in found if p.is_file() and p.suffix not in (*ARCHIVES, *VIDEOS))


def video_folder(benchmark: Benchmark, root: DataRoot) -> Path | None:
    """Folder of a benchmark's videos; None for images."""
    return root.hf_home / benchmark.data.videos if benchmark.data.videos else None


def missing(benchmark: Benchmark, root: DataRoot) -> str | None:
    """Message on what is not staged, with the command that fetches it; None when everything is staged."""
    folder = dataset_folder(benchmark, root)
    if not any(p.suffix in TABLES for p in document_files(benchmark, root)):
        return f"no documents of {benchmark.name} in {folder}; run `tops fetch benchmark={benchmark.source}`"
    videos = video_folder(benchmark, root)
    if videos is not None and not (videos.is_dir() and any(videos.iterdir())):
        return f"no videos of {benchmark.name} in {videos}; run `tops fetch benchmark={benchmark.source}`"
    return None


def data_hash(benchmark: Benchmark | str, root: str | Path | Staged | None = None) -> str:
    """sha256 over the documents and the videos of a benchmark, every byte of them, hex.

    Content hashes of unchanged files are remembered in the cache folder, when it can be written. Cells of versions that
    took only names and sizes of videos stay readable (:func:`tops.store.hashes.same_content`).

    Raises
    ------
    DataError
        If something is not staged.
    """
    benchmark = load_benchmark(benchmark) if isinstance(benchmark, str) else benchmark
    place = DataRoot.at(root)
    lack = missing(benchmark, place)
    if lack is not None:
        raise DataError(lack)
    memory = hash_memory()
    folder = dataset_folder(benchmark, place)
    digest = hashlib.sha256()
    for file in document_files(benchmark, place):
        digest.update(f"{file.relative_to(folder)}\0{memory.sha256(file)}\n".encode())
    earlier = digest.copy()
    videos = video_folder(benchmark, place)
    for file in sorted(videos.rglob("*")) if videos is not None else ():
        if file.is_file() and file.suffix not in ARCHIVES:
            name, size = file.relative_to(videos or file), file.stat().st_size
            digest.update(f"{name}\0{size}\0{memory.sha256(file)}\n".encode())
            earlier.update(f"{name}\0{size}\n".encode())
    memory.save()
    remember_earlier(digest.hexdigest(), earlier.hexdigest())
    return digest.hexdigest()
