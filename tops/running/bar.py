"""Columns of the bars that a run draws on a terminal: every bar is one line of 80 characters."""

from __future__ import annotations

from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, Task, TextColumn
from rich.table import Column
from rich.text import Text

from tops.running.duration import duration

WIDTH = 34  # characters of a bar's label


class Left(ProgressColumn):
    """Time that the rest of a bar takes at the rate of all that was done so far; nothing for a bar without ``rate``."""

    def render(self, task: Task) -> Text:
        """The column of one bar."""
        done = task.completed - task.fields["before"]
        if not task.fields["rate"] or done <= 0 or task.total is None or not task.elapsed:
            return Text("")
        return Text(f"{duration(task.elapsed * (task.total - task.completed) / done)} left")


def columns() -> tuple[ProgressColumn, ...]:
    """Columns of a bar, whose tasks carry the fields ``note``, ``rate`` (tells time left) and ``before``."""
    return (
        TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True, max_width=WIDTH)),
        BarColumn(bar_width=10),
        MofNCompleteColumn(),
        TextColumn("{task.fields[note]}", markup=False, table_column=Column(no_wrap=True)),
        Left(table_column=Column(no_wrap=True)),
    )
