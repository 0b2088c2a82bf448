import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open

import tops.backbones._llava_video_model  # noqa: F401  registers its classes with transformers
from scripts.miniature.saving import MOST_BYTES
from tops.errors import ConfigurationError, DataError
from tops.miniature import checkpoints
from tops.miniature.cards import render
from tops.miniature.scenes import COLOURS, NAMES

IMAGE = Image.fromarray(np.random.default_rng(0).integers(0, 255, (96, 96, 3), dtype=np.uint8))
CLASSES = {
    "llava-1.5": "LlavaForConditionalGeneration",
    "llava-next": "LlavaNextForConditionalGeneration",
    "llava-video": "LlavaVideoForConditionalGeneration",
    "qwen2.5-vl": "Qwen2_5_VLForConditionalGeneration",
    "internvl3": "InternVLForConditionalGeneration",
}
TOKENS = {"llava-1.5": 144, "llava-next": 144 + 12 * 13, "qwen2.5-vl": 64, "internvl3": 5 * 36}


@pytest.mark.parametrize("family", checkpoints.FAMILIES)
def test_every_family_loads_as_its_native_class_and_answers(family):
    from transformers import AutoModelForImageTextToText, AutoProcessor

    folder = checkpoints.path(family)
    model, info = AutoModelForImageTextToText.from_pretrained(folder, output_loading_info=True)
    assert type(model).__name__ == CLASSES[family]
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    processor = AutoProcessor.from_pretrained(folder)
    content = [{"type": "image"}, {"type": "text", "text": "What color is the ring?"}]
    text = processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
    inputs = processor(text=text, images=IMAGE, return_tensors="pt")
    config = model.config
    image_token = getattr(config, "image_token_id", None) or config.image_token_index
    if family in TOKENS:
        assert int((inputs["input_ids"] == image_token).sum()) == TOKENS[family]
    with torch.inference_mode():
        reply = model.generate(**inputs, max_new_tokens=2, do_sample=False)
    assert reply.shape[1] > inputs["input_ids"].shape[1]


@pytest.mark.parametrize("family", checkpoints.FAMILIES)
def test_a_checkpoint_is_small_and_an_untrained_one_says_so(family):
    folder = checkpoints.path(family)
    assert sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) <= MOST_BYTES
    assert len(list(checkpoints.weight_files(folder))) == len(checkpoints.card(family)["weights_sha256"])
    trained = checkpoints.card(family)["trained"]
    assert checkpoints.label(family) == (None if trained else "random weights: plumbing only")


def test_no_table_is_of_random_weights():
    assert [family for family in checkpoints.FAMILIES if checkpoints.label(family) is not None] == []


def test_weights_that_are_not_those_of_the_card_are_refused(tmp_path):
    shutil.copytree(checkpoints.path("qwen2.5-vl"), tmp_path / "qwen2.5-vl")
    weights = tmp_path / "qwen2.5-vl" / "model.safetensors"
    wanted = checkpoints.sha256(weights)
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    with pytest.raises(DataError, match=f"{weights}.*{checkpoints.sha256(weights)}.*{wanted}"):
        checkpoints.path("qwen2.5-vl", tmp_path)
    weights.unlink()
    with pytest.raises(DataError, match="is missing"):
        checkpoints.path("qwen2.5-vl", tmp_path)


def test_unknown_families_and_lost_cards_are_named(tmp_path):
    with pytest.raises(ConfigurationError, match=r"Did you mean 'llava-1.5'"):
        checkpoints.path("llava-15")
    with pytest.raises(DataError, match=r"scripts\.miniature llava-1\.5"):
        checkpoints.path("llava-1.5", tmp_path)


def test_a_concept_is_one_token_and_answers_lose_their_leading_space():
    from transformers import AutoTokenizer

    tokenizers = [AutoTokenizer.from_pretrained(checkpoints.path(family)) for family in checkpoints.FAMILIES]
    first = tokenizers[0]
    for word in (*COLOURS, *NAMES, "Yes", "No", "A"):
        ids = first(" " + word, add_special_tokens=False)["input_ids"]
        assert len(ids) == 1
        assert first.decode(ids) == word
    assert first.decode(first("红色的圆形吗？", add_special_tokens=False)["input_ids"]) == "红色的圆形吗？"
    assert all(tokenizer.get_vocab() == first.get_vocab() for tokenizer in tokenizers)


def test_the_text_tower_ends_in_the_joint_space_of_the_vision_tower():
    from transformers import AutoTokenizer, CLIPTextModelWithProjection

    folder = checkpoints.path("llava-1.5") / "text_tower"
    tower = CLIPTextModelWithProjection.from_pretrained(folder)
    inputs = AutoTokenizer.from_pretrained(folder)(["red circle", "blue digit 3"], padding=True, return_tensors="pt")
    joint = tower(**inputs).text_embeds
    with safe_open(folder / "joint_space.safetensors", "pt") as file:
        assert file.get_tensor("visual_projection.weight").shape == (joint.shape[1], 128)
        assert file.get_tensor("post_layernorm.weight").shape == (128,)


def test_the_card_is_rendered_with_columns():
    card = {"family": "x", "trained": True, "accuracy": {"a": {"seen": 1, "blind": 0}, "b": {"seen": 2, "blind": 1}}}
    text = render(card)
    assert "| a | 1 | 0 |\n| b | 2 | 1 |" in text
    assert "|  | seen | blind |" in text
