"""Staging data sets and checkpoints for machines without network: only needed files, with sizes announced first."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatch
from glob import escape
from pathlib import Path
from typing import Any, Literal

from tops.benchmarks.archives import is_archive, unpack, wholes
from tops.benchmarks.benchmark import Benchmark, load_benchmark
from tops.benchmarks.data import VIDEOS, DataRoot
from tops.errors import DataError
from tops.store.answers import write_atomically

MODEL_FILES = ("*.json", "*.safetensors", "*.model", "*.txt", "*.jinja")
LOCK = "staged.json"
FILES_AT_ONCE = 8
YES = ("1", "true", "yes", "on")  # as the hub's library reads its variables


@dataclass(frozen=True)
class Item:
    """One repository to stage.

    Attributes
    ----------
    kind : str
        ``dataset`` or ``model``.
    commit : str
        The revision to fetch.
    files : dict
        File name to size in bytes.
    target : Path or None
        Folder that the files go into; None for the hub cache.
    unpack_to : Path or None
        Folder for unpacked archives, and for videos that are not in an archive.
    """

    kind: Literal["dataset", "model"]
    repository: str
    commit: str
    files: dict[str, int]
    target: Path | None = None
    unpack_to: Path | None = None
    gated: bool = False

    @property
    def bytes(self) -> int:
        """Size of all files."""
        return sum(self.files.values())

    def folder_of(self, name: str) -> Path | None:
        """Folder that a file goes into; None for the hub cache."""
        return self.unpack_to if self.unpack_to is not None and Path(name).suffix in VIDEOS else self.target


@dataclass
class Fetcher:
    """Plans and carries out downloads.

    Attributes
    ----------
    root : Path
        Data folder (``tops.benchmarks.data``).
    endpoint : str or None
        Address of the hub, where it is not the public one.
    update : bool
        Take the newest revision instead of the one fetched before.
    """

    root: Path
    endpoint: str | None = None
    update: bool = False
    _lock: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if os.environ.get("HF_HUB_OFFLINE", "").lower() in YES:
            raise DataError("HF_HUB_OFFLINE is set, so nothing can be fetched; unset it on a machine with network")
        path = self.root / LOCK
        self._lock = json.loads(path.read_text()) if path.exists() else {}

    def dataset(self, benchmark: Benchmark) -> Item:
        """The data set repository of a benchmark, with the files that it needs."""
        data, place = benchmark.data, DataRoot.at(self.root)
        info = self._info("dataset", data.path, data.revision, data.gated)
        files = {n: s for n, s in info["files"].items() if any(_fits(n, p) for p in data.files)}
        if not files:
            raise DataError(f"{data.path} has none of {', '.join(data.files)}; correct data.files of {benchmark.name}")
        target = place.mirror / data.path
        unpack_to = place.hf_home / data.unpack if data.unpack else None
        return Item("dataset", data.path, info["commit"], files, target, unpack_to, data.gated)

    def model(self, repository: str, revision: str | None = None) -> Item:
        """The repository of a checkpoint, with the files that it needs; pickled weights are never fetched."""
        info = self._info("model", repository, revision, gated=False)
        files = {n: s for n, s in info["files"].items() if any(fnmatch(n, p) for p in MODEL_FILES) and "/" not in n}
        if not any(n.endswith(".safetensors") for n in files):
            raise DataError(f"{repository} has no safetensors weights; pickled ones are not loaded")
        return Item("model", repository, info["commit"], files)

    def _info(self, kind: str, repository: str, revision: str | None, gated: bool) -> dict[str, Any]:
        from huggingface_hub import HfApi

        pinned = None if self.update else self._lock.get(f"{kind}:{repository}", {}).get("commit")
        api = HfApi(endpoint=self.endpoint, token=None if gated else False)
        with _explained(repository, kind):
            ask = api.dataset_info if kind == "dataset" else api.model_info
            info: Any = ask(repository, revision=revision or pinned or "main", files_metadata=True)
        files = {s.rfilename: int(s.size or 0) for s in info.siblings}
        return {"commit": info.sha, "files": files}

    def missing(self, item: Item) -> dict[str, int]:
        """Files that still have to be fetched, and their sizes."""
        done = set(self._lock.get(f"{item.kind}:{item.repository}", {}).get("unpacked", ()))
        return {n: s for n, s in item.files.items() if n not in done and not self._there(item, n, s)}

    def _there(self, item: Item, name: str, size: int) -> bool:
        folder = item.folder_of(name)
        if folder is not None:
            file = folder / name
            return file.is_file() and file.stat().st_size == size
        from huggingface_hub import try_to_load_from_cache

        return isinstance(try_to_load_from_cache(item.repository, name, revision=item.commit), str)

    def stage(self, item: Item) -> Iterator[str]:
        """Fetch missing files and unpack archives step by step; after an interruption, a new call continues.

        Yields
        ------
        str
            A sentence on the step that was just done.
        """
        self.check_room([item])
        if lacking := self.missing(item):
            with _explained(item.repository, item.kind):
                self._download(item, lacking)
            count = "1 file" if len(lacking) == 1 else f"{len(lacking)} files"
            yield f"{item.repository}: {count}, {size_text(sum(lacking.values()))}"
        self._note(item, [])
        if item.target is not None and item.unpack_to is not None:
            here = [item.target / n for n in item.files if is_archive(Path(n).name) and (item.target / n).is_file()]
            for parts in wholes(here):
                unpacked = unpack(parts, item.unpack_to)
                self._note(item, [str(p.relative_to(item.target)) for p in parts])
                for part in parts:
                    part.unlink()
                yield f"{item.repository}: {unpacked} files of {parts[0].name} unpacked"

    def _download(self, item: Item, names: Iterable[str]) -> None:
        """Several files at once, through the hub's library. A file that is whole is not fetched again."""
        from huggingface_hub import snapshot_download

        folders: dict[Path | None, list[str]] = {}
        for name in names:
            folders.setdefault(item.folder_of(name), []).append(name)
        for folder, there in folders.items():
            snapshot_download(
                item.repository,
                repo_type=item.kind,
                revision=item.commit,
                local_dir=folder,
                allow_patterns=[escape(name) for name in there],
                token=None if item.gated else False,
                endpoint=self.endpoint,
                max_workers=FILES_AT_ONCE,
            )

    def check_room(self, items: Iterable[Item]) -> list[str]:
        """Lines with the needed and the free space of each disk.

        Raises
        ------
        DataError
            If the missing files do not fit on a disk.
        """
        from huggingface_hub.constants import HF_HUB_CACHE

        need: dict[int, int] = {}
        places: dict[int, Path] = {}
        for item in items:
            folder = item.target or Path(HF_HUB_CACHE)
            disk = _existing(folder).stat().st_dev
            need[disk] = need.get(disk, 0) + sum(self.missing(item).values())
            places.setdefault(disk, folder.parent if item.target is None else self.root)
        lines = []
        for disk, size in need.items():
            free = shutil.disk_usage(_existing(places[disk])).free
            if size > free:
                raise DataError(
                    f"{size_text(size)} are to be fetched to the disk of {places[disk]}, but {size_text(free)} are "
                    f"free; set TOPS_DATA (data) and HF_HOME (checkpoints) to a larger disk, or fetch less"
                )
            lines.append(f"disk of {places[disk]}: {size_text(size)} to come, {size_text(free)} free")
        return lines

    def _note(self, item: Item, unpacked: list[str]) -> None:
        """Write down the revision, so that the next fetch takes the same one, and the unpacked archives."""
        key = f"{item.kind}:{item.repository}"
        before = self._lock.get(key, {})
        same = before.get("commit") == item.commit
        done = sorted({*(before.get("unpacked", ()) if same else ()), *unpacked})
        self._lock[key] = {"commit": item.commit, "unpacked": done}
        self.root.mkdir(parents=True, exist_ok=True)
        write_atomically(self.root / LOCK, (json.dumps(self._lock, indent=1, sort_keys=True) + "\n").encode())


