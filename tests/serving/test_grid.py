"""``engine=vllm``: cells of the grid answered inside vLLM have the library's answers, under keys of their own."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

if find_spec("vllm") is None:
    pytest.skip("vLLM is not installed: make serving-env, make test-serving", allow_module_level=True)

from tops.planning.request import request
from tops.planning.staging import prepare
from tops.settings.choices import load_profile
from tops.store.cell import Cell
from tops.store.store import Store

MORE = {
    "none": [],
    "visionzip": ["budget=16"],
    "random": ["budget=16", "seed=3"],
    "tops": ["budget=16", "method.stages=first"],
    "text_only": [],
}


def cell_of(method: str, benchmark: str, engine: str, results: Path) -> Cell:
    words = ["backbone=llava-1.5-7b", "profile=miniature", "limit=6", f"engine={engine}", f"results={results}"]
    (planned,) = request([f"method={method}", f"benchmark={benchmark}", *MORE[method], *words]).plan.cells
    assert planned.cell is not None
    return planned.cell


def test_answers_are_those_of_the_library(tmp_path: Path) -> None:
    prepare(load_profile("miniature"))
    asked = [(method, benchmark) for method in MORE for benchmark in ("pope", "gqa")]
    specs = {engine: [cell_of(*one, engine, tmp_path) for one in asked] for engine in ("library", "vllm")}
    store = Store(tmp_path, "miniature")
    for engine, planned in specs.items():
        files = []
        for number, cell in enumerate(planned):
            file = tmp_path / f"{engine}-{number}.json"
            file.write_text(json.dumps(cell.as_dict()))
            files.append(str(file))
        command = [sys.executable, "-m", "tops", "run", *files, f"results={tmp_path}", "launcher.workers=1"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=1200)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
    for ours, theirs in zip(specs["library"], specs["vllm"], strict=True):
        one, other = store.read(ours.key), store.read(theirs.key)
        answers = [
            [(a.doc_id, a.answer, a.prompt_hash, a.visual_tokens_per_layer, a.output_tokens) for a in record.answers()]
            for record in (one, other)
        ]
        print(
            f"{theirs.label}: {len(answers[0])} documents, {sum(a != b for a, b in zip(*answers, strict=True))} differ"
        )
        assert answers[0] == answers[1]
        assert one.scores == other.scores
        assert (one.provenance["engine"], other.provenance["engine"]) == ("library", "vllm")
