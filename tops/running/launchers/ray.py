"""Workers as Ray tasks, on a running cluster or one started on this machine."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tops.errors import ConfigurationError
from tops.running.events import Event
from tops.running.worker import Assignment, work
from tops.settings.schema import LauncherConfig

TASK_OPTIONS = ("num_gpus", "num_cpus", "memory", "resources", "max_retries", "scheduling_strategy", "runtime_env")


def launch(assignment: Assignment, folder: Path, choice: LauncherConfig, emit: Callable[[Event], None]) -> None:
    """One task per worker; a task whose node dies is tried again elsewhere and goes on from the store.

    Parameters
    ----------
    assignment, folder, choice, emit
        As for the local launcher. ``choice.options``: ``address`` (``auto`` joins the running cluster, null starts
        one here) and what a task asks for (``num_gpus``, ``num_cpus``, ``resources``, ``max_retries``).

    Raises
    ------
    ConfigurationError
        If Ray is not installed, no number of workers is given, or no cluster can be joined or started with these
        options.
    """
    try:
        import ray
    except ImportError:
        raise ConfigurationError("launcher=ray needs Ray: pip install 'tops[ray]'") from None
    if choice.workers < 1:
        raise ConfigurationError("launcher=ray needs launcher.workers, the most tasks at a time (8, say)")
    options = {k: v for k, v in choice.options.items() if k in TASK_OPTIONS and v is not None}
    if choice.gpus_per_worker > 1:
        options["num_gpus"] = choice.gpus_per_worker
    join = {k: v for k, v in choice.options.items() if k not in TASK_OPTIONS and v is not None}
    path = folder / "assignment.json"
    assignment.save(path)
    started = not ray.is_initialized()
    here = {
        "log_to_driver": False,
        "include_dashboard": False,
        "_node_ip_address": "127.0.0.1",
    }  # closed to the network
    os.environ["PYTHONSAFEPATH"] = "1"  # no module of the working folder is run by a task
    try:
        if started:
            ray.init(**(join if "address" in join else {**here, **join}))
    except (ConnectionError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigurationError(
            f"launcher=ray: {reason}; launcher.options.address=null starts a cluster here"
        ) from None
    try:
        queue = _events(ray)
        task = ray.remote(**{"num_cpus": 1, "max_retries": 3, **options})(_work)
        count = min(choice.workers, len(assignment.cells))
        waiting = {task.remote(str(path), i, queue): i for i in range(count)}
        while waiting:
            ready, _ = ray.wait(list(waiting), num_returns=1, timeout=1.0)
            for event in ray.get(queue.take.remote()):
                emit(Event.from_line(event))
            for reference in ready:
                index = waiting.pop(reference)
                try:
                    ray.get(reference)
                except ray.exceptions.RayError as error:
                    emit(Event("lost", index, detail=str(error).strip().splitlines()[0]))
        for event in ray.get(queue.take.remote()):
            emit(Event.from_line(event))
    finally:
        if started:
            ray.shutdown()


def _work(path: str, index: int, queue: Any) -> int:
    """Run one worker inside a Ray task."""
    return work(Assignment.load(Path(path)), index, emit=lambda event: queue.put.remote(event.to_line()))


def _events(ray: Any) -> Any:
    """A Ray actor that collects the events of workers."""

    class Events:
        def __init__(self) -> None:
            self.lines: list[str] = []

        def put(self, line: str) -> None:
            self.lines.append(line)

        def take(self) -> list[str]:
            lines, self.lines = self.lines, []
            return lines

    return ray.remote(num_cpus=0)(Events).remote()
