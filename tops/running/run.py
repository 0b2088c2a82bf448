"""Running a plan: bring up workers, show what happens, and say at the end what is there and what is not."""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

from tops import registration
from tops.planning.plan import Plan
from tops.running.launchers import launcher
from tops.running.progress import Progress, duration
from tops.running.worker import Assignment
from tops.settings.schema import LauncherConfig
from tops.store.cell import Cell
from tops.store.store import CellStatus, Store


@dataclass
class Summary:
    """What a run left behind, read from the store.

    Attributes
    ----------
    asked : int
        Distinct cells of the plan that can run.
    done : int
        Of these, complete now.
    skipped : int
        Of these, complete before the run.
    missing : list of (Cell, str)
        Those that are not complete, and why.
    """

    asked: int
    done: int
    skipped: int
    missing: list[tuple[Cell, str]] = field(default_factory=list)
    seconds: float = 0.0

    def text(self) -> str:
        """For people; names every cell that is not there."""
        lines = [
            f"{self.done} of {self.asked} cells complete ({self.skipped} were before), {duration(self.seconds)}",
            *(f"  missing  {cell.label} [{cell.key[:12]}]: {why}" for cell, why in self.missing),
        ]
        if self.missing:
            lines.append(
                "run the same command again to go on with what is missing; documents that failed are asked again"
            )
        return "\n".join(lines)


def run(plan: Plan, choice: LauncherConfig, results: str | Path, *, out: TextIO | None = None) -> Summary:
    """Run what the plan has left to do.

    Parameters
    ----------
    plan : Plan
        Refused cells are left alone; complete ones are skipped.
    choice : LauncherConfig
        Where workers run.
    results : path
        Root of the store.
    out : text stream
        For progress; the standard error stream for None.
    """
    began = time.monotonic()
    todo, runnable = plan.todo(), list(plan.unique().values())
    if todo:
        results = Path(results).absolute()
        folder = results / plan.profile.name / "runs" / f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}"
        folder.mkdir(parents=True)
        (folder / "run.json").write_text(
            json.dumps({"experiment": plan.experiment.name, "cells": len(todo), "command": sys.argv}, indent=1)
        )
        assignment = Assignment(
            str(results),
            plan.profile,
            tuple(todo),
            choice.attempts,
            choice.threads,
            plan.experiment.record_kept,
            own=registration.known(),
        )
        with Progress(len(todo), out or sys.stderr) as progress:
            launcher(choice.kind)(assignment, folder, choice, progress)
    store = Store(results, plan.profile.name)
    missing = [
        (planned.cell, _why(store, planned.cell))
        for planned in runnable
        if planned.cell is not None and not store.status(planned.cell.key).done
    ]
    return Summary(
        asked=len(runnable),
        done=len(runnable) - len(missing),
        skipped=len(runnable) - len(todo),
        missing=missing,
        seconds=time.monotonic() - began,
    )


def _why(store: Store, cell: Cell) -> str:
    status = store.status(cell.key)
    if status is CellStatus.INCOMPLETE and (failure := store.read(cell.key).failure):
        return str(failure["error"])
    return "in work elsewhere" if status is CellStatus.RUNNING else "not finished"
