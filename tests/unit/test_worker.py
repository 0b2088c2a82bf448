"""Workers: nothing is run twice, nothing is lost, one error is one cell."""

import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from fake_runs import PROFILE, FakeEvaluator, cell, failing, grid

from tops.running.events import Event
from tops.running.launchers.local import launch
from tops.running.run import Summary
from tops.running.worker import Assignment, order_for, work
from tops.settings.schema import LauncherConfig
from tops.store.store import CellStatus, Store


def assignment(tmp_path, cells, **more):
    return Assignment(str(tmp_path), PROFILE, tuple(cells), **more)


def lines(fake, kind):
    return [line.split()[2] for line in fake.log.read_text().splitlines() if line.split()[1] == kind]


def done(tmp_path, cells):
    store = Store(tmp_path, "miniature")
    return [c for c in cells if store.status(c.key).done]


def test_every_cell_once_and_one_load_per_backbone(tmp_path):
    fake, cells = FakeEvaluator(tmp_path / "log"), grid()
    assert work(assignment(tmp_path, cells), load=fake.load) == 12
    assert sorted(lines(fake, "cell")) == sorted(c.key for c in cells)
    assert lines(fake, "load") == ["llava-1.5-7b", "qwen2.5-vl-7b"]


def test_another_preparation_of_the_inputs_needs_no_other_load(tmp_path):
    fake, cells = FakeEvaluator(tmp_path / "log"), grid(("llava-1.5-7b",), seeds=1)
    framed = [replace(c, backbone=replace(c.backbone, options={"frames": 4})) for c in cells]
    assert work(assignment(tmp_path, [*cells, *framed]), load=fake.load) == 4
    assert lines(fake, "load") == ["llava-1.5-7b"]


def test_finished_cells_are_skipped_without_a_load(tmp_path):
    fake, cells = FakeEvaluator(tmp_path / "log"), grid()
    work(assignment(tmp_path, cells[:6]), load=fake.load)
    work(assignment(tmp_path, cells), load=fake.load)
    assert len(lines(fake, "cell")) == 12
    assert lines(fake, "load") == ["llava-1.5-7b", "qwen2.5-vl-7b"]
    work(assignment(tmp_path, cells), load=fake.load)
    assert len(lines(fake, "load")) == 2


def test_one_failing_cell_does_not_stop_the_others(tmp_path):
    cells = grid()
    bad = cells[1].key
    fake = FakeEvaluator(
        tmp_path / "log", fail=lambda c: RuntimeError("boom") if getattr(c, "key", "") == bad else None
    )
    events = []
    assert work(assignment(tmp_path, cells), load=fake.load, emit=events.append) == 11
    failed = [e for e in events if e.kind == "failed"]
    assert [e.key for e in failed] == [bad]
    assert failed[0].detail == "RuntimeError: boom"
    failure = Store(tmp_path, "miniature").read(bad).failure
    assert failure["error"] == "RuntimeError: boom"
    assert failure["attempts"] == 1


def test_a_poison_cell_is_set_aside_after_some_attempts(tmp_path):
    cells = grid()[:2]
    fake = FakeEvaluator(tmp_path / "log", fail=failing(cells[0].key))
    for _ in range(4):
        events = []
        work(assignment(tmp_path, cells, attempts=3), load=fake.load, emit=events.append)
    assert lines(fake, "cell").count(cells[0].key) == 3
    assert [e.kind for e in events] == ["aside"]
    assert "failed 3 times" in events[0].detail


def test_what_failed_in_this_run_is_not_tried_by_the_next_worker(tmp_path):
    cells = grid()[:2]
    fake = FakeEvaluator(tmp_path / "log", fail=lambda c: RuntimeError("boom") if hasattr(c, "key") else None)
    shared = assignment(tmp_path, cells)
    work(shared, 0, load=fake.load)
    work(shared, 1, load=fake.load)
    assert len(lines(fake, "cell")) == 2


def test_a_model_that_does_not_load_fails_its_cells_and_no_others(tmp_path):
    cells = grid()
    fake = FakeEvaluator(
        tmp_path / "log", fail=lambda c: OSError("no weights") if getattr(c, "name", "") == "llava-1.5-7b" else None
    )
    work(assignment(tmp_path, cells), load=fake.load)
    assert {c.backbone.name for c in done(tmp_path, cells)} == {"qwen2.5-vl-7b"}
    assert lines(fake, "load") == ["llava-1.5-7b", "qwen2.5-vl-7b"]  # tried once, not per cell
    failure = Store(tmp_path, "miniature").read(cells[0].key).failure
    assert "llava-1.5-7b did not load: OSError: no weights" in failure["error"]


def test_a_notice_of_the_scheduler_is_no_failure(tmp_path):
    class Timeout(Exception):
        pass

    cells = grid()[:2]
    fake = FakeEvaluator(tmp_path / "log", fail=lambda c: Timeout() if hasattr(c, "key") else None)
    with pytest.raises(Timeout):
        work(assignment(tmp_path, cells), load=fake.load, let_through=(Timeout,))
    assert Store(tmp_path, "miniature").read(cells[0].key).failure is None


def test_a_cell_in_work_elsewhere_is_left_alone(tmp_path):
    cells = grid()[:3]
    fake = FakeEvaluator(tmp_path / "log")
    with Store(tmp_path, "miniature").open_cell(cells[0]):
        assert work(assignment(tmp_path, cells), load=fake.load) == 2
    assert cells[0].key not in lines(fake, "cell")


