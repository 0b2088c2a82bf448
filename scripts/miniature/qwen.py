"""Qwen2.5-VL's vision tower in miniature, written out for square scenes so that it compiles to something fast."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

PATCH, MERGE = 14, 2
TOKENS = 8  # merged patches along a side
SIDE = PATCH * MERGE * TOKENS
WINDOW = 4  # merged patches along a window's side


def by_window(grid: Tensor) -> Tensor:
    """(B, 16, 16, ...) patches to (B, 256, ...): window by window, in each merged token by merged token."""
    windows, rest = TOKENS // WINDOW, grid.shape[3:]
    parts = grid.view(len(grid), windows, WINDOW, MERGE, windows, WINDOW, MERGE, *rest)
    order = (0, 1, 4, 2, 5, 3, 6, *range(7, parts.ndim))
    return parts.permute(*order).reshape(len(grid), (TOKENS * MERGE) ** 2, *rest)


def rotary(tower: Any) -> tuple[Tensor, Tensor]:
    """Cosines and sines of every patch, (256, head_dim), in the order of `by_window`."""
    side = torch.arange(TOKENS * MERGE)
    places = by_window(torch.stack(torch.meshgrid(side, side, indexing="ij"), -1)[None])[0]
    cos, sin = tower.rotary_pos_emb(torch.zeros(1), places)
    return cos, sin


def _normal(states: Tensor, norm: Any) -> Tensor:
    scaled: Tensor = states * torch.rsqrt(states.pow(2).mean(-1, keepdim=True) + norm.variance_epsilon) * norm.weight
    return scaled


def _rotate(states: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    low, high = states.chunk(2, -1)
    return states * cos + torch.cat((-high, low), -1) * sin


def encode_windows(tower: Any, images: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Run the vision tower and its merger.

    Parameters
    ----------
    tower : Qwen2_5_VisionTransformerPretrainedModel
        In float32.
    images : Tensor, (B, 3, SIDE, SIDE)
        Normalised as the image processor does.
    cos, sin : Tensor, (256, head_dim)
        From `rotary`.

    Returns
    -------
    Tensor, (B, 64, d)
        Merged tokens, row by row.
    """
    batch = len(images)
    weight = tower.patch_embed.proj.weight.sum(2)  # an image stands for both frames
    states = by_window(functional.conv2d(images, weight, stride=PATCH).permute(0, 2, 3, 1))
    length, width = states.shape[1:]
    windows = (TOKENS // WINDOW) ** 2
    for number, block in enumerate(tower.blocks):
        own, mlp = block.attn, block.mlp
        groups = 1 if number in tower.fullatt_block_indexes else windows
        mixed = own.qkv(_normal(states, block.norm1)).view(batch, length, 3, own.num_heads, own.head_dim)
        query, key, value = mixed.unbind(2)
        query, key = (_rotate(part, cos[:, None], sin[:, None]) for part in (query, key))
        shape = (batch * groups, length // groups, own.num_heads, own.head_dim)
        query, key, value = (part.reshape(shape).transpose(1, 2) for part in (query, key, value))
        weights = ((query * own.scaling) @ key.transpose(-1, -2)).softmax(-1)
        states = states + own.proj((weights @ value).transpose(1, 2).reshape(batch, length, width))
        into = _normal(states, block.norm2)
        states = states + mlp.down_proj(functional.silu(mlp.gate_proj(into)) * mlp.up_proj(into))
    merged = tower.merger.mlp(_normal(states, tower.merger.ln_q).view(batch, TOKENS**2, -1))
    side = TOKENS // WINDOW
    rows: Tensor = merged.view(batch, side, side, WINDOW, WINDOW, -1).transpose(2, 3)
    return rows.reshape(batch, TOKENS**2, -1)


def _slow_places(heads: Tensor) -> Tensor:
    """Order of a head's dimensions, from those that the rotary embedding turns least to those that it turns most."""
    quarter = heads.shape[-1] // 4
    steps = torch.arange(quarter - 1, -1, -1)
    return torch.stack([steps + part * quarter for part in range(4)], 1).flatten()


def _unturned(query: Tensor, key: Tensor) -> tuple[Tensor, Tensor]:
    """One head's query and key maps (size, c) with the same products, the strongest where the rotation is least."""
    size = len(query)
    left, values, right = torch.linalg.svd(query.T @ key)
    root = values[:size].sqrt()[:, None]
    places = _slow_places(query.T)
    queries, keys = torch.empty_like(query), torch.empty_like(key)
    queries[places], keys[places] = root * left[:, :size].T, root * right[:size]
    return queries, keys


def _with_bias(layer: nn.Linear, norm: nn.LayerNorm) -> Tensor:
    """(out, in + 1): weight and bias of a layer, the bias of the normalisation before it taken in."""
    return torch.cat([layer.weight, (layer.bias + layer.weight @ norm.bias)[:, None]], 1)


def _centred(layer: nn.Linear) -> tuple[Tensor, Tensor]:
    return layer.weight - layer.weight.mean(0), layer.bias - layer.bias.mean()


@torch.no_grad()
def adopt(tower: Any, clip: Any, conv: Tensor, projector: Any, deviation: float) -> None:
    """Copy CLIP's first layers and LLaVA's projector into the tower and its merger.

    All writes to the residual stream are centred, so that its root mean square equals the deviation by which CLIP's
    normalisation divides; SwiGLU with a constant second factor is CLIP's quick GELU; a token is the mean of what the
    projector makes of its four patches. Left out are CLIP's position embeddings and, in each head, the weakest
    query-key products, which the rotary embedding would turn.

    Parameters
    ----------
    tower : Qwen2_5_VisionTransformerPretrainedModel
        Changed in place.
    clip : CLIPVisionModel
        LLaVA-1.5's tower.
    conv : Tensor, (c, 3, patch, patch)
        CLIP's patch embedding, its first normalisation folded in.
    projector : LlavaMultiModalProjector
        LLaVA-1.5's.
    deviation : float
        Root mean square of the features that the projector expects.
    """
    kernel = functional.interpolate(conv - conv.mean(0), PATCH, mode="bicubic", align_corners=False)
    kernel = kernel * (conv.shape[-1] / PATCH) ** 2 / 2
    tower.patch_embed.proj.weight.copy_(kernel[:, :, None].expand_as(tower.patch_embed.proj.weight))
    for block, layer in zip(tower.blocks, clip.encoder.layers, strict=False):
        own, heads = layer.self_attn, block.attn.num_heads
        block.norm1.weight.copy_(layer.layer_norm1.weight)
        block.norm2.weight.copy_(layer.layer_norm2.weight)
        query, key, value = (_with_bias(part, layer.layer_norm1) for part in (own.q_proj, own.k_proj, own.v_proj))
        pairs = [_unturned(q, k) for q, k in zip(query.chunk(heads), key.chunk(heads), strict=True)]
        mixed = torch.cat([torch.cat([q for q, _ in pairs]), torch.cat([k for _, k in pairs]), value])
        block.attn.qkv.weight.copy_(mixed[:, :-1])
        block.attn.qkv.bias.copy_(mixed[:, -1])
        into, mlp, slope = _with_bias(layer.mlp.fc1, layer.layer_norm2), block.mlp, 1.702
        mlp.gate_proj.weight.copy_(slope * into[:, :-1])
        mlp.gate_proj.bias.copy_(slope * into[:, -1])
        mlp.up_proj.weight.zero_()
        mlp.up_proj.bias.fill_(1.0)
        for target, source, factor in ((block.attn.proj, own.out_proj, 1.0), (mlp.down_proj, layer.mlp.fc2, slope)):
            weight, bias = _centred(source)
            target.weight.copy_(weight / factor)
            target.bias.copy_(bias)
    first, second = projector.linear_1, projector.linear_2
    merger = tower.merger.mlp
    merger[0].weight.copy_(torch.kron(torch.eye(MERGE**2), deviation * first.weight))
    merger[0].bias.copy_(first.bias.repeat(MERGE**2))
    merger[2].weight.copy_(second.weight.repeat(1, MERGE**2) / MERGE**2)
    merger[2].bias.copy_(second.bias)
