"""A view of a staged repository that ``datasets`` can read although only some of the files are staged."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

README = "README.md"
_SIZES = ("splits", "download_size", "dataset_size")


def as_staged(folder: Path, files: Iterable[Path], view: Path) -> Path:
    """The folder itself, or a view of it whose README lists only the staged files.

    ``datasets`` reads the list of a repository's files in the head of its README, and refuses the whole repository when
    it finds none for one of the splits or configurations, asked for or not. ``tops fetch`` stages only the files that a
    task needs.

    Parameters
    ----------
    folder : Path
        The staged repository; it is left alone.
    files : iterable of Path
        Staged files of the benchmark.
    view : Path
        Folder for the view: links to the files, and a README of its own.
    """
    head, text = _head(folder / README)
    files = set(files)
    listed = _entries(head)
    there = [entry for entry in listed if _found(folder, entry, files)]
    if not there or len(there) == len(listed):
        return folder
    for file in sorted(files):
        if file.name != README:
            _link(view / file.relative_to(folder), file)
    names = {name for name, _ in there}
    configs = [
        {**config, "data_files": [entry for name, entry in there if name == config.get("config_name")]}
        for config in head["configs"]
        if config.get("config_name") in names
    ]
    infos = head.get("dataset_info", [])
    infos = [infos] if isinstance(infos, dict) else infos
    kept = [_without_sizes(info) for info in infos if info.get("config_name", "default") in names]
    reduced = {**head, "configs": configs, **({"dataset_info": kept} if infos else {})}
    _write(view / README, f"---\n{yaml.safe_dump(reduced, allow_unicode=True, sort_keys=False)}---\n{text}")
    return view


def _head(readme: Path) -> tuple[dict[str, Any], str]:
    """The YAML at the start of a README, and the text after it."""
    if not readme.is_file():
        return {}, ""
    parts = readme.read_text(encoding="utf-8").split("---\n", 2)
    if len(parts) < 3 or parts[0].strip():
        return {}, ""
    head = yaml.safe_load(parts[1])
    return (head, parts[2]) if isinstance(head, dict) else ({}, "")


def _entries(head: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """(Configuration, split with its file patterns) for each entry that names both."""
    found = []
    for config in head.get("configs", []):
        files = config.get("data_files")
        for entry in files if isinstance(files, list) else [{"split": "train", "path": files}] if files else []:
            if isinstance(entry, str):
                entry = {"split": "train", "path": entry}
            found.append((config.get("config_name"), entry))
    return found


def _found(folder: Path, entry: tuple[str, dict[str, Any]], files: set[Path]) -> bool:
    paths = entry[1].get("path", [])
    return any(file in files for path in ([paths] if isinstance(paths, str) else paths) for file in folder.glob(path))


def _without_sizes(info: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in info.items() if key not in _SIZES}


def _link(place: Path, file: Path) -> None:
    if place.is_symlink() and place.readlink() == file:
        return
    place.parent.mkdir(parents=True, exist_ok=True)
    aside = place.with_name(f".{place.name}.{os.getpid()}")
    aside.symlink_to(file)
    aside.replace(place)


def _write(file: Path, text: str) -> None:
    if file.is_file() and file.read_text(encoding="utf-8") == text:
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    aside = file.with_name(f".{file.name}.{os.getpid()}")
    aside.write_text(text, encoding="utf-8")
    aside.replace(file)
