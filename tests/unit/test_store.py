import json
import os
import subprocess
import sys
from dataclasses import replace

import pytest

from tops.budget import Budget
from tops.errors import DataError
from tops.store.answers import Answer
from tops.store.cell import BackboneSpec, BenchmarkSpec, Cell, MethodSpec
from tops.store.check import check
from tops.store.store import CellStatus, Store

SCORES = {"lmms-eval": {"metrics": {"accuracy": 0.5}, "documents": 2, "invalid_rate": 0.0, "yes_rate": None}}


def cell(seed: int = 0) -> Cell:
    return Cell(
        profile="miniature",
        backbone=BackboneSpec("llava-1.5-7b", "llava", "miniature/llava-1.5", "abc"),
        method=MethodSpec("random", {"seed": seed}),
        budget=Budget(32),
        benchmark=BenchmarkSpec("pope", "pope", "test", "d0"),
    )


def answer(doc_id: int, text: str = "yes", error: str | None = None) -> Answer:
    return Answer(doc_id, f"image{doc_id}", "p", "h", "q", text, {"answer": "yes"}, error=error)


def rows(n: int) -> dict[str, dict[int, dict[str, float]]]:
    return {"lmms-eval": {i: {"accuracy": 1.0} for i in range(n)}}


def sealed(store: Store, n: int = 2, seed: int = 0) -> Cell:
    c = cell(seed)
    with store.open_cell(c) as writer:
        for i in reversed(range(n)):
            writer.append(answer(i))
        writer.seal(scores=SCORES, provenance={"commit": "c"}, default_scorer="lmms-eval", rows=rows(n))
    return c


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path, "miniature")


def test_journey(store):
    c = cell()
    assert store.status(c.key) is CellStatus.MISSING
    with store.open_cell(c) as writer:
        assert store.status(c.key) is CellStatus.RUNNING
        writer.append(answer(0))
    assert store.status(c.key) is CellStatus.INCOMPLETE
    sealed(store)
    assert store.status(c.key) is CellStatus.SCORED
    assert store.open_cell(c) is None
    (record,) = store.records()
    assert record.spec == c
    assert [a.doc_id for a in record.answers()] == [0, 1]
    assert record.scores == SCORES
    assert record.rows("lmms-eval") == {0: {"accuracy": 1.0}, 1: {"accuracy": 1.0}}
    assert record.provenance == {"commit": "c"}
    assert check(store) == []
    assert not (record.path / "lock").exists()


def test_newlines_are_a_number_of_their_own_and_a_line_without_them_is_read(store):
    with_some = replace(answer(0), newlines_per_layer=(48,) * 8)
    assert Answer.from_line(with_some.to_line()) == with_some
    assert b"newlines" not in replace(with_some, newlines_per_layer=(0,) * 8).to_line()
    assert Answer.from_line(answer(0).to_line()).newlines_per_layer == ()


def test_control_characters_survive_the_store(store):
    """A spreadsheet, in which lmms-eval keeps MMBench's answers, takes none of them."""
    text = "".join(map(chr, range(32))) + "\x7f\x85\u2028\u2029\ufeff\ufffd"
    c = cell()
    with store.open_cell(c) as writer:
        writer.append(answer(0, text))
        writer.append(answer(1))
    with store.open_cell(c) as writer:
        assert (writer.answers[0].answer, writer.dropped, len(writer.answers)) == (text, 0, 2)


@pytest.mark.parametrize("cut", range(1, 40, 6))
def test_damaged_last_line_is_cut(store, cut):
    c = cell()
    with store.open_cell(c) as writer:
        writer.append(answer(0))
        writer.append(answer(1))
    file = store.path(c.key) / "answers.jsonl"
    whole = file.read_bytes()
    file.write_bytes(whole[:-cut])
    with store.open_cell(c) as writer:
        assert (set(writer.answers), writer.dropped) == ({0}, 1)
        writer.append(answer(1))
    assert file.read_bytes() == whole


def test_garbage_in_the_middle_costs_only_its_document(store):
    c = cell()
    with store.open_cell(c) as writer:
        for i in range(3):
            writer.append(answer(i))
    file = store.path(c.key) / "answers.jsonl"
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(lines[0] + b"\0" * 20 + b"\n" + lines[2])
    with store.open_cell(c) as writer:
        assert set(writer.answers) == {0, 2}


