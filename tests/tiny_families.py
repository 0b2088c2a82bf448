"""Tiny random-init models of the tiled, windowed and video families, with inputs made by hand."""

from __future__ import annotations

from typing import Any

import torch
from tiny import DEPTH, IMAGE, PAD, VIDEO, VOCABULARY, Case, clip, conditioned, llama, noise, prompt, words
from transformers import (
    InternVLConfig,
    InternVLForConditionalGeneration,
    InternVLVisionConfig,
    LlavaNextConfig,
    LlavaNextForConditionalGeneration,
    LlavaOnevisionConfig,
    LlavaOnevisionForConditionalGeneration,
    PretrainedConfig,
    PreTrainedModel,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2Config,
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
    Qwen3Config,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
    SmolVLMConfig,
    SmolVLMForConditionalGeneration,
)

from tops.backbones._llava_video_model import LlavaVideoConfig, LlavaVideoForConditionalGeneration

START, END = 92, 93
NEXT_SIZES = [[40, 56], [50, 20], [28, 28]]  # height, width: wide with padding, tall, square


def qwen2() -> Qwen2Config:
    """Decoder of 4 heads, 2 of them for keys."""
    return Qwen2Config(
        vocab_size=VOCABULARY,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=DEPTH,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=4096,
        pad_token_id=PAD,
        use_sliding_window=False,
    )


def llava_next(images: int = 1, *, attention: str = "sdpa", seed: int = 0) -> Case:
    """LLaVA-NeXT: base view of 16 tokens, up to 4 tiles unpadded, newlines after every row."""
    config = LlavaNextConfig(
        vision_config=clip(),
        text_config=llama(),
        image_token_index=IMAGE,
        vision_feature_layer=-2,
        vision_feature_select_strategy="default",
        image_grid_pinpoints=[[28, 56], [56, 28], [56, 56]],
    )
    model = conditioned(LlavaNextForConditionalGeneration(config))
    model.set_attn_implementation(attention)
    sizes = torch.tensor(NEXT_SIZES[seed % 3 : seed % 3 + images])
    pixels = noise(images, 5, 3, 28, 28, seed=seed)
    lengths = [len(f) for f in model.model.get_image_features(pixels, sizes, return_dict=True).pooler_output]
    parts = [words(4 + seed, seed)]
    for number, length in enumerate(lengths):
        parts += [[IMAGE] * length, words(3, 10 + number + seed)]
    inputs = prompt(*parts, words(5, 2 + seed)) | {"pixel_values": pixels, "image_sizes": sizes}
    return Case(model, inputs)


def llava_video(frames: int = 3, *, attention: str = "sdpa", seed: int = 0) -> Case:
    """LLaVA-Video: 5 x 5 patches a frame pooled to 2 x 2, a newline after every row."""
    config = LlavaVideoConfig(
        vision_config={
            "model_type": "siglip_vision_model",
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 3,
            "num_attention_heads": 4,
            "image_size": 35,
            "patch_size": 7,
            "vision_use_head": False,
        },
        text_config=qwen2(),
        image_token_index=IMAGE,
        video_token_index=VIDEO,
        vision_feature_layer=-1,
        vision_feature_select_strategy="full",
        image_grid_pinpoints=[[35, 70], [70, 35], [70, 70]],
    )
    model = conditioned(LlavaVideoForConditionalGeneration(config))
    model.set_attn_implementation(attention)
    inputs = prompt(words(4 + seed, seed), [VIDEO] * (frames * 2 * 3), words(7, 2 + seed))
    return Case(model, inputs | {"pixel_values_videos": noise(1, frames, 3, 35, 35, seed=seed)})


