"""A progress bar for people: documents per second, time left, running score."""

from __future__ import annotations

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TaskID, TextColumn
from rich.progress import TimeRemainingColumn as TimeRemaining
from rich.text import Text

from tops.running.events import RunningScore
from tops.store.answers import Answer
from tops.store.store import CellStatus


class Rate(ProgressColumn):
    """Documents per second of the last half minute."""

    def render(self, task: Task) -> Text:
        """The column of one bar."""
        return Text(f"{task.speed:.1f} documents/s" if task.speed else "")


def columns() -> tuple[ProgressColumn, ...]:
    """Columns of a bar over documents; its tasks carry a field ``score``."""
    return (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        Rate(),
        TimeRemaining(),
        TextColumn("{task.fields[score]}", markup=False),
    )


class Bar:
    """Draws on stderr; on a pipe it prints one line per cell and nothing else."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True)
        self._bar: Progress | None = None
        self._task = TaskID(0)
        self._label, self._score = "", RunningScore()

    def begin(self, label: str, total: int, done: int) -> None:
        """A cell starts."""
        self._label, self._score = label, RunningScore()
        self._bar = Progress(*columns(), console=self._console, disable=not self._console.is_terminal, transient=True)
        self._task = self._bar.add_task(label, total=total, completed=done, score="")
        self._bar.start()

    def advance(self, answer: Answer, score: float | None) -> None:
        """One more document."""
        if self._bar is not None:
            self._score.add(answer, score)
            self._bar.update(self._task, advance=1, score=str(self._score))

    def end(self, status: CellStatus) -> None:
        """The cell is left."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
        self._console.print(f"{self._label}: {status}", highlight=False)