def test_failed_documents_are_asked_again_and_never_sealed(store):
    c = cell()
    with store.open_cell(c) as writer:
        writer.append(answer(0))
        writer.append(answer(1, "", error="OutOfMemoryError: 2 GiB"))
        with pytest.raises(DataError, match="1 documents failed"):
            writer.seal(scores=SCORES, provenance={}, default_scorer="lmms-eval")
        writer.fail("1 document failed")
    assert store.read(c.key).failure["failed_documents"] == [1]
    with store.open_cell(c) as writer:
        assert set(writer.answers) == {0}
        writer.fail("again")
    assert store.read(c.key).failure["attempts"] == 2
    assert store.status(c.key) is CellStatus.INCOMPLETE
    assert list(store.records()) == []


def test_without_scores_there_is_no_number(store):
    c = cell()
    with store.open_cell(c) as writer:
        writer.append(answer(0))
        assert writer.seal(scores={}, provenance={}) is CellStatus.ANSWERED
    record = store.read(c.key)
    assert record.status is CellStatus.ANSWERED
    assert record.scores == {}
    with pytest.raises(DataError, match="tops score"):
        record.rows("judge")
    store.rescore(c.key, "judge", {"metrics": {"score": 0.4}}, {0: {"score": 0.4}}, default=True)
    record = store.read(c.key)
    assert (record.status, record.default_scorer, record.rows("judge")) == (
        CellStatus.SCORED,
        "judge",
        {0: {"score": 0.4}},
    )
    assert check(store) == []


def test_two_processes_one_works(store):
    c = cell()
    code = (
        "import json,sys; from tops.store.cell import Cell; from tops.store.store import Store;"
        "print(Store(sys.argv[1],'miniature').open_cell(Cell.from_dict(json.loads(sys.argv[2]))))"
    )
    arguments = [sys.executable, "-c", code, str(store.root), json.dumps(c.as_dict())]
    with store.open_cell(c):
        other = subprocess.run(arguments, capture_output=True, text=True, check=True)
    assert other.stdout.strip() == "None"
    after = subprocess.run(arguments, capture_output=True, text=True, check=True)
    assert "CellWriter" in after.stdout


def test_profiles_do_not_mix(tmp_path):
    with pytest.raises(DataError, match="miniature"):
        Store(tmp_path, "paper").open_cell(cell())


def test_newer_schema_is_refused(store):
    c = sealed(store)
    spec = store.path(c.key) / "spec.json"
    spec.write_text(spec.read_text().replace('"schema": 1', '"schema": 99'))
    with pytest.raises(DataError, match="schema 99"):
        store.read(c.key)
    assert "schema 99" in str(check(store)[0])


def damage_answer(path):
    text = (path / "answers.jsonl").read_text()
    (path / "answers.jsonl").write_text(text.replace('"answer":"yes","target"', '"answer":"no","target"', 1))


def rescored(path, change):
    """A re-scored cell whose file is then changed by hand."""
    Store(path.parents[3], "miniature").rescore(path.name, "llava", {"metrics": {"f1": 1.0}}, {}, default=False)
    file = path / "rescored" / "llava.json"
    file.write_text(change(file.read_text()))


def unfinished(path, lines):
    (path / "complete.json").unlink()
    (path / "answers.jsonl").write_bytes(lines((path / "answers.jsonl").read_bytes().splitlines(keepends=True)))


FAULTS = {
    "answers.jsonl: changed after": damage_answer,
    "scores.json: changed after": lambda p: (p / "scores.json").write_text("{}"),
    "provenance.json: missing from": lambda p: (p / "provenance.json").unlink(),
    "notes.txt: does not belong": lambda p: (p / "notes.txt").write_text("x"),
    "line 2 is cut off": lambda p: (p / "answers.jsonl").write_bytes((p / "answers.jsonl").read_bytes()[:-5]),
    "complete.json: damaged": lambda p: (p / "complete.json").write_text('{"schema"'),
    "complete.json: schema 7": lambda p: (p / "complete.json").write_text(
        (p / "complete.json").read_text().replace('"schema": 1', '"schema": 7')
    ),
    "spec.json: damaged": lambda p: (p / "spec.json").write_text("{"),
    "spec.json: missing": lambda p: (p / "spec.json").unlink(),
    "the folder is": lambda p: p.rename(p.with_name("f" * 64)),
    "line 1 is not an answer: seconds is None": lambda p: (p / "answers.jsonl").write_text(
        (p / "answers.jsonl").read_text().replace('"seconds":0.0', '"seconds":null', 1)
    ),
    "rescored/llava.json: scores other answers": lambda p: rescored(
        p, lambda t: t.replace('_sha256": "', '_sha256": "0')
    ),
    "rescored/llava.json: changed after": lambda p: rescored(p, lambda t: t.replace("1.0", "0.9")),
    "rescored/llava.json: holds the scores of 'lava'": lambda p: rescored(p, lambda t: t.replace("llava", "lava")),
    "line 1 is not JSON": lambda p: unfinished(p, lambda lines: b"\0\n" + lines[1]),
    "failure.json: damaged": lambda p: (unfinished(p, b"".join), (p / "failure.json").write_text("[]")),
}


