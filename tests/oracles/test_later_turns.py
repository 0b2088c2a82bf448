"""A second turn on a pruned cache is the whole conversation, cut where the first prompt was cut."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import tiny
import torch
from oracles.reference import GREEDY, extended, pad_left, worst
from probes import Fixed, keep_all
from tiny_families import FAMILIES

from tops.engine import prune
from tops.engine.cache import state_of
from tops.errors import UnsupportedModelError

BUILDERS = {"llava": tiny.llava, **FAMILIES}
NEXT = torch.tensor([[5, 41, 9, 70]])


@pytest.mark.parametrize("name", BUILDERS)
@pytest.mark.parametrize("positions", ["contiguous", "original"])
@torch.no_grad()
def test_a_second_turn_is_the_whole_conversation(name: str, positions: Any) -> None:
    """Through ``generate``, in another block, and against a run without a cache whose cuts are the same."""
    case, method = BUILDERS[name](), Fixed((0, 2), positions=positions)
    with prune(case.model, method):
        first = case.model.generate(**case.inputs, max_new_tokens=3, **GREEDY)
    whole = extended(case.inputs, torch.cat([first.sequences[:, -3:], NEXT], 1))
    later = {k: v for k, v in whole.items() if k in ("input_ids", "attention_mask")}
    with prune(case.model, method) as run:
        for _ in range(2):  # questions behind one prompt: each on a copy of its cache
            cache = copy.deepcopy(first.past_key_values)
            second = case.model.generate(**later, past_key_values=cache, max_new_tokens=2, **GREEDY)
        assert not run.prompts
        reference = case.model.generate(**whole, max_new_tokens=2, use_cache=False, **GREEDY)
    assert torch.equal(second.sequences, reference.sequences)
    assert worst(torch.stack(second.logits), torch.stack(reference.logits)) <= 1e-5


@pytest.mark.parametrize("name", BUILDERS)
@torch.no_grad()
def test_turns_that_keep_everything_are_the_stock_models_own(name: str) -> None:
    """Against the whole conversation in the stock model, also when other prompts ran between the turns."""
    case = BUILDERS[name]()
    other = {"input_ids": torch.tensor([[7, 8, 9]]), "attention_mask": torch.ones(1, 3, dtype=torch.int64)}
    with prune(case.model, keep_all("original")):
        first = case.model.generate(**case.inputs, max_new_tokens=3, **GREEDY)
        cache, whole = first.past_key_values, extended(case.inputs, first.sequences[:, -3:])
        for turn in range(2):
            case.model.generate(**other, max_new_tokens=2, **GREEDY)
            whole = extended(whole, NEXT + turn)
            later = {k: v for k, v in whole.items() if k in ("input_ids", "attention_mask")}
            reply = case.model.generate(**later, past_key_values=cache, max_new_tokens=2, **GREEDY)
            whole = extended(whole, reply.sequences[:, -2:])
    assert worst(torch.stack(reply.logits)[:1], torch.stack(_stock(case, whole, 2).logits)[:1]) <= 1e-5


def _stock(case: Any, whole: Any, replied: int) -> Any:
    """What the stock model says to a conversation whose last reply is left out."""
    length = whole["input_ids"].shape[1]
    short = {k: v[:, :-replied] if v.shape[1:2] == (length,) else v for k, v in whole.items()}
    return case.model.generate(**short, max_new_tokens=2, **GREEDY)


@torch.no_grad()
def test_rows_of_a_padded_batch_go_on_together() -> None:
    case, other = tiny.llava(), tiny.llava(seed=3)
    batch = pad_left([case.inputs, other.inputs])
    with prune(case.model, Fixed((0, 2))):
        out = case.model.generate(**batch, max_new_tokens=3, **GREEDY)
        whole = extended(batch, torch.cat([out.sequences[:, -3:], NEXT.expand(2, -1)], 1))
        later = {k: v for k, v in whole.items() if k != "pixel_values"}
        second = case.model.generate(**later, past_key_values=out.past_key_values, max_new_tokens=2, **GREEDY)
        reference = case.model.generate(**whole, max_new_tokens=2, use_cache=False, **GREEDY)
    assert worst(torch.stack(second.logits), torch.stack(reference.logits)) <= 1e-5


@torch.no_grad()
def test_the_oracle_sees_a_lost_shift_of_positions() -> None:
    case, method = tiny.llava(), Fixed((0, 2), positions="contiguous")
    with prune(case.model, method):
        cache = case.model(**case.inputs, use_cache=True).past_key_values
        right = case.model(input_ids=NEXT, past_key_values=copy.deepcopy(cache)).logits
        state = state_of(cache)
        assert state is not None
        for part in state.segments:
            part.delta.zero_()
        assert worst(case.model(input_ids=NEXT, past_key_values=cache).logits, right) > 1e-2


@torch.no_grad()
def test_a_new_image_in_a_later_turn_is_refused() -> None:
    case = tiny.llava()
    with prune(case.model, Fixed()):
        cache = case.model(**case.inputs, use_cache=True).past_key_values
        with pytest.raises(UnsupportedModelError, match="later turns of a pruned cache are text alone"):
            case.model(input_ids=torch.full((1, 16), tiny.IMAGE), past_key_values=cache)
