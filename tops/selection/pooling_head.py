"""SigLIP's attention-pooling head: how much each patch counts for its frame, and the frame's vector (FastVID)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from torch import Tensor
from torch.nn.functional import avg_pool2d, gelu, interpolate, layer_norm, linear


def pool_frames(features: Tensor, weights: Mapping[str, Tensor], *, heads: int, eps: float) -> tuple[Tensor, Tensor]:
    """Attention of the learned probe to every patch, and what it pools.

    Parameters
    ----------
    features : Tensor, (T, n, c)
        Output of the vision tower's last layer, before its norm.
    weights : mapping of str to Tensor
        ``post_layernorm/*`` and ``head/*`` under SigLIP's own names.
    heads : int
        Attention heads.
    eps : float
        Of the norms.

    Returns
    -------
    attention : Tensor, (T, n) float32
        Probabilities, mean over heads.
    vectors : Tensor, (T, c) float32
        The head's output.

    Notes
    -----
    Source: ``LunarShen/FastVID``, which loads the head beside LLaVA's tower, from which it was taken out.
    """
    frames, _, width = features.shape

    def of(name: str) -> Tensor:
        return weights[name].float()

    rows = layer_norm(features.float(), (width,), of("post_layernorm/weight"), of("post_layernorm/bias"), eps)
    matrix, bias = of("head/attention.in_proj_weight"), of("head/attention.in_proj_bias")
    query = linear(of("head/probe"), matrix[:width], bias[:width]).expand(frames, -1, -1)
    keys, values = linear(rows, matrix[width:], bias[width:]).chunk(2, -1)

    def split(states: Tensor) -> Tensor:
        return states.reshape(frames, -1, heads, width // heads).transpose(1, 2)

    attention = (split(query) @ split(keys).mT * (width // heads) ** -0.5).softmax(-1)
    mixed = (attention @ split(values)).transpose(1, 2).reshape(frames, width)
    pooled = linear(mixed, of("head/attention.out_proj.weight"), of("head/attention.out_proj.bias"))
    normed = layer_norm(pooled, (width,), of("head/layernorm.weight"), of("head/layernorm.bias"), eps)
    inner = gelu(linear(normed, of("head/mlp.fc1.weight"), of("head/mlp.fc1.bias")), approximate="tanh")
    return attention[:, :, 0].mean(1), pooled + linear(inner, of("head/mlp.fc2.weight"), of("head/mlp.fc2.bias"))


def pool_attention(attention: Tensor, mode: Literal["average", "bilinear"]) -> Tensor:
    """Attention of patches brought to the grid of visual tokens, as features are; not renormalised.

    Parameters
    ----------
    attention : Tensor, (T, n)
        Of square frames.
    mode : {"average", "bilinear"}
        ``average``: means of 2 x 2 patches, an odd edge dropped (LLaVA-Video). ``bilinear``: to half the side, rounded
        up (LLaVA-OneVision).

    Returns
    -------
    Tensor, (T, m)
    """
    side = round(attention.shape[1] ** 0.5)
    grid = attention.view(-1, 1, side, side)
    if mode == "average":
        return avg_pool2d(grid, 2).flatten(1)
    return interpolate(grid, size=[-(-side // 2)] * 2, mode="bilinear").flatten(1)
