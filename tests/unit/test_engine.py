"""The run record, new rows, several images, mixed batches, questions."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import tiny
import torch
from accelerate import dispatch_model
from oracles.reference import GREEDY, entering, pad_left, worst
from probes import Fixed, Given

from tops import TOPS, prune
from tops.engine.positions import renumber
from tops.engine.segment import Row, plan_gather
from tops.errors import ConfigurationError
from tops.signals import PruningPoint
from tops.tokens import Selection


def hooks(model: Any) -> set[tuple[str, int]]:
    """Every hook of every module; transformers keeps some of its own for output capturing."""
    return {(n, i) for n, m in model.named_modules() for i in (*m._forward_pre_hooks, *m._forward_hooks)}


def test_the_snippet() -> None:
    case = tiny.llava()
    model, inputs = case.model, case.inputs
    before = {name: value.clone() for name, value in model.state_dict().items()}
    plain = model.generate(**inputs, max_new_tokens=3, do_sample=False)
    there = hooks(model)
    with prune(model, TOPS(budget=4)) as run:
        output = model.generate(**inputs, max_new_tokens=3, do_sample=False)
    assert run.visual_tokens_per_layer == [8, 8, 1, 1, 1]
    assert output.shape == plain.shape
    assert torch.equal(model.generate(**inputs, max_new_tokens=3, do_sample=False), plain)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert hooks(model) == there


def test_hooks_leave_with_an_exception() -> None:
    case = tiny.llava()

    def fail(point: PruningPoint) -> Selection:
        raise RuntimeError("inside select")

    case.model(**case.inputs)
    there = hooks(case.model)
    with prune(case.model, Given({2: fail})):
        assert hooks(case.model) > there
    with pytest.raises(RuntimeError, match="inside select"), prune(case.model, Given({2: fail})):
        case.model(**case.inputs)
    assert hooks(case.model) == there
    with prune(case.model, TOPS(budget=4)):
        pass


def test_a_model_that_accelerate_has_dispatched() -> None:
    """A device map puts a hook around every layer's forward; on one device it must change nothing."""
    case, got = tiny.llava(), []
    for dispatched in (False, True):
        if dispatched:
            parts = [n for n, m in case.model.named_modules() if n.count(".") == 1 or n.endswith("embed_tokens")]
            layers = [f"model.language_model.layers.{i}" for i in range(tiny.DEPTH)]
            rest = ["model.language_model.norm", "model.language_model.rotary_emb", "lm_head"]
            places = dict.fromkeys([*(p for p in parts if p != "model.language_model"), *layers, *rest], "cpu")
            dispatch_model(case.model, places, main_device="cpu", force_hooks=True)
            assert hasattr(case.model.model.language_model.layers[1], "_hf_hook")
        with prune(case.model, TOPS(budget=4), record_kept=True) as run:
            out = case.model.generate(**case.inputs, max_new_tokens=3, **GREEDY)
        got.append((torch.stack(out.logits), run.kept))
    assert torch.equal(got[0][0], got[1][0])
    assert got[0][1] == got[1][1]
    with prune(case.model, TOPS(budget=4)):
        other = copy.deepcopy(case.model)
    assert vars(other)["forward"].args == (other,)  # accelerate's own, for the copy
    assert torch.equal(other(**case.inputs).logits, case.model(**case.inputs).logits)


def test_what_others_put_around_a_forward_inside_a_block_stays() -> None:
    case, seen = tiny.llava(), []
    plain = case.model(**case.inputs).logits
    with prune(case.model, TOPS(budget=4)):
        inner = case.model.forward
        case.model.forward = lambda *args, **kwargs: seen.append(1) or inner(*args, **kwargs)
        assert case.model(**case.inputs).logits.shape != plain.shape
    assert torch.equal(case.model(**case.inputs).logits, plain)
    assert seen == [1, 1]


def test_the_record_is_cumulative_and_lists_what_each_layer_saw() -> None:
    case = tiny.llava()
    method = Fixed((0, 2))
    with prune(case.model, method, record_kept=True) as run, torch.no_grad():
        case.model(**case.inputs)
        case.model.generate(**case.inputs, max_new_tokens=4, do_sample=False)
    first = [i for i in range(16) if method.kept(0)[i]]
    both = [i for i in first if method.kept(2)[i]]
    assert run.kept == [{0: first, 2: both}]
    assert run.visual_tokens_per_layer == [len(first)] * 2 + [len(both)] * 3
    assert run.last[0].tokens_per_layer == tuple(n + 12 for n in run.last[0].visual_tokens_per_layer)
    assert run.last[0].scheduled == (1, 1, 1, 1, 1), "what was promised stays beside what was done"
    assert len(run.prompts) == 2
    assert run.prompts[0] == run.prompts[1]


@torch.no_grad()
def test_a_prompt_without_an_image_passes_through() -> None:
    case, text = tiny.llava(), tiny.prompt(tiny.words(9))
    plain = case.model(**text).logits
    with prune(case.model, TOPS(budget=4)) as run:
        assert torch.equal(case.model(**text).logits, plain)
        assert run.notes == ["no image: passed through unpruned"]
        assert run.visual_tokens_per_layer == [0] * 5
        # In a batch with a prompt that has one, each row is what it is alone.
        alone = case.model(**case.inputs).logits[:, -1]
        pixels = {"pixel_values": case.inputs["pixel_values"]}
        batch = pad_left([{k: v for k, v in case.inputs.items() if k != "pixel_values"}, text])
        both = case.model.generate(**batch, **pixels, max_new_tokens=1, **GREEDY)
        assert run.visual_tokens_per_layer == [[8, 8, 1, 1, 1], [0] * 5]
        assert run.notes == ["no image: passed through unpruned"]
    assert worst(both.logits[0], torch.cat([alone, plain[:, -1]])) <= 1e-5


