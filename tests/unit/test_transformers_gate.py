"""The gate in front of transformers' own tests compares, notes refusals, and notices a wrong value."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from tiny_families import llava_next

import tops.engine.prefill as prefill
from scripts.transformers_tests import __main__ as main_module
from scripts.transformers_tests.__main__ import DOCUMENT, lacking
from scripts.transformers_tests.page import page, refusal_of
from scripts.transformers_tests.plugin import METHODS, Gate
from tops.engine.segment import apply


def seen(build: Any, mode: str = "keep-all", **options: Any) -> Any:
    """What the gate notes of a forward and a generation."""
    gate, case = Gate(METHODS[mode](), compare=mode == "keep-all"), build()
    with gate.standing(), torch.no_grad():
        case.model(**case.inputs, **options)
        case.model.generate(**case.inputs, max_new_tokens=2, do_sample=True)
    assert "__call__" not in vars(type(case.model))
    return gate.test


@pytest.mark.parametrize("build", [tiny.llava, llava_next])
def test_keeping_all_differs_nowhere(build: Any) -> None:
    found = seen(build)
    assert (found.pruned, found.differing, found.refused) == (2, 0, {})
    assert found.values > 1000


def test_a_wrong_value_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(*args: Any) -> Any:
        after, hidden = apply(*args)
        return after, hidden * 1.01

    monkeypatch.setattr(prefill, "apply", wrong)
    assert seen(tiny.llava).differing > 1000


def test_refusals_are_noted_and_run_unpruned() -> None:
    labels = torch.zeros_like(tiny.llava().inputs["input_ids"])
    found = seen(tiny.llava, "before", labels=labels)
    assert found.pruned == 1
    assert [refusal_of(words) for words in found.refused] == ["`labels`: logits are shorter than they"]


def test_the_page_tells_pruned_refused_and_different_tests_apart() -> None:
    one: dict[str, Any] = {"outcome": "passed", "error": "", "pruned": 1, "values": 7, "differing": 0, "refused": {}}
    reports = {
        ("llava", "keep-all"): {
            "test_a": one,
            "test_b": {**one, "pruned": 0, "refused": {"X: is in training mode": 2}},
        },
        ("llava", "before"): {
            "test_a": {**one, "outcome": "failed", "error": "AssertionError: Lists differ: [15, 32] != [23, 32]"},
            "test_b": {**one, "outcome": "failed", "error": "AssertionError: 1.0 != 2.0"},
            "test_c": {**one, "outcome": "failed", "error": "KeyError: 'x'", "stock": "failed"},
        },
    }
    text = page(reports, "5", "somewhere")
    assert "| llava | keep-all | 1 | 0 | 1 | 0 | 0 | 0 | 14 | 0 |" in text
    assert "| llava | before | 0 | 0 | 0 | 0 | 2 | 1 | – | – |" in text
    assert "| training mode | 1 |" in text
    assert "- llava, before: `test_b`: AssertionError: 1.0 != 2.0" in text


@pytest.mark.parametrize("stock", ["passed", "failed"])
def test_what_fails_is_run_unpruned_too(
    stock: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(folder: Path, family: str, mode: str, report: Path, only: list[str] | None = None) -> None:
        seen = {"outcome": "failed" if mode else stock, "error": "KeyError: 'x'", "pruned": 1, "values": 0}
        report.write_text(json.dumps({"test_a": {**seen, "differing": 0, "refused": {}}}))
        assert only == (None if mode else ["test_a"])

    (tmp_path / "tests/models").mkdir(parents=True)
    monkeypatch.setattr(main_module, "run", run)
    monkeypatch.setattr(main_module, "lacking", lambda folder: "")
    words = ["", str(tmp_path), "--families", "llava", "--modes", "inside", "--reports", str(tmp_path / "reports")]
    monkeypatch.setattr("sys.argv", words)
    assert main_module.main() == (0 if stock == "failed" else 1)
    text = capsys.readouterr().out
    assert ("| fail without pruning too | `test_a` |" in text) == (stock == "failed")
    assert ("- llava, inside: `test_a`: KeyError: 'x'" in text) == (stock == "passed")


def test_without_the_tests_the_reason_is_said() -> None:
    assert "its wheel has no tests" in lacking(None)
    assert DOCUMENT.name == "transformers-tests.md"
