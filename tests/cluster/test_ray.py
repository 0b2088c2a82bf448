"""The same sweep on a real Ray of this machine."""

from pathlib import Path

import pytest
from fake_runs import PROFILE, grid

from tops.errors import ConfigurationError
from tops.running.launchers.ray import launch
from tops.running.worker import Assignment
from tops.settings.schema import LauncherConfig
from tops.store.store import Store

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def ray():
    ray = pytest.importorskip("ray", reason="Ray is an extra: pip install 'tops[ray]'")
    yield ray
    ray.shutdown()


def run(tmp_path, monkeypatch, cells, kill=None):
    monkeypatch.setenv("TOPS_TEST_LOG", str(tmp_path / "log"))
    monkeypatch.setenv("RAY_raylet_start_wait_time_s", "120")  # a busy machine is no failure
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))
    if kill:
        monkeypatch.setenv("TOPS_TEST_KILL", kill)
    events = []
    choice = LauncherConfig(kind="ray", workers=2, options={"num_gpus": 0, "num_cpus": 1, "max_retries": 3})
    assignment = Assignment(str(tmp_path), PROFILE, cells, evaluator="fake_runs:load_from_environment")
    launch(assignment, tmp_path / "run", choice, events.append)
    return events


def ran(tmp_path):
    return [line.split()[2] for line in (tmp_path / "log").read_text().splitlines() if " cell " in line]


def test_a_sweep_and_its_repetition(ray, tmp_path, monkeypatch):
    cells = grid()
    events = run(tmp_path, monkeypatch, cells)
    assert sorted(ran(tmp_path)) == sorted(c.key for c in cells)
    assert {e.key for e in events if e.kind == "done"} == {c.key for c in cells}
    run(tmp_path, monkeypatch, cells)
    assert len(ran(tmp_path)) == 12


@pytest.mark.parametrize(("options", "message"), [({"address": "auto"}, "Could not find"), ({"cpus": 1}, "cpus")])
def test_no_cluster_and_unknown_settings_are_named(ray, tmp_path, options, message):
    assignment, choice = Assignment(str(tmp_path), PROFILE, grid()), LauncherConfig("ray", workers=1, options=options)
    with pytest.raises(ConfigurationError, match=message):
        launch(assignment, tmp_path, choice, print)


def test_a_killed_worker_is_replaced(ray, tmp_path, monkeypatch):
    cells = grid()
    run(tmp_path, monkeypatch, cells, kill=cells[3].key)
    store = Store(tmp_path, "miniature")
    assert all(store.status(c.key).done for c in cells)
    assert ran(tmp_path).count(cells[3].key) == 2
    assert len(ran(tmp_path)) == 13
