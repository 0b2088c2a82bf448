"""What is not part of the package: classes of a user's own file or module, found by reference and named by content.

A reference is ``path/mine.py:Mine`` or ``my_package.mod:Mine``. Its fingerprint covers the source file and, of what
that file imports, everything from its own folder or package, so that an edited method is never taken for the old one.
"""

from __future__ import annotations

import ast
import hashlib
import importlib
import importlib.util
import re
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from tops.errors import ConfigurationError, nearest_names
from tops.fingerprint import of_file

_FILE = re.compile(r"(?P<file>.+\.py):(?P<name>[A-Za-z_]\w*)")
_MODULE = re.compile(r"(?P<module>[A-Za-z_]\w*(\.[A-Za-z_]\w*)*):(?P<name>[A-Za-z_]\w*)")


@dataclass(frozen=True)
class Source:
    """Where something of a user's own is defined.

    Attributes
    ----------
    reference : str
        By which another process of this machine finds it: ``/absolute/path.py:Name`` or ``module:Name``.
    file : Path
        The file.
    digest : str
        Fingerprint of the file and what it imports from its own folder (:func:`tops.fingerprint.of_file`).
    earlier : str
        What stood for it in stores of earlier versions: sha256 over the bytes of the same files, hex.
    """

    reference: str
    file: Path
    digest: str
    earlier: str = ""


def is_reference(text: str) -> bool:
    """Whether a word names a class or object by file or module."""
    return bool(_FILE.fullmatch(text) or _MODULE.fullmatch(text))


def locate(reference: str, *folders: Path) -> Source:
    """Where a reference points, without running any of its code.

    Parameters
    ----------
    reference : str
        ``path.py:Name`` or ``module:Name``.
    *folders : Path
        Where a relative path is looked for, in order; the working folder by default.

    Raises
    ------
    ConfigurationError
        If it is no reference, or there is no such file or module.
    """
    if (found := _FILE.fullmatch(reference)) is not None:
        file = _existing(found["file"], folders or (Path(),))
        return Source(f"{file}:{found['name']}", file, of_file(file), earlier_digest(file))
    if (found := _MODULE.fullmatch(reference)) is not None:
        file = _module_file(found["module"])
        return Source(reference, file, of_file(file), earlier_digest(file))
    raise ConfigurationError(f"{reference!r} names no class; write ./mine.py:Mine or my_package.module:Mine")


def load(reference: str, *folders: Path) -> tuple[Any, Source]:
    """The object that a reference names, and where it is defined; parameters as for :func:`locate`.

    Raises
    ------
    ConfigurationError
        If the file or module is not there, fails while it is imported (with the line of the user's file), or has no
        such name.
    """
    source = locate(reference, *folders)
    place, _, name = source.reference.rpartition(":")
    module = _module_of(source.file) if place.endswith(".py") else _imported(place)
    if not hasattr(module, name):
        own = [n for n, v in vars(module).items() if getattr(v, "__module__", "") == module.__name__]
        raise ConfigurationError(f"{source.file} has no {name!r}. {nearest_names(name, own)}")
    return getattr(module, name), source


def source_of(thing: Any) -> Source:
    """Where a class that is in memory is defined.

    Raises
    ------
    ConfigurationError
        If it is in no file, as in a notebook: neither its result's key nor another process could name it.
    """
    module = sys.modules.get(thing.__module__)
    file = getattr(module, "__file__", None)
    if file is None or "<locals>" in thing.__qualname__:
        raise ConfigurationError(
            f"{thing.__qualname__} is defined in no file, or inside a function; put it at the top of a .py file: the "
            "key of its results holds the hash of that file"
        )
    path = Path(file).resolve()
    by_path = thing.__module__ == "__main__" or thing.__module__.startswith(_PREFIX)
    reference = f"{path}:{thing.__qualname__}" if by_path else f"{thing.__module__}:{thing.__qualname__}"
    return Source(reference, path, of_file(path), earlier_digest(path))


def earlier_digest(file: Path) -> str:
    """sha256 over the bytes of a source file and of what it imports from its own folder: stores of earlier versions
    and names of loaded modules hold it.
    """
    root, total = _root(file.resolve()), hashlib.sha256()
    for path, content in sorted(_files(file).items()):
        total.update(f"{path.relative_to(root)}\0{hashlib.sha256(content).hexdigest()}\n".encode())
    return total.hexdigest()


def _files(file: Path) -> dict[Path, bytes]:
    """A source file and those of its own folder that it imports, with their content."""
    found: dict[Path, bytes] = {}
    _collect(file.resolve(), _root(file.resolve()), found)
    return found


