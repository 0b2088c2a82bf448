"""Offences against a store, committed one by one: each is named, and none becomes a number without a word."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest
from fake_runs import FakeEvaluator, answer, cell
from synthetic_store import fill

from tops import fingerprint
from tops.benchmarks.built import note_built, verified
from tops.benchmarks.data import data_hash
from tops.benchmarks.surroundings import scrub
from tops.cli.main import main
from tops.errors import ConfigurationError
from tops.evaluation import code
from tops.evaluation.judge import Judge
from tops.fingerprint import hash_of_class
from tops.planning.matching_cells import MatchingCells
from tops.planning.plan import PlanStatus, plan
from tops.planning.request import request
from tops.reporting.build import make
from tops.reporting.data import account
from tops.reporting.data.results import collect
from tops.running.run import run
from tops.running.worker import Assignment, work
from tops.settings.choices import load_choice
from tops.settings.schema import (
    BackboneConfig,
    ColumnConfig,
    Experiment,
    LauncherConfig,
    PaperReference,
    ProfileConfig,
    RowConfig,
    TrackingConfig,
)
from tops.settings.uses import LAUNCHES, TRACKS, USES
from tops.store.hashes import HashMemory, remember_earlier
from tops.store.secrets import without_secrets
from tops.store.store import CellStatus, Store

BACKBONE = "llava-1.5-7b"
TABLE = Experiment(
    name="trusted",
    title="Trusted",
    backbones=(BACKBONE,),
    benchmarks=(ColumnConfig("gqa", "gqa"),),
    rows=(
        RowConfig(("none",), "reference", levels=()),
        RowConfig(("divprune", "visionzip", "tops")),
        RowConfig(("random",), "control"),
    ),
    levels={"77.8": {BACKBONE: 128}},
    paper=PaperReference(tables=(11,)),
)


def fingerprinted(planned):
    return {"code": code.answering_code(planned.cell)}


def filled(root, **more):
    return fill(root, TABLE, documents=12, provenance=fingerprinted, **more)


def path_of(root, method="tops"):
    planned = plan(TABLE, "miniature", results=root)
    found = next(p for p in planned.cells if p.row.method == method)
    return Store(root, "miniature").path(found.cell.key)


def status_of(root, method="tops"):
    found = next(p for p in plan(TABLE, "miniature", results=root).cells if p.row.method == method)
    return found.status, found.reason


def place_of(root, method="tops", **more):
    """The number of a method's row in the main table, and all warnings."""
    report = make(collect(plan(TABLE, "miniature", results=root, **more), root))
    titles = {"tops": "TOPS", "divprune": "DivPrune", "visionzip": "VisionZip"}
    line = next(x for x in report.main[0].lines if x.label == titles[method])
    return line.data[0], report.warnings


def edited(monkeypatch, part, only=lambda cell: True):
    """As if a part of the code had been edited since."""
    real = code.answering_code

    def now(cell):
        found = real(cell)
        return {**found, part: "0" * 16} if only(cell) and part in found else found

    monkeypatch.setattr("tops.evaluation.code.answering_code", now)


# Code is part of the answer


def test_an_edit_of_comments_is_none_and_one_of_code_is(tmp_path):
    file = tmp_path / "mine.py"
    (tmp_path / "helper.py").write_text("def two():\n    return 2\n")
    text = 'from helper import two\n\n\nclass Mine:\n    """Doc."""\n\n    def f(self):\n        return two() + 1\n'
    found = []
    for content in (text, text.replace("Doc.", "Other words.") + "# a comment\n", text.replace("+ 1", "+ 2")):
        file.write_text(content)
        fingerprint.forget()
        found.append(fingerprint.combined(fingerprint.behind([file], [fingerprint.home_of(file)])))
    (tmp_path / "helper.py").write_text("def two():\n    return 3\n")
    fingerprint.forget()
    found.append(fingerprint.combined(fingerprint.behind([file], [fingerprint.home_of(file)])))
    assert found[0] == found[1]
    assert len(set(found)) == 3


