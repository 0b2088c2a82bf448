"""Every argument of every served forward: read, brought to the pruned prompt, or refused by name."""

from __future__ import annotations

import copy
import inspect
from typing import Any

import pytest
import tiny
import torch
import transformers
from oracles.reference import pad_left, worst
from probes import Fixed, keep_all
from tiny_families import FAMILIES, llava_next, llava_onevision, qwen25vl

from tops import prune
from tops.backbones import adapter_for, families
from tops.engine.arguments import ARGUMENTS
from tops.errors import UnsupportedModelError

METHOD = Fixed((0, 2))
BUILDERS = {"llava": tiny.llava, **FAMILIES}


def names(module: Any) -> set[str]:
    kinds = inspect.signature(module.forward).parameters.values()
    return {one.name for one in kinds if one.kind is not one.VAR_KEYWORD} - {"self"}


@pytest.mark.parametrize("family", families())
def test_every_argument_has_a_treatment(family: str) -> None:
    """A class that transformers, or a new family, brings with another argument fails here until it is decided on."""
    for name in families()[family].model_classes:
        outer = getattr(transformers, name, None)
        if outer is None:
            continue
        inner = getattr(inspect.getmodule(outer), name.replace("ForConditionalGeneration", "Model"))
        assert names(outer) | names(inner) <= set(ARGUMENTS)


@pytest.mark.parametrize("name", [n for n, treatment in ARGUMENTS.items() if treatment == "refused"])
def test_refused_by_name(name: str) -> None:
    case = tiny.llava()
    with prune(case.model, METHOD), pytest.raises(UnsupportedModelError, match=f"{name} under pruning"):
        case.model(**case.inputs, **{name: case.inputs["input_ids"]})


@torch.no_grad()
def test_settings_of_the_tower_are_the_models_own() -> None:
    case = tiny.llava()
    with prune(case.model, METHOD):
        plain = case.model(**case.inputs).logits
        for same in (-2, 3):
            assert torch.equal(case.model(**case.inputs, vision_feature_layer=same).logits, plain)
        for change in ({"vision_feature_layer": -1}, {"vision_feature_select_strategy": "full"}):
            with pytest.raises(UnsupportedModelError, match="differs from the model's own"):
                case.model(**case.inputs, **change)
    tiles = llava_onevision()
    with prune(tiles.model, METHOD), pytest.raises(UnsupportedModelError, match="vision_aspect_ratio='anyres_max_9'"):
        tiles.model(**tiles.inputs, vision_aspect_ratio="anyres_max_9")


def test_tensors_that_nobody_knows_are_refused() -> None:
    case = tiny.llava()
    with prune(case.model, METHOD), pytest.raises(UnsupportedModelError, match=r"'token_type_ids' of shape \(1, 28\)"):
        case.model(**case.inputs, token_type_ids=case.inputs["input_ids"])


@pytest.mark.parametrize("name", BUILDERS)
@torch.no_grad()
def test_logits_of_places_in_the_unpruned_prompt(name: str) -> None:
    """Text places of a padded batch: rows lose different numbers of tokens before them."""
    case, other = BUILDERS[name](), BUILDERS[name](seed=3)
    batch = pad_left([case.inputs, other.inputs])
    length = batch["input_ids"].shape[1]
    visual = torch.isin(batch["input_ids"], torch.tensor(adapter_for(case.model).placeholder_ids))
    text = torch.nonzero((~visual & batch["attention_mask"].bool()).all(0))[:, 0]
    assert len(text) > 3
    with prune(case.model, METHOD) as run:
        whole = case.model(**batch).logits
        sizes = [record.tokens_per_layer[-1] for record in run.last]
        assert len(set(sizes)) > 1 or name.startswith("llava-one")
        got = case.model(**batch, logits_to_keep=text).logits
        mask = torch.zeros(length, dtype=torch.bool)
        mask[text] = True
        assert torch.equal(case.model(**batch, logits_to_keep=mask).logits, got)
        assert torch.equal(case.model(**batch, logits_to_keep=text - length, return_dict=False)[0], got)
        assert torch.equal(case.model(**batch, logits_to_keep=2).logits, whole[:, -2:])
        for row in range(2):  # text after the image stands at the end of the pruned row too
            tail = [int(place) for place in text if not visual[row, place:].any()]
            for place in tail:
                at = text.tolist().index(place)
                assert torch.equal(got[row, at], whole[row, place - length])
        dropped = torch.nonzero(visual[0])[:, 0]
        with pytest.raises(UnsupportedModelError, match=r"logits_to_keep asks for place \d+ of prompt 0"):
            case.model(**batch, logits_to_keep=dropped)
    with prune(case.model, keep_all("contiguous")):
        assert torch.equal(case.model(**batch, logits_to_keep=text).logits, case.model(**batch).logits[:, text])


