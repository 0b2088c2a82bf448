"""Conversations on kept tokens as cells: against a cut anew, against the unpruned model, with failures in between."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

import pytest
from evaluation_models import cell, data, evaluate, pruned

from tops.backbones.loading import load_backbone
from tops.budget import Budget
from tops.evaluation.turns import TurnsAsking
from tops.methods import build
from tops.miniature import checkpoints
from tops.settings.choices import backbone_config
from tops.store.cell import BackboneSpec
from tops.store.check import check
from tops.store.store import CellStatus, Store

FAMILIES = ("llava-1.5-7b", "qwen2.5-vl-7b", "llava-next-7b", "internvl3-8b")


def _answers(store: Store, benchmark: str, method: Any, **options: Any) -> dict[int, Any]:
    of = cell(benchmark, method, limit=4, tokens=options.pop("tokens", 3), seed=options.pop("seed", 0))
    if "backbone" in options:
        config = backbone_config(options["backbone"].name)
        spec = BackboneSpec(config.name, config.family, "miniature", "trained", dtype="float32")
        of = replace(of, backbone=replace(spec, options=config.miniature.options if config.miniature else {}))
    assert evaluate(store, of, method, **options) is CellStatus.SCORED
    return {a.target["turn"]: a for a in store.read(of.key).answers()}


@pytest.mark.parametrize("name", FAMILIES)
def test_kept_tokens_answer_as_the_whole_conversation_does(tmp_path: Any, name: str) -> None:
    """A method that does not look at the question cuts alike both ways; a cut that keeps everything changes nothing."""
    small = backbone_config(name).miniature
    assert small is not None
    options = {"backbone": replace(load_backbone(checkpoints.path(small.checkpoint)), name=name), "tokens": 12}
    store, few = Store(tmp_path, "miniature"), build("uniform", budget=Budget(0.25))
    kept, anew = (_answers(store, of, few, **options) for of in ("gqa_turns", "gqa_turns_anew"))
    assert [kept[t].answer for t in (1, 2, 3, 4)] == [anew[t].answer for t in (1, 2, 3, 4)]
    assert [kept[t].prompt for t in (1, 2, 3, 4)] == [anew[t].prompt for t in (1, 2, 3, 4)]
    assert kept[1].visual_tokens_per_layer == kept[4].visual_tokens_per_layer
    everything = _answers(store, "gqa_turns", build("random", budget=Budget(1.0)), **options)
    unpruned = _answers(store, "gqa_turns", None, **options)
    assert [everything[t].answer for t in (1, 2, 3, 4)] == [unpruned[t].answer for t in (1, 2, 3, 4)]
    assert kept[2].answer in kept[3].prompt
    assert check(store) == []


def test_a_cut_reads_the_first_question_or_each(tmp_path: Any) -> None:
    store, method = Store(tmp_path, "miniature"), build("fastv", budget=Budget(60))
    kept, anew = (_answers(store, of, method, record_kept=True) for of in ("gqa_turns", "gqa_turns_anew"))
    assert len({str(kept[t].kept) for t in (1, 2, 3, 4)}) == 1
    assert len({str(anew[t].kept) for t in (1, 2, 3, 4)}) > 1
    assert kept[1].kept == anew[1].kept


def test_prompts_are_compared_without_the_models_own_answers(tmp_path: Any) -> None:
    store = Store(tmp_path, "miniature")
    one, other = _answers(store, "pope_turns", None), _answers(store, "pope_turns", pruned(9))
    assert one[4].prompt != other[4].prompt
    assert [one[t].prompt_hash for t in (1, 2, 3, 4)] == [other[t].prompt_hash for t in (1, 2, 3, 4)]
    assert one[1].prompt_hash == hashlib.sha256(one[1].prompt.encode()).hexdigest()
    orders = [[a.doc_id for _, a in sorted(_answers(store, "pope_turns", None, seed=s).items())] for s in range(4)]
    assert all(len(set(turn)) == 4 for turn in zip(*orders, strict=True))


def test_turns_behind_a_failed_one_have_failed_and_are_asked_again(tmp_path: Any, monkeypatch: Any) -> None:
    store, of, stock = Store(tmp_path, "miniature"), cell("pope_turns", pruned(), limit=4), TurnsAsking._turn

    def failing(self: Any, turn: int, *rest: Any) -> Any:
        if turn == 3:
            raise RuntimeError("out of luck")
        return stock(self, turn, *rest)

    monkeypatch.setattr(TurnsAsking, "_turn", failing)
    assert evaluate(store, of, pruned()) is CellStatus.INCOMPLETE
    record = store.read(of.key)
    assert record.failure is not None
    assert "2 of 4 documents failed" in record.failure["error"]
    errors = sorted(str(a.error) for a in record.answers() if a.error)
    assert "an earlier turn of its conversation, failed" in errors[0]
    assert "out of luck" in errors[1]
    monkeypatch.undo()
    assert evaluate(store, of, pruned()) is CellStatus.SCORED
    again = {a.doc_id: a.answer for a in store.read(of.key).answers()}
    fresh = Store(tmp_path / "fresh", "miniature")
    evaluate(fresh, of, pruned())
    assert again == {a.doc_id: a.answer for a in fresh.read(of.key).answers()}


def test_a_template_that_rewrites_earlier_turns_is_refused(tmp_path: Any, monkeypatch: Any) -> None:
    from evaluation_models import backbone

    template = backbone().processor.chat_template
    monkeypatch.setattr(backbone().processor, "chat_template", template + "{{ messages | length }} ")
    store, of = Store(tmp_path, "miniature"), cell("pope_turns", pruned(), limit=4)
    assert evaluate(store, of, pruned(), data_root=data()) is CellStatus.INCOMPLETE
    failed = [a.error for a in store.read(of.key).answers() if a.error]
    assert any("writes an earlier turn otherwise" in str(error) for error in failed)
