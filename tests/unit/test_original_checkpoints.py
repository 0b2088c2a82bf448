"""Sharded checkpoints under the weight names of their publishers load whole: nothing missing, nothing left over."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import tiny
import tiny_families
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from tops.backbones import _llava_video_model as llava_video_model
from tops.backbones import families
from tops.backbones.loading import load_backbone
from tops.bench.prompts import prompt
from tops.errors import DataError, UnsupportedModelError
from tops.settings import choices

LLAVA = ((r"^model\.language_model\.", "language_model.model."), (r"^lm_head\.", "language_model.lm_head."),
         (r"^model\.vision_tower\.", "vision_tower.vision_model."), (r"^model\.", ""))  # fmt: skip
"""From names here to those on the hub, first match wins (conversion scripts of transformers 4.36 to 4.51)."""
INTERNVL = ((r"^model\.language_model\.", "language_model.model."), (r"^lm_head\.", "language_model.lm_head."),
            (r"^model\.", ""))  # fmt: skip
QWEN = ((r"^model\.language_model\.", "model."), (r"^model\.visual\.", "visual."))
VIDEO = (
    (r"^model\.multi_modal_projector\.linear_1\.", "model.mm_projector.0."),
    (r"^model\.multi_modal_projector\.linear_2\.", "model.mm_projector.2."),
    (r"^model\.vision_tower\.", "model.vision_tower.vision_tower.vision_model."),
    (r"^model\.language_model\.", "model."),
)
CASES = {
    "llava": (tiny.llava, LLAVA),
    "llava-next": (tiny_families.llava_next, LLAVA),
    "llava-video": (tiny_families.llava_video, VIDEO),
    "qwen2.5-vl": (tiny_families.qwen25vl, QWEN),
    "internvl3": (tiny_families.internvl3, INTERNVL),
}


def renamed(name: str, rules: tuple[tuple[str, str], ...]) -> str:
    for old, new in rules:
        if re.search(old, name):
            return re.sub(old, new, name)
    return name


def shards(folder: Path, weights: Mapping[str, Tensor], count: int = 3) -> None:
    """Safetensors files and their index."""
    names, index = list(weights), {}
    for number in range(count):
        file = f"model-{number + 1:05d}-of-{count:05d}.safetensors"
        part = {name: weights[name].contiguous() for name in names[number::count]}
        save_file(part, folder / file, metadata={"format": "pt"})
        index |= dict.fromkeys(part, file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": index}))


def write(folder: Path, name: str) -> tiny.Case:
    build, rules = CASES[name]
    case: tiny.Case = build()
    if name == "internvl3":  # the published files leave the question of tied embeddings to the decoder's part
        case.model.lm_head.weight = torch.nn.Parameter(torch.randn_like(case.model.lm_head.weight))
    shards(folder, {renamed(key, rules): value for key, value in case.model.state_dict().items()})
    content = original(case) if name == "llava-video" else case.model.config.to_dict()
    content.pop("tie_word_embeddings", None)
    (folder / "config.json").write_text(json.dumps(content))
    return case


def original(case: tiny.Case) -> dict[str, Any]:
    """The tiny video model's configuration as the authors' code writes it: flat, the tower by name."""
    text: Any = case.model.config.text_config
    keys = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
            "num_key_value_heads", "max_position_embeddings", "rms_norm_eps")  # fmt: skip
    return {key: getattr(text, key) for key in keys} | {
        "model_type": "llava_qwen", "architectures": ["LlavaQwenForCausalLM"], "rope_theta": 1e4,
        "mm_vision_tower": "google/siglip-so400m-patch14-384", "mm_newline_position": "grid",
        "mm_spatial_pool_mode": "bilinear", "mm_spatial_pool_stride": 2, "mm_projector_type": "mlp2x_gelu",
        "image_token_index": tiny.IMAGE, "video_token_index": tiny.VIDEO,
    }  # fmt: skip


@pytest.fixture
def small_tower(monkeypatch: pytest.MonkeyPatch) -> None:
    vision: Any = tiny_families.llava_video().model.config.vision_config
    monkeypatch.setattr(llava_video_model, "TOWER", vision.to_dict())


@pytest.mark.usefixtures("small_tower")
@pytest.mark.parametrize("name", CASES)
@torch.no_grad()
def test_every_weight_arrives(name: str, tmp_path: Path) -> None:
    case = write(tmp_path, name)
    cls = families()[name]
    config = cls.load_config(str(tmp_path), None)
    model, report = cls.load_model(str(tmp_path), config, dtype=torch.float32)
    assert {key: list(value) for key, value in report.items() if value} == {}
    assert torch.equal(model.eval()(**case.inputs).logits, case.model(**case.inputs).logits)


@pytest.mark.parametrize("name", ["llava", "internvl3"])
def test_a_weight_too_many_or_too_few_is_refused(name: str, tmp_path: Path) -> None:
    write(tmp_path, name)
    file = tmp_path / "model-00002-of-00003.safetensors"
    weights = load_file(file)
    index = json.loads((tmp_path / "model.safetensors.index.json").read_text())
    save_file(weights | {"language_model.model.layers.9.extra": torch.zeros(2)}, file, metadata={"format": "pt"})
    index["weight_map"]["language_model.model.layers.9.extra"] = file.name
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(DataError, match=r"1 unexpected keys .*layers\.9\.extra.* left out"):
        load_backbone(tmp_path)
    gone = next(key for key in weights if "mlp" in key)
    save_file({key: value for key, value in weights.items() if key != gone}, file, metadata={"format": "pt"})
    with pytest.raises(DataError, match=r"1 missing keys"):
        load_backbone(tmp_path)


def qwen_tokenizer(marks: int) -> PreTrainedTokenizerFast:
    """As many ids as the model's marks begin at; the marks themselves are absent."""
    words = Tokenizer(models.WordLevel({f"w{number}": number for number in range(marks)}, unk_token="w0"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=words, unk_token="w0", pad_token="w0")


@pytest.mark.usefixtures("small_tower")
def test_the_authors_video_checkpoint_with_its_processor(tmp_path: Path) -> None:
    case = write(tmp_path, "llava-video")
    qwen_tokenizer(tiny.IMAGE - 1).save_pretrained(tmp_path)
    with pytest.raises(UnsupportedModelError, match=r"<image> the id 89, the model's configuration 90"):
        load_backbone(tmp_path)
    qwen_tokenizer(tiny.IMAGE).save_pretrained(tmp_path)
    backbone = load_backbone(tmp_path)
    assert backbone.adapter.family == "llava-video"
    turn = [{"role": "user", "content": [{"type": "video"}, {"type": "text", "text": "w3 w4"}]}]
    prompt = backbone.processor.apply_chat_template(turn, add_generation_prompt=True)
    assert prompt == (
        "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
        "<|im_start|>user\n<video>\nw3 w4<|im_end|>\n<|im_start|>assistant\n"
    )
    frames = torch.randint(0, 256, (3, 3, 50, 70), dtype=torch.uint8)
    inputs = backbone.processor(text=prompt, videos=frames, do_sample_frames=False, return_tensors="pt")
    assert int((inputs["input_ids"] == tiny.VIDEO).sum()) == 3 * 2 * 3
    assert inputs["pixel_values_videos"].shape == (1, 3, 3, 35, 35)
    assert inputs["pixel_values_videos"].min() >= -1.001
    assert inputs["pixel_values_videos"].max() <= 1.001
    assert backbone.model(**inputs).logits.shape[-1] == case.model.config.text_config.vocab_size


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [("mm_newline_position", "frame", "'frame'"), ("add_faster_video", True, "True .* built here is False"),
     ("mm_vision_tower", "openai/clip-vit-large-patch14-336", "siglip")],
)  # fmt: skip
def test_other_layouts_of_the_authors_code_are_refused(key: str, value: str, words: str, tmp_path: Path) -> None:
    content = original(tiny_families.llava_video()) | {key: value}
    (tmp_path / "config.json").write_text(json.dumps(content))
    with pytest.raises(UnsupportedModelError, match=words):
        load_backbone(tmp_path)


