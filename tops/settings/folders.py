"""Where configurations are looked for: the built-in ones, then a user's own folders, which add and never replace."""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from tops.errors import ConfigurationError

VARIABLE = "TOPS_CONFIGS"
_FILES: dict[str, dict[str, Path]] = {}  # single files that a word of the command line named, by group


@cache
def built_in() -> Path:
    """``configs/`` of the installed package, or of the checkout that it is imported from."""
    package = Path(__file__).parents[1]
    inside, beside = package / "configs", package.parent / "configs"
    return inside if inside.is_dir() else beside


@cache
def _built_in() -> Path:
    return built_in().resolve()


def search_path() -> tuple[Path, ...]:
    """The built-in folder, ``./configs`` where there is one, and the folders of ``TOPS_CONFIGS`` (``--config-dir``).

    Raises
    ------
    ConfigurationError
        If ``TOPS_CONFIGS`` or ``--config-dir`` names something that is not a folder.
    """
    # A plan asks thousands of times, and resolving a path asks the disk for each of its folders.
    return _search_path(os.environ.get(VARIABLE, ""), str(Path.cwd()), Path("configs").is_dir())


@cache
def _search_path(variable: str, working: str, has_configs: bool) -> tuple[Path, ...]:
    named = [Path(entry).expanduser() for entry in variable.split(os.pathsep) if entry]
    for folder in named:
        if not folder.is_dir():
            raise ConfigurationError(
                f"no folder of configurations at {folder}; correct --config-dir or the variable {VARIABLE}"
            )
    here = [Path(working) / "configs"] if has_configs else []
    return tuple(dict.fromkeys([built_in().resolve(), *(folder.resolve() for folder in (*here, *named))]))


def add_folder(folder: str) -> None:
    """Add a folder of configurations (``--config-dir``) for this process and the processes that it starts.

    Raises
    ------
    ConfigurationError
        If the path is not a folder.
    """
    path = Path(folder).expanduser()
    if not path.is_dir():
        raise ConfigurationError(f"--config-dir {folder}: no such folder")
    before = os.environ.get(VARIABLE, "").split(os.pathsep)
    os.environ[VARIABLE] = os.pathsep.join(dict.fromkeys(e for e in (*before, str(path.resolve())) if e))


def add_file(group: str, path: Path) -> str:
    """Make one file a choice of its group, called by its stem; returns the name.

    Raises
    ------
    ConfigurationError
        If there is no such file, or another choice has its name.
    """
    if not path.is_file():
        raise ConfigurationError(f"{group}={path}: there is no such file; correct the path, or give a name")
    path = path.resolve()
    known = files(group).get(path.stem)
    if known is not None and known != path and not _same(known, path) and not _overrides(path):
        raise ConfigurationError(_twice(group, known, path))
    _FILES.setdefault(group, {})[path.stem] = path
    return path.stem


def added_files() -> dict[str, dict[str, Path]]:
    """Files of :func:`add_file`, by group and name."""
    return {group: dict(found) for group, found in _FILES.items()}


_STEADY: list[dict[str, Mapping[str, Path]]] = []  # one dict while files are taken as they were first seen
_READ: dict[Path, bytes] = {}


@contextmanager
def steady() -> Iterator[None]:
    """Inside the block, list the files once and reuse the list: a plan asks for it up to a hundred thousand times."""
    if _STEADY:
        yield
        return
    _STEADY.append({})
    try:
        yield
    finally:
        _STEADY.clear()
        _READ.clear()


def files(group: str) -> Mapping[str, Path]:
    """Every choice of a group by name, with its file.

    Raises
    ------
    ConfigurationError
        If a file of a user's folder has the name of another one and does not say ``override: true``.
    """
    if _STEADY and group in _STEADY[0]:
        return _STEADY[0][group]
    folders = search_path()
    known = _files(group, folders, tuple(_changed(folder / group) for folder in folders))
    found = {**known, **_FILES.get(group, {})}
    if _STEADY:
        _STEADY[0][group] = found
    return found


def _changed(folder: Path) -> int:
    return folder.stat().st_mtime_ns if folder.is_dir() else 0


@cache
def _files(group: str, folders: tuple[Path, ...], changed: tuple[int, ...]) -> Mapping[str, Path]:
    found: dict[str, Path] = {}
    for folder in folders:
        for path in sorted((folder / group).glob("*.yaml")):
            known = found.get(path.stem)
            if known is None or _overrides(path):
                found[path.stem] = path
            elif not _same(known, path):
                raise ConfigurationError(_twice(group, known, path))
    return found


def below(group: str, path: Path) -> Path | None:
    """The file that a file of the same name with ``override: true`` replaces; None where there is none."""
    candidates = [folder / group / path.name for folder in search_path()]
    before = candidates[: candidates.index(path)] if path in candidates else candidates
    return next((c for c in reversed(before) if c.is_file() and c.resolve() != path), None)


def read(path: Path) -> dict[str, Any]:
    """A YAML file that holds a mapping.

    Raises
    ------
    ConfigurationError
        If the file cannot be read, is not YAML, or does not hold a mapping.
    """
    if path in _READ:
        known: dict[str, Any] = pickle.loads(_READ[path])  # noqa: S301  # a copy of what this process has parsed
        return known
    content = _parsed(path)
    if _STEADY:
        _READ[path] = pickle.dumps(content)
    return content


def _parsed(path: Path) -> dict[str, Any]:
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise ConfigurationError(f"{path}: {error}; correct the file") from None
    if not isinstance(content, dict):
        raise ConfigurationError(f"{path}: expected a mapping, not {content!r}")
    return content


def is_built_in(path: Path) -> bool:
    """Whether a file belongs to the package."""
    return path.is_relative_to(_built_in())


def _overrides(path: Path) -> bool:
    return read(path).get("override") is True


def _same(a: Path, b: Path) -> bool:
    return a.read_bytes() == b.read_bytes()


def _twice(group: str, known: Path, path: Path) -> str:
    whose = "the built-in one" if is_built_in(known) else str(known)
    return (
        f"{path} has the name of another {group}, {whose}; rename it, or write `override: true` into it to take its "
        "place"
    )
