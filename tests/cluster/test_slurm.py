"""Sweeps on a real Slurm of one machine: share, kill, re-run only what is missing."""

import subprocess
import threading
import time

import one_machine_slurm
import pytest
from fake_runs import PROFILE, grid

from tops.running.launchers.slurm import launch
from tops.running.worker import Assignment
from tops.settings.schema import LauncherConfig
from tops.store.store import CellStatus, Store

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif(one_machine_slurm.unavailable() is not None, reason=str(one_machine_slurm.unavailable())),
]


@pytest.fixture(scope="module")
def slurm():
    with one_machine_slurm.cluster() as environment:
        yield environment


@pytest.fixture
def sweep(slurm, tmp_path, monkeypatch):
    """Run the same cells again and again on the cluster."""
    for name in ("SLURM_CONF", "PATH"):
        monkeypatch.setenv(name, slurm[name])
    monkeypatch.setenv("PYTHONPATH", str(one_machine_slurm.Path(__file__).parents[1]))
    monkeypatch.setenv("TOPS_TEST_LOG", str(tmp_path / "log"))
    return Sweep(tmp_path, slurm)


class Sweep:
    """Twelve cells on two backbones, three workers with a GPU each."""

    def __init__(self, folder, environment):
        self.folder, self.environment, self.runs = folder, environment, 0
        self.cells, self.store = grid(), Store(folder, "miniature")

    def run(self, **options):
        self.runs += 1
        events = []
        choice = LauncherConfig(
            kind="slurm",
            workers=3,
            options={"timeout_min": 5, "gpus_per_node": 1, "cpus_per_task": 1, "max_num_timeout": 3, **options},
        )
        assignment = Assignment(str(self.folder), PROFILE, self.cells, evaluator="fake_runs:load_from_environment")
        launch(assignment, self.folder / f"run{self.runs}", choice, events.append)
        return events

    def ran(self):
        """Keys of the cells in the order in which work on them began."""
        log = self.folder / "log"
        text = log.read_text() if log.exists() else ""
        return [line.split()[2] for line in text.splitlines() if " cell " in line]

    def done(self):
        return [c.key for c in self.cells if self.store.status(c.key).done]

    def wait_for(self, condition, seconds=60):
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, "waited in vain"
            time.sleep(0.05)

    def jobs(self):
        """Job numbers that Slurm runs now."""
        out = subprocess.run(
            ["squeue", "-h", "-t", "R", "-r", "-o", "%A"], env=self.environment, capture_output=True, text=True
        )
        return out.stdout.split()


def test_a_sweep_runs_every_cell_once(sweep):
    events = sweep.run()
    assert sorted(sweep.ran()) == sorted(c.key for c in sweep.cells)
    assert len(sweep.done()) == 12
    assert {e.key for e in events if e.kind == "done"} == {c.key for c in sweep.cells}
    assert not [e for e in events if e.kind == "lost"]


def test_workers_killed_for_good_lose_nothing_and_the_next_run_does_only_the_rest(sweep, monkeypatch):
    monkeypatch.setenv("TOPS_TEST_GATE", str(sweep.folder / "gate"))
    events = []
    thread = threading.Thread(target=lambda: events.extend(sweep.run()))
    thread.start()
    sweep.wait_for(lambda: len(sweep.done()) >= 3)
    subprocess.run(["scancel", "--signal=KILL", "--full", *sweep.jobs()], env=sweep.environment, check=True)
    thread.join(timeout=120)
    assert not thread.is_alive()
    kept = set(sweep.done())
    assert 3 <= len(kept) < 12
    assert any(e.kind == "lost" for e in events)
    assert all(sweep.store.status(c.key) is not CellStatus.RUNNING for c in sweep.cells)
    before = len(sweep.ran())
    monkeypatch.delenv("TOPS_TEST_GATE")
    sweep.run()
    assert len(sweep.done()) == 12
    assert sorted(sweep.ran()[before:]) == sorted(c.key for c in sweep.cells if c.key not in kept)


def test_a_requeued_job_goes_on(sweep, monkeypatch):
    gate = sweep.folder / "gate"
    monkeypatch.setenv("TOPS_TEST_GATE", str(gate))
    thread = threading.Thread(target=sweep.run)
    thread.start()
    sweep.wait_for(lambda: len(sweep.done()) >= 3)
    subprocess.run(["scontrol", "requeue", sweep.jobs()[0]], env=sweep.environment, check=True)
    gate.touch()
    thread.join(timeout=200)
    assert not thread.is_alive()
    assert len(sweep.done()) == 12
    assert len(sweep.ran()) <= 13  # only the cell in flight was begun twice