def test_parts_follow_imports_and_know_no_pages():
    own = code.answering_code(cell(method="divprune"))
    assert set(own) == {"engine", "backbone", "method", "selection", "evaluation"}
    other = code.answering_code(cell(method="tops"))
    assert own["method"] != other["method"]
    assert own["engine"] == other["engine"]
    assert "selection" not in code.answering_code(cell(method="none", budget=None))
    assert len(hash_of_class(type(load_choice("launcher", "local")))) == 16


def test_an_edited_method_makes_its_cells_stale_and_no_others(tmp_path, monkeypatch):
    filled(tmp_path)
    edited(monkeypatch, "method", lambda cell: cell.method.name == "tops")
    planned = plan(TABLE, "miniature", results=tmp_path)
    assert planned.counts == {PlanStatus.SCORED: 4, PlanStatus.STALE: 1}
    assert status_of(tmp_path) == (PlanStatus.STALE, "answered by other code of its method")
    assert planned.todo() == []
    datum, _ = place_of(tmp_path)
    assert "other code of its method" in datum.mark


def test_a_run_beside_stale_cells_is_refused_until_one_says_what_to_do(tmp_path, monkeypatch):
    filled(tmp_path)
    edited(monkeypatch, "engine", lambda cell: cell.method.name == "tops")
    asked = [plan(TABLE, "miniature", results=tmp_path, stale=stale) for stale in ("refuse", "keep", "rerun")]
    with pytest.raises(ConfigurationError, match=r"engine 1.*stale=rerun.*\n.*\nnothing was run"):
        run(asked[0], load_choice("launcher", "local"), tmp_path)
    assert run(asked[1], load_choice("launcher", "local"), tmp_path).missing == []
    assert [c.method.name for c in asked[2].todo()] == ["tops"]
    key = asked[2].todo()[0].key
    assert Store(tmp_path, "miniature").set_aside(key).parent.name == "replaced"
    assert status_of(tmp_path)[0] is PlanStatus.MISSING


def test_a_column_of_two_programs_shows_none_of_the_odd_ones(tmp_path, monkeypatch):
    def old(planned):
        found = code.answering_code(planned.cell)
        return {"code": {**found, "engine": "f" * 16} if planned.row.method == "visionzip" else found}

    fill(tmp_path, TABLE, documents=12, provenance=old)
    datum, warnings = place_of(tmp_path, "visionzip")
    assert datum.value is None
    assert "other code of the engine" in datum.reason
    assert any("VisionZip" in w for w in warnings)
    assert place_of(tmp_path, "tops")[0].value is not None
    kept, _ = place_of(tmp_path, "visionzip", stale="keep")
    assert kept.value is not None
    assert "other code of the engine" in kept.mark


def test_a_cell_resumed_by_other_code_starts_anew(tmp_path):
    store, c = Store(tmp_path, "miniature"), cell()
    with store.open_cell(c, {"method": "a"}) as writer:
        writer.append(answer(0))
    with store.open_cell(c, {"method": "a"}) as writer:
        assert (list(writer.answers), writer.restarted) == ([0], False)
    with store.open_cell(c, {"method": "b"}) as writer:
        assert (list(writer.answers), writer.restarted) == ([], True)
        writer.append(answer(0))
        writer.seal(scores={}, provenance={})
    assert store.read(c.key).code == {"method": "b"}


def test_a_cell_of_an_earlier_version_is_read_and_said_to_be_unknown(tmp_path):
    planned = fill(tmp_path, TABLE, documents=12)
    assert planned.counts == {PlanStatus.SCORED: 5}
    assert not any(p.fingerprinted for p in planned.unique().values())
    store, c = Store(tmp_path, "miniature"), cell(method="random")
    with store.open_cell(c) as writer:
        writer.append(answer(0))
    with store.open_cell(c, {"method": "b"}) as writer:
        assert list(writer.answers) == [0]  # not thrown away
        writer.seal(scores={}, provenance={})
    assert store.read(c.key).code is None


