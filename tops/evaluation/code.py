"""Fingerprints of the code that answers a cell, one per part. A stored answer depends on this code and on its settings.

The parts are the engine, the method, the selection it calls, the backbone, and the evaluation that asks. The files of
each are found by following imports from the backbone's family, the method's class and the modules that ask, so that an
edit of a page of the report, or of another method, makes no answer stale.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

from tops import fingerprint
from tops.benchmarks.benchmark import load_benchmark
from tops.errors import TopsError
from tops.fingerprint import PACKAGE, behind, combined, file_of_class, home_of, read_source, save_memory
from tops.methods import method_class
from tops.store.cell import Cell

ROOMS = {
    "engine": "engine",
    "budget": "engine",
    "tokens": "engine",
    "signals": "engine",
    "backbones": "backbone",
    "methods": "method",
    "selection": "selection",
    "evaluation": "evaluation",
    "benchmarks": "evaluation",
    "serving": "engine",
}
"""Room of the package to part; files of other packages are the method's. Rooms that are not named change no answer."""

ASKING = (
    "evaluation.evaluate",
    "evaluation.session",
    "evaluation.asking",
    "evaluation.batches",
    "evaluation.media",
    "evaluation.models",
    "evaluation.videos",
    "benchmarks.tasks",
    "benchmarks.documents",
    "benchmarks.quiet",
)
FIDELITY, TURNS = "evaluation.fidelity", ("evaluation.turns", "benchmarks.turns")
VLLM = "evaluation.through_vllm"
# They find data, tell of a run, or score: none of it reaches an answer. Settings in YAML are in the key itself.
SILENT = (
    FIDELITY,  # unless it is what is measured
    *TURNS,  # likewise
    VLLM,  # unless it answers
    "evaluation.code",
    "evaluation.provenance",
    "evaluation.judge",
    "evaluation.registration",
    "evaluation.cli_model",
    "benchmarks.archives",
    "benchmarks.benchmark",
    "benchmarks.data",
    "benchmarks.fetch",
    "benchmarks.scorers",
)
UNKNOWN = "unknown"  # the part of a cell that was begun by a version that took no fingerprints

Code = dict[str, str]


def answering_code(cell: Cell) -> Code:
    """Fingerprint of every part of the code that answers a cell, as it was when this process first asked.

    Returns
    -------
    dict
        Part (``engine``, ``backbone``, ``method``, ``selection``, ``evaluation``) to 16 hex digits. The unpruned model
        has no method.
    """
    measure = load_benchmark(cell.benchmark.name).measure
    return dict(_answering_code(cell.backbone.family, cell.method.name, measure, cell.backbone.engine))


@cache
def _answering_code(family: str, method: str, measure: str, engine: str) -> tuple[tuple[str, str], ...]:
    roots, homes = [*_asking(measure), *_family(family), *_engine(engine)], [PACKAGE]
    if method != "none":
        file = file_of_class(method_class(method))
        roots.append(file)
        if PACKAGE.module(file) is None:
            homes.append(home_of(file))
    parts: dict[str, dict[str, str]] = {}
    for module, digest in behind(roots, homes, _counts).items():
        if method != "none" or _part(module) not in ("method", "selection"):  # the unpruned model calls neither
            parts.setdefault(_part(module), {})[module] = digest
    save_memory()
    return tuple((part, combined(digests)) for part, digests in sorted(parts.items()))


def _asking(measure: str) -> list[Path]:
    names = [*ASKING, *([FIDELITY] if measure == "fidelity" else []), *(TURNS if measure == "turns" else [])]
    found = [PACKAGE.file(f"tops.{name}") for name in names]
    return [file for file in found if file is not None]


def _engine(name: str) -> list[Path]:
    """Files behind an engine other than the library."""
    if not name:
        return []
    asking = PACKAGE.file(f"tops.{VLLM}")
    return [*([asking] if asking is not None else []), *sorted((PACKAGE.folder / "serving").rglob("*.py"))]


@cache
def _families() -> dict[str, Path]:
    found: dict[str, Path] = {}
    for file in sorted((PACKAGE.folder / "backbones").glob("*.py")):
        for name in re.findall(r"^ {4}family(?:: [^=\n]+)? = \"([^\"]+)\"", file.read_text(encoding="utf-8"), re.M):
            found[name] = file
    return found


def _family(name: str) -> list[Path]:
    """Files of a family and of the loader; the files of all families where no file of the package defines this one."""
    folder = PACKAGE.folder / "backbones"
    file = _families().get(name)
    return [folder / "loading.py", file] if file is not None else sorted(folder.glob("*.py"))


def _counts(module: str) -> bool:
    parts = module.split(".")
    if parts[0] != "tops":
        return True
    inside = ".".join(parts[1:])
    silent = any(inside == name or inside.startswith(f"{name}.") for name in SILENT)
    return len(parts) > 1 and parts[1] in ROOMS and not silent


def _part(module: str) -> str:
    parts = module.split(".")
    return ROOMS.get(parts[1], "method") if parts[0] == "tops" and len(parts) > 1 else "method"


def snapshot() -> None:
    """Fingerprint every file that may count now, because files may be edited while a long process runs."""
    for room in ROOMS:
        place = PACKAGE.folder / room
        for file in sorted(place.rglob("*.py")) if place.is_dir() else [place.with_suffix(".py")]:
            read_source(file.resolve())
    save_memory()


def forget() -> None:
    """Drop remembered fingerprints, for a process that has reloaded an edited module."""
    fingerprint.forget()
    _answering_code.cache_clear()


def differences(stored: Code | None, cell: Cell) -> list[str]:
    """Parts whose code has changed since a cell was answered; empty when the cell records no fingerprints."""
    if not stored:
        return []
    try:
        now = answering_code(cell)
    except TopsError:  # a method that is not installed here
        return []
    return [part for part in sorted({*now, *stored}) if UNKNOWN not in stored and stored.get(part) != now.get(part)]