@torch.no_grad()
def test_new_rows_stand_at_their_anchor() -> None:
    """Two tokens swapped, two merged into one whose anchor repeats, against embeddings shortened by hand."""
    case = tiny.llava(images=2)
    embeds, _ = entering(case.model, case.inputs)
    start = int((case.inputs["input_ids"][0] == tiny.IMAGE).nonzero()[0, 0])
    second = start + 16 + 3
    merged = (embeds[0, start + 1] + embeds[0, start + 2]) / 2

    def select(point: PruningPoint) -> Selection:
        anchors = torch.tensor([17, 7, 3, 3, 16])
        rows = point.tokens.features[anchors].clone()
        rows[3] = (point.tokens.features[1] + point.tokens.features[2]) / 2
        return Selection(anchors, rows)

    by_hand = [
        embeds[0, :start], embeds[0, [start + 7, start + 3]], merged[None], embeds[0, start + 16 : second],
        embeds[0, [second + 1, second]], embeds[0, second + 16 :],
    ]  # fmt: skip
    reference = case.model(inputs_embeds=torch.cat(by_hand)[None]).logits
    with prune(case.model, Given({0: select}, "contiguous"), record_kept=True) as run:
        assert worst(case.model(**case.inputs).logits, reference) <= 1e-5
    assert run.kept == [{0: [7, 3, 3, 17, 16]}]


def test_gather_keeps_newlines_only_without_a_cut() -> None:
    #        text  visual row, newline    text
    visual = torch.tensor([0, 1, 1, 1, 1, 1, 1, 0], dtype=torch.bool)
    candidate = torch.tensor([0, 1, 1, 0, 1, 1, 0, 0], dtype=torch.bool)
    places = torch.arange(8)
    row = Row(places, visual, candidate, places, places, torch.tensor(0))
    assert plan_gather(row, Selection(torch.arange(4))) is None
    gather = plan_gather(row, Selection(torch.tensor([0, 3])))
    assert gather is not None
    assert gather.source.tolist() == [0, 1, 5, 7]


@pytest.mark.parametrize("given", ["how many?", ["how many?", "which colour?"], None])
def test_questions(given: Any) -> None:
    case, asked = tiny.llava(), []

    class Processor:
        def decode(self, ids: Any) -> str:
            return f"A chat. USER: \n{len(ids)} words? ASSISTANT:"

    def select(point: PruningPoint) -> Selection:
        asked.append((point.text.question, point.sample))
        return Selection(torch.tensor([0]))

    batch = pad_left([case.inputs, case.inputs])
    with prune(case.model, Given({0: select}), processor=Processor(), question=given) as run:
        run.sample = ["gqa/1", "gqa/2"]
        case.model(**batch)
    told = given if isinstance(given, list) else [given or "12 words?"] * 2
    assert asked == list(zip(told, ["gqa/1", "gqa/2"], strict=True))
    with (
        prune(case.model, Given({0: select})),
        pytest.raises(ConfigurationError, match="question="),
    ):
        case.model(**case.inputs)


def test_a_method_may_follow_its_own_rule_at_each_cut() -> None:
    case, seen = tiny.llava(), []

    def note(point: PruningPoint) -> Selection:
        point.memory["layer0"] = point.tokens.features[:2]
        return Selection(torch.arange(8))

    def recall(point: PruningPoint) -> Selection:
        seen.append(("layer0" in point.memory, len(point.tokens), point.initial, point.keep, point.layer))
        assert torch.equal(point.hidden()[point.visual_slots], point.tokens.features)
        assert int(point.positions[-1]) == len(point.hidden()) - 1
        return Selection(torch.arange(2))

    with prune(case.model, Given({0: note, 3: recall}, "contiguous")):
        case.model(**case.inputs)
        case.model(**case.inputs)
    assert seen == [(True, 8, 16, 1, 3)] * 2


def test_positions_of_one_axis_close_up() -> None:
    visual = torch.tensor([False, True, True, True, False])
    for start in (0, 32):  # padding without position ids counts too
        new, shift = renumber(start + torch.arange(5), visual, torch.tensor([0, 2, 4]), "contiguous")
        assert (new.tolist(), int(shift)) == ([start, start + 1, start + 2], -2)


def test_mrope_positions_close_up() -> None:
    """A 3 x 4 block between texts: without its last row and every odd column it is 2 x 2."""
    rows, cols = torch.arange(12) // 4, torch.arange(12) % 4
    block = torch.stack([torch.zeros(12, dtype=torch.int64), rows, cols]) + 2
    text = torch.arange(2).expand(3, 2)
    after = torch.arange(3).expand(3, 3) + 2 + 4
    positions = torch.cat([text, block, after], 1)
    visual = torch.tensor([False] * 2 + [True] * 12 + [False] * 3)
    everything = torch.arange(17)
    same, none = renumber(positions, visual, everything, "contiguous")
    assert torch.equal(same, positions)
    assert none.tolist() == [0, 0, 0]
    keep = torch.tensor([0, 1, 2, 4, 6, 8, 14, 15, 16])
    new, shift = renumber(positions, visual, keep, "contiguous")
    assert new[1, 2:6].tolist() == [2, 2, 3, 3]
    assert new[2, 2:6].tolist() == [2, 3, 2, 3]
    assert new[0, 6:].tolist() == [4, 5, 6]
    assert shift.tolist() == [-2, -2, -2]
    kept, zero = renumber(positions, visual, keep, "original")
    assert torch.equal(kept, positions[:, keep])
    assert zero.tolist() == [0, 0, 0]