# The seal


def _swap(root):
    a, b = path_of(root, "tops"), path_of(root, "divprune")
    a.rename(root / "x")
    b.rename(a) if a.parent.exists() else None
    b.parent.mkdir(exist_ok=True)
    (root / "x").rename(b)


def _edit(name, old, new):
    def offence(root):
        file = path_of(root) / name
        assert old in file.read_text()
        file.write_text(file.read_text().replace(old, new, 1))

    return offence


OFFENCES = {
    "swapped folders": (_swap, "swapped with another"),
    "an edited score": (_edit("scores.json", '"accuracy": ', '"accuracy": 1'), "scores.json changed"),
    "an edited row": (_edit("answers.jsonl", '"score":', '"score":0'), "answers.jsonl changed"),
    "an edited text": (_edit("answers.jsonl", '"answer":"', '"answer":"x'), "answers.jsonl changed"),
    "an edited cluster": (_edit("answers.jsonl", '"cluster":"', '"cluster":"x'), "answers.jsonl changed"),
    "an edited specification": (_edit("spec.json", '"seed": 0', '"seed": 7'), "spec.json changed"),
    "a truncated seal": (lambda r: (path_of(r) / "complete.json").write_text('{"schema": 1, "sha'), "damaged"),
    "an empty seal": (lambda r: (path_of(r) / "complete.json").write_text("{}"), "complete.json is"),
    "no provenance": (lambda r: (path_of(r) / "provenance.json").unlink(), "provenance.json is missing"),
}


@pytest.mark.parametrize("offence", OFFENCES)
def test_a_damaged_cell_is_a_hole_with_its_reason_and_takes_nothing_else_down(tmp_path, offence, capsys):
    filled(tmp_path)
    commit, reason = OFFENCES[offence]
    commit(tmp_path)
    status, why = status_of(tmp_path)
    assert status is PlanStatus.DAMAGED
    assert reason in why
    datum, warnings = place_of(tmp_path)
    assert datum.value is None
    assert reason in datum.reason
    assert any(reason in w for w in warnings)
    assert place_of(tmp_path, "visionzip")[0].value is not None
    summary = run(plan(TABLE, "miniature", results=tmp_path), load_choice("launcher", "local"), tmp_path)
    assert any(reason in why for _, why in summary.missing)
    assert main(["score", "profile=miniature", f"results={tmp_path}"]) == 1
    assert main(["results", "check", f"results={tmp_path}"]) == 1
    assert capsys.readouterr().out


def test_a_deleted_seal_beside_full_scores_is_named(tmp_path):
    filled(tmp_path)
    (path_of(tmp_path) / "complete.json").unlink()
    assert status_of(tmp_path) == (
        PlanStatus.MISSING,
        "its seal complete.json is gone beside full scores; the next run seals it again",
    )
    assert "seal" in place_of(tmp_path)[0].reason


def with_a_false_score(tmp_path):
    """A cell whose accuracy was raised and whose seal was made anew."""
    filled(tmp_path)
    folder = path_of(tmp_path)
    scores = json.loads((folder / "scores.json").read_text())
    scores["scorers"][scores["default"]]["metrics"]["accuracy"] = 99.5
    (folder / "scores.json").write_text(json.dumps(scores))
    seal = json.loads((folder / "complete.json").read_text())
    seal["sha256"]["scores.json"] = HashMemory().sha256(folder / "scores.json")
    (folder / "complete.json").write_text(json.dumps(seal))


def test_scores_that_the_texts_do_not_give_are_found_even_under_a_new_seal(tmp_path, capsys):
    with_a_false_score(tmp_path)
    assert main(["results", "check", f"results={tmp_path}"]) == 0
    assert main(["results", "check", f"results={tmp_path}", "rescore=true"]) == 1
    assert "accuracy is stored as 99.5" in capsys.readouterr().out


