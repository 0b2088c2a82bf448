"""Fidelity to the unpruned model as a cell: zero for the model itself, and for a cut that keeps everything."""

import pytest
from evaluation_models import backbone, cell, evaluate, pruned

from tops.budget import Budget
from tops.methods import build
from tops.store.check import check
from tops.store.store import CellStatus, Store


@pytest.mark.parametrize("benchmark", ["mme_fidelity", "textvqa_fidelity"])
def test_the_loss_of_the_models_own_answer(tmp_path, benchmark):
    store = Store(tmp_path, "miniature")
    rows = {}
    for name, method in {
        "none": None,
        "all": build("random", budget=Budget(144)),
        "few": pruned(8),
        "blind": build("text_only"),
    }.items():
        of = cell(benchmark, method, limit=4, tokens=4, seed=len(rows))
        assert evaluate(store, of, method) is CellStatus.SCORED
        record = store.read(of.key)
        assert record.default_scorer == "fidelity"
        rows[name] = record.scores["fidelity"]["metrics"], list(record.answers())
    answers = {name: [a.answer for a in found] for name, (_, found) in rows.items()}
    assert answers["few"] == answers["blind"] == answers["none"]
    assert {len(a.target["loss"]) for a in rows["few"][1]} <= {1, 2, 3, 4}
    for name in ("none", "all"):
        assert rows[name][0]["loss_increase"] == pytest.approx(0, abs=1e-5)
        assert rows[name][0]["agreement"] == 100
    for name in ("few", "blind"):
        assert rows[name][0]["unpruned_loss"] == pytest.approx(rows["none"][0]["loss"], abs=1e-5)
        assert rows[name][0]["loss_increase"] > 1e-3
    assert {a.visual_tokens_per_layer for a in rows["few"][1]} == {(8,) * 8}
    assert {a.visual_tokens_per_layer for a in rows["blind"][1]} == {(0,) * 8}
    assert check(store) == []


def test_the_unpruned_model_answers_each_document_once(tmp_path, monkeypatch):
    model, calls = type(backbone().model), []
    stock = model.generate
    monkeypatch.setattr(model, "generate", lambda self, **options: calls.append(1) or stock(self, **options))
    store = Store(tmp_path, "miniature")
    for budget in (9, 16, 25):
        evaluate(store, cell("mme_fidelity", pruned(budget), limit=2, tokens=3), pruned(budget))
    assert len(calls) == 2
