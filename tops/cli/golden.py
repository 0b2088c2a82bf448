"""``tops golden DIR``: every case under a folder against the methods of this package."""

from __future__ import annotations

import argparse
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import tops
from tops.errors import DataError

CHECKS = Path(tops.__file__).resolve().parents[1] / "tests" / "golden" / "checks"


def main(argv: list[str]) -> int:
    """Check golden vectors; the exit status is 1 if any file differs or fails."""
    parser = argparse.ArgumentParser(
        prog="tops golden",
        description="Compare methods with golden vectors: arrays recorded from their authors' code, TOPS with its "
        "algorithms. DIR holds one folder a method, with case_*.npz, model_*.npz, next_layout.npz and the like in it. "
        "Needs a checkout of the source, where the checks lie beside the vectors (tests/golden).",
    )
    parser.add_argument("folder", type=Path, metavar="DIR")
    folder = parser.parse_args(argv).folder
    files = sorted(folder.glob("*/*.npz"))
    if not files:
        raise DataError(f"{folder} has no */*.npz; give the folder that holds one folder a method (tests/golden)")
    checks = load_checks(CHECKS)
    names = {file: str(file.relative_to(folder)) for file in files}
    width = max(map(len, names.values()))
    wrong = []
    for file, name in names.items():
        line, equal = _line(checks, file)
        wrong += [] if equal else [name]
        print(f"{name:<{width}}  {line}", flush=True)
    print(f"{len(files) - len(wrong)} of {len(files)} files equal" + (f"; not: {', '.join(wrong)}" if wrong else ""))
    return 1 if wrong else 0


def load_checks(folder: Path) -> ModuleType:
    """The package of checks in a source checkout.

    Parameters
    ----------
    folder : Path
        ``tests/golden/checks``.

    Raises
    ------
    DataError
        If the folder does not exist.
    """
    source = folder / "__init__.py"
    if not source.is_file():
        raise DataError(
            f"the checks of golden vectors are part of the source, not of the installed package, and {folder} is not "
            "there; run this in a checkout that is installed with `pip install -e .`"
        )
    spec = importlib.util.spec_from_file_location(
        "tops_golden_checks", source, submodule_search_locations=[str(folder)]
    )
    assert spec is not None
    assert spec.loader is not None
    checks = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = checks
    spec.loader.exec_module(checks)
    return checks


def _line(checks: ModuleType, file: Path) -> tuple[str, bool]:
    """The line about one file, and whether all its vectors are equal; an error in one file does not stop the others."""
    try:
        check = checks.check_file(file)
    except DataError as problem:
        return f"FAILED  {problem}", False
    except Exception as problem:
        return f"FAILED  {type(problem).__name__}: {problem}", False
    if check.faults:
        return f"DIFFERS  {'; '.join(check.faults)}", False
    return (
        f"equal  {check.indices:3d} index arrays, worst error {check.error:.1e} ({check.worst:.4f} of tolerance)",
        True,
    )