def test_a_score_that_its_answers_contradict_is_a_hole_in_the_report(tmp_path):
    with_a_false_score(tmp_path)
    datum, warnings = place_of(tmp_path)
    assert datum.value is None
    assert "stored accuracy 99.5000, but its answers give" in datum.reason
    assert any("99.5" in w for w in warnings)
    assert place_of(tmp_path, "visionzip")[0].value is not None


def test_every_state_of_a_place_has_a_name_in_the_account():
    assert set(account._NAMES) == set(PlanStatus)


def test_pictures_are_sealed_and_stay_in_their_cell(tmp_path):
    filled(tmp_path, pictures=True)
    record = Store(tmp_path, "miniature").read(path_of(tmp_path).name)
    (tmp_path / "secret.png").write_bytes((record.path / "images" / "0.png").read_bytes())
    assert record.picture("images/0.png") is not None
    shutil.copy(record.path / "images" / "0.png", record.path / "images" / "1.png")
    (record.path / "images" / "2.png").unlink()
    (record.path / "images" / "2.png").symlink_to(tmp_path / "secret.png")
    for name in ("images/1.png", "images/2.png", "../../../../secret.png", str(tmp_path / "secret.png")):
        assert record.picture(name) is None, name


# Judges, caches, settings, surroundings, clocks


@pytest.mark.parametrize(
    "address", ["http://[::1", "http://", "http://h:port/v1", "ftp://h", "http://h\u00e9/v1", "http://a b"]
)
def test_a_malformed_judge_is_one_sentence(address):
    with pytest.raises(ConfigurationError, match="judge address"):
        Judge(address)


def test_keys_in_addresses_are_never_shown():
    judge = Judge("https://me:secret@host:8000/v1/?api_key=secret#x", "m")
    for text in (repr(judge), judge.base, without_secrets(f"tops score judge={judge.url} x")):
        assert "secret" not in text
        assert "me:" not in text
    assert judge.base == "https://host:8000/v1"
    assert judge.secret


def test_a_file_rewritten_with_its_size_and_time_is_another_file(tmp_path):
    file = tmp_path / "a.parquet"
    file.write_bytes(b"one")
    before = file.stat()
    memory = HashMemory(tmp_path / "memory.json")
    first = memory.sha256(file)
    file.write_bytes(b"two")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert memory.sha256(file) != first


def test_a_video_rewritten_at_its_size_is_other_data(tmp_path, monkeypatch):
    monkeypatch.setenv("TOPS_CACHE", str(tmp_path / "cache"))
    (tmp_path / "mirror" / "lmms-eval" / "Video-MME" / "videomme").mkdir(parents=True)
    (tmp_path / "mirror" / "lmms-eval" / "Video-MME" / "videomme" / "test.parquet").write_bytes(b"documents")
    video = tmp_path / "hf_home" / "videomme" / "data" / "a.mp4"
    video.parent.mkdir(parents=True)
    found = []
    for content in (b"one", b"two"):
        video.write_bytes(content)
        found.append(data_hash("videomme", tmp_path))
    assert found[0] != found[1]


def test_built_tables_are_verified(tmp_path):
    folder = tmp_path / "built"
    folder.mkdir()
    (folder / "a.arrow").write_bytes(b"rows")
    note_built(folder)
    assert (verified(folder) / "a.arrow").exists()
    (folder / "a.arrow").write_bytes(b"swor")
    assert not verified(folder).exists()


