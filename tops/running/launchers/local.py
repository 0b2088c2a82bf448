"""Workers as processes of this machine: one per GPU, or several on a CPU."""

from __future__ import annotations

import logging
import os
import queue
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from tops.errors import ConfigurationError
from tops.planning.hardware import visible_gpus
from tops.running.events import Event
from tops.running.worker import Assignment, note_failure
from tops.settings.schema import LauncherConfig
from tops.store.store import Store

log = logging.getLogger(__name__)

RESTARTS = 3  # of a worker that is killed each time before it finishes a cell
PATIENCE = 20  # seconds that workers have to end after Ctrl-C
DEATHS = 2  # workers killed at one cell before it counts as failed


@dataclass
class _Worker:
    index: int
    process: subprocess.Popen[str]
    gpu: str | None
    starts: int = 1  # since the last cell that the worker finished
    cell: str = ""  # key of the cell that the worker is at


def launch(assignment: Assignment, folder: Path, choice: LauncherConfig, emit: Callable[[Event], None]) -> None:
    """Run the assignment on this machine.

    Parameters
    ----------
    assignment : Assignment
        The cells and the settings of the run.
    folder : path
        Folder of this run; it receives the assignment and one log per worker.
    choice : LauncherConfig
        ``workers=0`` means one per ``gpus_per_worker`` GPUs; on a CPU one per core, four at most.
    emit : callable
        Called with every event of every worker.

    Raises
    ------
    ConfigurationError
        If a worker is to have more GPUs than there are.
    """
    gpus = visible_gpus() if assignment.profile.device != "cpu" else []
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if choice.gpus_per_worker > max(len(gpus), 1):
        raise ConfigurationError(
            f"launcher.gpus_per_worker={choice.gpus_per_worker}, but {len(gpus)} GPU(s) are used here; ask for "
            "fewer, or use launcher=slurm"
        )
    each = choice.gpus_per_worker
    gpus = [",".join(gpus[i : i + each]) for i in range(0, len(gpus) - each + 1, each)]
    count = choice.workers or len(gpus) or min(cores, 4)
    count = max(1, min(count, len(assignment.cells)))
    threads = choice.threads or (0 if gpus else max(1, cores // count))
    assignment = replace(assignment, threads=threads)
    path = folder / "assignment.json"
    assignment.save(path)
    store, cells = Store(assignment.results, assignment.profile.name), {cell.key: cell for cell in assignment.cells}
    deaths: Counter[str] = Counter()
    events: queue.SimpleQueue[tuple[int, Event | None]] = queue.SimpleQueue()
    running = {i: _start(i, path, folder, gpus[i % len(gpus)] if gpus else None, threads, events) for i in range(count)}
    try:
        while running:
            index, event = events.get()
            if event is not None:
                emit(event)
                if event.kind == "start":
                    running[index].cell = event.key
                elif event.kind in ("done", "failed"):
                    running[index].cell, running[index].starts = "", 1
                continue
            worker = running.pop(index)
            status = worker.process.wait()
            if status == 0:
                continue
            how = _epitaph(status)
            emit(Event("lost", index, detail=f"{how}; see {folder / f'worker-{index}.log'}"))
            deaths[worker.cell] += 1
            if worker.cell and deaths[worker.cell] >= DEATHS:
                note_failure(store, cells[worker.cell], f"{deaths[worker.cell]} workers ended at it, the last {how}")
            if status < 0 and worker.starts <= RESTARTS:
                again = _start(index, path, folder, worker.gpu, threads, events)
                running[index] = replace(again, starts=worker.starts + 1)
    except KeyboardInterrupt:
        what = f"stopping: {len(running)} worker(s) store what they have; this takes up to {PATIENCE} s"
        emit(Event("stopping", 0, detail=what))
        raise
    finally:
        for worker in running.values():
            worker.process.send_signal(signal.SIGINT)
        for worker in running.values():
            try:
                worker.process.wait(timeout=PATIENCE)
            except subprocess.TimeoutExpired:
                worker.process.kill()


def _start(
    index: int,
    path: Path,
    folder: Path,
    gpu: str | None,
    threads: int,
    events: queue.SimpleQueue[tuple[int, Event | None]],
) -> _Worker:
    environment = dict(os.environ)
    if gpu is not None:
        environment["CUDA_VISIBLE_DEVICES"] = gpu
    if threads:
        environment.update(OMP_NUM_THREADS=str(threads), MKL_NUM_THREADS=str(threads))
    with (folder / f"worker-{index}.log").open("a") as errors:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "tops.running.launchers.process", str(path), str(index)],
            stdin=subprocess.PIPE,  # its end tells the worker that the launcher is gone
            stdout=subprocess.PIPE,
            stderr=errors,
            env=environment,
            text=True,
            start_new_session=True,  # Ctrl-C reaches the launcher first, which then ends its workers cleanly
        )
    threading.Thread(target=_listen, args=(index, process, events), daemon=True).start()
    return _Worker(index, process, gpu)


def _listen(index: int, process: subprocess.Popen[str], events: queue.SimpleQueue[tuple[int, Event | None]]) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        try:
            events.put((index, Event.from_line(line)))
        except ValueError:
            log.warning("worker %d: %s", index, line.rstrip())
    events.put((index, None))


def _epitaph(status: int) -> str:
    return f"killed by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