@pytest.mark.usefixtures("small_tower")
def test_the_authors_video_files_may_call_themselves_llava(tmp_path: Path) -> None:
    """The type of LLaVA-1.5: the class tells them apart. Pooling is the evaluation's, not that of training."""
    write(tmp_path, "llava-video")
    qwen_tokenizer(tiny.IMAGE).save_pretrained(tmp_path)
    content = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(content | {"model_type": "llava"}))
    backbone = load_backbone(tmp_path)
    assert backbone.adapter.family == "llava-video"
    assert content["mm_spatial_pool_mode"] == "bilinear"
    frame = torch.randn(1, 3 * 3, 64)
    pooled = backbone.model.model.apply_pooling(frame.repeat_interleave(25 // 9 + 1, 1)[:, :25])
    assert pooled.shape == (1, 2 * 3, 64)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.usefixtures("small_tower")
def test_a_checkpoint_of_another_family_is_refused(name: str, tmp_path: Path) -> None:
    write(tmp_path, name)
    for other in set(families()) - {name}:
        with pytest.raises(UnsupportedModelError, match=f"family '{other}' reads .* leave family= out"):
            load_backbone(tmp_path, family=other)


def test_the_original_layout_of_llava_is_refused_by_its_class(tmp_path: Path) -> None:
    content = {"model_type": "llava", "architectures": ["LlavaLlamaForCausalLM"], "hidden_size": 64}
    (tmp_path / "config.json").write_text(json.dumps(content))
    with pytest.raises(UnsupportedModelError, match=r"saved by LlavaLlamaForCausalLM.*-hf version"):
        load_backbone(tmp_path)


SIZES = {"llava-1.5-7b": 7.06, "llava-1.5-13b": 13.35, "llava-next-7b": 7.06, "llava-next-13b": 13.35,
         "llava-video-7b": 8.03, "qwen2.5-vl-7b": 8.29, "internvl3-8b": 7.94}  # fmt: skip
TOKENS = {"llava-1.5": 576, "llava-next": 2880, "llava-video": 64 * 169, "qwen2.5-vl": 1296, "internvl3": 1280}


@pytest.mark.parametrize("name", SIZES)
def test_random_weights_have_the_published_size_and_see_the_papers_tokens(name: str) -> None:
    """Parameters in billions, as the hub's pages give them (rounded)."""
    choice = choices.backbone_config(name)
    backbone = load_backbone(choice.checkpoint, weights="random", device_map="meta")
    assert round(sum(p.numel() for p in backbone.model.parameters()) / 1e9, 2) == SIZES[name]
    assert backbone.name == name
    made = prompt(backbone.adapter, choice.visual, choice.frames, torch.device("meta"))
    assert made.visual == next(tokens for family, tokens in TOKENS.items() if name.startswith(family))
    assert made.images == choice.frames