def size_text(count: int) -> str:
    """A number of bytes as readable text."""
    value = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"


def _fits(name: str, pattern: str) -> bool:
    return fnmatch(name, pattern) or ("/" not in pattern and fnmatch(name.rsplit("/", 1)[-1], pattern))


def _existing(path: Path) -> Path:
    while not path.exists():
        path = path.parent
    return path


class _explained:
    """Context that turns the hub's errors into messages with the next step."""

    def __init__(self, repository: str, kind: str) -> None:
        self._repository, self._kind = repository, kind

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is None or isinstance(error, DataError | KeyboardInterrupt):
            return
        from httpx import HTTPError  # errors of the hub's client: no network, a broken connection
        from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError

        page = f"https://huggingface.co/{'datasets/' if self._kind == 'dataset' else ''}{self._repository}"
        if isinstance(error, GatedRepoError):
            raise DataError(
                f"{self._repository} is gated: accept its licence at {page}, then `hf auth login`"
            ) from error
        if isinstance(error, RepositoryNotFoundError):
            raise DataError(
                f"the hub has no {self._kind} {self._repository}, or it asks for a login: {page}"
            ) from error
        if isinstance(error, HfHubHTTPError | HTTPError | OSError):
            raise DataError(f"{self._repository} cannot be fetched: {error}; the same command goes on later") from error


def items_for(names: list[str], fetcher: Fetcher) -> list[Item]:
    """Repositories behind benchmark names, each once, with the files that all of them need."""
    merged: dict[str, Item] = {}
    for name in names:
        item = fetcher.dataset(load_benchmark(name))
        known = merged.get(item.repository)
        files = {**(known.files if known else {}), **item.files}
        merged[item.repository] = Item(
            item.kind, item.repository, item.commit, files, item.target, item.unpack_to, item.gated
        )
    return list(merged.values())
