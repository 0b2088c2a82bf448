"""``tops golden DIR``: every case under a folder against the methods of this package."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from tops.errors import DataError, nearest_names

# Floats may differ by 1e-4 of their value plus this much of the largest value, as the folder's README says.
ABSOLUTE = {"fastv": 1e-5, "pdrop": 1e-5, "sparsevlm": 1e-5, "dart": 1e-5}
METHODS = (
    *("cdpruner", "dart", "divprune", "fastv", "pdrop", "prumerge_plus", "scope", "sparsevlm", "tops", "trim"),
    "visionzip",
)


def main(argv: list[str]) -> int:
    """Check golden vectors; 1 on any mismatch."""
    parser = argparse.ArgumentParser(
        prog="tops golden",
        description="Compare baselines with golden vectors of their authors' code, TOPS with its algorithms: one "
        "folder a method, case_*.npz, model_*.npz, next_layout.npz and fixed_budget.npz in it.",
    )
    parser.add_argument("folder", type=Path, metavar="DIR")
    folder = parser.parse_args(argv).folder
    files = sorted(folder.glob("*/*.npz"))
    if not files:
        raise DataError(f"{folder} has no */*.npz; give the folder that holds one folder a method (tests/golden)")
    width = max(len(str(file.relative_to(folder))) for file in files)
    wrong = 0
    for file in files:
        line, ok = _line(file)
        wrong += not ok
        print(f"{file.relative_to(folder)!s:<{width}}  {line}", flush=True)
    print(f"{len(files) - wrong} of {len(files)} files equal")
    return 1 if wrong else 0


def check_file(file: Path) -> tuple[list[str], int, float, float]:
    """Compare one file.

    Parameters
    ----------
    file : Path
        ``<method>/<case>.npz``.

    Returns
    -------
    faults : list of str
        Empty when everything is equal.
    indices : int
        Index arrays compared.
    error : float
        Largest absolute difference of a float.
    worst : float
        Largest difference in units of its tolerance.

    Raises
    ------
    DataError
        For a folder that is no method's, an unknown kind of file, a damaged or incomplete one.
    """
    from tops.golden.compare import Arrays, Comparison

    method = file.parent.name
    if method not in METHODS:
        raise DataError(f"{file.parent} is no method's folder. {nearest_names(method, METHODS)}")
    case, check = Arrays(file), Comparison(ABSOLUTE.get(method, 1e-6))
    _checker(method, file)(case, check)
    if case.unused:
        check.faults.append(f"not compared: {', '.join(case.unused)}")
    return check.faults, check.indices, check.error, check.worst


def _checker(method: str, file: Path) -> Callable[..., None]:
    from functools import partial

    from tops.golden import layer_cases, layouts, vision_cases
    from tops.golden.compare import Arrays
    from tops.golden.model import check_model

    if file.stem.startswith("case_"):
        module = layer_cases if hasattr(layer_cases, method) else vision_cases
        checker: Callable[..., None] = getattr(module, method)
        return checker
    if file.stem.startswith("model_") and method in ("fastv", "pdrop", "sparsevlm", "dart"):
        return partial(check_model, method)
    if file.stem == "next_layout" and method in ("visionzip", "scope", "cdpruner"):
        layout: Callable[..., None] = getattr(layouts, method)
        return layout
    if file.stem == "fixed_budget" and method == "prumerge_plus":
        return partial(vision_cases.prumerge_fixed, Arrays(file.with_name("case_2.npz")))
    raise DataError(f"{file} is none of case_*, model_*, next_layout and fixed_budget, or not one that {method} has")


def _line(file: Path) -> tuple[str, bool]:
    try:
        faults, indices, error, worst = check_file(file)
    except DataError as problem:
        return f"FAILED  {problem}", False
    if faults:
        return f"DIFFERS  {'; '.join(faults)}", False
    return f"equal  {indices:3d} index arrays, worst error {error:.1e} ({worst:.4f} of its tolerance)", True