def test_workers_at_once_share_the_cells(tmp_path):
    cells = grid(seeds=8)
    fake = FakeEvaluator(tmp_path / "log")
    shared = assignment(tmp_path, cells)
    threads = [threading.Thread(target=work, args=(shared, i), kwargs={"load": fake.load}) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(done(tmp_path, cells)) == len(cells)
    assert sorted(lines(fake, "cell")) == sorted(c.key for c in cells)


def test_each_worker_begins_with_another_backbone():
    cells = grid()
    assert [order_for(i, cells)[0].backbone.name for i in range(3)] == ["llava-1.5-7b", "qwen2.5-vl-7b", "llava-1.5-7b"]
    for i in range(5):
        assert {c.key for c in order_for(i, cells)} == {c.key for c in cells}
    assert order_for(0, cells)[0] != order_for(2, cells)[0]
    assert order_for(0, ()) == []


def test_assignment_and_events_survive_json(tmp_path):
    before = assignment(tmp_path, grid(), attempts=5, record_kept=True)
    before.save(tmp_path / "a.json")
    assert Assignment.load(tmp_path / "a.json") == before
    event = Event("done", 1, "k", "label", 1.5, "f1 80")
    assert Event.from_line(event.to_line()) == event
    with pytest.raises(ValueError, match="unexpected"):
        Event.from_line('{"kind": "done", "worker": 1, "colour": 2}')


def test_summary_names_what_is_missing():
    text = Summary(asked=3, done=2, skipped=1, missing=[(cell(), "RuntimeError: boom")], seconds=1.0).text()
    assert "2 of 3 cells complete (1 were before)" in text
    assert "llava-1.5-7b / tops@32 / pope" in text
    assert "RuntimeError: boom" in text


def local(tmp_path, cells, monkeypatch, kill=None, workers=2):
    """The local launcher with real processes that use the stand-in."""
    monkeypatch.setenv("TOPS_TEST_LOG", str(tmp_path / "log"))
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))
    if kill:
        monkeypatch.setenv("TOPS_TEST_KILL", kill)
    events = []
    launch(
        assignment(tmp_path, cells, evaluator="fake_runs:load_from_environment"),
        tmp_path / "run",
        LauncherConfig(kind="local", workers=workers),
        events.append,
    )
    return events


def test_local_processes_share_a_run(tmp_path, monkeypatch):
    cells = grid()
    events = local(tmp_path, cells, monkeypatch)
    assert len(done(tmp_path, cells)) == 12
    assert len({e.worker for e in events if e.kind == "done"}) == 2
    assert {e.key for e in events if e.kind == "done"} == {c.key for c in cells}
    assert not [e for e in events if e.kind == "lost"]


def test_a_killed_process_is_started_again_and_nothing_is_lost(tmp_path, monkeypatch):
    cells = grid()
    events = local(tmp_path, cells, monkeypatch, kill=cells[3].key)
    assert len(done(tmp_path, cells)) == 12
    assert any(e.kind == "lost" and "SIGKILL" in e.detail for e in events)
    ran = [line.split()[2] for line in (tmp_path / "log").read_text().splitlines() if " cell " in line]
    assert ran.count(cells[3].key) == 2  # the one in flight again, no other
    assert len(ran) == 13


def test_a_cell_that_kills_its_workers_fails_and_the_others_are_done(tmp_path, monkeypatch):
    cells = grid()
    monkeypatch.setenv("TOPS_TEST_DEADLY", cells[3].key)
    for workers in (2, 1):
        local(tmp_path, cells, monkeypatch, workers=workers)
        assert [c for c in cells if c not in done(tmp_path, cells)] == [cells[3]]
    failure = Store(tmp_path, "miniature").read(cells[3].key).failure
    assert failure["error"] == "2 workers ended at it, the last killed by SIGKILL"
    assert failure["attempts"] == 2


def test_what_a_dead_worker_left_comes_last(tmp_path):
    cells = grid()[:3]
    with Store(tmp_path, "miniature").open_cell(cells[0]):
        pass
    fake = FakeEvaluator(tmp_path / "log")
    assert work(assignment(tmp_path, cells), load=fake.load) == 3
    assert lines(fake, "cell") == [cells[1].key, cells[2].key, cells[0].key]


def test_a_worker_ends_with_its_launcher(tmp_path, monkeypatch):
    cells = grid()[:2]
    monkeypatch.setenv("TOPS_TEST_LOG", str(tmp_path / "log"))
    monkeypatch.setenv("TOPS_TEST_GATE", str(tmp_path / "never"))
    monkeypatch.setenv("TOPS_TEST_FREE", "0")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))
    path = tmp_path / "run" / "assignment.json"
    assignment(tmp_path, cells, evaluator="fake_runs:load_from_environment").save(path)
    command = [sys.executable, "-m", "tops.running.launchers.process", str(path), "0"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as worker:
        for line in worker.stdout:
            if Event.from_line(line).kind == "start":
                break
        worker.stdin.close()  # as the death of the launcher does
        assert worker.wait(timeout=30) == 1
    store = Store(tmp_path, "miniature")
    assert {store.status(c.key) for c in cells} <= {CellStatus.INCOMPLETE, CellStatus.MISSING}


def test_help_imports_nothing_heavy():
    heavy = "print({'torch', 'hydra', 'pandas'} & set(sys.modules))"
    code = f"import sys; from tops.cli.main import main; main(['--help']); {heavy}"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.splitlines()[-1] == "set()"
