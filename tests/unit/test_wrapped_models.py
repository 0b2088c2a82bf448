"""Models inside wrappers are pruned, or refused with the true reason; so are prompts that cannot be what they seem."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import tiny
import tiny_families
import torch
from oracles.reference import generate, worst
from probes import Fixed
from torch import distributed, nn

from tops import TOPS, Uniform, VisionZip, prune
from tops.backbones import adapter_for
from tops.errors import MissingSignalError, UnsupportedModelError
from tops.methods import build

METHOD = Fixed((0, 2))


def pruned(model: Any, inputs: Any) -> torch.Tensor:
    with prune(model, METHOD):
        return generate(model, inputs, 3)[1]


def test_peft_is_pruned_with_its_adapter() -> None:
    """As the model into which the adapter is merged, and as the plain one while the adapter is off."""
    peft = pytest.importorskip("peft")
    case = tiny.llava()
    plain = pruned(copy.deepcopy(case.model), case.inputs)
    options = peft.LoraConfig(target_modules=["q_proj", "k_proj", "linear_1"], init_lora_weights=False, r=4)
    wrapped = peft.get_peft_model(case.model, options).eval()
    adapted = pruned(wrapped, case.inputs)
    with wrapped.disable_adapter():
        assert torch.equal(pruned(wrapped, case.inputs), plain)
    merged = copy.deepcopy(wrapped).merge_and_unload()
    assert worst(adapted, pruned(merged, case.inputs)) < 1e-4
    assert worst(adapted, plain) > 1e-2
    assert adapter_for(wrapped).model is wrapped.get_base_model()


def test_learned_prompts_of_peft_are_refused_by_name() -> None:
    peft = pytest.importorskip("peft")
    learned = peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3)
    model = peft.get_peft_model(tiny.llava().model, learned)
    with pytest.raises(UnsupportedModelError, match="PromptTuningConfig puts tokens of its own"), prune(model, METHOD):
        pass


def test_distributed_data_parallel_is_pruned(tmp_path: Path) -> None:
    case = tiny.llava()
    want = pruned(case.model, case.inputs)[:, 0]
    distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        wrapped = nn.parallel.DistributedDataParallel(case.model)
        with torch.no_grad(), prune(wrapped, METHOD):  # type: ignore[arg-type]
            assert worst(wrapped(**case.inputs).logits[:, -1], want) <= 1e-5
    finally:
        distributed.destroy_process_group()


def test_wrappers_that_leave_hooks_out_name_the_model_inside() -> None:
    case = tiny.llava()
    for wrapper, words in (
        (nn.DataParallel(case.model), r"model\.module"),
        (torch.compile(case.model), r"model\._orig_mod"),
    ):
        with pytest.raises(UnsupportedModelError, match=words), prune(wrapper, METHOD):  # type: ignore[arg-type]
            pass


@pytest.mark.parametrize("part", ["", "model", "model.language_model", "model.language_model.layers.3"])
def test_compiled_parts_are_refused(part: str) -> None:
    case = tiny.llava()
    case.model.get_submodule(part).compile()
    with pytest.raises(UnsupportedModelError, match="is compiled"), prune(case.model, METHOD):
        pass
    other = tiny.llava()
    module = other.model.get_submodule(part)
    module.forward = torch.compile(module.forward)
    with pytest.raises(UnsupportedModelError, match="is compiled"), prune(other.model, METHOD):
        pass


@pytest.mark.parametrize(
    ("part", "words"), [("model.language_model", "text model"), ("model.language_model.layers.3", "decoder layers")]
)
def test_parts_that_run_past_the_hooks_are_noticed(part: str, words: str) -> None:
    case = tiny.llava()
    with prune(case.model, Fixed((3,))):
        module = case.model.get_submodule(part)
        module._compiled_call_impl = module.forward
        with pytest.raises(UnsupportedModelError, match=f"the {words} ran past the hooks"):
            case.model(**case.inputs)


def test_a_tower_of_windows_alone_has_no_saliency() -> None:
    case = tiny_families.qwen25vl()
    case.model.model.visual.fullatt_block_indexes = []
    with pytest.raises(MissingSignalError, match=r"fullatt_block_indexes=\[\]"), prune(case.model, VisionZip(budget=4)):
        pass
    with prune(case.model, Uniform(budget=4)) as run:
        case.model(**case.inputs)
    assert run.visual_tokens_per_layer == [4] * tiny.DEPTH


@pytest.mark.parametrize("build_case", [tiny.llava, *tiny_families.FAMILIES.values()])
def test_a_placeholder_in_the_words_is_called_one(build_case: Any) -> None:
    case = build_case()
    mark = torch.tensor(adapter_for(case.model).placeholder_ids[-1:])
    ids = torch.cat([case.inputs["input_ids"], mark[None], torch.tensor([[5]])], 1)
    inputs = {**case.inputs, "input_ids": ids, "attention_mask": torch.ones_like(ids)}
    if "mm_token_type_ids" in inputs:
        inputs["mm_token_type_ids"] = (ids == mark).int() * int(inputs["mm_token_type_ids"].max())
    place = ids.shape[1] - 2
    with (
        prune(case.model, METHOD),
        pytest.raises(UnsupportedModelError, match=f"token {place} is a placeholder that stands alone.*user's words"),
    ):
        case.model(**inputs)


@pytest.mark.parametrize("depth", [1, 2])
def test_a_keep_ratio_of_one_prunes_nothing_at_any_depth(depth: int) -> None:
    case = tiny.llava()
    layers = case.model.model.language_model.layers
    del layers[depth:]
    case.model.config.text_config.num_hidden_layers = depth
    plain = case.model(**case.inputs).logits
    for name in ("dart", "fastv", "pdrop", "sparsevlm", "tops", "visionzip"):
        method = build(name, budget=1.0)
        with prune(case.model, method) as run:
            assert torch.equal(case.model(**case.inputs).logits, plain)
        assert run.visual_tokens_per_layer == [16] * depth
    with prune(case.model, TOPS(budget=4, stages="first")):
        assert not torch.equal(case.model(**case.inputs).logits[:, -1], plain[:, -1])
