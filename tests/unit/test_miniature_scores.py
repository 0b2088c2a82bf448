"""The table of the miniature: only complete runs of these weights on these documents count."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tops.errors import DataError
from tops.miniature.contact_sheet import unpruned_runs
from tops.miniature.scores import Scored, card_scores, stored_scores, table, write_card_scores
from tops.store.cell import BackboneSpec, BenchmarkSpec, Cell, MethodSpec
from tops.store.store import CellStatus, Record

DATA = {"pope": "d1", "mme": "d2"}


def run(method: str = "none", value: float = 80.0, **change: Any) -> Record:
    benchmark = BenchmarkSpec("pope", "pope", "test", change.pop("data", "d1"), limit=change.pop("limit", None))
    backbone = BackboneSpec("llava-1.5-7b", "llava", "llava-1.5", change.pop("revision", "w1"))
    cell = Cell("miniature", backbone, MethodSpec(method), None, benchmark)
    scores = {"llava": {"metrics": {"f1": value, "accuracy": 1.0}}}
    return Record(cell.key, Path(), cell, CellStatus.SCORED, scores, "llava", {}, None)


def scores_of(*records: Record) -> dict[str, Scored]:
    store: Any = SimpleNamespace(records=lambda: iter(records))
    return stored_scores(store, "llava-1.5", "w1", DATA)


def test_the_two_runs_of_a_benchmark_come_together() -> None:
    with_image, blind = run(), run("text_only", 51.0)
    (found,) = scores_of(with_image, blind).values()
    assert (found.unpruned, found.blind, found.data, found.weights) == (80.0, 51.0, "d1", "w1")
    assert set(found.cells) == {with_image.key, blind.key}


@pytest.mark.parametrize("other", [{"data": "old"}, {"revision": "old"}, {"limit": 8}, {"method": "tops"}])
def test_other_documents_weights_limits_and_methods_do_not_count(other: dict[str, Any]) -> None:
    assert scores_of(run(**other)) == {}


def test_an_unjudged_run_has_no_score() -> None:
    (found,) = scores_of(replace(run(), scores={}, default_scorer=None)).values()
    assert found.unpruned is None


def test_a_card_keeps_scores_and_states_them_for_its_weights_and_documents_only(tmp_path: Path) -> None:
    card = tmp_path / "llava-1.5" / "card.json"
    card.parent.mkdir()
    card.write_text(json.dumps({"family": "llava-1.5", "seed": 3}))
    scores = scores_of(run())
    write_card_scores("llava-1.5", scores, tmp_path)
    assert json.loads(card.read_text())["seed"] == 3
    assert f"| pope | {scores['pope'].unpruned} |" in card.with_name("README.md").read_text()
    assert card_scores("llava-1.5", "w1", DATA, tmp_path) == scores
    assert card_scores("llava-1.5", "w2", DATA, tmp_path) == {}
    assert card_scores("llava-1.5", "w1", {"pope": "d9"}, tmp_path) == {}
    with pytest.raises(DataError, match="experiment=miniature"):
        write_card_scores("llava-1.5", {}, tmp_path)


def test_the_table_shows_holes_and_the_label() -> None:
    described = {
        "pope": {"title": "POPE", "documents": 300, "chance": 50.0},
        "mme": {"title": "MME", "documents": 216, "chance": 450.0},
    }
    lines = table(described, scores_of(run()), "random weights: plumbing only")
    assert lines[1].split() == ["POPE", "300", "80.0", "–", "50.0"]
    assert lines[2].split() == ["MME", "216", "–", "–", "450.0"]
    assert lines[-1] == "random weights: plumbing only"


def test_a_sheet_takes_replies_from_the_longest_run_on_its_documents() -> None:
    long, short, old = run(limit=50), run(limit=8), run(data="old")
    store: Any = SimpleNamespace(records=lambda: iter([short, long, old, run("text_only")]))
    assert unpruned_runs(store, DATA) == {"pope": long}
    whole: Any = SimpleNamespace(records=lambda: iter([run(), long]))
    assert unpruned_runs(whole, DATA)["pope"].spec.benchmark.limit is None
