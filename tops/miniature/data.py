"""The miniature data on disk: built once per seed, checked at every use, named by hash.

data = ensure()
data.mirror              # where the stock tasks find lmms-lab-encoder/POPE and the others
data.hf_home             # HF_HOME for the video tasks
data.hash_of("pope")
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Any

import numpy as np

from tops.errors import DataError, nearest_names
from tops.miniature.benchmarks import BENCHMARKS, DataSet
from tops.miniature.chance import chance_of
from tops.miniature.storage import sha256_of_hashes, write_repository
from tops.store.hashes import sha256_of

VERSION = "2"
MANIFEST = "manifest.json"
# What shapes the bytes: the code of the generator, and the libraries that draw and encode.
_LIBRARIES = ("numpy", "pillow", "scikit-learn", "pyarrow", "datasets", "av")
_SOURCES = (
    "benchmarks",
    "chance",
    "choice_documents",
    "claims",
    "data",
    "documents",
    "edited_documents",
    "field_documents",
    "open_documents",
    "printed",
    "prompts",
    "questions",
    "scenes",
    "storage",
    "video_documents",
    "video_questions",
    "videos",
    "words",
)

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class MiniatureData:
    """The built data.

    Attributes
    ----------
    root : Path
        Folder that holds all of it.
    mirror : Path
        Working directory from which the stock tasks' relative data set paths resolve.
    hf_home : Path
        Value of ``HF_HOME`` under which the video tasks find their files.
    version : str
        Version of the generator's documents.
    sha256 : str
        Hash over all files.
    manifest : dict
        Per benchmark: title, documents, images or videos, chance; per file: sha256.
    """

    root: Path
    mirror: Path
    hf_home: Path
    version: str
    sha256: str
    manifest: Mapping[str, Any] = field(repr=False)

    def documents(self, benchmark: str) -> list[dict[str, Any]]:
        """The documents of a benchmark's main task, in its order; an image is ``{"bytes": PNG, "path": None}``."""
        import pyarrow.parquet as pq

        self.hash_of(benchmark)
        entry = BENCHMARKS[benchmark]
        folder = self.mirror / entry.data.repository / (entry.config or "data")
        rows: list[dict[str, Any]] = pq.read_table(folder / f"{entry.split}-00000-of-00001.parquet").to_pylist()
        return rows

    def hash_of(self, benchmark: str) -> str:
        """Hex sha256 over the files of one benchmark.

        Raises
        ------
        DataError
            For an unknown name; the message has the nearest known ones.
        """
        found = self.manifest["benchmarks"].get(benchmark)
        if found is None:
            raise DataError(f"no miniature benchmark {benchmark!r}. {nearest_names(benchmark, BENCHMARKS)}")
        return str(found["sha256"])


def default_cache() -> Path:
    """``$TOPS_CACHE``, or ``~/.cache/tops``."""
    given = os.environ.get("TOPS_CACHE")
    return Path(given).expanduser() if given else Path.home() / ".cache" / "tops"


@lru_cache(maxsize=1)
def recipe() -> str:
    """Twelve hex digits over the generator's code and the versions of the libraries that encode."""
    digest = hashlib.sha256()
    for name in _SOURCES:
        digest.update(Path(__file__).with_name(f"{name}.py").read_bytes())
    digest.update("".join(f"{name}=={version_of(name)}\n" for name in _LIBRARIES).encode())
    return digest.hexdigest()[:12]


def folder_of(cache: Path | None = None, seed: int = 0) -> Path:
    """Where `ensure` keeps the data of one seed."""
    return (cache or default_cache()) / "miniature" / f"data-v{VERSION}-seed{seed}-{recipe()}"


def faults(root: Path) -> list[str]:
    """What is wrong with built data: one line per file that is missing or has other bytes, with path and hashes."""
    manifest = root / MANIFEST
    if not manifest.is_file():
        return [f"{manifest} is missing"]
    try:
        content = json.loads(manifest.read_text(encoding="utf-8"))
        files: dict[str, str] = content["files"]
        if content["sha256"] != sha256_of_hashes(files):
            return [f"{manifest} has sha256 {content['sha256']}, its files make {sha256_of_hashes(files)}"]
    except (ValueError, KeyError, TypeError) as error:
        return [f"{manifest} cannot be read: {error!r}"]
    found = []
    for name, expected in files.items():
        path = root / name
        if not path.is_file():
            found.append(f"{path} is missing (sha256 {expected})")
        elif (actual := sha256_of(path)) != expected:
            found.append(f"{path} has sha256 {actual}, expected {expected}")
    return found