def _root(file: Path) -> Path:
    """Folder that imports of the file's own start from: above its outermost package, or the folder it lies in."""
    folder = file.parent
    while (folder / "__init__.py").exists():
        folder = folder.parent
    return folder


def _collect(file: Path, root: Path, found: dict[Path, bytes]) -> None:
    if file in found:
        return
    found[file] = content = file.read_bytes()
    try:
        tree = ast.parse(content)
    except SyntaxError:
        return  # importing it says so, with the line
    for node in ast.walk(tree):
        for target in _targets(node, file, root):
            for path in (target.with_suffix(".py"), target / "__init__.py"):
                if path.is_file():
                    _collect(path, root, found)


def _targets(node: ast.AST, file: Path, root: Path) -> list[Path]:
    """Places without ending that an import statement may mean, packages on the way included."""
    if isinstance(node, ast.Import):
        names, start = [alias.name for alias in node.names], root
    elif isinstance(node, ast.ImportFrom):
        start = root if node.level == 0 else file.parents[node.level - 1]
        base = node.module or ""
        names = [base, *(f"{base}.{alias.name}".strip(".") for alias in node.names)]
    else:
        return []
    places = []
    for name in names:
        parts = [part for part in name.split(".") if part]
        places += [start.joinpath(*parts[: i + 1]) for i in range(len(parts))]
    return places


_PREFIX = "tops_user_"


def _existing(text: str, folders: tuple[Path, ...]) -> Path:
    tried = [(folder / Path(text).expanduser()).resolve() for folder in folders]
    for path in tried:
        if path.is_file():
            return path
    raise ConfigurationError(f"there is no file {' or '.join(map(str, dict.fromkeys(tried)))}; correct the path")


def _module_of(file: Path) -> ModuleType:
    """A file as a module named by its content, so that an edited one is loaded anew.

    Its folder joins the end of ``sys.path``: nothing installed is shadowed.
    """
    files = _files(file)
    name = f"{_PREFIX}{file.stem}_{hashlib.sha256(f'{file}{earlier_digest(file)}'.encode()).hexdigest()[:12]}"
    known = sys.modules.get(name)
    if known is not None:
        return known
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    _place_last(file.parent)
    beside = {_module_name(path, file.parent): path for path in files if path != file}
    for other in beside:
        sys.modules.pop(other, None)  # of an earlier content, or of another user's folder
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise _failed(file, error) from error
    for other, path in beside.items():
        found = getattr(sys.modules.get(other), "__file__", None)
        if found is not None and Path(found).resolve() != path:
            raise ConfigurationError(
                f"{file} imports {other!r}, which is {found} and not {path}; give the file of your own another name"
            )
    return module


_FOLDERS: list[str] = []  # of users' files, at the end of sys.path


def _place_last(folder: Path) -> None:
    """The folder first among those of users' files, all of them behind everything else."""
    sys.path[:] = [entry for entry in sys.path if entry not in _FOLDERS]
    if str(folder) not in sys.path:
        _FOLDERS[:] = [str(folder), *(entry for entry in _FOLDERS if entry != str(folder))]
    sys.path += _FOLDERS


def _module_name(path: Path, root: Path) -> str:
    relative = path.relative_to(root) if path.is_relative_to(root) else Path(path.name)
    parts = relative.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _module_file(name: str) -> Path:
    """The file of a module; a package in the working folder is found as `python -m` would find it."""
    try:
        if importlib.util.find_spec(name.partition(".")[0]) is None and str(Path().resolve()) not in sys.path:
            sys.path.append(str(Path().resolve()))
        spec = importlib.util.find_spec(name)  # imports the packages above it
    except ModuleNotFoundError:
        spec = None
    except (Exception, SystemExit) as error:
        raise _failed(None, error) from error
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        raise ConfigurationError(f"there is no module {name!r}; install its package, or name the file: ./mine.py:Mine")
    return Path(spec.origin)


def _imported(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit) as error:
        raise _failed(None, error) from error


def _failed(file: Path | None, error: BaseException) -> ConfigurationError:
    """The message for an error inside a user's file, with its own line."""
    if isinstance(error, SyntaxError) and error.filename:
        place = f"{error.filename}, line {error.lineno}"
    else:
        frames = traceback.extract_tb(error.__traceback__)
        own = [f for f in frames if file is None or Path(f.filename).resolve().parent == file.parent]
        frame = (own or frames)[-1]
        place = f"{frame.filename}, line {frame.lineno}"
    text = str(error).strip().splitlines()
    return ConfigurationError(
        f"{place}: {type(error).__name__}: {text[0] if text else 'no message'}; correct the file and run again"
    )