@pytest.mark.parametrize(
    "word",
    [
        *("backbone.checkpoint=x", "backbone.options.max_pixels=9", "backbone.dtype=float32", "backbone.frames=2"),
        *("backbone.text_tower=x", "backbone.depth=3", "profile.checkpoints=/x", "profile.data=/x"),
    ],
)
def test_a_setting_that_does_nothing_is_refused(word):
    with pytest.raises(ConfigurationError, match="does nothing under a miniature profile"):
        request([word, "profile=miniature"])


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("launcher.options.partition=gpu", "launcher=local takes no options"),
        ("launcher.detach=true", "does nothing where launcher is local; leave it out, or choose launcher=slurm"),
        ("tracking.project=mine", "does nothing where tracking is disabled; leave it out, or choose tracking=wandb"),
        ("tracking.directory=/x", "does nothing where tracking is disabled"),
    ],
)
def test_a_setting_of_another_launcher_or_tracking_is_refused(word, told):
    with pytest.raises(ConfigurationError, match=told):
        request(["method=none", "benchmark=pope", word, "profile=miniature"])


def test_every_setting_says_where_it_is_used():
    groups = (
        ("backbone", BackboneConfig),
        ("profile", ProfileConfig),
        ("launcher", LauncherConfig),
        ("tracking", TrackingConfig),
    )
    known = {f"{group}.{name}" for group, cls in groups for name in cls.__dataclass_fields__ if name != "name"}
    assert known == {*USES, *LAUNCHES, *TRACKS}


@pytest.mark.parametrize(
    "words",
    [
        ["budget=${nope}"],
        ["seed=99999999999999999999999"],
        ["seed=-1"],
        ["results="],
        ["results=~/x"],
        ["results=/tmp/a #1"],
        ["results=/tmp/\u00e9"],
        ["backbones=[]"],
        ["protocol=kept"],
        ["full=true", "limit=3"],
        ["method=none", "budget=64"],
    ],
)
def test_input_that_cannot_be_meant_is_one_sentence_with_status_2(words, capsys):
    assert main(["plan", "profile=miniature", *words]) == 2
    error = capsys.readouterr().err
    assert error.startswith("tops plan: ")
    assert "Traceback" not in error


@pytest.mark.parametrize("budget", [0, -3, 0.0, 1.5])
def test_levels_that_keep_nothing_are_refused_in_the_plan(budget):
    with pytest.raises(ConfigurationError, match="a count of 1 or more"):
        plan(replace(TABLE, levels={"77.8": {BACKBONE: budget}}), "miniature", status=False)


def test_a_misspelt_profile_of_a_store_is_no_success(tmp_path, capsys):
    filled(tmp_path)
    assert main(["results", "check", f"results={tmp_path}", "profile=miniatur"]) == 2
    assert "miniature" in capsys.readouterr().err


