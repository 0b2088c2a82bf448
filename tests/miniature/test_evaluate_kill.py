"""A run that is really killed, gone on with, and compared byte for byte with one that was not."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from evaluation_models import cell, evaluate

from tops.store.check import check
from tops.store.store import CellStatus, Store

STORE = """
import sys, time
from tops.store.answers import Answer
from tops.store.cell import *
from tops.store.store import Store
cell = Cell("miniature", BackboneSpec("b", "llava", "c", "r"), MethodSpec("none"), None,
            BenchmarkSpec("pope", "pope", "test", "d"))
with Store(sys.argv[1], "miniature").open_cell(cell) as writer:
    for i in range(400):
        if i not in writer.answers:
            writer.append(Answer(i, str(i), "p" * 500, "h", "q", "yes", {"answer": "yes"}))
    writer.seal(scores={"s": {"metrics": {"a": 1.0}}}, default_scorer="s", provenance={},
                rows={"s": {i: {"score": 1.0} for i in range(400)}})
"""

EVALUATE = """
import sys
sys.path.insert(0, sys.argv[2])
from evaluation_models import cell, evaluate
from tops.store.store import Store
evaluate(Store(sys.argv[1], "miniature"), cell(limit=12))
"""


def killed_at(code: str, root: Path, lines: int, *arguments: str) -> int:
    """Run code until the store holds so many answers, then kill -9; returns how many were stored."""
    process = subprocess.Popen([sys.executable, "-c", code, str(root), *arguments], stderr=subprocess.DEVNULL)
    stored = 0
    while process.poll() is None and stored < lines:
        stored = sum(f.read_bytes().count(b"\n") for f in root.rglob("answers.jsonl"))
        os.sched_yield()
    process.send_signal(signal.SIGKILL)
    process.wait()
    return stored


def without_times(folder: Path) -> dict[str, object]:
    """Every file of a cell; times and what is hashed over them replaced."""
    out: dict[str, object] = {}
    for file in sorted(folder.rglob("*")):
        text = file.read_text()
        if file.name == "answers.jsonl":
            text = "\n".join(json.dumps({**json.loads(line), "seconds": 0}) for line in text.splitlines())
        if file.name == "provenance.json":
            changing = {"start", "end", "seconds", "resumed_documents", "command"}
            text = json.dumps({k: v for k, v in json.loads(text).items() if k not in changing})
        if file.name == "complete.json":
            text = json.dumps({**json.loads(text), "sha256": sorted(json.loads(text)["sha256"])})
        out[file.name] = text
    return out


def test_store_survives_kills_at_any_moment(tmp_path):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    subprocess.run([sys.executable, "-c", STORE, str(whole)], check=True)
    for lines in (1, 90, 250, 399):
        killed_at(STORE, broken, lines)
        store = Store(broken, "miniature")
        (key,) = store.keys()
        assert store.status(key) in (CellStatus.INCOMPLETE, CellStatus.SCORED)  # never running: the lock is gone
        assert check(store) == []
    subprocess.run([sys.executable, "-c", STORE, str(broken)], check=False)
    assert check(Store(broken, "miniature")) == []

    def files(root):
        return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}

    assert files(whole) == files(broken)


@pytest.mark.slow
def test_killed_evaluation_goes_on_and_equals_an_uninterrupted_one(tmp_path):
    of = cell(limit=12)
    whole, broken = Store(tmp_path / "whole", "miniature"), Store(tmp_path / "broken", "miniature")
    stored = killed_at(EVALUATE, broken.root, 4, str(Path(__file__).parents[1]))
    assert 4 <= stored < 12
    assert broken.status(of.key) is CellStatus.INCOMPLETE
    assert evaluate(broken, of) is CellStatus.SCORED
    assert broken.read(of.key).provenance["resumed_documents"] >= stored
    assert evaluate(whole, of) is CellStatus.SCORED
    assert without_times(broken.path(of.key)) == without_times(whole.path(of.key))
    assert check(broken) == []