def load(root: Path) -> MiniatureData:
    """Read built data and check every file.

    Raises
    ------
    DataError
        When a file is missing or damaged; the message names path and hash.
    """
    wrong = faults(root)
    if wrong:
        raise DataError(
            f"miniature data is damaged: {wrong[0]} ({len(wrong)} faults); `tops miniature build` repairs it"
        )
    manifest = json.loads((root / MANIFEST).read_text(encoding="utf-8"))
    return MiniatureData(root, root / "mirror", root / "hf_home", manifest["version"], manifest["sha256"], manifest)


def _build(root: Path, seed: int) -> None:
    mirror, hf_home = root / "mirror", root / "hf_home"
    hf_home.mkdir(parents=True)
    described: dict[str, dict[str, Any]] = {}
    by_data: dict[DataSet, list[str]] = {}
    for name, benchmark in BENCHMARKS.items():
        by_data.setdefault(benchmark.data, []).append(name)
    for data, names in by_data.items():
        # One stream per data set: a change in one leaves the others alone.
        rng = np.random.default_rng([seed, *data.repository.encode()])
        parts = data.build(rng, hf_home / data.videos)
        write_repository(mirror / data.repository, parts)
        for name in names:
            benchmark = BENCHMARKS[name]
            rows = next(p.rows for p in parts if (p.config, p.split) == (benchmark.config, benchmark.split))
            described[name] = {
                "title": benchmark.title,
                "tasks": list(benchmark.tasks),
                "documents": benchmark.asked(parts),
                "chance": chance_of(name, rows),
            }
    files = {str(path.relative_to(root)): sha256_of(path) for path in sorted(root.rglob("*")) if path.is_file()}
    for name, entry in described.items():
        data = BENCHMARKS[name].data
        below = [f"mirror/{data.repository}/"]
        if data.videos:
            below.append(f"hf_home/{data.videos.split('/videos')[0].split('/data')[0]}/")
        entry["sha256"] = sha256_of_hashes({k: v for k, v in files.items() if k.startswith(tuple(below))})
    manifest = {
        "version": VERSION,
        "seed": seed,
        "recipe": recipe(),
        "libraries": {name: version_of(name) for name in _LIBRARIES},
        "sha256": sha256_of_hashes(files),
        "benchmarks": described,
        "files": files,
    }
    (root / MANIFEST).write_text(json.dumps(manifest, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def build(root: Path, seed: int = 0) -> None:
    """Build the data in a temporary folder beside ``root``, then move it there at once.

    Parameters
    ----------
    root : Path
        Final folder; what it held is replaced.
    seed : int
        Seed of every random choice.
    """
    root.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{root.name}-", dir=root.parent))
    try:
        _build(temporary / "new", seed)
        if root.exists() and faults(root):
            root.rename(temporary / "old")
        try:
            (temporary / "new").rename(root)
        except OSError:
            # Another process was first; its data is the same when it has no fault.
            if faults(root):
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def ensure(cache: Path | None = None, seed: int = 0) -> MiniatureData:
    """The miniature data, built or repaired when needed.

    Parameters
    ----------
    cache : Path, optional
        Folder of caches; `default_cache` when absent.
    seed : int
        Seed of the data.

    Returns
    -------
    MiniatureData
        Every file has been compared with its hash.

    Raises
    ------
    DataError
        When the cache cannot be written, or is damaged even after a build.
    """
    root = folder_of(cache, seed)
    wrong = faults(root)
    if wrong:
        if root.exists():
            log.warning("miniature data is built anew: %s (%d faults)", wrong[0], len(wrong))
        try:
            build(root, seed)
        except OSError as error:
            raise DataError(
                f"cannot build the miniature data in {root}: {error}; set TOPS_CACHE to a folder that can be written"
            ) from error
    return load(root)
