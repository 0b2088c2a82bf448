"""Tiny random-init models in the native transformers classes, with inputs made by hand."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration, PreTrainedModel

PAD, IMAGE, VIDEO, VOCABULARY, DEPTH = 0, 90, 91, 96, 5


@dataclass
class Case:
    """A model in eval mode and inputs for one prompt."""

    model: PreTrainedModel
    inputs: dict[str, Tensor]


def conditioned(model: PreTrainedModel, seed: int = 1) -> PreTrainedModel:
    """Random weights whose attention is far from uniform, so that a wrong token or position shows."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim >= 2:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * (1.2 / parameter.shape[-1] ** 0.5))
            elif "bias" in name or name.endswith("image_newline"):
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.1)
            elif "lambda" in name:
                parameter.copy_(0.5 + 0.1 * torch.randn(parameter.shape, generator=generator))
            elif "norm" not in name:
                parameter.copy_(torch.randn(parameter.shape, generator=generator))
    model.generation_config.eos_token_id = None
    model.generation_config.pad_token_id = PAD
    return model.eval()


def words(count: int, seed: int = 0) -> list[int]:
    """Random text ids."""
    return torch.randint(3, 80, (count,), generator=torch.Generator().manual_seed(seed)).tolist()


def noise(*shape: int, seed: int = 0) -> Tensor:
    """Random pixels."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def prompt(*parts: list[int]) -> dict[str, Tensor]:
    """Token ids and mask of one prompt."""
    ids = torch.tensor([[token for part in parts for token in part]])
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


def llama(kv: int = 2, depth: int = DEPTH) -> LlamaConfig:
    """Decoder of 4 heads."""
    return LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=depth,
        num_attention_heads=4,
        num_key_value_heads=kv,
        max_position_embeddings=2048,
        pad_token_id=PAD,
    )


def clip(layers: int = 4) -> CLIPVisionConfig:
    """Tower of 4 x 4 patches."""
    return CLIPVisionConfig(
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=layers,
        num_attention_heads=4,
        image_size=28,
        patch_size=7,
        projection_dim=32,
    )


def llava(images: int = 1, *, attention: str = "sdpa", seed: int = 0, kv: int = 2) -> Case:
    """LLaVA-1.5: 16 visual tokens per image, text before, between and after."""
    config = LlavaConfig(
        vision_config=clip(),
        text_config=llama(kv),
        image_token_index=IMAGE,
        vision_feature_layer=-2,
        vision_feature_select_strategy="default",
        image_seq_length=16,
    )
    model = conditioned(LlavaForConditionalGeneration(config))
    model.set_attn_implementation(attention)
    parts = [words(4 + seed, seed)]
    for number in range(images):
        parts += [[IMAGE] * 16, words(3, 10 + number + seed)]
    inputs = prompt(*parts, words(5, 2 + seed))
    inputs["pixel_values"] = noise(images, 3, 28, 28, seed=seed)
    return Case(model, inputs)


FAMILIES = {"llava": llava}
