"""Sizes of Qwen's decoders, and its token ids, that several published checkpoints share."""

from __future__ import annotations

from typing import Any

QWEN2_7B: dict[str, Any] = {
    "hidden_size": 3584,
    "intermediate_size": 18944,
    "num_hidden_layers": 28,
    "num_attention_heads": 28,
    "num_key_value_heads": 4,
    "rms_norm_eps": 1e-6,
}
"""``Qwen/Qwen2-7B``: vocabulary, positions and RoPE differ from checkpoint to checkpoint."""

MROPE: dict[str, Any] = {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [16, 24, 24]}
"""Of Qwen2-VL and Qwen2.5-VL."""

MARKS: dict[str, Any] = {
    "image_token_id": 151655,
    "video_token_id": 151656,
    "vision_start_token_id": 151652,
    "vision_end_token_id": 151653,
}
"""Of every Qwen-VL."""
