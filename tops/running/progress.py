"""Progress of a run for a person: a line per finished cell, and the position of each worker."""

from __future__ import annotations

import time
from types import TracebackType
from typing import TextIO

from rich.console import Console
from rich.progress import Progress as Bars
from rich.progress import TaskID

from tops.running.bar import WIDTH, columns
from tops.running.duration import duration
from tops.running.events import Event

SIGN_OF_LIFE = 60.0  # seconds between two lines about a cell's documents, where no bar can be drawn


class Progress:
    """Prints one line per finished cell, with the time left by the cells so far.

    On a terminal a bar over all cells stands below them, with the time left, and one bar a worker: documents, documents
    per second, running score. On a pipe or in a file a long cell says once a minute how far it is.

    Parameters
    ----------
    total : int
        Number of cells to run.
    out : text stream
        Stream that the progress is written to.
    """

    def __init__(self, total: int, out: TextIO) -> None:
        self.total, self.began = total, time.monotonic()
        self.seen: set[str] = set()
        self._out = out
        console = Console(file=out)
        self._bars = Bars(*columns(), console=console, transient=True) if console.is_terminal else None
        self._all = self._add("all cells", total, rate=True) if self._bars is not None else TaskID(0)
        self._tasks: dict[int, tuple[str, TaskID]] = {}
        self._parts: dict[int, float] = {}  # share of documents done, of the cell that a worker is at
        self._told: dict[int, tuple[str, float]] = {}

    def __enter__(self) -> Progress:
        if self._bars is not None:
            self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bars is not None:
            self._bars.stop()

    def __call__(self, event: Event) -> None:
        """Take one event of any worker."""
        if event.kind in ("done", "failed", "aside"):
            self._finished(event)
        elif event.kind == "documents":
            self._documents(event)
        elif event.kind == "load":
            self._print(f"worker {event.worker} loads {event.label}")
        elif event.kind == "lost":
            self._print(f"worker {event.worker} {event.detail}")
        elif event.kind == "stopping":
            self._print(event.detail)

    def _finished(self, event: Event) -> None:
        if event.kind == "aside" and event.key in self.seen:
            return
        self.seen.add(event.key)
        if self._bars is not None and event.worker in self._tasks:
            self._bars.remove_task(self._tasks.pop(event.worker)[1])
        self._parts.pop(event.worker, None)
        count = self._advance()
        left = (time.monotonic() - self.began) / count * (self.total - count)
        word = "" if event.kind == "done" else f"{event.kind}: "
        eta = f", {duration(left)} left" if count < self.total else ""
        self._print(
            f"[{count}/{self.total}] {event.label}  {word}{event.detail}  ({duration(event.seconds, short=True)}{eta})"
        )

    def _documents(self, event: Event) -> None:
        if self._bars is None:
            key, last = self._told.get(event.worker, ("", 0.0))
            if key != event.key:  # a short cell has only the line at its end
                self._told[event.worker] = event.key, time.monotonic()
            elif time.monotonic() - last >= SIGN_OF_LIFE:
                self._told[event.worker] = event.key, time.monotonic()
                score = f", {event.detail}" if event.detail else ""
                self._print(f"{event.label}: {event.documents} of {event.total} documents{score}")
            return
        key, task = self._tasks.get(event.worker, ("", TaskID(-1)))
        if key != event.key:
            if key:
                self._bars.remove_task(task)
            task = self._add(cropped(event.label), event.total, event.documents)
            self._tasks[event.worker] = event.key, task
        speed = self._bars.tasks[self._bars.task_ids.index(task)].speed
        rate = [f"{speed:.1f}/s"] if speed else []
        self._bars.update(task, completed=event.documents, note=", ".join([*rate, *filter(None, [event.detail])]))
        self._parts[event.worker] = event.documents / max(event.total, 1)
        self._advance()

    def _add(self, label: str, total: int, before: int = 0, *, rate: bool = False) -> TaskID:
        """A new bar."""
        assert self._bars is not None
        return self._bars.add_task(label, total=total, completed=before, before=before, note="", rate=rate)

    def _advance(self) -> int:
        """Update the bar over all cells; returns how many cells are finished."""
        if self._bars is not None:
            self._bars.update(self._all, completed=len(self.seen) + sum(self._parts.values()))
        return len(self.seen)

    def _print(self, line: str) -> None:
        if self._bars is not None:
            self._bars.console.print(line, highlight=False, markup=False, soft_wrap=True)
        else:
            print(line, file=self._out, flush=True)


def cropped(label: str) -> str:
    """A label cut to the width of a bar; its end is kept, where method, budget and benchmark stand."""
    return label if len(label) <= WIDTH else f"…{label[-WIDTH + 1 :]}"
