"""Columns of the bars that a run draws on a terminal: every bar is one line of 80 characters."""

from __future__ import annotations

from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, Task, TextColumn
from rich.table import Column
from rich.text import Text

from tops.running.duration import duration

WIDTH = 34  # characters of a bar's label


class Left(ProgressColumn):
    """Estimated time left of a bar, at its mean rate so far; empty for a bar whose field ``rate`` is false."""

    def render(self, task: Task) -> Text:
        """The text of the column for one bar."""
        done = task.completed - task.fields["before"]
        if not task.fields["rate"] or done <= 0 or task.total is None or not task.elapsed:
            return Text("")
        return Text(f"{duration(task.elapsed * (task.total - task.completed) / done)} left")


def columns() -> tuple[ProgressColumn, ...]:
    """Columns of a bar; tasks have the fields ``note`` (text), ``rate`` (show time left), ``before`` (done earlier)."""
    return (
        TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True, max_width=WIDTH)),
        BarColumn(bar_width=10),
        MofNCompleteColumn(),
        TextColumn("{task.fields[note]}", markup=False, table_column=Column(no_wrap=True)),
        Left(table_column=Column(no_wrap=True)),
    )
