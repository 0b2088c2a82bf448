"""Fingerprints of source code: of one file, of a class with what its file imports, of everything behind some files.

A fingerprint covers what the code does: comments, docstrings and layout are left out, so that only an edit that may
change an answer changes it. Imports are followed by name, also those inside functions; those for type checkers only
are not.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from tops.errors import DataError

VERSION = 1  # of the normal form; part of every digest
_BLOCKS = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
_LEFT_OUT = ("ctx", "type_comment", "kind")


@dataclass(frozen=True)
class Source:
    """What a fingerprint needs of one file.

    Attributes
    ----------
    digest : str
        sha256 of the normal form, hex.
    imports : tuple of (int, str)
        Level (0: absolute) and dotted name of everything that is imported; ``from a import b`` gives ``a`` and ``a.b``.
    """

    digest: str
    imports: tuple[tuple[int, str], ...]


@dataclass(frozen=True)
class Home:
    """A folder whose modules are followed: ``folder/a/b.py`` is ``prefix.a.b`` (``a.b`` for an empty prefix)."""

    folder: Path
    prefix: str = ""

    def file(self, module: str) -> Path | None:
        """File of a module; None when it is not here."""
        return _file_of(self.folder, self.prefix, module)

    def module(self, file: Path) -> str | None:
        """Dotted name of a file; None when it lies elsewhere."""
        if not file.is_relative_to(self.folder):
            return None
        parts = list(file.relative_to(self.folder).with_suffix("").parts)
        parts = parts[:-1] if parts[-1] == "__init__" else parts
        return ".".join(p for p in (self.prefix, *parts) if p)


@cache
def _file_of(folder: Path, prefix: str, module: str) -> Path | None:
    if prefix:
        if module != prefix and not module.startswith(f"{prefix}."):
            return None
        module = module[len(prefix) + 1 :]
    place = folder.joinpath(*module.split(".")) if module else folder
    if module and place.with_name(f"{place.name}.py").is_file():
        return place.with_name(f"{place.name}.py").resolve()
    return (place / "__init__.py").resolve() if (place / "__init__.py").is_file() else None


PACKAGE = Home(Path(__file__).resolve().parent, "tops")


def cache_folder() -> Path:
    """``$TOPS_CACHE``, else ``~/.cache/tops``: what can be made again, never the only copy of anything."""
    return Path(os.environ.get("TOPS_CACHE") or Path.home() / ".cache" / "tops").expanduser()


def behind(
    roots: Iterable[Path],
    homes: Iterable[Home],
    follow: Callable[[str], bool] = lambda module: True,
    read: Callable[[Path], Source] | None = None,
) -> dict[str, str]:
    """Digests of files and of all that they import, directly or not, from their homes.

    Parameters
    ----------
    roots : iterable of Path
        Files to begin with.
    homes : iterable of Home
        Where imports are looked up. What lies nowhere there is not followed: the versions of packages stand for it.
    follow : callable
        Whether a module, by its dotted name, counts.
    read : callable, optional
        How a file is read; :func:`read_source` for None.

    Returns
    -------
    dict
        Dotted name of each module to the digest of its file.
    """
    places = tuple(homes)
    found: dict[str, str] = {}
    waiting = [path.resolve() for path in roots]
    while waiting:
        file = waiting.pop()
        name = _name_of(file, places)
        if name in found:
            continue
        source = (read or read_source)(file)
        found[name] = source.digest
        for wanted in _absolute(source, name, package=file.name == "__init__.py"):
            target = next((f for h in places if (f := h.file(wanted)) is not None), None)
            if target is not None and follow(wanted):
                waiting.append(target)
    return found


def combined(digests: Mapping[str, str]) -> str:
    """One digest of several, 16 hex digits: enough to tell edits apart, short enough to read."""
    text = "\n".join(f"{name}\0{digest}" for name, digest in sorted(digests.items()))
    return hashlib.sha256(f"{VERSION}\n{text}".encode()).hexdigest()[:16]


def of_file(file: Path) -> str:
    """Fingerprint of a user's file as it is now: what it does, and what it imports from its own folder or package."""
    _file_of.cache_clear()
    file = file.resolve()
    return combined(behind([file], [home_of(file)], lambda module: module.split(".")[0] != "tops", _fresh))


def hash_of_class(cls: type) -> str:
    """Fingerprint of a class of any file, by :func:`of_file`.

    Raises
    ------
    DataError
        If the class was defined in no file, as in a notebook.
    """
    return of_file(file_of_class(cls))


def file_of_class(cls: type) -> Path:
    """Source file of a class.

    Raises
    ------
    DataError
        If there is none.
    """
    module = sys.modules.get(cls.__module__)
    named = getattr(module, "__file__", None)
    if named is None:
        with suppress(TypeError, OSError):
            named = inspect.getsourcefile(cls)
    if named is None or not Path(named).is_file():
        raise DataError(
            f"{cls.__qualname__} was defined in no file, so that nothing would tell its stored answers from those of "
            "an edited one; write it into a .py file"
        )
    return Path(named).resolve()


