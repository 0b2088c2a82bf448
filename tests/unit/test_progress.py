"""What a person sees of a run: bars on a terminal, a sign of life elsewhere, a line per finished cell."""

import io

import pytest
from fake_runs import answer

from tops.running import events, progress
from tops.running.events import DocumentEvents, Event
from tops.running.progress import Progress, duration


class Terminal(io.StringIO):
    def isatty(self):
        return True


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
        (2, 3, "running score 100.0"),
        (3, 3, "running score 50.0"),
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


def test_a_terminal_shows_a_bar_with_the_running_score(told):
    out = Terminal()
    with Progress(2, out) as shown:
        for event in told:
            shown(event)
        shown._bars.refresh()
        assert "3/3" in out.getvalue()
        assert "running score 50.0" in out.getvalue()
        shown(Event("done", 2, "key", "llava / pope", 2.0, "f1 80"))
        assert shown._bars.tasks == []
    assert "[1/2] llava / pope  f1 80  (2.0 s" in out.getvalue()


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
        "llava / pope: 2 of 3 documents, running score 100.0",
        "[1/1] llava / pope  failed: boom  (1 min 30 s)",
    ]


def test_durations():
    assert [duration(s) for s in (3.4, 61, 7322)] == ["3 s", "1 min 1 s", "2 h 2 min"]