def test_variables_that_change_answers_are_taken_out(monkeypatch):
    for name in ("MODEL_SEQ_LEN", "LMMS_EVAL_PLUGINS", "LMMS_VIDEO_DECODE_BACKEND", "NUM_IMAGE"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert {"MODEL_SEQ_LEN", "LMMS_EVAL_PLUGINS", "LMMS_VIDEO_DECODE_BACKEND", "NUM_IMAGE"} <= set(scrub())
    assert "HF_HUB_OFFLINE" not in scrub()


def test_a_failure_dated_in_the_future_keeps_no_cell_from_being_tried(tmp_path):
    store, c = Store(tmp_path, "miniature"), cell(method="random")
    with store.open_cell(c) as writer:
        writer.fail("boom")
    note = store.path(c.key) / "failure.json"
    note.write_text(note.read_text().replace('"time": ', '"time": 9'))
    fake = FakeEvaluator(tmp_path / "log")
    profile = ProfileConfig(name="miniature", title="test", device="cpu", miniature=True)
    assert work(Assignment(str(tmp_path), profile, (c,)), load=fake.load) == 1
    assert store.status(c.key) is CellStatus.SCORED


# What may differ between the cells of a column


def machine(kind, gpus):
    def facts(planned):
        odd = planned.row.method == "visionzip"
        return {"device": kind if odd else "cuda:0", "hardware": {"gpus": gpus if odd else ["A100"]}}

    return facts


@pytest.mark.parametrize(("kind", "gpus"), [("cpu", []), ("cuda:0", ["H100"])])
def test_answers_of_another_device_are_marked(tmp_path, kind, gpus):
    fill(tmp_path, TABLE, documents=12, provenance=machine(kind, gpus))
    datum, warnings = place_of(tmp_path, "visionzip")
    assert datum.value is not None
    assert "other device than the rest of the column" in datum.mark
    assert "A100" in datum.mark
    assert any("VisionZip" in w and "device" in w for w in warnings)
    assert not place_of(tmp_path, "tops")[0].mark


def test_commit_host_and_batch_size_say_nothing(tmp_path):
    def facts(planned):
        odd = planned.row.method == "visionzip"
        return {"commit": str(odd) * 8, "dirty": odd, "batch_size": 1 + odd, "hardware": {"host": str(odd), "gpus": []}}

    fill(tmp_path, TABLE, documents=12, provenance=facts)
    datum, warnings = place_of(tmp_path, "visionzip")
    assert datum.value is not None
    assert not datum.mark
    assert not any("VisionZip" in w for w in warnings)


@pytest.mark.parametrize("part", ["data", "weights"])
def test_a_store_of_the_earlier_hash_formula_is_read(tmp_path, monkeypatch, part):
    monkeypatch.setattr("tops.store.hashes._EARLIER", {})
    store, old = Store(tmp_path, "miniature"), cell()
    with store.open_cell(old) as writer:
        writer.append(answer(0))
        writer.seal(scores={}, provenance={})
    now = replace(old, benchmark=replace(old.benchmark, data_hash="now"))
    earlier = old.benchmark.data_hash
    if part == "weights":
        now, earlier = replace(old, backbone=replace(old.backbone, revision="now")), old.backbone.revision
    assert MatchingCells(store).find(now).status is CellStatus.MISSING
    assert f"stored only with other {part}" in MatchingCells(store).find(now).reason
    remember_earlier("now", earlier)
    assert MatchingCells(store).find(now).key == old.key


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"do_sample": True}, "do_sample=true"),
        ({"temperature": 0.7}, "temperature=0.7"),
        ({"num_beams": 4}, "num_beams=4"),
    ],
)
def test_sampling_and_beams_are_refused_under_lmms_eval(settings, told):
    from tops.evaluation.cli_model import TopsModel

    model = object.__new__(TopsModel)
    model.task_dict, model._asker = {}, SimpleNamespace()
    asked = SimpleNamespace(args=("", lambda document: [], {"max_new_tokens": 8, **settings}, 0, "pope", "test"))
    model.task_dict = {"pope": {"test": [{}]}}
    with pytest.raises(ConfigurationError, match=f"--gen_kwargs {told}: decoding is greedy here"):
        model.generate_until([asked])


def test_every_launcher_scrubs_its_workers_before_a_model_is_loaded(tmp_path, monkeypatch):
    """Local processes, Slurm tasks and Ray tasks all work by ``work``, whose modules load no model library."""
    seen = {}

    def load(spec, profile):
        seen.update(os.environ)
        raise RuntimeError("no weights")

    monkeypatch.setenv("MODEL_SEQ_LEN", "7")
    monkeypatch.setenv("LMMS_EVAL_PLUGINS", "evil")
    profile = ProfileConfig(name="miniature", title="test", device="cpu", miniature=True)
    work(Assignment(str(tmp_path), profile, (cell(method="random"),)), load=load)
    assert "PATH" in seen
    assert not {"MODEL_SEQ_LEN", "LMMS_EVAL_PLUGINS"} & set(seen)
    code = (
        "import sys, tops.running.launchers.slurm, tops.running.launchers.ray, tops.running.launchers.process as p;"
        "print([m for m in ('torch', 'transformers', 'lmms_eval', 'datasets') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
