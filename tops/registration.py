"""``tops.register``: methods, model families and choices of a user's own, and how other processes come to know them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

from tops import backbones, methods
from tops.errors import ConfigurationError
from tops.references import is_reference, load
from tops.settings import folders

Thing = TypeVar("Thing", bound="type[Any] | str | Path")


def register(thing: Thing) -> Thing:
    """Make something of your own known to this process, and to the workers that it starts.

    Parameters
    ----------
    thing : type, str or Path
        A method's class, an adapter's class (:class:`tops.backbones.base.Adapter`), a reference to one
        (``"mine.py:Mine"``), or the YAML file of a benchmark, backbone, suite or experiment in a folder of that name.

    Returns
    -------
    The same, so that it decorates a class.

    Raises
    ------
    ConfigurationError
        If it is none of these, is defined in no file, or something else has its name.
    """
    if isinstance(thing, str | Path):
        text = str(thing)
        if text.endswith(".yaml"):
            folders.add_file(_group(Path(text)), Path(text))
            return thing
        if not is_reference(text):
            raise ConfigurationError(
                f"{text!r} is neither a class, nor path.py:Class, nor a YAML file; for example tops.register(Mine)"
            )
        cls, source = load(text)
    else:
        cls, source = thing, None
    if isinstance(cls, type) and any(base.__name__ == "Adapter" for base in cls.__mro__):
        backbones.register_family(cls, source)
    else:
        methods.register(cls, source)
    return thing


def _group(path: Path) -> str:
    groups = [folder.name for folder in folders.built_in().iterdir() if folder.is_dir()]
    group = path.resolve().parent.name
    if group not in groups:
        raise ConfigurationError(
            f"{path}: the folder of a choice says what it is; move the file into one of {', '.join(sorted(groups))}"
        )
    return group


def known() -> dict[str, Any]:
    """All that users added here, as plain values for :func:`restore` in another process of this machine."""
    return {
        "configs": [str(folder) for folder in folders.search_path()[1:]],
        "files": {g: [str(p) for p in found.values()] for g, found in folders.added_files().items()},
        "methods": [source.reference for source in methods.registered_methods().values()],
        "families": [source.reference for source in backbones.family_sources().values()],
    }


def restore(own: dict[str, Any]) -> None:
    """Inverse of :func:`known`."""
    for folder in own.get("configs", ()):
        folders.add_folder(folder)
    for group, paths in own.get("files", {}).items():
        for path in paths:
            folders.add_file(group, Path(path))
    for reference in own.get("methods", ()):
        methods.named_method(reference)
    for reference in own.get("families", ()):
        backbones.named_family(reference)
