"""Fingerprint of the rule that scored a cell: its file, what that imports of the scorers, and the metrics it uses."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from pathlib import Path

from tops.fingerprint import PACKAGE, behind, combined, save_memory

ROOMS = ("tops.benchmarks.scorers.", "tops.statistics.metrics")


@cache
def code_of_rule(file: str, stock: str = "") -> str:
    """Fingerprint of a rule, as its code was when this process first asked.

    Parameters
    ----------
    file : str
        Module of the package that defines the rule.
    stock : str
        File below lmms-eval's ``tasks`` with the function that the rule uses; empty for a rule without one.
    """
    roots = [Path(file)]
    if stock:
        package = find_spec("lmms_eval")
        assert package is not None
        assert package.submodule_search_locations is not None
        roots.append(Path(package.submodule_search_locations[0]) / "tasks" / stock)
    found = combined(behind(roots, [PACKAGE], lambda module: module.startswith(ROOMS)))
    save_memory()
    return found
