"""Which checkpoints are on this machine, found without torch or network."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tops.errors import DataError
from tops.experiments.schema import BackboneChoice, ProfileChoice


@dataclass(frozen=True)
class Staged:
    """A checkpoint on disk and the revision that enters the key of its cells."""

    path: Path
    revision: str


def hub_cache() -> Path:
    """Folder of the Hugging Face hub cache."""
    if cache_folder := os.environ.get("HF_HUB_CACHE"):
        return Path(cache_folder)
    home = os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "huggingface"
    return Path(home) / "hub"


def checkpoint(backbone: BackboneChoice, profile: ProfileChoice) -> Staged | None:
    """Where the weights of a backbone are; None when they are not here.

    A folder that the profile names comes first, with the hash of its files as revision; then the hub cache.

    Raises
    ------
    DataError
        If the profile names a folder that holds no safetensors checkpoint.
    """
    if profile.miniature:
        return None if backbone.miniature is None else _miniature(backbone.miniature.checkpoint)
    for name in (backbone.name, Path(backbone.checkpoint).name) if profile.checkpoints else ():
        folder = Path(str(profile.checkpoints)).expanduser() / name
        if folder.is_dir():
            if not (folder / "config.json").is_file() or not any(folder.glob("*.safetensors")):
                raise DataError(f"profile.checkpoints: {folder} holds no config.json with safetensors weights")
            return Staged(folder, _folder_hash(folder))
    if Path(backbone.checkpoint).is_dir():
        return Staged(Path(backbone.checkpoint), _folder_hash(Path(backbone.checkpoint)))
    repository = hub_cache() / f"models--{backbone.checkpoint.replace('/', '--')}"
    reference = repository / "refs" / "main"
    if not reference.is_file():
        return None
    commit = reference.read_text().strip()
    snapshot = repository / "snapshots" / commit
    complete = (snapshot / "config.json").exists() and any(snapshot.glob("*.safetensors"))
    return Staged(snapshot, commit) if complete else None


def _miniature(family: str) -> Staged | None:
    from tops.miniature import checkpoints

    try:
        folder = checkpoints.path(family)
    except DataError:
        return None
    return Staged(folder, _folder_hash(folder))


def data(benchmark: str, profile: ProfileChoice) -> str:
    """Hash of the staged documents of a benchmark; empty when they are not here."""
    from tops.evaluation.data import data_hash

    return data_hash(benchmark, profile)


def miniature_documents(benchmark: str) -> int:
    """Documents of a miniature benchmark."""
    return 200


@cache
def _folder_hash(folder: Path) -> str:
    """sha256 over the names, sizes and small files of a checkpoint folder.

    Weights enter by size and by the safetensors header, which names every tensor: hashing 14 GB for a plan would take
    a minute.
    """
    digest = hashlib.sha256()
    for path in sorted(p for p in folder.iterdir() if p.suffix in (".json", ".safetensors", ".model", ".jinja")):
        size = path.stat().st_size
        digest.update(f"{path.name}\0{size}\0".encode())
        with path.open("rb") as file:
            if path.suffix == ".safetensors" and size > 64 << 20:
                header = min(int.from_bytes(file.read(8), "little"), 16 << 20)
                digest.update(file.read(header))
                file.seek(max(0, size - (1 << 20)))
            digest.update(file.read())
    return digest.hexdigest()