@pytest.mark.parametrize("message", FAULTS)
def test_check_names_each_fault(store, message):
    sealed(store, seed=1)
    c = sealed(store)
    FAULTS[message](store.path(c.key))
    faults = check(store)
    assert any(message in str(f) for f in faults), faults
    assert len({f.key for f in faults}) == 1


def test_a_cell_of_another_profile_and_stray_files_are_faults(store):
    c = sealed(store)
    store.cells.rename(store.root / "paper-cells")
    paper = Store(store.root, "paper")
    paper.cells.parent.mkdir()
    (store.root / "paper-cells").rename(paper.cells)
    (paper.cells / "stray").write_text("")
    (paper.cells / c.key[:2] / "stray").write_text("")
    assert [str(f) for f in check(paper)] == [
        f"{c.key[:12]} spec.json: a cell of profile 'miniature' in the store of 'paper'",
        f"paper/cells/{c.key[:2]}/stray: does not belong here",
        "paper/cells/stray: does not belong here",
    ]


@pytest.mark.parametrize("left", [[], ["lock"], ["lock", ".spec.json.7.tmp"]])
def test_what_a_kill_may_leave_is_no_fault(store, left):
    """Before the specification is written, and in the middle of the last line."""
    folder = store.path("a" * 64)
    folder.mkdir(parents=True)
    for name in left:
        (folder / name).write_text("")
    c = cell()
    with store.open_cell(c) as writer:
        writer.append(answer(0))
        writer.append(answer(1))
    file = store.path(c.key) / "answers.jsonl"
    file.write_bytes(file.read_bytes()[:-3])
    assert check(store) == []


def test_many_cells_are_checked_by_all_cores_with_the_same_result(store, monkeypatch):
    for seed in range(6):
        sealed(store, seed=seed)
    c = sealed(store, seed=7)
    (store.path(c.key) / "scores.json").unlink()
    (store.cells / "stray").write_text("")
    alone = check(store)
    monkeypatch.setattr("tops.store.check.LARGE", 1)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2})
    assert check(store) == alone != []


def test_a_cell_waits_six_times_for_the_disk_and_its_seal_for_all_that_it_names(store, monkeypatch):
    synced = []
    waits = os.fsync
    monkeypatch.setattr(os, "fsync", lambda handle: synced.append(os.fstat(handle).st_ino) or waits(handle))
    c = cell()
    with store.open_cell(c, {"method": "m"}) as writer:
        for i in range(50):
            writer.append(answer(i))
        writer.seal(scores=SCORES, provenance={"commit": "c"}, default_scorer="lmms-eval", rows=rows(50))
    assert len(synced) <= 6
    path = store.path(c.key)
    first = {(path / name).stat().st_ino for name in ("spec.json", "answers.jsonl", "provenance.json", "scores.json")}
    assert set(synced[:-2]) == first
    assert synced[-2:] == [path.stat().st_ino, (path / "complete.json").stat().st_ino]


def test_fingerprints_cut_off_by_a_power_cut_are_unknown_and_the_answers_stay(store):
    with store.open_cell(cell(), {"method": "m"}) as writer:
        writer.append(answer(0))
    (store.path(cell().key) / "code.json").write_text("")
    with store.open_cell(cell(), {"method": "m"}) as writer:
        assert list(writer.answers) == [0]
        assert "unknown" in writer.code


def test_no_torch():
    code = "import sys, tops.store.store, tops.store.check; print('torch' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=dict(os.environ), check=True)
    assert out.stdout.strip() == "False"