def llava_onevision(images: int = 1, *, attention: str = "sdpa", seed: int = 0) -> Case:
    """LLaVA-OneVision: a base view of 25 tokens and up to 9 tiles, of which more than 3 are scaled down, for one image;
    a base view and a newline for each of several."""
    model = _onevision(attention)
    sizes = torch.tensor([[40, 56], [100, 100], [28, 28]] * 2)[(seed + images) % 3 :][:images]
    tiles = [1, 1] if images > 1 else [10]
    counts = torch.tensor([images])
    pixels = noise(images, max(tiles), 3, 35, 35, seed=seed)
    features = model.model.get_image_features(
        pixels, sizes, vision_feature_layer=-1, vision_feature_select_strategy="full",
        vision_aspect_ratio="anyres_max_3", batch_num_images=counts, return_dict=True,
    )  # fmt: skip
    parts = [words(4 + seed, seed)]
    for number, feature in enumerate(features.pooler_output):
        parts += [[IMAGE] * len(feature), words(3, 10 + number + seed)]
    inputs = prompt(*parts, words(5, 2 + seed))
    return Case(model, inputs | {"pixel_values": pixels, "image_sizes": sizes, "batch_num_images": counts})


def llava_onevision_video(frames: int = 3, *, attention: str = "sdpa", seed: int = 0) -> Case:
    """LLaVA-OneVision: 5 x 5 patches a frame scaled to 3 x 3, one newline after the last frame."""
    inputs = prompt(words(4 + seed, seed), [VIDEO] * (frames * 9 + 1), words(7, 2 + seed))
    inputs["pixel_values_videos"] = noise(1, frames, 3, 35, 35, seed=seed)
    return Case(_onevision(attention), inputs)


def _onevision(attention: str) -> LlavaOnevisionForConditionalGeneration:
    config = LlavaOnevisionConfig(
        vision_config={
            "model_type": "siglip_vision_model",
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 3,
            "num_attention_heads": 4,
            "image_size": 35,
            "patch_size": 7,
            "vision_use_head": False,
        },
        text_config=qwen2(),
        image_token_index=IMAGE,
        video_token_index=VIDEO,
        vision_feature_layer=-1,
        vision_feature_select_strategy="full",
        vision_aspect_ratio="anyres_max_3",
        image_grid_pinpoints=[[35 * rows, 35 * columns] for rows in range(1, 4) for columns in range(1, 4)],
    )
    model = conditioned(LlavaOnevisionForConditionalGeneration(config))
    model.set_attn_implementation(attention)
    return model


def _qwen_model(attention: str) -> Qwen2_5_VLForConditionalGeneration:
    config = Qwen2_5_VLConfig(
        text_config={
            "vocab_size": VOCABULARY,
            "hidden_size": 64,
            "intermediate_size": 128,
            "num_hidden_layers": DEPTH,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "max_position_embeddings": 2048,
            "pad_token_id": PAD,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 3, 3]},
        },
        vision_config={
            "depth": 4,
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_heads": 4,
            "out_hidden_size": 64,
            "patch_size": 4,
            "spatial_merge_size": 2,
            "temporal_patch_size": 2,
            "window_size": 16,
            "fullatt_block_indexes": [1, 3],
            "tokens_per_second": 2,
        },
        image_token_id=IMAGE,
        video_token_id=VIDEO,
        vision_start_token_id=START,
        vision_end_token_id=END,
    )
    model = conditioned(Qwen2_5_VLForConditionalGeneration(config))
    model.set_attn_implementation(attention)
    return model


