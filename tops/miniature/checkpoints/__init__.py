"""The embedded miniature checkpoints: their folders, cards, and the check of weights against cards."""

from __future__ import annotations

import hashlib
import json
from functools import lru_cache
from pathlib import Path
from typing import Any

from tops.errors import ConfigurationError, DataError, nearest_names

ROOT = Path(__file__).parent
FAMILIES = tuple(sorted(card.parent.name for card in ROOT.glob("*/card.json")))
RANDOM_LABEL = "random weights: plumbing only"


def sha256(file: Path) -> str:
    """Hex digest of a file."""
    return hashlib.sha256(file.read_bytes()).hexdigest()


def weight_files(folder: Path) -> list[Path]:
    """Every safetensors file under a checkpoint, sorted by path."""
    return sorted(folder.rglob("*.safetensors"))


def weight_hashes(folder: Path) -> dict[str, str]:
    """sha256 of every weight file, by its path relative to ``folder``."""
    return {file.relative_to(folder).as_posix(): sha256(file) for file in weight_files(folder)}


def card(family: str, root: Path = ROOT) -> dict[str, Any]:
    """The model card of a family.

    Raises
    ------
    ConfigurationError
        Unknown family.
    DataError
        The card is missing or unreadable.
    """
    if family not in FAMILIES:
        raise ConfigurationError(f"no miniature family {family!r}. {nearest_names(family, FAMILIES)}")
    file = root / family / "card.json"
    try:
        found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(
            f"cannot read the model card {file}: {error}. Restore it, or train again in a clone with "
            f"`python -m scripts.miniature {family}`"
        ) from error
    return found


@lru_cache(maxsize=16)
def _verified(folder: Path, stamps: tuple[tuple[str, int, int], ...], expected: tuple[tuple[str, str], ...]) -> Path:
    wanted, there = dict(expected), {name for name, _, _ in stamps}
    for name in sorted(wanted.keys() | there):
        file = folder / name
        if name not in there:
            raise DataError(f"{file} is missing, but {folder / 'card.json'} lists it with sha256 {wanted[name]}")
        if name not in wanted:
            raise DataError(f"{file} is not listed in {folder / 'card.json'}; remove it or train again")
        found = sha256(file)
        if found != wanted[name]:
            raise DataError(
                f"{file} has sha256 {found}, but its card says {wanted[name]}: the weights are damaged or not those of "
                "the card. Restore the file, or train again with `python -m scripts.miniature`"
            )
    return folder


def path(family: str, root: Path = ROOT) -> Path:
    """The checkpoint folder of a family, after a check of its weights against its card.

    Load it as any transformers checkpoint; ``text_tower/`` inside LLaVA-1.5 and LLaVA-NeXT is CLIP's text side.

    Parameters
    ----------
    family : str
        One of `FAMILIES`.
    root : Path
        Folder of the checkpoints.

    Raises
    ------
    ConfigurationError
        Unknown family.
    DataError
        No card, or weights that are not those of the card.
    """
    expected = card(family, root)["weights_sha256"]
    folder = root / family
    stamps = tuple(
        (file.relative_to(folder).as_posix(), file.stat().st_size, file.stat().st_mtime_ns)
        for file in weight_files(folder)
    )
    return _verified(folder, stamps, tuple(sorted(expected.items())))


def label(family: str, root: Path = ROOT) -> str | None:
    """Note that every table must put beside this family's figures; None for a trained checkpoint."""
    return None if card(family, root)["trained"] else RANDOM_LABEL
