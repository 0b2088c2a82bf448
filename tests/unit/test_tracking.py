"""Tracking: off means off, offline stays here, and nothing that goes wrong there reaches a run."""

import logging
import sys
from pathlib import Path

import pytest
from fake_runs import PROFILE, FakeEvaluator

from tops.cli.main import main
from tops.planning.plan import plan
from tops.running import tracking
from tops.running.worker import Assignment, work
from tops.settings.schema import TrackingConfig


@pytest.fixture
def finished(tmp_path):
    """A plan with three of its cells complete."""
    before = plan("smoke", "miniature", results=tmp_path)
    fake = FakeEvaluator(tmp_path / "log")
    work(Assignment(str(tmp_path), PROFILE, tuple(before.todo()[:3])), load=fake.load)
    return plan("smoke", "miniature", results=tmp_path)


class Wandb:
    """What wandb would be asked to do."""

    def __init__(self, error=None):
        self.error, self.runs, self.artifacts = error, [], []

    def Settings(self, **settings):
        return settings

    def init(self, **arguments):
        if self.error is not None:
            raise self.error
        self.runs.append(arguments)
        owner = self

        class Run:
            summary = arguments.setdefault("summary", {})

            def log_artifact(self, artifact):
                owner.artifacts.append(artifact)

            def finish(self):
                arguments["finished"] = True

        return Run()

    class Artifact:
        def __init__(self, name, type):
            self.name, self.files = name, []

        def add_file(self, path):
            self.files.append(Path(path).name)


def use(monkeypatch, fake):
    monkeypatch.setitem(sys.modules, "wandb", fake)
    return fake


def test_disabled_never_imports_wandb(finished, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    assert tracking.publish(finished, TrackingConfig(), tmp_path) == 0


def test_one_run_per_cell_with_its_key(finished, tmp_path, monkeypatch):
    fake = use(monkeypatch, Wandb())
    choice = TrackingConfig("offline", directory=str(tmp_path / "wandb"))
    assert tracking.publish(finished, choice, tmp_path) == 3
    cells = fake.runs
    done = [k for k, p in finished.unique().items() if p.status.done]
    assert [run["config"]["key"] for run in cells] == done
    assert {run["group"] for run in cells} == {"smoke"}
    assert {run["mode"] for run in cells} == {"offline"}
    assert cells[0]["summary"]["llava/f1"] == 80.0
    assert cells[0]["job_type"] in ("pope", "gqa")
    assert all(run["finished"] for run in fake.runs)


def test_a_report_sends_its_tables(tmp_path, monkeypatch):
    fake = use(monkeypatch, Wandb())
    words = ["experiment=smoke", "profile=miniature", f"results={tmp_path}", f"reports={tmp_path / 'reports'}"]
    monkeypatch.chdir(tmp_path)
    assert main(["report", *words]) == 0
    assert fake.runs == []
    assert main(["report", *words, "tracking=wandb-offline"]) == 0
    assert [(run["mode"], run["group"], run["job_type"]) for run in fake.runs] == [("offline", "smoke", "report")]
    assert {"smoke.md", "smoke.csv", "smoke.tex", "smoke.html"} <= set(fake.artifacts[0].files)
    use(monkeypatch, Wandb(error=RuntimeError("no space left")))
    assert main(["report", *words, "tracking=wandb-offline"]) == 0


def test_a_failure_is_a_warning(finished, tmp_path, monkeypatch, caplog):
    use(monkeypatch, Wandb(error=RuntimeError("no space left")))
    with caplog.at_level(logging.WARNING):
        assert tracking.publish(finished, TrackingConfig("offline", directory=str(tmp_path / "w")), tmp_path) == 0
    assert "no space left" in caplog.text


def test_an_unreachable_server_is_found_out_at_once(finished, tmp_path, monkeypatch, caplog):
    fake = use(monkeypatch, Wandb())
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    with caplog.at_level(logging.WARNING):
        assert tracking.publish(finished, TrackingConfig("online", directory=str(tmp_path / "w")), tmp_path) == 0
    assert "wandb-offline" in caplog.text
    assert fake.runs == []


@pytest.mark.slow
def test_the_real_wandb_offline(finished, tmp_path):
    pytest.importorskip("wandb")
    choice = TrackingConfig("offline", directory=str(tmp_path / "w"))
    assert tracking.publish(finished, choice, tmp_path) == 3
    assert len(list((tmp_path / "w").rglob("*.wandb"))) == 3
