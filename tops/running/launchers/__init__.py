"""Where workers run: processes of this machine, Slurm jobs, Ray tasks. All of them run the same ``worker.work``."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from tops.running.events import Event
from tops.running.worker import Assignment
from tops.settings.schema import LauncherConfig


class Launcher(Protocol):
    """A function that starts workers and returns when all of them have ended, whether or not their cells succeeded."""

    def __call__(
        self, assignment: Assignment, folder: Path, choice: LauncherConfig, emit: Callable[[Event], None]
    ) -> None: ...


def launcher(kind: str) -> Launcher:
    """The ``launch`` function of a launcher module; imported only when chosen."""
    launch: Launcher = importlib.import_module(f"{__name__}.{kind}").launch
    return launch
