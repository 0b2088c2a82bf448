"""What serving decides without vLLM: configuration, refusals, counts, position ids, an image pruned alone."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
import tiny_families
import torch

from tops.budget import PromptShape
from tops.engine.positions import renumber
from tops.errors import BudgetError, ConfigurationError, MissingSignalError, UnsupportedModelError
from tops.methods import build, method_class, method_names
from tops.serving.mrope import CHANNELS, image_positions, places_as_channels, prompt_positions
from tops.serving.pruning import KEY, VARIABLE, Pruning, engine_pruning, parsed
from tops.serving.refusals import check_count, check_modes, check_positions, check_signals
from tops.signals import Signal

SERVED = {
    "divprune", "free_truncation", "hiprune", "holov", "pooling", "prumerge_plus", "prunesid", "random", "scope",
    "uniform", "visionzip", "vispruner",
}  # fmt: skip


def written(**keys: Any) -> Pruning:
    return Pruning.read(json.dumps(keys))


def test_one_object_one_text() -> None:
    one = Pruning.read('{"budget": 64, "method": "tops", "stages": "first"}')
    other = Pruning.read({"stages": "first", "method": "tops", "budget": 64})
    assert one.text == other.text == '{"budget":64,"method":"tops","stages":"first"}'
    assert parsed(one.text) == one
    assert written(method="random", budget=1).text != written(method="random", budget=1.0).text


def test_a_request_changes_the_budget_or_everything() -> None:
    engine = written(method="visionzip", budget=64, contextual=0.5)
    assert engine.changed({"budget": 32}) == written(method="visionzip", budget=32, contextual=0.5)
    assert engine.changed('{"method": "none"}') == Pruning()
    assert engine.changed({"sample": "pope 3"}).sample == "pope 3"
    with pytest.raises(ConfigurationError, match="the engine has none"):
        Pruning().changed({"budget": 32})


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("visionzip", "is no JSON"),
        ("[]", "is no JSON object"),
        ('{"budget": 64}', "names no method"),
        ('{"method": "visionzi", "budget": 64}', "Did you mean 'visionzip'"),
        ('{"method": "visionzip", "share": 1, "budget": 64}', "no option 'share'"),
        ('{"method": "visionzip"}', "without a budget"),
        ('{"method": "visionzip", "budget": 0}', "at least 1 token must stay"),
        ('{"method": "visionzip", "budget": 1.5}', "outside"),
        ('{"method": "none", "budget": 64}', "has no budget"),
        ('{"method": "random", "budget": 4, "sample": 3}', "is no text"),
    ],
)
def test_a_wrong_object_is_refused(text: str, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        Pruning.read(text)


@pytest.mark.parametrize("name", method_names())
def test_every_method_is_served_or_refused_by_name(name: str) -> None:
    keys = {} if name in ("blank_image", "shuffled_image", "text_only") else {"budget": 512}
    if name in SERVED:
        assert written(method=name, **keys).prunes
        return
    with pytest.raises(ConfigurationError, match=f"^{name} "):
        written(method=name, **keys)


@pytest.mark.parametrize("keys", [{"stages": "both"}, {"stages": "second"}, {}])
def test_stage_two_is_refused_and_stage_one_served(keys: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError, match='"stages": "first"'):
        written(method="tops", budget=64, **keys)
    assert written(method="tops", budget=64, stages="first").prunes


@pytest.mark.parametrize(("rule", "says"), [("adaptive", "how many tokens stay"), ("literal", "one token more")])
def test_counts_must_be_known_beforehand(rule: str, says: str) -> None:
    keys = {} if rule == "adaptive" else {"budget": 64}
    with pytest.raises(ConfigurationError, match=says):
        written(method="prumerge_plus", rule=rule, **keys)


def test_methods_with_a_text_tower_say_that_they_read_the_question() -> None:
    for name in method_names():
        cls = method_class(name)
        assert cls.reads_question == (name in ("cdpruner", "trim")), name
        if Signal.TEXT_TOWER in cls.signals:
            assert cls.reads_question


def test_the_engine_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    assert engine_pruning(None) == Pruning()
    config = SimpleNamespace(**{KEY: {"method": "uniform", "budget": 9}})
    assert engine_pruning(config).budget == 9
    monkeypatch.setenv(VARIABLE, '{"method": "uniform", "budget": 9}')
    assert engine_pruning(config).budget == 9
    monkeypatch.setenv(VARIABLE, '{"method": "uniform", "budget": 4}')
    with pytest.raises(ConfigurationError, match="leave one of them out"):
        engine_pruning(config)


@pytest.mark.parametrize(
    ("keys", "visual", "kept"),
    [
        ({"method": "visionzip", "budget": 64}, 576, 64),
        ({"method": "visionzip", "budget": 0.25}, 576, 144),
        ({"method": "tops", "stages": "first", "budget": 64}, 2880, 64),
        ({"method": "uniform", "budget": 576}, 576, None),
        ({"method": "uniform", "budget": 1.0}, 576, None),
    ],
)
def test_counts_follow_from_the_shape(keys: dict[str, Any], visual: int, kept: int | None) -> None:
    method = Pruning.read(keys).build()
    assert method is not None
    assert check_count(method, PromptShape(visual, 32), keys["method"]) == kept


def test_a_budget_above_the_tokens_is_refused() -> None:
    method = written(method="divprune", budget=200).build()
    assert method is not None
    with pytest.raises(BudgetError, match="exceeds the 144 visual tokens"):
        check_count(method, PromptShape(144, 8), "divprune")


def test_signals_and_positions_that_vllm_does_not_give_are_refused() -> None:
    have = frozenset({Signal.SALIENCY, Signal.RECEIVED})
    with pytest.raises(MissingSignalError, match=r"prumerge_plus needs cls, encoder, and qwen2\.5-vl has"):
        check_signals(build("prumerge_plus", budget=64), have, "prumerge_plus", "qwen2.5-vl")
    check_signals(build("scope", budget=64), have, "scope", "qwen2.5-vl")
    with pytest.raises(ConfigurationError, match="tokens of llava have contiguous ids"):
        check_positions(build("scope", budget=64, positions="original"), "contiguous", "scope", "llava")


def _engine(**changes: Any) -> Any:
    values = {"tensor_parallel_size": 1, "pipeline_parallel_size": 1, "compile_mm_encoder": False} | changes
    multimodal = SimpleNamespace(
        video_pruning_rate=changes.get("video_pruning_rate"), mm_processor_kwargs=changes.get("mm_processor_kwargs")
    )
    part = SimpleNamespace(**values)
    return SimpleNamespace(
        parallel_config=part, compilation_config=part, model_config=SimpleNamespace(multimodal_config=multimodal)
    )


@pytest.mark.parametrize(
    "change",
    [
        {"tensor_parallel_size": 2},
        {"pipeline_parallel_size": 2},
        {"compile_mm_encoder": True},
        {"video_pruning_rate": 0.5},
        {"mm_processor_kwargs": {KEY: {"budget": 3}}},
    ],
    ids=lambda change: next(iter(change)),
)
def test_modes_that_were_not_tested_are_refused(change: dict[str, Any]) -> None:
    check_modes(_engine())
    with pytest.raises(UnsupportedModelError, match=next(iter(change))):
        check_modes(_engine(**change))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("images", [1, 2])
def test_ids_of_kept_tokens_are_those_of_the_library(images: int, seed: int) -> None:
    case = tiny_families.FAMILIES["qwen2.5-vl"](images, seed=seed)
    ids, grids = case.inputs["input_ids"][0], case.inputs["image_grid_thw"]
    outer: Any = case.model.model
    whole, shift = outer.get_rope_index(
        case.inputs["input_ids"], mm_token_type_ids=(case.inputs["input_ids"] == tiny_families.IMAGE).int(),
        image_grid_thw=grids,
    )  # fmt: skip
    visual = ids == tiny_families.IMAGE
    generator = torch.Generator().manual_seed(seed)
    keep = torch.nonzero(~visual | (torch.rand(len(ids), generator=generator) < 0.4))[:, 0]
    wanted, _ = renumber(whole[:, 0], visual, keep, "original")
    channels, spans, first = [], [], 0
    for _, rows, columns in (grids // torch.tensor([1, 2, 2])).tolist():
        start = int(torch.nonzero(visual)[first, 0])
        inside = keep[(keep >= start) & (keep < start + rows * columns)] - start
        places = torch.stack([torch.zeros_like(inside), inside // columns, inside % columns])
        channels.append(places_as_channels(places, max(rows, columns)).to(torch.bfloat16))
        spans.append((int((keep < start).sum()), len(inside), max(rows, columns)))
        first += rows * columns
    left = ids[keep]
    positions, delta = prompt_positions(len(left), spans)
    after = len(ids) + int(shift)  # the id of the first generated token
    assert len(left) + delta == after
    assert channels[0].shape[1] == CHANNELS
    computed, everything = 0, torch.cat(channels)
    while computed < len(left):  # chunks of a prefill, that cut through images
        end = min(computed + 5, len(left))
        done = int((left[:computed] == tiny_families.IMAGE).sum())
        new = int((left[computed:end] == tiny_families.IMAGE).sum())
        part = [everything[done : done + new]] if new else []
        positions, delta = image_positions(left == tiny_families.IMAGE, part, positions, computed)
        assert len(left) + delta == after
        computed = end
    assert torch.equal(positions, wanted)


def test_a_prompt_may_end_in_its_image() -> None:
    positions, delta = prompt_positions(5, [(2, 3, 7)])
    assert positions[0].tolist() == [0, 1, 2, 2, 2]
    places = torch.tensor([[0, 0, 0], [0, 3, 6], [1, 0, 2]])
    mask = torch.tensor([False, False, True, True, True])
    positions, delta = image_positions(mask, [places_as_channels(places, 7)], positions, 0)
    assert positions.tolist() == [[0, 1, 2, 2, 2], [0, 1, 2, 5, 8], [0, 1, 3, 2, 4]]
    assert 5 + delta == 9
    with pytest.raises(ValueError, match="without a token between"):
        prompt_positions(8, [(2, 3, 7), (5, 2, 3)])


def test_large_grids_survive_half_precision() -> None:
    places = torch.tensor([[0, 0], [301, 16383], [129, 257]])
    channels = places_as_channels(places, 16383).to(torch.bfloat16)
    mask = torch.tensor([True, True])
    positions, delta = image_positions(mask, [channels], torch.zeros(3, 2, dtype=torch.int64), 0)
    assert torch.equal(positions, places)
    assert 2 + delta == 16383
