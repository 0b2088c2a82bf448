"""Workers as Slurm jobs through submitit: one array task per worker, re-queued on time-out and pre-emption."""

from __future__ import annotations

import logging
import shlex
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tops.errors import ConfigurationError
from tops.running.events import Event
from tops.running.launchers.arrays import Array, running
from tops.running.worker import Assignment, work
from tops.settings.schema import LauncherConfig
from tops.store.store import Store

log = logging.getLogger(__name__)

# Parameters every submitit executor knows; the others are Slurm's own and get its prefix.
GENERAL = (
    "name",
    "timeout_min",
    "nodes",
    "gpus_per_node",
    "cpus_per_task",
    "mem_gb",
    "tasks_per_node",
    "stderr_to_stdout",
)
INIT = ("max_num_timeout", "python")


class Job:
    """The picklable callable of a Slurm task; after a time-out it is submitted again and resumes from the store."""

    def __init__(self, assignment: Path, worker: int) -> None:
        self.assignment, self.worker = assignment, worker

    def __call__(self) -> int:
        """Work until nothing is left; returns the number of cells this task finished."""
        import submitit.core.utils

        events = self.assignment.with_name(f"worker-{self.worker}.jsonl")

        def emit(event: Event) -> None:
            with events.open("a") as file:
                file.write(event.to_line() + "\n")

        # submitit announces a time-out by an exception in the task; that is no failure of the cell.
        return work(
            Assignment.load(self.assignment),
            self.worker,
            emit=emit,
            let_through=(submitit.core.utils.UncompletedJobError,),
        )

    def checkpoint(self) -> Any:
        """Called by submitit on a time-out or pre-emption: the same job once more."""
        import submitit.helpers

        return submitit.helpers.DelayedSubmission(self)


def launch(assignment: Assignment, folder: Path, choice: LauncherConfig, emit: Callable[[Event], None]) -> None:
    """Submit one array of workers and wait for it. Ctrl-C leaves the jobs running.

    Parameters
    ----------
    assignment, folder, choice, emit
        As for the local launcher. ``choice.options`` are submitit's parameters, and Slurm's own by their names
        (partition, qos, account, constraint, additional_parameters, ...).

    Raises
    ------
    ConfigurationError
        If this machine has no Slurm, no number of workers is given, or submitit does not know an option.
    """
    keys = {cell.key for cell in assignment.cells}
    for array in running(assignment.results, assignment.profile.name, keys) if shutil.which("squeue") else []:
        print(f"array {array.number} works on these cells already ({array.folder}); waiting for it", file=sys.stderr)
        _attached(array, Assignment.load(array.folder / "assignment.json"), choice, emit)
        return
    import submitit

    if shutil.which("srun") is None:
        raise ConfigurationError("launcher=slurm needs Slurm's srun and sbatch on PATH; run this on a login node")
    if choice.workers < 1:
        raise ConfigurationError("launcher=slurm needs launcher.workers, the most jobs at a time (8, say)")
    path = folder / "assignment.json"
    assignment.save(path)
    options = dict(choice.options)
    if choice.gpus_per_worker > 1:
        options["gpus_per_node"] = choice.gpus_per_worker
    options.setdefault("python", f"{shlex.quote(sys.executable)} -P")  # no module of the working folder is run
    init = {f"slurm_{k}": options.pop(k) for k in INIT if k in options}
    executor = submitit.AutoExecutor(folder=str(folder / "slurm"), cluster="slurm", **init)
    named = {k if k in GENERAL else f"slurm_{k}": v for k, v in options.items() if v is not None}
    try:
        executor.update_parameters(**{"name": "tops", "slurm_array_parallelism": choice.workers, **named})
    except (NameError, AssertionError) as error:  # submitit's answers to an unknown name and to a wrong type
        raise ConfigurationError(f"launcher.options: {str(error).splitlines()[0]}") from None
    count = min(choice.workers, len(assignment.cells))
    with executor.batch():
        jobs = [executor.submit(Job(path, index)) for index in range(count)]
    log.warning("submitted %s; logs in %s", ", ".join(job.job_id for job in jobs), folder / "slurm")
    array = Array(folder, tuple(str(job.job_id) for job in jobs), frozenset(keys))
    array.save()
    _watched(array, jobs, assignment, choice, emit)


def _attached(array: Array, assignment: Assignment, choice: LauncherConfig, emit: Callable[[Event], None]) -> None:
    """Wait for an array that an earlier command has submitted."""
    import submitit

    jobs = [submitit.SlurmJob(folder=array.folder / "slurm", job_id=number) for number in array.jobs]
    _watched(array, jobs, assignment, choice, emit)


def _watched(
    array: Array, jobs: list[Any], assignment: Assignment, choice: LauncherConfig, emit: Callable[[Event], None]
) -> None:
    """Wait for an array, unless ``detach`` is set; Ctrl-C leaves the array running and prints that."""
    advice = (
        f"array {array.number} goes on by itself; the same command waits for it again, `tops cancel` (or `scancel "
        f"{array.number}`) stops it"
    )
    if choice.detach:
        print(advice, file=sys.stderr)
        return
    try:
        _wait(jobs, assignment, array.folder, emit)
    except KeyboardInterrupt:
        print(f"\n{advice}", file=sys.stderr)
        raise


def _wait(jobs: list[Any], assignment: Assignment, folder: Path, emit: Callable[[Event], None]) -> None:
    """Pass on events until every job has ended, or every cell is complete."""
    store = Store(assignment.results, assignment.profile.name)
    seen = [0] * len(jobs)
    ended: set[int] = set()
    while len(ended) < len(jobs):
        for index, job in enumerate(jobs):
            seen[index] = _pass_on(folder / f"worker-{index}.jsonl", seen[index], emit)
            if index not in ended and job.done():
                ended.add(index)
                seen[index] = _pass_on(folder / f"worker-{index}.jsonl", seen[index], emit)
                if (error := _error(job)) is not None:
                    emit(Event("lost", index, detail=f"(job {job.job_id}) {error}"))
        if all(store.status(cell.key).done for cell in assignment.cells):
            return
        if len(ended) < len(jobs):
            time.sleep(2)


def _pass_on(path: Path, position: int, emit: Callable[[Event], None]) -> int:
    """Emit the complete lines after ``position``; returns the new position in bytes."""
    if not path.exists():
        return position
    with path.open("rb") as file:
        file.seek(position)
        for line in file:
            if not line.endswith(b"\n"):
                break
            position += len(line)
            emit(Event.from_line(line.decode()))
    return position


def _error(job: Any) -> str | None:
    """How a job ended, if not well."""
    try:
        job.results()
    except Exception as error:
        lines = [line for line in str(error).splitlines() if line.strip()]
        return f"{job.state}: {lines[-1] if lines else type(error).__name__}"
    return None