@pytest.mark.parametrize("build", [tiny.llava, qwen25vl])
@torch.no_grad()
def test_position_ids_of_every_rank(build: Any) -> None:
    case = build()
    length = case.inputs["input_ids"].shape[1]
    flat = torch.arange(length)[None] + 3
    plain = case.model(**case.inputs, position_ids=flat).logits
    with prune(case.model, keep_all("original")):
        assert worst(case.model(**case.inputs, position_ids=flat).logits, plain) == 0
        wrong = [flat[0], flat[:, :-1], flat.expand(2, -1), flat[None].expand(2, 1, -1)]
        for given in [*wrong, flat[None].expand(3, 1, -1)] if build is tiny.llava else wrong:
            with pytest.raises(UnsupportedModelError, match="position_ids of shape"):
                case.model(**case.inputs, position_ids=given)
        cache = case.model(**case.inputs, use_cache=True).past_key_values
        with pytest.raises(UnsupportedModelError, match="position_ids of shape"):
            case.model(input_ids=flat[:, :1], position_ids=flat[0, :1], past_key_values=copy.deepcopy(cache))


@pytest.mark.parametrize("build", [tiny.llava, qwen25vl])
@torch.no_grad()
def test_packed_sequences_told_by_position_ids_are_refused(build: Any) -> None:
    case = build()
    mask = case.inputs.pop("attention_mask")
    flat = torch.arange(mask.shape[1])[None]
    packed = torch.cat([flat[:, :4], flat[:, :-4]], 1)
    several = packed[None].expand(4, 1, -1)
    with prune(case.model, METHOD):
        for given in [packed] if build is tiny.llava else [packed, several]:
            with pytest.raises(UnsupportedModelError, match=r"go from 3 to 0: without an attention_mask.*packed"):
                case.model(**case.inputs, position_ids=given, use_cache=False)
        case.model(**case.inputs, position_ids=flat)
        case.model(**case.inputs, position_ids=packed, attention_mask=mask)


@torch.no_grad()
def test_qwen_without_kinds_of_tokens_is_numbered_as_the_model_numbers_it() -> None:
    case = qwen25vl()
    del case.inputs["mm_token_type_ids"]
    plain = case.model(**case.inputs).logits
    with prune(case.model, keep_all("original")):
        assert torch.equal(case.model(**case.inputs).logits, plain)


@pytest.mark.parametrize("build", [llava_next, llava_onevision])
@torch.no_grad()
def test_image_sizes_as_a_list(build: Any) -> None:
    case = build()
    with prune(case.model, METHOD):
        want = case.model(**case.inputs).logits
        case.inputs["image_sizes"] = case.inputs["image_sizes"].tolist()
        assert torch.equal(case.model(**case.inputs).logits, want)


def test_image_sizes_for_a_tower_of_one_size_are_refused() -> None:
    case = tiny.llava()
    with prune(case.model, METHOD), pytest.raises(UnsupportedModelError, match="leave image_sizes out"):
        case.model(**case.inputs, image_sizes=torch.tensor([[28, 28]]))


def test_a_mask_that_hides_placeholders_is_refused() -> None:
    case = tiny.llava()
    mask = case.inputs["attention_mask"].clone()
    mask[0, 6:9] = 0
    with (
        prune(case.model, METHOD),
        pytest.raises(UnsupportedModelError, match="hides 3 visual placeholders"),
    ):
        case.model(**{**case.inputs, "attention_mask": mask})
