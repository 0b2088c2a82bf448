"""Miniature models of the five backbone families: native transformers classes and processors, laptop-sized."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
import transformers

from tops.miniature.tokenizer import TOKEN_ID, fast_tokenizer

# Its constructors are partly untyped, and some classes are exported only when they are asked for.
hf: Any = transformers

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedModel, ProcessorMixin

WIDTH = 128
SIDE = 96
PATCH = 8
JOINT = 64

LLAVA_TEMPLATE = (
    "{% for message in messages %}{% if message['role'] != 'system' %}{{ message['role'].upper() + ': '}}{% endif %}"
    "{% for content in message['content'] | selectattr('type', 'equalto', 'image') %}{{ '<image>\n' }}{% endfor %}"
    "{% for content in message['content'] | selectattr('type', 'equalto', 'text') %}{{ content['text'] + ' '}}"
    "{% endfor %}{% endfor %}{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"
)


# LLaVA-OneVision and Qwen wrap each turn in these marks; the image stands where its placeholder says.
CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' }}"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}{% for content in message['content'] %}"
    "{% if content['type'] == 'image' %}{{ 'IMAGE' }}{% elif content['type'] == 'video' %}{{ 'VIDEO' }}"
    "{% elif content['type'] == 'text' %}{{ content['text'] }}{% endif %}{% endfor %}{% endif %}"
    "{{ '<|im_end|>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
QWEN_SYSTEM = (
    "{% if messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n' }}{% endif %}"
)


def chatml(image: str, video: str, system: bool = False) -> str:
    """The ChatML template with these placeholders."""
    return (QWEN_SYSTEM if system else "") + CHATML.replace("IMAGE", image).replace("VIDEO", video)


def clip_vision() -> Any:
    return hf.CLIPVisionConfig(
        hidden_size=WIDTH,
        intermediate_size=4 * WIDTH,
        num_hidden_layers=6,
        num_attention_heads=4,
        image_size=SIDE,
        patch_size=PATCH,
        projection_dim=JOINT,
    )


def clip_text(vocabulary: int) -> Any:
    return hf.CLIPTextConfig(
        vocab_size=vocabulary,
        hidden_size=WIDTH,
        intermediate_size=2 * WIDTH,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=77,
        projection_dim=JOINT,
        bos_token_id=TOKEN_ID["<|startoftext|>"],
        eos_token_id=TOKEN_ID["<|endoftext|>"],
        pad_token_id=TOKEN_ID["<|endoftext|>"],
    )


def llama(vocabulary: int) -> Any:
    return hf.LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=WIDTH,
        intermediate_size=3 * WIDTH,
        num_hidden_layers=8,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=8192,
        initializer_range=0.06,
        tie_word_embeddings=True,
        bos_token_id=TOKEN_ID["<s>"],
        eos_token_id=TOKEN_ID["</s>"],
        pad_token_id=TOKEN_ID["<pad>"],
    )


def qwen2(vocabulary: int) -> Any:
    """Llama's shape with biases on query, key and value: LLaVA-1.5's decoder fits in with biases of zero."""
    return hf.Qwen2Config(
        vocab_size=vocabulary,
        hidden_size=WIDTH,
        intermediate_size=3 * WIDTH,
        num_hidden_layers=8,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=32768,
        initializer_range=0.06,
        tie_word_embeddings=True,
        bos_token_id=TOKEN_ID["<|im_start|>"],
        eos_token_id=TOKEN_ID["<|im_end|>"],
        pad_token_id=TOKEN_ID["<pad>"],
    )


def llava_15(bpe: Tokenizer) -> tuple[PreTrainedModel, ProcessorMixin]:
    tokenizer = fast_tokenizer(bpe, bos="<s>", eos="</s>", image_token="<image>")
    images = hf.CLIPImageProcessor(size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE})
    processor = hf.LlavaProcessor(
        images,
        tokenizer,
        patch_size=PATCH,
        vision_feature_select_strategy="default",
        chat_template=LLAVA_TEMPLATE,
        num_additional_image_tokens=1,
    )
    config = hf.LlavaConfig(
        vision_config=clip_vision(),
        text_config=llama(bpe.get_vocab_size()),
        image_token_index=TOKEN_ID["<image>"],
        vision_feature_layer=-2,
        vision_feature_select_strategy="default",
        image_seq_length=(SIDE // PATCH) ** 2,
        tie_word_embeddings=True,
    )
    return hf.LlavaForConditionalGeneration(config), processor


def llava_next(bpe: Tokenizer) -> tuple[PreTrainedModel, ProcessorMixin]:
    """LLaVA-1.5's parts with any-resolution tiles, unpadding and newline tokens."""
    pinpoints = [[SIDE * rows, SIDE * columns] for rows, columns in ((1, 2), (2, 1), (2, 2), (3, 1), (1, 3))]
    images = hf.LlavaNextImageProcessor(
        size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE}, image_grid_pinpoints=pinpoints
    )
    processor = hf.LlavaNextProcessor(
        images,
        fast_tokenizer(bpe, bos="<s>", eos="</s>", image_token="<image>"),
        patch_size=PATCH,
        vision_feature_select_strategy="default",
        chat_template=LLAVA_TEMPLATE,
        num_additional_image_tokens=1,
    )
    config = hf.LlavaNextConfig(
        vision_config=clip_vision(),
        text_config=llama(bpe.get_vocab_size()),
        image_token_index=TOKEN_ID["<image>"],
        image_grid_pinpoints=pinpoints,
        vision_feature_layer=-2,
        vision_feature_select_strategy="default",
        image_seq_length=(SIDE // PATCH) ** 2,
        tie_word_embeddings=True,
    )
    return hf.LlavaNextForConditionalGeneration(config), processor


def llava_video(bpe: Tokenizer) -> tuple[PreTrainedModel, ProcessorMixin]:
    """SigLIP frames on an odd 13 x 13 grid, so that pooling rounds as the real 27 x 27 one does; Qwen2 decoder."""
    from tops.backbones._llava_video_model import (
        LlavaVideoConfig,
        LlavaVideoForConditionalGeneration,
        LlavaVideoProcessor,
    )

    side = 13 * PATCH
    pinpoints = [[side * rows, side * columns] for rows in range(1, 4) for columns in range(1, 4)]
    images = hf.LlavaOnevisionImageProcessor(size={"height": side, "width": side}, image_grid_pinpoints=pinpoints)
    videos = hf.LlavaOnevisionVideoProcessor(size={"height": side, "width": side})
    tokenizer = fast_tokenizer(bpe, bos=None, eos="<|im_end|>", image_token="<image>", video_token="<video>")
    processor = LlavaVideoProcessor(  # type: ignore[no-untyped-call]
        images,
        tokenizer,
        videos,
        num_image_tokens=13 * 13,
        vision_feature_select_strategy="full",
        chat_template=chatml("<image>\n", "<video>\n"),
    )
    vision = hf.SiglipVisionConfig(
        hidden_size=WIDTH,
        intermediate_size=4 * WIDTH,
        num_hidden_layers=5,
        num_attention_heads=4,
        hidden_act="quick_gelu",  # CLIP's: its first five layers fit in
        image_size=side,
        patch_size=PATCH,
        vision_use_head=False,
    )
    config = LlavaVideoConfig(
        vision_config=vision,
        text_config=qwen2(bpe.get_vocab_size()),
        image_token_index=TOKEN_ID["<image>"],
        video_token_index=TOKEN_ID["<video>"],
        image_grid_pinpoints=pinpoints,
        vision_feature_select_strategy="full",
        vision_feature_layer=-1,
        tie_word_embeddings=True,
    )
    return LlavaVideoForConditionalGeneration(config), processor


def qwen_25_vl(bpe: Tokenizer) -> tuple[PreTrainedModel, ProcessorMixin]:
    """Patches of 14 pixels merged 2 x 2, windows of 4 x 4 merged patches, mRoPE; images are enlarged to 64 tokens."""
    pixels = {"shortest_edge": (8 * 28) ** 2, "longest_edge": (24 * 28) ** 2}
    # A frame of a video may hold as few as 16 tokens.
    frames = {"shortest_edge": (4 * 28) ** 2, "longest_edge": (24 * 28) ** 2}
    sizes = {"patch_size": 14, "merge_size": 2, "temporal_patch_size": 2}
    tokenizer = fast_tokenizer(
        bpe,
        bos=None,
        eos="<|im_end|>",
        image_token="<|image_pad|>",
        video_token="<|video_pad|>",
        vision_start_token="<|vision_start|>",
        vision_end_token="<|vision_end|>",
    )
    wrapped = "<|vision_start|>{}<|vision_end|>"
    processor = hf.Qwen2_5_VLProcessor(
        hf.Qwen2VLImageProcessor(**sizes, size=pixels),
        tokenizer,
        hf.Qwen2VLVideoProcessor(**sizes, size=frames),
        chat_template=chatml(wrapped.format("<|image_pad|>"), wrapped.format("<|video_pad|>"), system=True),
    )
    text = qwen2(bpe.get_vocab_size()).to_dict()
    for key in ("model_type", "architectures", "layer_types", "rope_parameters", "sliding_window", "max_window_layers"):
        text.pop(key, None)
    text["rope_parameters"] = {"rope_type": "default", "mrope_section": [4, 6, 6], "rope_theta": 1e4}
    config = hf.Qwen2_5_VLConfig(
        text_config=text,
        vision_config={
            "depth": 5,
            "hidden_size": WIDTH,
            "intermediate_size": 4 * WIDTH,
            "num_heads": 4,
            "out_hidden_size": WIDTH,
            "patch_size": 14,
            "spatial_merge_size": 2,
            "temporal_patch_size": 2,
            "window_size": 112,
            "fullatt_block_indexes": [4],
        },
        image_token_id=TOKEN_ID["<|image_pad|>"],
        video_token_id=TOKEN_ID["<|video_pad|>"],
        vision_start_token_id=TOKEN_ID["<|vision_start|>"],
        vision_end_token_id=TOKEN_ID["<|vision_end|>"],
        tie_word_embeddings=True,
    )
    return hf.Qwen2_5_VLForConditionalGeneration(config), processor


def internvl_3(bpe: Tokenizer) -> tuple[PreTrainedModel, ProcessorMixin]:
    """Tiles of 12 x 12 patches shuffled to 6 x 6 tokens; an image becomes four tiles and a thumbnail, 180 tokens."""
    tokenizer = fast_tokenizer(
        bpe,
        bos=None,
        eos="<|im_end|>",
        start_image_token="<img>",
        end_image_token="</img>",
        context_image_token="<IMG_CONTEXT>",
        video_token="<video>",
    )
    images = hf.GotOcr2ImageProcessor(
        size={"height": SIDE, "width": SIDE}, crop_to_patches=True, min_patches=4, max_patches=4
    )
    tokens = (SIDE // PATCH // 2) ** 2
    processor = hf.InternVLProcessor(
        images,
        tokenizer,
        hf.InternVLVideoProcessor(size={"height": SIDE, "width": SIDE}),
        image_seq_length=tokens,
        chat_template=chatml("<IMG_CONTEXT>\n", "<video>\n"),
    )
    config = hf.InternVLConfig(
        vision_config={
            "hidden_size": WIDTH,
            "num_hidden_layers": 5,
            "num_attention_heads": 4,
            "intermediate_size": 4 * WIDTH,
            "attention_bias": True,
            "hidden_act": "quick_gelu",  # CLIP's: its first five layers fit in
            "image_size": (SIDE, SIDE),
            "patch_size": (PATCH, PATCH),
        },
        text_config=qwen2(bpe.get_vocab_size()),
        image_token_id=TOKEN_ID["<IMG_CONTEXT>"],
        image_seq_length=tokens,
        downsample_ratio=0.5,
        tie_word_embeddings=True,
    )
    return hf.InternVLForConditionalGeneration(config), processor


BUILDERS: dict[str, Callable[[Tokenizer], tuple[PreTrainedModel, ProcessorMixin]]] = {
    "llava-1.5": llava_15,
    "llava-next": llava_next,
    "llava-video": llava_video,
    "qwen2.5-vl": qwen_25_vl,
    "internvl3": internvl_3,
}


def build(family: str, bpe: Tokenizer, seed: int = 0) -> tuple[PreTrainedModel, ProcessorMixin]:
    """Model with random weights, and its processor.

    Parameters
    ----------
    family : str
        Key of `BUILDERS`.
    bpe : tokenizers.Tokenizer
        Tokenizer from `train_bpe`.
    seed : int
        Seed of the weights.
    """
    torch.manual_seed(seed)
    return BUILDERS[family](bpe)
