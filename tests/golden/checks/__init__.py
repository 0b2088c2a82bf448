"""Checks of golden vectors: one file a method, one function a kind of file (``case``, ``model``, ``next_layout``, ...).

``case_0.npz`` and ``case_12.npz`` are of the kind ``case``. A check gets the arrays and a :class:`Comparison`, computes
with the method's own code what the file records, and must look at every array.
"""

from __future__ import annotations

import importlib
import re
from pathlib import Path

from tops.errors import DataError, nearest_names

from .compare import Arrays, Comparison

_SHARED = ("__init__", "compare", "decoder", "points", "tiles")


def methods() -> list[str]:
    """Methods that have checks, sorted."""
    return sorted(file.stem for file in Path(__file__).parent.glob("*.py") if file.stem not in _SHARED)


def check_file(file: Path) -> Comparison:
    """Compare one file.

    Parameters
    ----------
    file : Path
        ``<method>/<kind>.npz`` or ``<method>/<kind>_<number>.npz``.

    Raises
    ------
    DataError
        For a folder that is no method's, an unknown kind of file, a damaged or incomplete one.
    """
    method = file.parent.name
    if method not in methods():
        raise DataError(f"{file.parent} is no method's folder. {nearest_names(method, methods())}")
    module = importlib.import_module(f"{__name__}.{method}")
    kinds = {name for name, value in vars(module).items() if getattr(value, "__module__", "") == module.__name__}
    kinds = {name for name in kinds if not name.startswith("_")}
    kind = file.stem if file.stem in kinds else re.sub(r"_\d+\Z", "", file.stem)
    if kind not in kinds:
        raise DataError(f"{file.name} is no kind of file that {method} has. {nearest_names(kind, kinds)}")
    case, check = Arrays(file), Comparison()
    getattr(module, kind)(case, check)
    if case.unused:
        check.faults.append(f"not compared: {', '.join(case.unused)}")
    return check
