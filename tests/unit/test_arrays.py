"""Arrays that were submitted to Slurm are found again, by the cells that they were given, and can be stopped."""

from __future__ import annotations

from pathlib import Path

import pytest

from tops.cli.main import main
from tops.errors import ConfigurationError
from tops.running.launchers.arrays import Array, running
from tops.running.run import check_launcher
from tops.settings.schema import LauncherConfig


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