def home_of(file: Path) -> Home:
    """Where a file's own imports are: its whole package, or its folder when it is in none."""
    folder = file.resolve().parent
    if not (folder / "__init__.py").is_file():
        return Home(folder)
    while (folder.parent / "__init__.py").is_file():
        folder = folder.parent
    return Home(folder, folder.name)


def _name_of(file: Path, homes: tuple[Home, ...]) -> str:
    return next((name for home in homes if (name := home.module(file)) is not None), file.stem)


def _absolute(source: Source, module: str, *, package: bool) -> Iterator[str]:
    for level, name in source.imports:
        wanted = name
        if level:
            parts = module.split(".")
            kept = parts[: len(parts) - level + (1 if package else 0)]
            wanted = ".".join(p for p in (*kept, name) if p)
        yield wanted
        if not wanted.startswith("tops."):  # `import a.b` runs a/__init__.py too
            above = wanted.split(".")[:-1]
            yield from (".".join(above[: n + 1]) for n in range(len(above)))


@cache
def read_source(file: Path) -> Source:
    """Digest and imports of one file, as it was when this process first asked: the code that it runs, not a later edit.

    A file that Python cannot read as source has the digest of its bytes, and no imports.
    """
    return _fresh(file)


def _fresh(file: Path) -> Source:
    return _memory().source(file.read_bytes())


def forget() -> None:
    """Read files anew from here on, for a process that has loaded an edited module again."""
    read_source.cache_clear()
    _file_of.cache_clear()


class _Memory:
    """Sources by the sha256 of their bytes: parsing a hundred files takes half a second."""

    def __init__(self, path: Path) -> None:
        self._path, self._known, self._new = path, dict[str, Any](), 0
        with suppress(OSError, ValueError, TypeError):
            self._known = dict(json.loads(path.read_text()))

    def source(self, content: bytes) -> Source:
        key = f"{VERSION}-{hashlib.sha256(content).hexdigest()}"
        with suppress(KeyError, TypeError, ValueError):
            digest, imports = self._known[key]
            return Source(str(digest), tuple((int(level), str(name)) for level, name in imports))
        source = _parsed(content)
        self._known[key] = [source.digest, source.imports]
        self._new += 1
        return source

    def save(self) -> None:
        if not self._new:
            return
        with suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            temporary = self._path.with_suffix(f".{os.getpid()}.tmp")
            temporary.write_text(json.dumps(dict(list(self._known.items())[-2000:])))
            temporary.replace(self._path)
        self._new = 0


_MEMORIES: dict[Path, _Memory] = {}


def _memory() -> _Memory:
    path = cache_folder() / "sources.json"
    if path not in _MEMORIES:
        _MEMORIES[path] = _Memory(path)
    return _MEMORIES[path]


def save_memory() -> None:
    """Keep what was parsed for the next process."""
    _memory().save()


def _parsed(content: bytes) -> Source:
    try:
        tree = ast.parse(content)
    except (SyntaxError, ValueError):
        return Source(hashlib.sha256(content).hexdigest(), ())
    parts: list[str] = []
    _dump(tree, parts)
    digest = hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()
    return Source(digest, tuple(dict.fromkeys(_imports(tree))))


def _dump(node: ast.AST, parts: list[str]) -> None:
    """The tree as text without places, docstrings and empty fields: the same in every version of Python we serve."""
    parts.append(type(node).__name__)
    for name in node._fields:
        value = getattr(node, name, None)
        if value is None or name in _LEFT_OUT:
            continue
        if isinstance(value, list):
            items = value[1:] if name == "body" and isinstance(node, _BLOCKS) and _is_docstring(value) else value
            if not items:
                continue
            parts.append(f".{name}[{len(items)}]")
            for item in items:
                if isinstance(item, ast.AST):
                    _dump(item, parts)
                else:
                    parts.append(repr(item))
            continue
        parts.append(f".{name}")
        if isinstance(value, ast.AST):
            _dump(value, parts)
        else:
            parts.append(repr(value))


def _is_docstring(body: list[Any]) -> bool:
    first = body[0] if body else None
    return isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str)


def _imports(node: ast.AST) -> Iterator[tuple[int, str]]:
    if isinstance(node, ast.Import):
        yield from ((0, alias.name) for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        base = node.module or ""
        yield node.level, base
        yield from ((node.level, f"{base}.{alias.name}".lstrip(".")) for alias in node.names)
    elif isinstance(node, ast.If) and _for_type_checkers(node.test):
        for branch in node.orelse:
            yield from _imports(branch)
    else:
        for child in ast.iter_child_nodes(node):
            yield from _imports(child)


def _for_type_checkers(test: ast.expr) -> bool:
    return (isinstance(test, ast.Name) and test.id == "TYPE_CHECKING") or (
        isinstance(test, ast.Attribute) and test.attr == "TYPE_CHECKING"
    )
