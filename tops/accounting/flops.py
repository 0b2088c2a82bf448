"""FLOPs of the decoder stack from what each layer saw. A multiply-add counts two."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

FORMULAS: dict[str, str] = {
    "decoder": (
        "sum over layers of 4nd*H*hd + 4nd*KV*hd + 4nm*H*hd + 6nd*ff: projections, dense attention (not halved for "
        "causality) and gated MLP of n queries on m keys, all tokens; without norms, RoPE, embeddings and LM head"
    ),
    "paper": (
        "2 x sum over layers of 4nd^2 + 2n^2d + 3nd*ff, visual tokens only: reproduces Table 4 (41.7 T for 2,880)"
    ),
}


@dataclass(frozen=True)
class DecoderSize:
    """Sizes of a decoder layer.

    Attributes
    ----------
    width : int
        Hidden size d.
    heads, kv_heads, head_width : int
        H, KV, hd.
    feed_forward : int
        Hidden size ff of the gated MLP.
    """

    width: int
    heads: int
    kv_heads: int
    head_width: int
    feed_forward: int

    @classmethod
    def of(cls, config: Any) -> DecoderSize:
        """From the text configuration of a transformers model.

        Parameters
        ----------
        config : PretrainedConfig
            Of the decoder (``adapter.text_config``).
        """
        heads = int(config.num_attention_heads)
        return cls(
            width=int(config.hidden_size),
            heads=heads,
            kv_heads=int(getattr(config, "num_key_value_heads", None) or heads),
            head_width=int(getattr(config, "head_dim", None) or config.hidden_size // heads),
            feed_forward=int(config.intermediate_size),
        )


def decoder_flops(size: DecoderSize, tokens: Sequence[int], keys: Sequence[int] | None = None) -> int:
    """FLOPs of one forward under the formula ``decoder``.

    Parameters
    ----------
    size : DecoderSize
        Of one layer.
    tokens : sequence of int
        Tokens each layer computes (``PromptRecord.tokens_per_layer`` at prefill, 1 at a decode step).
    keys : sequence of int, optional
        Tokens each layer attends to; ``tokens`` at prefill.
    """
    d, heads, kv = size.width, size.heads * size.head_width, size.kv_heads * size.head_width
    total = 0
    for n, m in zip(tokens, tokens if keys is None else keys, strict=True):
        total += 4 * n * d * heads + 4 * n * d * kv + 4 * n * m * heads + 6 * n * d * size.feed_forward
    return total


def paper_flops(width: int, feed_forward: int, visual_tokens: Sequence[int]) -> int:
    """FLOPs of the visual tokens alone under the formula ``paper``.

    Parameters
    ----------
    width, feed_forward : int
        d and ff.
    visual_tokens : sequence of int
        Visual tokens each layer sees.
    """
    return sum(2 * (4 * n * width**2 + 2 * n**2 * width + 3 * n * width * feed_forward) for n in visual_tokens)