def qwen25vl(images: int = 1, *, attention: str = "sdpa", seed: int = 0) -> Case:
    """Qwen2.5-VL: 24 or 15 merged tokens an image, windows of 2 x 2 tokens."""
    grid = torch.tensor([[1, 8, 12], [1, 10, 6]] * 2)[seed % 2 : seed % 2 + images]
    parts = [words(4 + seed, seed)]
    for number, patches in enumerate(grid.prod(-1).tolist()):
        parts += [[START], [IMAGE] * (patches // 4), [END], words(3, 10 + number + seed)]
    inputs = prompt(*parts, words(5, 2 + seed))
    inputs |= {
        "pixel_values": noise(int(grid.prod(-1).sum()), 3 * 2 * 16, seed=seed),
        "image_grid_thw": grid,
        "mm_token_type_ids": (inputs["input_ids"] == IMAGE).int(),
    }
    return Case(_qwen_model(attention), inputs)


def qwen25vl_video(steps: int = 3, *, attention: str = "sdpa", seed: int = 0) -> Case:
    """Qwen2.5-VL: one video of several temporal steps of 24 merged tokens."""
    grid = torch.tensor([[steps, 8, 12]])
    inputs = prompt(words(4 + seed, seed), [START], [VIDEO] * (24 * steps), [END], words(7, 2 + seed))
    inputs |= {
        "pixel_values_videos": noise(int(grid.prod()), 3 * 2 * 16, seed=seed),
        "video_grid_thw": grid,
        "second_per_grid_ts": torch.tensor([1.0]),
        "mm_token_type_ids": (inputs["input_ids"] == VIDEO).int() * 2,
    }
    return Case(_qwen_model(attention), inputs)


def internvl3(images: int = 1, *, attention: str = "sdpa", seed: int = 0, text: PretrainedConfig | None = None) -> Case:
    """InternVL3: 16 tokens a tile, 2 tiles and a thumbnail for the first image, then 1 tile each."""
    config = InternVLConfig(
        vision_config=InternVLVisionConfig(
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=3,
            num_attention_heads=4,
            image_size=[32, 32],
            patch_size=[4, 4],
            use_qk_norm=False,
        ),
        text_config=text or qwen2(),
        image_token_id=IMAGE,
        downsample_ratio=0.5,
        image_seq_length=16,
    )
    model = conditioned(InternVLForConditionalGeneration(config))
    model.set_attn_implementation(attention)
    tiles = [3] + [1] * (images - 1)
    parts = [words(4 + seed, seed)]
    for number, count in enumerate(tiles):
        parts += [[START], [IMAGE] * (16 * count), [END], words(3, 10 + number + seed)]
    inputs = prompt(*parts, words(5, 2 + seed))
    return Case(model, inputs | {"pixel_values": noise(sum(tiles), 3, 32, 32, seed=seed)})


def _text3(**extra: Any) -> dict[str, Any]:
    """Sizes of a tiny decoder of the Qwen3 make, whose queries and keys are normed."""
    return {
        "vocab_size": VOCABULARY,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": DEPTH,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "max_position_embeddings": 2048,
        "pad_token_id": PAD,
        **extra,
    }


def _rope(**extra: Any) -> dict[str, Any]:
    return {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 3, 3], **extra}


def _marks() -> dict[str, int]:
    return {
        "image_token_id": IMAGE,
        "video_token_id": VIDEO,
        "vision_start_token_id": START,
        "vision_end_token_id": END,
    }


def _as_qwen(case: Case, model: PreTrainedModel, attention: str) -> Case:
    """Another model on the prompt of Qwen2.5-VL."""
    model = conditioned(model)
    model.set_attn_implementation(attention)
    return Case(model, case.inputs)


def _qwen2vl_model() -> Qwen2VLForConditionalGeneration:
    text = _text3(rope_parameters=_rope())
    del text["head_dim"]
    vision = {
        "depth": 3, "embed_dim": 32, "hidden_size": 64, "mlp_ratio": 2, "num_heads": 4, "patch_size": 4,
        "spatial_merge_size": 2, "temporal_patch_size": 2,
    }  # fmt: skip
    return Qwen2VLForConditionalGeneration(Qwen2VLConfig(text_config=text, vision_config=vision, **_marks()))


def qwen2vl(images: int = 1, *, attention: str = "sdpa", seed: int = 0) -> Case:
    """Qwen2-VL: the prompts of Qwen2.5-VL, no windows."""
    return _as_qwen(qwen25vl(images, seed=seed), _qwen2vl_model(), attention)


def _qwen3vl_model() -> Qwen3VLForConditionalGeneration:
    """Features of two vision layers are added behind the first two decoder layers."""
    vision = {
        "depth": 4, "hidden_size": 32, "intermediate_size": 64, "num_heads": 4, "out_hidden_size": 64, "patch_size": 4,
        "spatial_merge_size": 2, "temporal_patch_size": 2, "num_position_embeddings": 16,
        "deepstack_visual_indexes": [0, 2, 3],
    }  # fmt: skip
    text = _text3(rope_parameters=_rope(mrope_interleaved=True))
    return Qwen3VLForConditionalGeneration(Qwen3VLConfig(text_config=text, vision_config=vision, **_marks()))


def qwen3vl(images: int = 1, *, attention: str = "sdpa", seed: int = 0) -> Case:
    """Qwen3-VL: the prompts of Qwen2.5-VL, interleaved mRoPE and DeepStack."""
    return _as_qwen(qwen25vl(images, seed=seed), _qwen3vl_model(), attention)


def qwen3vl_video(steps: int = 3, *, attention: str = "sdpa", seed: int = 0) -> Case:
    """Qwen3-VL: text before every step of a video."""
    parts = [words(4 + seed, seed)]
    for step in range(steps):
        parts += [words(2, 20 + step), [START], [VIDEO] * 24, [END]]
    inputs = prompt(*parts, words(7, 2 + seed))
    inputs |= {
        "pixel_values_videos": noise(steps * 96, 3 * 2 * 16, seed=seed),
        "video_grid_thw": torch.tensor([[steps, 8, 12]]),
        "mm_token_type_ids": (inputs["input_ids"] == VIDEO).int() * 2,
    }
    model = _qwen3vl_model()
    return _as_qwen(Case(model, inputs), model, attention)


def internvl35(images: int = 1, *, attention: str = "sdpa", seed: int = 0) -> Case:
    """InternVL3.5: InternVL3's tower and prompts with a decoder of the Qwen3 make."""
    return internvl3(images, attention=attention, seed=seed, text=Qwen3Config(**_text3()))


def smolvlm(images: int = 1, *, attention: str = "sdpa", seed: int = 0) -> Case:
    """SmolVLM2: 2 x 2 tokens a unit; the first image of two tiles and a whole view, the others of a whole view."""
    config = SmolVLMConfig(
        vision_config={
            "model_type": "smolvlm_vision", "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3,
            "num_attention_heads": 4, "image_size": 24, "patch_size": 4,
        },
        text_config=llama(),
        image_token_id=IMAGE,
        scale_factor=3,
        pad_token_id=PAD,
    )  # fmt: skip
    model = conditioned(SmolVLMForConditionalGeneration(config))
    model.set_attn_implementation(attention)
    whole, parts, units = 89, [words(4 + seed, seed)], 3 + images - 1
    for number in range(images):
        for mark in (84, 85, whole) if number == 0 else (whole,):
            parts += [[88, mark], [IMAGE] * 4, [88]]
        parts += [words(3, 10 + number + seed)]
    inputs = prompt(*parts, words(5, 2 + seed))
    return Case(model, inputs | {"pixel_values": noise(1, units, 3, 24, 24, seed=seed)})


FAMILIES = {
    "llava-next": llava_next,
    "llava-video": llava_video,
    "qwen2.5-vl": qwen25vl,
    "qwen2.5-vl-video": qwen25vl_video,
    "internvl3": internvl3,
    "llava-onevision": llava_onevision,
    "llava-onevision-video": llava_onevision_video,
    "qwen2-vl": qwen2vl,
    "qwen3-vl": qwen3vl,
    "qwen3-vl-video": qwen3vl_video,
    "internvl3.5": internvl35,
    "smolvlm": smolvlm,
}
