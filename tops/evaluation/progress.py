"""A progress bar for people: documents per second, time left, running score."""

from __future__ import annotations

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from tops.experiments.answers import Answer
from tops.experiments.store import CellStatus


class Bar:
    """Draws on stderr; on a pipe it prints one line per cell and nothing else."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True)
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._label, self._scores, self._failed = "", [0.0, 0.0], 0

    def begin(self, label: str, total: int, done: int) -> None:
        """A cell starts."""
        self._label, self._scores, self._failed = label, [0.0, 0.0], 0
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[score]}"),
            console=self._console,
            disable=not self._console.is_terminal,
            transient=True,
        )
        self._task = self._bar.add_task(label, total=total, completed=done, rate="", score="")
        self._bar.start()

    def advance(self, answer: Answer, score: float | None) -> None:
        """One more document."""
        if self._bar is None or self._task is None:
            return
        self._failed += answer.error is not None
        if score is not None:
            self._scores = [self._scores[0] + score, self._scores[1] + 1]
        count = self._scores[1]
        running = f"running score {100 * self._scores[0] / count:.1f}" if count else ""
        failed = f"  {self._failed} failed" if self._failed else ""
        speed = self._bar.tasks[0].speed
        rate = f"{speed:.1f} documents/s" if speed else ""
        self._bar.update(self._task, advance=1, rate=rate, score=running + failed)

    def end(self, status: CellStatus) -> None:
        """The cell is left."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
        self._console.print(f"{self._label}: {status}", highlight=False)
