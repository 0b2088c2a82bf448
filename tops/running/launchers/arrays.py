"""Slurm job arrays that runs of a store have submitted: list those still running with their cells, and cancel them."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tops.errors import ConfigurationError

FILE = "array.json"


@dataclass(frozen=True)
class Array:
    """One submitted array.

    Attributes
    ----------
    folder : Path
        Folder of the run that submitted it.
    jobs : tuple of str
        Job numbers in Slurm's form (``1234_0``).
    keys : frozenset of str
        Keys of the cells that the array was given.
    """

    folder: Path
    jobs: tuple[str, ...]
    keys: frozenset[str]

    @property
    def number(self) -> str:
        """Slurm's number of the whole array (``1234``)."""
        return self.jobs[0].partition("_")[0]

    def save(self) -> None:
        """Write it into its folder, where later commands find it."""
        content = {"jobs": list(self.jobs), "keys": sorted(self.keys)}
        (self.folder / FILE).write_text(json.dumps(content), encoding="utf-8")


def running(results: str | Path, profile: str, keys: Iterable[str] | None = None) -> list[Array]:
    """Arrays of a store that Slurm still knows as pending or running, the newest first.

    Parameters
    ----------
    results, profile
        Which store.
    keys : iterable of str, optional
        Only arrays that were given one of these cells.

    Raises
    ------
    ConfigurationError
        If there are arrays and Slurm cannot be asked.
    """
    wanted = None if keys is None else frozenset(keys)
    found = []
    for path in sorted((Path(results) / profile / "runs").glob(f"*/{FILE}"), reverse=True):
        content = json.loads(path.read_text(encoding="utf-8"))
        array = Array(path.parent, tuple(content["jobs"]), frozenset(content["keys"]))
        if array.jobs and (wanted is None or wanted & array.keys):
            found.append(array)
    alive = _alive({array.number for array in found}) if found else set()
    return [array for array in found if array.number in alive]


def cancel(array: Array) -> None:
    """Stop an array; every answer so far is stored.

    Raises
    ------
    ConfigurationError
        If Slurm refuses.
    """
    done = subprocess.run([_tool("scancel"), array.number], capture_output=True, text=True)
    if done.returncode:
        raise ConfigurationError(f"scancel {array.number}: {done.stderr.strip() or 'failed'}; stop it by hand")


def _alive(numbers: set[str]) -> set[str]:
    command = [_tool("squeue"), "-h", "-o", "%F", "-j", ",".join(sorted(numbers))]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode and "Invalid job id" not in done.stderr:
        raise ConfigurationError(f"squeue: {done.stderr.strip()}; ask again when Slurm answers")
    if done.returncode and len(numbers) > 1:  # squeue fails for all numbers if it has forgotten one
        return {n for number in numbers for n in _alive({number})}
    return set(done.stdout.split())


def _tool(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise ConfigurationError(f"there is no {name} on PATH; run this on a login node of the cluster")
    return found
