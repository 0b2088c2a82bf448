"""Running a plan: start workers, show their progress, and report at the end which cells are complete."""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TextIO

from tops import registration
from tops.errors import ConfigurationError
from tops.evaluation.rescoring import score_again
from tops.planning.matching_cells import SCORING
from tops.planning.plan import Plan, PlannedCell, PlanStatus, refreshed
from tops.planning.show import stale_lines
from tops.running.duration import duration
from tops.running.judging import judge_the_rest
from tops.running.launchers import launcher
from tops.running.progress import Progress
from tops.running.worker import Assignment
from tops.settings.schema import LauncherConfig, recorded
from tops.store.cell import Cell
from tops.store.secrets import without_secrets
from tops.store.store import Store


@dataclass
class Summary:
    """Outcome of a run, read from the store.

    Attributes
    ----------
    asked : int
        Distinct cells of the plan that can run.
    done : int
        How many of these are complete now.
    skipped : int
        How many of these were complete before the run.
    missing : list of (Cell, str)
        Cells that are not complete, each with the reason.
    """

    asked: int
    done: int
    skipped: int
    missing: list[tuple[Cell, str]] = field(default_factory=list)
    seconds: float = 0.0

    def text(self) -> str:
        """The outcome as text; names every cell that is not complete."""
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

    Raises
    ------
    ConfigurationError
        If stored cells are stale and the plan does not say what to do with them.
    """
    began = time.monotonic()
    check_launcher(choice)
    plan = replace(plan, store=Path(results))
    if (stale := plan.stale_cells()) and plan.stale == "refuse":
        raise ConfigurationError(refusal(plan))
    skipped = len(plan.unique()) - len(plan.todo())
    if stale and plan.stale == "rerun":
        plan = _cleared(plan, stale)
    if todo := plan.todo():
        _launch(plan, todo, choice, Path(results).absolute(), out)
    unjudged = judge_the_rest(refreshed(plan))
    after = refreshed(plan)
    missing = [
        (p.cell, unjudged.get(p.cell.key) or _why(p))
        for p in after.unique().values()
        if p.cell is not None and (not after.settled(p) or p.cell.key in unjudged)
    ]
    asked = len(after.unique())
    return Summary(asked, asked - len(missing), skipped, missing, time.monotonic() - began)


def refusal(plan: Plan) -> str:
    """Message for a run that would put new cells beside stale ones: why it does not start, and which key to add."""
    advice = "nothing was run: one table would hold numbers of two programs. Add stale=rerun or stale=keep"
    return "\n".join([*stale_lines(plan), advice])


def _cleared(plan: Plan, stale: list[PlannedCell]) -> Plan:
    """The plan after its stale cells were handled: scored again if only the rule changed, else moved aside."""
    assert plan.store is not None
    store = Store(plan.store, plan.profile.name)
    for planned in stale:
        if planned.stale == (SCORING,):
            list(score_again(store, store.read(planned.stored)))
        elif planned.cell is not None and planned.stored == planned.cell.key:
            store.set_aside(planned.stored)
    return refreshed(plan)


def check_launcher(choice: LauncherConfig) -> None:
    """Refuse ``--detach`` for launchers whose workers end with this process.

    Raises
    ------
    ConfigurationError
        For ``--detach`` without Slurm.
    """
    if choice.detach and choice.kind != "slurm":
        raise ConfigurationError(
            f"--detach is for launcher=slurm: workers of launcher={choice.kind} end with this command"
        )


def _launch(plan: Plan, todo: list[Cell], choice: LauncherConfig, results: Path, out: TextIO | None) -> None:
    folder = results / plan.profile.name / "runs" / f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}"
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(
        json.dumps(
            {
                "experiment": plan.experiment.name,
                "cells": len(todo),
                "command": [without_secrets(w) for w in sys.argv],
                **({"stop": plan.note} if plan.stops else {}),
            },
            indent=1,
        )
    )
    wide = choice.gpus_per_worker > 1
    assignment = Assignment(
        str(results),
        replace(plan.profile, device_map="auto") if wide else plan.profile,
        tuple(todo),
        choice.attempts,
        choice.threads,
        recorded(plan.experiment, plan.profile.name),
        own=registration.known(),
    )
    with Progress(len(todo), out or sys.stderr) as progress:
        launcher(choice.kind)(assignment, folder, choice, progress)


def _why(planned: PlannedCell) -> str:
    if planned.status is PlanStatus.RUNNING:
        return "in work elsewhere"
    return planned.reason or "not finished"
