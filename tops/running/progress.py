"""What a person sees of a run: a line per finished cell, and how far each worker is."""

from __future__ import annotations

import time
from types import TracebackType
from typing import TextIO

from rich.console import Console
from rich.progress import Progress as Bars
from rich.progress import TaskID

from tops.running.bar import columns
from tops.running.events import Event

SIGN_OF_LIFE = 60.0  # seconds between two lines about a cell's documents, where no bar can be drawn


class Progress:
    """Prints one line per finished cell, with the time left by the cells so far.

    On a terminal each worker has a bar below them: documents per second, time left, running score. On a pipe or in a
    file a long cell says once a minute how far it is.

    Parameters
    ----------
    total : int
        Cells to come.
    out : text stream
        Where it goes.
    """

    def __init__(self, total: int, out: TextIO) -> None:
        self.total, self.began = total, time.monotonic()
        self.seen: set[str] = set()
        self._out = out
        console = Console(file=out)
        self._bars = Bars(*columns(), console=console, transient=True) if console.is_terminal else None
        self._tasks: dict[int, tuple[str, TaskID]] = {}
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

    def _finished(self, event: Event) -> None:
        if event.kind == "aside" and event.key in self.seen:
            return
        self.seen.add(event.key)
        if self._bars is not None and event.worker in self._tasks:
            self._bars.remove_task(self._tasks.pop(event.worker)[1])
        count = len(self.seen)
        left = (time.monotonic() - self.began) / count * (self.total - count)
        word = "" if event.kind == "done" else f"{event.kind}: "
        eta = f", {duration(left)} left" if count < self.total else ""
        self._print(
            f"[{count}/{self.total}] {event.label}  {word}{event.detail}  ({duration(event.seconds, short=True)}{eta})"
        )

    def _documents(self, event: Event) -> None:
        if self._bars is None:
            key, last = self._told.get(event.worker, ("", 0.0))
            if key != event.key:  # the line of a short cell is the one that it ends with
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
            task = self._bars.add_task(event.label, total=event.total, completed=event.documents, score="")
            self._tasks[event.worker] = event.key, task
        self._bars.update(task, completed=event.documents, score=event.detail)

    def _print(self, line: str) -> None:
        if self._bars is not None:
            self._bars.console.print(line, highlight=False, markup=False, soft_wrap=True)
        else:
            print(line, file=self._out, flush=True)


def duration(seconds: float, *, short: bool = False) -> str:
    """For people; ``short`` keeps tenths below a minute."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s" if short else f"{rest} s"
