"""Which checkpoints are on this machine, found without torch or network."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from tops.benchmarks.benchmark import load_benchmark
from tops.benchmarks.data import DataRoot, data_hash
from tops.errors import DataError
from tops.miniature import checkpoints
from tops.miniature import data as miniature_data
from tops.settings.schema import BackboneConfig, ProfileConfig
from tops.store.hashes import remember_earlier
from tops.store.seal import hash_memory

LARGE = 64 << 20  # bytes from which on a file of weights is not read at every plan


@dataclass(frozen=True)
class Staged:
    """A checkpoint on disk, the revision that enters the key of its cells, and whether it has learnt anything."""

    path: Path
    revision: str
    trained: bool = True


def hub_cache() -> Path:
    """Folder of the Hugging Face hub cache."""
    if cache_folder := os.environ.get("HF_HUB_CACHE"):
        return Path(cache_folder)
    home = os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "huggingface"
    return Path(home) / "hub"


def checkpoint(backbone: BackboneConfig, profile: ProfileConfig, named: str | None = None) -> Staged | None:
    """The staged weights of a backbone; None when they are not on this machine.

    The folder that the profile names comes first, with the hash of its files as revision; the hub cache comes second.

    Parameters
    ----------
    backbone, profile
        The backbone, and the profile that may name a folder of checkpoints.
    named : str, optional
        Checkpoint to use instead of the backbone's own (``backbone.checkpoint=...`` of a run).

    Raises
    ------
    DataError
        If the profile names a folder that holds no safetensors checkpoint.
    """
    if profile.miniature:
        return None if backbone.miniature is None else miniature(backbone.miniature.checkpoint)
    return _staged(backbone.name, named or backbone.checkpoint, profile.checkpoints)


@cache
def _staged(name: str, checkpoint: str, folder_of_checkpoints: str | None) -> Staged | None:
    for called in (name, Path(checkpoint).name) if folder_of_checkpoints else ():
        folder = Path(str(folder_of_checkpoints)).expanduser() / called
        if folder.is_dir():
            if not (folder / "config.json").is_file() or not any(folder.glob("*.safetensors")):
                raise DataError(f"profile.checkpoints: {folder} holds no config.json with safetensors weights")
            return Staged(folder, _folder_hash(folder))
    return _snapshot(checkpoint)


def _snapshot(repository: str) -> Staged | None:
    folder = hub_cache() / f"models--{repository.replace('/', '--')}"
    reference = folder / "refs" / "main"
    if not reference.is_file():
        return None
    commit = reference.read_text().strip()
    snapshot = folder / "snapshots" / commit
    complete = (snapshot / "config.json").exists() and any(snapshot.glob("*.safetensors"))
    return Staged(snapshot, commit) if complete else None


def text_tower(backbone: BackboneConfig, profile: ProfileConfig) -> Staged | None:
    """CLIP checkpoint whose text tower belongs to a backbone, where it is staged apart from the backbone's weights."""
    own = checkpoint(backbone, profile)
    if backbone.text_tower is None or has_own_tower(own):
        return None
    return _staged(Path(backbone.text_tower).name, backbone.text_tower, profile.checkpoints)


def has_own_tower(staged: Staged | None) -> bool:
    """Whether a text tower lies in the checkpoint's folder, so that the checkpoint's revision covers it."""
    return staged is not None and (staged.path / "text_tower").is_dir()


@cache
def miniature(family: str) -> Staged:
    """The embedded checkpoint of a family, after a check of its weights against its card."""
    folder = checkpoints.path(family)
    return Staged(folder, _folder_hash(folder), checkpoints.label(family) is None)


@cache
def data_root(profile: ProfileConfig) -> DataRoot:
    """Folder of the documents that a profile asks: the miniature's cache, or where ``tops fetch`` stages."""
    if not profile.miniature:
        return DataRoot.at(profile.data)
    return DataRoot.at(miniature_data.folder_of())


@cache
def data(benchmark: str, profile: ProfileConfig) -> str:
    """Hash of the staged documents of a benchmark; empty when they are not here."""
    try:
        return data_hash(load_benchmark(benchmark), data_root(profile))
    except DataError:
        return ""


def documents(benchmark: str, profile: ProfileConfig) -> int:
    """Documents of a benchmark: of the miniature's where it has been built, else of the published one."""
    chosen = load_benchmark(benchmark)
    manifest = miniature_data.folder_of() / miniature_data.MANIFEST
    if profile.miniature and manifest.is_file():
        built = json.loads(manifest.read_text())["benchmarks"]
        if chosen.source in built:  # not for one of the user's own
            return int(built[chosen.source]["documents"])
    return chosen.data.documents


def prepare(profile: ProfileConfig) -> None:
    """Build the documents of the miniature profile; nothing to do for other profiles."""
    if profile.miniature:
        miniature_data.ensure()
        data.cache_clear()


@cache
def _folder_hash(folder: Path) -> str:
    """sha256 over the names, sizes and contents of a checkpoint folder, the card about it left out.

    Every byte counts. Hashes of large files are remembered, so that 14 GB are read once and not at every plan; earlier
    versions read 4 KiB of every 2 MiB of those, and cells of that revision stay readable
    (:func:`tops.store.hashes.same_content`).
    """
    digest, earlier = hashlib.sha256(), hashlib.sha256()
    kinds = (".json", ".safetensors", ".model", ".jinja")
    for path in sorted(p for p in folder.rglob("*") if p.suffix in kinds and p.name != "card.json"):
        size = path.stat().st_size
        for each in (digest, earlier):
            each.update(f"{path.relative_to(folder)}\0{size}\0".encode())
        if path.suffix == ".safetensors" and size > LARGE:
            digest.update(hash_memory().sha256(path).encode())
            _sample(path, size, earlier)
        else:
            content = path.read_bytes()
            digest.update(content)
            earlier.update(content)
    hash_memory().save()
    remember_earlier(digest.hexdigest(), earlier.hexdigest())
    return digest.hexdigest()


def _sample(path: Path, size: int, digest: Any) -> None:
    """Add to ``digest`` what earlier versions hashed of a large file: its header, and 4 KiB of every 2 MiB."""
    with path.open("rb") as file:
        header = min(int.from_bytes(file.read(8), "little"), 16 << 20)
        digest.update(file.read(header))
        for place in range(file.tell(), size, 2 << 20):
            file.seek(place)
            digest.update(file.read(4 << 10))
