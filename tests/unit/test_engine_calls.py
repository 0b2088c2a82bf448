"""State belongs to a call: threads, tasks, copies, pickles, caches after the block, prompts without a cache."""

from __future__ import annotations

import asyncio
import copy
import io
import os
import pickle
import threading
from collections.abc import Callable
from contextvars import copy_context
from typing import Any

import pytest
import tiny
import torch
from oracles.reference import generate, pad_left, worst
from probes import Fixed, Given
from tiny_families import llava_next, qwen25vl

from tops import TOPS, prune
from tops.engine.vision_memory import VisionMemory
from tops.errors import UnsupportedModelError
from tops.signals import PruningPoint
from tops.tokens import Selection

METHOD = Fixed((0, 2))


def elsewhere(work: Callable[[], Any]) -> Any:
    """What a function gives in a thread of its own, or the error it raises there."""
    out: list[Any] = []

    def run() -> None:
        try:
            out.append(work())
        except Exception as error:
            out.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return out[0]


def answer(case: tiny.Case, method: Any = METHOD) -> torch.Tensor:
    with prune(case.model, method):
        return generate(case.model, case.inputs)[1]


@pytest.mark.parametrize("build", [tiny.llava, qwen25vl])
def test_threads_with_blocks_of_their_own_are_each_right(build: Any) -> None:
    """Two methods and two prompts at once on one model, step by step in turns."""
    case, other = build(), build(seed=3)
    methods = {"a": METHOD, "b": Fixed((1, 3), share=0.3)}
    alone = {name: answer(c, methods[name]) for name, c in (("a", case), ("b", tiny.Case(case.model, other.inputs)))}
    turn, got, count = threading.Barrier(2, timeout=20), {}, {"a": [], "b": []}

    def work(name: str, inputs: Any) -> None:
        with prune(case.model, methods[name]) as run:
            turn.wait()
            got[name] = generate(case.model, inputs, logits_processor=[lambda ids, scores: turn.wait() * 0 + scores])[1]
            count[name] = [len(run.prompts)]

    threads = [threading.Thread(target=work, args=pair) for pair in (("a", case.inputs), ("b", other.inputs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for name, logits in alone.items():
        assert worst(got[name], logits) <= 1e-5
    assert count == {"a": [1], "b": [1]}
    assert "generate" not in vars(case.model)


def test_a_thread_without_a_block_is_refused_before_it_computes() -> None:
    case = tiny.llava()
    with prune(case.model, METHOD):
        for work in (lambda: generate(case.model, case.inputs), lambda: case.model(**case.inputs)):
            error = elsewhere(work)
            assert isinstance(error, UnsupportedModelError)
            assert "another thread or task" in str(error)


def test_an_unpruned_generation_goes_on_while_a_block_is_opened_elsewhere() -> None:
    case = tiny.llava()
    plain = generate(case.model, case.inputs)[1]
    opened, first = threading.Event(), threading.Event()

    def wait(ids: Any, scores: Any) -> Any:
        first.set()
        assert opened.wait(20)
        return scores

    out: list[Any] = []
    thread = threading.Thread(target=lambda: out.append(generate(case.model, case.inputs, logits_processor=[wait])[1]))
    thread.start()
    assert first.wait(20)
    with prune(case.model, METHOD):
        opened.set()
        thread.join()
    assert torch.equal(out[0], plain)


def test_a_copied_context_is_in_the_block() -> None:
    case = tiny.llava()
    alone = answer(case)
    with prune(case.model, METHOD) as run:
        context = copy_context()
        assert torch.equal(elsewhere(lambda: context.run(lambda: generate(case.model, case.inputs)[1])), alone)
        assert len(run.prompts) == 1

    async def task() -> Any:
        with prune(case.model, METHOD):
            return await asyncio.to_thread(lambda: generate(case.model, case.inputs)[1])

    assert torch.equal(asyncio.run(task()), alone)


def test_two_calls_at_once_in_one_block_are_refused() -> None:
    case = tiny.llava()
    with prune(case.model, METHOD):
        context, errors = copy_context(), []

        def other(ids: Any, scores: Any) -> Any:
            errors.append(elsewhere(lambda: context.run(lambda: generate(case.model, case.inputs))))
            return scores

        generate(case.model, case.inputs, 1, logits_processor=[other])
    assert isinstance(errors[0], UnsupportedModelError)
    assert "one call at a time" in str(errors[0])


@pytest.mark.parametrize("use_cache", [True, False])
def test_a_generation_that_outlives_its_block_ends_with_an_error(use_cache: bool) -> None:
    case = tiny.llava()
    started, ended, out = threading.Event(), threading.Event(), []

    def wait(ids: Any, scores: Any) -> Any:
        started.set()
        assert ended.wait(20)
        return scores

    def work() -> None:
        try:
            out.append(generate(case.model, case.inputs, use_cache=use_cache, logits_processor=[wait]))
        except UnsupportedModelError as error:
            out.append(error)

    with prune(case.model, METHOD):
        thread = threading.Thread(target=copy_context().run, args=(work,))
        thread.start()
        assert started.wait(20)
    ended.set()
    thread.join()
    assert isinstance(out[0], UnsupportedModelError)
    assert "ended while this call was running" in str(out[0])
    assert "generate" not in vars(case.model)
    assert not case.model.model._forward_pre_hooks


@torch.no_grad()
def test_a_pruned_cache_is_read_inside_a_block_only() -> None:
    case, token = tiny.llava(), torch.tensor([[5]])
    with prune(case.model, METHOD):
        out = case.model(**case.inputs, use_cache=True)
        want = case.model(input_ids=token, past_key_values=copy.deepcopy(out.past_key_values)).logits
    cache = out.past_key_values
    again = pickle.loads(pickle.dumps(cache))  # noqa: S301 - written here
    for each in (cache, copy.deepcopy(cache), again):
        with pytest.raises(UnsupportedModelError, match="were pruned"):
            case.model(input_ids=token, past_key_values=each)
        with prune(case.model, TOPS(budget=4)):
            assert torch.equal(case.model(input_ids=token, past_key_values=copy.deepcopy(each)).logits, want)
    cache.reset()
    assert type(cache).__name__ == "DynamicCache"


@torch.no_grad()
def test_rows_of_a_cache_may_be_chosen_repeated_and_taken_back() -> None:
    case, other = tiny.llava(), tiny.llava(seed=3)
    batch, token = pad_left([case.inputs, other.inputs]), torch.tensor([[5], [7]])
    with prune(case.model, METHOD):
        cache = case.model(**batch, use_cache=True).past_key_values
        both = case.model(input_ids=token, past_key_values=copy.deepcopy(cache)).logits
        cache.batch_select_indices(torch.tensor([1]))
        cache.batch_repeat_interleave(2)
        cache.reorder_cache(torch.tensor([1, 0]))
        for _ in range(2):
            got = case.model(input_ids=token[[1, 1]], past_key_values=cache).logits
            assert worst(got, both[[1, 1]]) <= 1e-5
            cache.crop(-1)
        with pytest.raises(UnsupportedModelError, match="as a negative number"):
            cache.crop(3)
        with pytest.raises(UnsupportedModelError, match=r"1 row\(s\) of tokens were given for a cache of 2"):
            case.model(input_ids=token[:1], past_key_values=cache)


def test_a_method_that_calls_its_model_is_refused() -> None:
    case = tiny.llava()

    def select(point: PruningPoint) -> Selection:
        case.model(**case.inputs)
        raise AssertionError

    with prune(case.model, Given({0: select})):
        with pytest.raises(UnsupportedModelError, match="while a forward of it was running"):
            case.model(**case.inputs)
        with pytest.raises(UnsupportedModelError, match="while a forward of it was running"):
            generate(case.model, case.inputs)
    assert torch.equal(answer(case), answer(case))


@pytest.mark.parametrize("how", ["deepcopy", "pickle", "save"])
def test_copies_made_in_a_block_are_models_of_their_own(how: str) -> None:
    # transformers' own hooks, there after the first forward, cannot be pickled: so this model has run nothing yet.
    case, same = tiny.llava(), tiny.llava()
    plain, pruned = generate(same.model, same.inputs)[1], answer(same)
    with prune(case.model, METHOD, memory=VisionMemory(10**9)):
        if how == "deepcopy":
            other: Any = copy.deepcopy(case.model)
        elif how == "pickle":
            other = pickle.loads(pickle.dumps(case.model))  # noqa: S301 - written here
        else:
            file = io.BytesIO()
            torch.save(case.model, file)
            file.seek(0)
            other = torch.load(file, weights_only=False)
        assert torch.equal(generate(other, case.inputs)[1], plain)
        with prune(other, METHOD, memory=VisionMemory(10**9)):
            assert torch.equal(generate(other, case.inputs)[1], pruned)
        with torch.no_grad():
            other.lm_head.weight.mul_(2)
        assert not torch.equal(generate(other, case.inputs)[1], plain)
        assert torch.equal(generate(case.model, case.inputs)[1], pruned)
    assert torch.equal(generate(case.model, case.inputs)[1], plain)


def test_a_fork_is_in_the_block() -> None:
    case = tiny.llava()
    with prune(case.model, METHOD):
        want = generate(case.model, case.inputs, 2)[1]
        child = os.fork()
        if not child:
            os._exit(0 if torch.equal(generate(case.model, case.inputs, 2)[1], want) else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.parametrize("build", [tiny.llava, llava_next])
@torch.no_grad()
def test_without_a_cache_every_prompt_is_cut_anew(build: Any) -> None:
    """Answer options behind one prompt, on the same pixels: each is what it is alone."""
    case = build()

    def select(point: PruningPoint) -> Selection:  # reads the text, so that another option keeps other tokens
        scores = point.attention(point.text_slots).mean((0, 1))[point.visual_slots]
        return Selection(scores.topk(4).indices.sort().values)

    method = Given({1: select}, "original")
    ids = case.inputs["input_ids"]
    options = [{**case.inputs, "input_ids": torch.cat([ids, torch.tensor([tail])], 1)} for tail in ([5, 9], [71, 33])]
    options = [{**o, "attention_mask": torch.ones_like(o["input_ids"])} for o in options]
    with prune(case.model, method) as run:
        case.model(**case.inputs, use_cache=False)
        together = [case.model(**o, use_cache=False).logits for o in options]
    assert len(run.prompts) == 3
    for option, logits in zip(options, together, strict=True):
        with prune(case.model, method):
            assert torch.equal(case.model(**option, use_cache=False).logits, logits)


@pytest.mark.parametrize("use_cache", [True, False])
def test_guidance_records_the_prompt_that_was_asked(use_cache: bool) -> None:
    case, options = tiny.llava(), {"guidance_scale": 1.5, "use_cache": use_cache}
    with prune(case.model, METHOD) as run:
        tokens, logits = generate(case.model, case.inputs, **options)
        first = run.visual_tokens_per_layer
        again = generate(case.model, case.inputs, **options)[1]
    assert len(run.prompts) == 2
    assert first == run.visual_tokens_per_layer
    assert min(first) > 0
    assert torch.equal(logits, again)
    with prune(case.model, METHOD):
        assert worst(generate(case.model, case.inputs, guidance_scale=1.5)[1], logits) <= 1e-5
    assert tokens.shape == (1, 5)
