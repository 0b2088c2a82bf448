"""One evaluated document of a chosen size: from pixels through a small random LLaVA, pruned by TOPS, to a few words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch

SIDE, PATCH = 24, 4  # patches along a side of an image: 576 visual tokens, as in LLaVA-1.5
DEPTH, WIDTH, HEADS = 8, 128, 4
TEXT, NEW_TOKENS, VOCABULARY, IMAGE = 60, 4, 256, 255


def document(images: int, budget: int) -> Callable[[], object]:
    """What answers one document, ready to be timed.

    Parameters
    ----------
    images : int
        Images of 576 tokens each.
    budget : int
        Tokens per image as a layer average; Stage I keeps twice as many of each image, Stage II cuts the whole prompt.

    Returns
    -------
    callable
        Without arguments; generates ``NEW_TOKENS`` tokens.
    """
    from tops.engine import prune
    from tops.methods.tops import TOPS

    model, method = _model(), TOPS(budget=budget)
    generator = torch.Generator().manual_seed(0)
    words = torch.randint(3, IMAGE - 1, (1, TEXT), generator=generator)
    ids = torch.cat([words[:, :30], torch.full((1, images * SIDE**2), IMAGE), words[:, 30:]], 1)
    pixels = torch.randn(images, 3, SIDE * PATCH, SIDE * PATCH, generator=generator)
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "pixel_values": pixels}

    def answer() -> object:
        with torch.inference_mode(), prune(model, method):
            return model.generate(**inputs, do_sample=False, max_new_tokens=NEW_TOKENS, min_new_tokens=NEW_TOKENS)

    return answer


def _model() -> Any:
    from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

    torch.manual_seed(0)
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(
            hidden_size=64,
            intermediate_size=128,
            num_hidden_layers=4,
            num_attention_heads=4,
            image_size=SIDE * PATCH,
            patch_size=PATCH,
            projection_dim=64,
        ),
        text_config=LlamaConfig(
            vocab_size=VOCABULARY,
            hidden_size=WIDTH,
            intermediate_size=2 * WIDTH,
            num_hidden_layers=DEPTH,
            num_attention_heads=HEADS,
            max_position_embeddings=65536,
            bos_token_id=1,
            eos_token_id=None,
            pad_token_id=0,
        ),
        image_token_index=IMAGE,
        image_seq_length=SIDE**2,
        vision_feature_layer=-2,
        vision_feature_select_strategy="default",
    )
    return cast(Any, LlavaForConditionalGeneration(config)).eval()
