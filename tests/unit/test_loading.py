"""Loading from local folders, the CLIP text tower, real sizes without weights, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from oracles.reference import worst
from probes import Given
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    CLIPImageProcessor,
    CLIPTextConfig,
    CLIPTextModelWithProjection,
    LlavaProcessor,
    PreTrainedTokenizerFast,
)

from tops import load_backbone
from tops.backbones import adapter_for, families
from tops.backbones._text_tower import TextEncoder, load_text_encoder, save_text_encoder
from tops.backbones.loading import Backbone
from tops.errors import ConfigurationError, DataError, UnsupportedModelError
from tops.signals import PruningPoint, Signal
from tops.tokens import Selection

# An end mark of 2 would switch transformers to its rule for old CLIP configurations.
WORDS = ["<pad>", "<s>", "<unk>", "how", "many", "dogs", "?", "</s>", "USER", ":", "ASSISTANT"]


def tokenizer(length: int = 200) -> PreTrainedTokenizerFast:
    vocabulary = {word: i for i, word in enumerate(WORDS)} | {"<image>": tiny.IMAGE}
    words = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.post_processor = processors.TemplateProcessing("<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 7)])
    return PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="<pad>", bos_token="<s>", eos_token="</s>", unk_token="<unk>",
        extra_special_tokens={"image_token": "<image>"}, model_max_length=length,
    )  # fmt: skip


def encoder() -> TextEncoder:
    config = CLIPTextConfig(
        vocab_size=96, hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
        max_position_embeddings=8, projection_dim=12, eos_token_id=7, bos_token_id=1, pad_token_id=0,
    )  # fmt: skip
    torch.manual_seed(0)
    norm, projection = torch.nn.LayerNorm(32), torch.nn.Linear(32, 12, bias=False)
    torch.nn.init.normal_(norm.weight)
    return TextEncoder(CLIPTextModelWithProjection(config).eval(), tokenizer(8), norm, projection)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("checkpoint") / "tiny-llava"
    case = tiny.llava()
    case.model.save_pretrained(path)
    size = {"height": 28, "width": 28}
    images = CLIPImageProcessor(size=size, crop_size=size)
    LlavaProcessor(
        images, tokenizer(), patch_size=7, vision_feature_select_strategy="default", num_additional_image_tokens=1
    ).save_pretrained(path)
    save_text_encoder(encoder(), path / "text_tower")
    return path


@pytest.fixture(scope="module")
def backbone(folder: Path) -> Backbone:
    return load_backbone(folder)


@torch.no_grad()
def test_a_local_folder(backbone: Backbone) -> None:
    case = tiny.llava()
    assert torch.equal(backbone.model(**case.inputs).logits, case.model(**case.inputs).logits)
    assert backbone.name == "tiny-llava"
    assert backbone.adapter.family == "llava"
    assert not backbone.model.training


@torch.no_grad()
def test_question_and_joint_space_from_the_processor(backbone: Backbone) -> None:
    image = torch.rand(3, 40, 28)
    inputs = backbone.processor(images=image, text="USER : <image> how many dogs ? ASSISTANT :", return_tensors="pt")
    got: dict[str, Any] = {}

    def select(point: PruningPoint) -> Selection:
        got["question"] = point.text.question
        got["text"] = point.text.clip_embeddings(point.text.question, segments=False)
        got["patches"] = point.vision.joint_embeddings()
        got["signals"] = point.vision.signals
        return Selection(torch.arange(4))

    adapter = type(backbone.adapter)
    turns, adapter.turns = adapter.turns, (("USER :", "ASSISTANT :"),)
    try:
        with backbone.prune(Given({0: select})) as run:
            backbone.model(**inputs)
    finally:
        adapter.turns = turns
    assert got["question"] == "how many dogs ?"
    assert run.visual_tokens_per_layer == [4] * 5
    assert Signal.TEXT_TOWER in got["signals"]
    clip = backbone.text_encoder
    assert clip is not None
    ids = torch.tensor([[1, 3, 4, 5, 6, 7]])
    assert worst(got["text"], clip.model(input_ids=ids).text_embeds) <= 1e-6
    features = backbone.model.model.vision_tower(inputs["pixel_values"], output_hidden_states=True).hidden_states[-2]
    want = clip.visual_projection(clip.post_layernorm(features[:, 1:]))
    assert got["patches"].shape == (1, 16, 12)
    assert worst(got["patches"], want) <= 1e-5


@torch.no_grad()
def test_long_questions() -> None:
    """Truncation keeps both marks; segments of eight keep every word, padded at the end."""
    clip, text = encoder(), "how many dogs ? how many dogs ? how many"
    cut = clip.embed(text, segments=False)
    assert worst(cut, clip.model(input_ids=torch.tensor([[1, 3, 4, 5, 6, 3, 4, 7]])).text_embeds) <= 1e-6
    parts = clip.embed(text, segments=True)
    assert parts.shape == (2, 12)
    second = clip.model(input_ids=torch.tensor([[6, 3, 4, 7]])).text_embeds
    assert worst(parts[1:], second) <= 1e-6
    # Without an end mark a segment pools at its largest id: the first "?" here.
    states = clip.model.text_model(input_ids=torch.tensor([[1, 3, 4, 5, 6, 3, 4, 5]])).last_hidden_state
    assert worst(parts[0], clip.model.text_projection(states[0, 4])) <= 1e-6
    assert clip.embed("how many", segments=True).shape == (1, 12)


def test_the_text_tower_survives_saving(tmp_path: Path) -> None:
    saved = encoder()
    save_text_encoder(saved, tmp_path)
    loaded = load_text_encoder(tmp_path)
    assert worst(loaded.embed("how many", segments=False), saved.embed("how many", segments=False)) <= 1e-6
    features = torch.randn(2, 16, 32)
    assert torch.equal(loaded.project_patches(features), saved.project_patches(features))
    save_file({"post_layernorm.weight": torch.ones(32)}, tmp_path / "joint_space.safetensors")
    with pytest.raises(DataError, match=r"lacks post_layernorm\.bias"):
        load_text_encoder(tmp_path)


def test_missing_weights_are_not_random(folder: Path, tmp_path: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    name = next(name for name in weights if name.endswith("layers.2.mlp.up_proj.weight"))
    del weights[name]
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    (tmp_path / "config.json").write_text((folder / "config.json").read_text())
    with pytest.raises(DataError, match=r"1 missing keys.*up_proj"):
        load_backbone(tmp_path)


def test_what_cannot_be_loaded(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        load_backbone(tmp_path / "nowhere")
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "gpt2"}))
    with pytest.raises(UnsupportedModelError, match=r"'gpt2', saved by a class it does not name; served are .*llava"):
        load_backbone(tmp_path)
    with pytest.raises(ConfigurationError, match="Did you mean 'llava'"):
        load_backbone(folder, family="lava")
    with pytest.raises(ConfigurationError, match="Did you mean 'random'"):
        load_backbone(folder, weights="rando")  # type: ignore[arg-type]
    with pytest.raises(DataError, match="text tower"):
        load_backbone(folder, text_tower=tmp_path / "nowhere")


def test_a_tower_that_is_not_clip() -> None:
    case = tiny.llava()
    case.model.config.vision_feature_layer = [-2, -1]
    with pytest.raises(UnsupportedModelError, match=r"vision_feature_layer=\[-2, -1\]"):
        adapter_for(case.model)


@torch.no_grad()
def test_random_weights(folder: Path) -> None:
    backbone = load_backbone(folder, weights="random", dtype="bfloat16")
    assert backbone.processor is None
    assert backbone.model.dtype == torch.bfloat16
    again = load_backbone(folder, weights="random", dtype="bfloat16")
    assert all(torch.equal(a, b) for a, b in zip(backbone.model.parameters(), again.model.parameters(), strict=True))
    assert backbone.model(**tiny.llava().inputs).logits.isfinite().all()


@pytest.mark.parametrize(
    ("size", "billions", "layers", "name"), [("7b", 7.06, 32, "llava-1.5-7b"), ("13b", 13.35, 40, "llava-1.5-13b")]
)
def test_real_sizes(size: str, billions: float, layers: int, name: str) -> None:
    cls = families()["llava"]
    config = cls.real_config(f"llava-hf/llava-1.5-{size}-hf")
    with torch.device("meta"):
        model = cls.model_class(config)(config)
    assert round(sum(p.numel() for p in model.parameters()) / 1e9, 2) == billions
    adapter = cls(model)
    assert len(adapter.layers) == layers
    assert adapter.catalogue_name() == name
