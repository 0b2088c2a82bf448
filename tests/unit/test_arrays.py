"""Arrays that were submitted to Slurm are found again, by the cells that they were given, and can be stopped."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from fake_runs import PROFILE, answer, cell

from tops.cli.main import main
from tops.errors import ConfigurationError
from tops.running.events import Event
from tops.running.launchers.arrays import Array, running
from tops.running.launchers.slurm import launch
from tops.running.run import check_launcher
from tops.running.worker import Assignment
from tops.settings.schema import LauncherConfig
from tops.store.store import Store


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Slurm that knows array 12 alone, and notes what it is asked to stop."""
    tools = tmp_path / "bin"
    tools.mkdir()
    for name, script in (
        ("squeue", 'case "$*" in *12*) echo 12;; *) echo "Invalid job id specified" >&2; exit 1;; esac'),
        ("scancel", f'echo "$1" >> {tmp_path}/stopped'),
    ):
        (tools / name).write_text(f"#!/bin/sh\n{script}\n")
        (tools / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:/usr/bin:/bin")
    for number, keys in ((11, {"a"}), (12, {"b", "c"})):
        folder = tmp_path / f"results/miniature/runs/{number}"
        folder.mkdir(parents=True)
        Array(folder, (f"{number}_0", f"{number}_1"), frozenset(keys)).save()
    return tmp_path


def test_running_arrays_are_found_by_their_cells(slurm: Path) -> None:
    assert [array.number for array in running(slurm / "results", "miniature")] == ["12"]
    assert [array.number for array in running(slurm / "results", "miniature", ["c", "z"])] == ["12"]
    assert running(slurm / "results", "miniature", ["a"]) == []
    assert running(slurm / "nowhere", "miniature") == []


def test_cancel_stops_them(slurm: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cancel", "profile=miniature", f"results={slurm}/results"]) == 0
    assert (slurm / "stopped").read_text() == "12\n"
    assert "stopped array 12 of 2 jobs" in capsys.readouterr().out


def test_only_slurm_runs_on_alone() -> None:
    check_launcher(LauncherConfig("slurm", detach=True))
    with pytest.raises(ConfigurationError, match="--detach is for launcher=slurm"):
        check_launcher(LauncherConfig("local", detach=True))


def attached(slurm: Path, monkeypatch: pytest.MonkeyPatch, **how: object) -> tuple[Store, list[Event]]:
    """What the command that started array 12 does when it is given again."""
    one, store, events = cell(method="random"), Store(slurm / "results", "miniature"), []
    folder = slurm / "results/miniature/runs/12"
    assignment = Assignment(str(slurm / "results"), PROFILE, (one,))
    assignment.save(folder / "assignment.json")
    Array(folder, ("12_0",), frozenset({one.key})).save()
    (folder / "worker-0.jsonl").write_text(Event("start", 0, one.key).to_line() + "\n")

    class Job:
        def __init__(self, folder: Path, job_id: str) -> None:
            self.job_id = job_id

        def done(self) -> bool:
            if how.get("interrupted"):
                raise KeyboardInterrupt
            with store.open_cell(one) as writer:
                writer.append(answer(0))
                writer.seal(scores={}, provenance={})
            return True

        def results(self) -> list[int]:
            return [1]

    def refuse(**_: object) -> None:
        raise AssertionError("a second array was submitted")

    monkeypatch.setitem(sys.modules, "submitit", SimpleNamespace(SlurmJob=Job, AutoExecutor=refuse))
    choice = LauncherConfig("slurm", workers=2, detach=bool(how.get("detach")))
    launch(assignment, slurm / "new", choice, events.append)
    return store, events


def test_the_same_command_waits_for_the_array_and_submits_no_second(slurm, monkeypatch, capsys) -> None:
    store, events = attached(slurm, monkeypatch)
    assert [event.kind for event in events] == ["start"]
    assert [record.key for record in store.records()] == [cell(method="random").key]
    assert "array 12 works on these cells already" in capsys.readouterr().err


def test_a_detached_or_interrupted_command_says_how_to_wait_and_how_to_stop(slurm, monkeypatch, capsys) -> None:
    assert attached(slurm, monkeypatch, detach=True)[1] == []
    with pytest.raises(KeyboardInterrupt):
        attached(slurm, monkeypatch, interrupted=True)
    told = capsys.readouterr().err
    assert told.count("the same command waits for it again, `tops cancel` (or `scancel 12`) stops it") == 2
