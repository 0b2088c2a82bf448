"""What a person sees of a run: bars on a terminal, a sign of life elsewhere, a line per finished cell."""

import io
import re
from dataclasses import replace

import pytest
from fake_runs import answer
from rich.console import Console

from tops.running import events, progress
from tops.running.duration import duration
from tops.running.events import DocumentEvents, Event
from tops.running.progress import Progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


def render(bars):
    out = io.StringIO()
    Console(file=out, width=80, force_terminal=False).print(bars.make_tasks_table(bars.tasks))
    return out.getvalue()


@pytest.fixture
def told(monkeypatch):
    """Events of a cell of three documents, one of them stored before."""
    monkeypatch.setattr(events, "EVERY", 0.0)
    seen = []
    cell = DocumentEvents(seen.append, 2, "key")
    cell.begin("llava / pope", 3, 1)
    cell.advance(answer(1), 1.0)
    cell.advance(answer(2), 0.0)
    return seen


def test_documents_become_events(told, monkeypatch):
    assert [(e.documents, e.total, e.detail) for e in told] == [
        (1, 3, ""),
        (2, 3, "score 100.0"),
        (3, 3, "score 50.0"),
    ]
    assert {(e.kind, e.worker, e.key, e.label) for e in told} == {("documents", 2, "key", "llava / pope")}
    assert Event.from_line(told[1].to_line()) == told[1]
    monkeypatch.setattr(events, "EVERY", 3600.0)
    seen = []
    cell = DocumentEvents(seen.append, 0, "key")
    cell.begin("a", 1000, 0)
    for i in range(1000):
        cell.advance(answer(i), 1.0)
    assert len(seen) == 1  # a pipe or a file is not filled with them


def test_a_terminal_shows_all_cells_and_each_worker_on_lines_of_80_characters(told, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    out = Terminal()
    long = "paper llava-1.5-7b / tops@64 layer_average / mmbench-en (convention llava), seed 0"
    with Progress(2, out) as shown:
        for event in told:
            shown(replace(event, label=long))
        shown._bars.refresh()
        bars = [line for line in render(shown._bars).splitlines() if line.strip()]
        assert [len(line) <= 80 for line in bars] == [True, True]
        assert re.search(r"all cells .* 1/2 .* left", bars[0])
        assert re.search(r"^…nch-en \(convention llava\), seed 0 .* 3/3 score 50.0", bars[1])
        shown(Event("done", 2, "key", "llava / pope", 2.0, "f1 80"))
        assert [(task.description, task.completed) for task in shown._bars.tasks] == [("all cells", 1)]
    assert "[1/2] llava / pope  f1 80  (2.0 s" in out.getvalue()


def test_a_batch_that_is_a_whole_cell_moves_the_bar_over_all_cells():
    with Progress(4, Terminal()) as shown:
        shown(Event("done", 0, "a", "a", 1.0))
        shown(Event("documents", 0, "b", "b", documents=12, total=24))
        shown(Event("documents", 1, "c", "c", documents=6, total=24))
        assert shown._bars.tasks[0].completed == 1.75


def test_a_file_gets_a_sign_of_life_of_long_cells_only(told, monkeypatch):
    out = io.StringIO()
    with Progress(1, out) as shown:
        for event in told:
            shown(event)
        assert out.getvalue() == ""
        monkeypatch.setattr(progress, "SIGN_OF_LIFE", 0.0)
        shown(told[1])
        shown(Event("failed", 2, "key", "llava / pope", 90.0, "boom"))
    assert out.getvalue().splitlines() == [
        "llava / pope: 2 of 3 documents, score 100.0",
        "[1/1] llava / pope  failed: boom  (1 min 30 s)",
    ]


def test_durations():
    assert [duration(s) for s in (3.4, 61, 7322)] == ["3 s", "1 min 1 s", "2 h 2 min"]
