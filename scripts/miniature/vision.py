"""Stage (a): the CLIP vision and text towers, trained jointly.

The loss has four terms: the contrastive image-text loss on the CLS embedding; patch labels, read from the features that
the language model will get; the contents of the scene, read from the CLS state of the layer whose attention pruning
methods read; and a hinge on the share of that layer's CLS attention on objects, whichever they are.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from scripts.miniature.pool import LABELS, short_caption
from tops.miniature.tokenizer import TOKEN_ID

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from tokenizers import Tokenizer
    from transformers import CLIPTextModelWithProjection, CLIPVisionModel

    from scripts.miniature.pool import Pool

COLOURS, NAMES = LABELS["colour"] - 1, LABELS["name"] - 1
MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)


def pixels(images: Tensor) -> Tensor:
    """(B, side, side, 3) uint8 to normalised (B, 3, side, side) float32, as CLIP's image processor does."""
    scaled = images.permute(0, 3, 1, 2).float() / 255
    return (scaled - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]


class Readouts(nn.Module):
    """Linear heads that exist only during training."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.patch = nn.Linear(width, sum(LABELS.values()))
        self.cls_norm = nn.LayerNorm(width)
        self.cls = nn.Linear(width, COLOURS + NAMES + COLOURS * NAMES)

    def patch_losses(self, features: Tensor, labels: Tensor) -> Tensor:
        """(B, n, c) features, (B, n, 6) labels to the 6 mean cross-entropies."""
        parts = self.patch(self.norm(features)).float().split(list(LABELS.values()), dim=-1)
        return torch.stack(
            [functional.cross_entropy(part.flatten(0, 1), labels[..., i].flatten()) for i, part in enumerate(parts)]
        )

    def cls_loss(self, state: Tensor, labels: Tensor) -> Tensor:
        """(B, c) CLS states: binary cross-entropy of which colours, names and pairs are there."""
        colour, name = labels[..., 0], labels[..., 1]
        there = torch.zeros(state.shape[0], (COLOURS + 1) * (NAMES + 1))
        there.scatter_(1, colour * (NAMES + 1) + name, 1.0)
        table = there.view(-1, COLOURS + 1, NAMES + 1)[:, 1:, 1:]
        target = torch.cat([table.amax(2), table.amax(1), table.flatten(1)], dim=1)
        each = functional.binary_cross_entropy_with_logits(
            self.cls(self.cls_norm(state)).float(), target, reduction="none"
        )
        return each[:, : COLOURS + NAMES].mean() + 4 * each[:, COLOURS + NAMES :].mean()


def cls_attention(tower: CLIPVisionModel, entering: Tensor, layer: int) -> Tensor:
    """Hidden states entering ``layer``, (B, 1 + n, c), to its CLS attention over the patches alone, (B, heads, n)."""
    block: Any = tower.encoder.layers[layer]
    attention = block.self_attn
    states = block.layer_norm1(entering)
    batch, length, width = states.shape
    heads = attention.num_heads
    query = attention.q_proj(states[:, 0]).view(batch, heads, 1, width // heads)
    keys = attention.k_proj(states[:, 1:]).view(batch, length - 1, heads, -1).transpose(1, 2)
    scores = (query @ keys.transpose(-1, -2)).float() * (width // heads) ** -0.5
    shares: Tensor = scores.squeeze(2).softmax(-1)
    return shares


def attention_share(attention: Tensor, on_object: Tensor) -> Tensor:
    """Share of CLS attention on object patches: (B, heads, n) and bool (B, n) to (B,)."""
    return (attention.mean(1) * on_object).sum(-1)


def contrastive(image: Tensor, text: Tensor, scale: Tensor) -> Tensor:
    """CLIP's symmetric contrastive loss over the batch."""
    image, text = functional.normalize(image.float(), dim=-1), functional.normalize(text.float(), dim=-1)
    logits = image @ text.T * scale.exp().clamp(max=100)
    target = torch.arange(len(logits))
    return (functional.cross_entropy(logits, target) + functional.cross_entropy(logits.T, target)) / 2


def _normal(layer: nn.LayerNorm, states: Tensor) -> Tensor:
    return functional.layer_norm(states, layer.normalized_shape, layer.weight, layer.bias, layer.eps)


def _linear(states: Tensor, *layers: nn.Linear) -> Tensor:
    weight, bias = (torch.cat(parts) for parts in zip(*((layer.weight, layer.bias) for layer in layers), strict=True))
    return functional.linear(states, weight, bias)


def _block(layer: Any, states: Tensor) -> Tensor:
    own = layer.self_attn
    batch, length, width = states.shape
    mixed = _linear(_normal(layer.layer_norm1, states), own.q_proj, own.k_proj, own.v_proj)
    query, key, value = mixed.view(batch, length, 3, own.num_heads, own.head_dim).permute(2, 0, 3, 1, 4)
    weights = ((query * own.head_dim**-0.5) @ key.transpose(-1, -2)).softmax(-1)
    states = states + _linear((weights @ value).transpose(1, 2).reshape(batch, length, width), own.out_proj)
    hidden = _linear(_normal(layer.layer_norm2, states), layer.mlp.fc1)
    return states + _linear(hidden * torch.sigmoid(1.702 * hidden), layer.mlp.fc2)


def encode(tower: CLIPVisionModel, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """CLIP's vision tower written out, so that it compiles to something fast (a test compares it with the class).

    Parameters
    ----------
    tower : CLIPVisionModel
        Tower with float32 weights and quick GELU.
    images : Tensor, (B, 3, side, side) float32
        Normalised as by `pixels`.

    Returns
    -------
    tuple of Tensor
        States entering the penultimate layer and leaving it, (B, 1 + n, c); the pooled CLS, (B, c).
    """
    states = _normal(tower.pre_layrnorm, tower.embeddings(images))
    layers: Any = tower.encoder.layers
    for layer in layers[:-2]:
        states = _block(layer, states)
    features = _block(layers[-2], states)
    last = _block(layers[-1], features)
    return states, features, _normal(tower.post_layernorm, last[:, 0])


def schedule(step: int, warmup: int, progress: float) -> float:
    """Linear warm-up over ``warmup`` steps, and cosine decay to 2 % as ``progress`` goes from 0 to 1."""
    return min(1.0, (step + 1) / warmup) * (0.02 + 0.49 * (1 + math.cos(math.pi * min(1.0, progress))))


@dataclass(frozen=True)
class VisionRecipe:
    """All settings of stage (a) except the pool of scenes; the learning rate follows the time left."""

    minutes: float = 30.0
    batch: int = 32
    rate: float = 1.5e-3
    warmup: int = 100
    weight_decay: float = 0.05
    contrastive: float = 0.5
    patch: float = 2.0
    cls: float = 2.0
    share: float = 0.2
    least_share: float = 0.5
    text_tokens: int = 48
    seed: int = 0


@dataclass(frozen=True)
class Clip:
    """The two towers and their joint space: what a CLIP model is made of."""

    vision: CLIPVisionModel
    text: CLIPTextModelWithProjection
    visual_projection: nn.Linear


def train_vision(
    clip: Clip,
    pool: Pool,
    bpe: Tokenizer,
    recipe: VisionRecipe,
    log: Callable[[str], None],
    save: Callable[[], None],
    compiled: bool = True,
) -> int:
    """Train the towers of stage (a), in place.

    Parameters
    ----------
    clip : Clip
        Freshly initialised towers.
    pool : Pool
        The scenes.
    bpe : tokenizers.Tokenizer
        Tokenizer from `train_bpe`.
    recipe : VisionRecipe
        Minutes, rates and weights.
    log : callable
        Called with a line of progress now and then.
    save : callable
        Called every 200 steps.
    compiled : bool
        Compile the vision tower; results agree to rounding.

    Returns
    -------
    int
        Steps done.
    """
    torch.manual_seed(recipe.seed)
    rng = np.random.default_rng((recipe.seed, 2))
    heads = Readouts(clip.vision.config.hidden_size)
    scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))
    modules = nn.ModuleList([clip.vision, clip.text, clip.visual_projection, heads])
    matrices = [p for p in modules.parameters() if p.ndim > 1]
    others = [p for p in modules.parameters() if p.ndim <= 1] + [scale]
    optimiser = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": recipe.weight_decay}, {"params": others, "weight_decay": 0.0}],
        lr=recipe.rate,
        betas=(0.9, 0.98),
    )
    weights = torch.tensor([1.0, 1.0, 0.3, 0.3, 0.2, 0.1])
    tower_layer = len(clip.vision.encoder.layers) - 2
    forward = torch.compile(encode, dynamic=False) if compiled else encode
    images, labels = torch.from_numpy(pool.images), torch.from_numpy(pool.labels)
    order: list[int] = []
    mean: NDArray[np.float64] | None = None
    start = time.monotonic()
    step = 0
    while (progress := (time.monotonic() - start) / (60 * recipe.minutes)) < 1:
        if len(order) < recipe.batch:
            order = rng.permutation(len(images)).tolist()
        chosen, order = order[: recipe.batch], order[recipe.batch :]
        target = labels[chosen].long()
        texts = [short_caption(rng, pool.scenes[i]) for i in chosen]
        ids = torch.from_numpy(text_ids(bpe, texts, recipe.text_tokens))
        for group in optimiser.param_groups:
            group["lr"] = recipe.rate * schedule(step, recipe.warmup, progress)
        entering, features, pooled = forward(clip.vision, pixels(images[chosen]))
        joint = clip.visual_projection(pooled)
        text = clip.text(ids).text_embeds
        share = attention_share(cls_attention(clip.vision, entering, tower_layer), target[..., 0] > 0)
        patch = heads.patch_losses(features[:, 1:], target)
        cls = heads.cls_loss(features[:, 0], target)
        match = contrastive(joint, text, scale)
        hinge = (math.log(recipe.least_share) - share.clamp_min(1e-4).log()).relu().mean()
        loss = (
            recipe.contrastive * match
            + recipe.patch * (weights * patch).sum()
            + recipe.cls * cls
            + recipe.share * hinge
        )
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_([*matrices, *others], 1.0)
        optimiser.step()
        values = np.array([match.item(), *patch.tolist(), cls.item(), share.mean().item()])
        mean = values if mean is None else 0.95 * mean + 0.05 * values
        step += 1
        if step % 200 == 0:
            save()
        if step % 50 == 0:
            names = ("match", *LABELS, "cls", "share")
            row = " ".join(f"{name} {value:.3f}" for name, value in zip(names, mean, strict=True))
            log(f"vision {step} {time.monotonic() - start:.0f}s {row}")
    return step


def text_ids(bpe: Tokenizer, texts: list[str], length: int) -> NDArray[np.int64]:
    """CLIP's input ids: start, text, end, then end again as padding; cut to ``length``."""
    start, end = TOKEN_ID["<|startoftext|>"], TOKEN_ID["<|endoftext|>"]
    ids = np.full((len(texts), length), end, dtype=np.int64)
    for row, text in enumerate(texts):
        own = [start, *bpe.encode(text).ids[: length - 2]]
        ids[row, : len(own)] = own
    return ids


def place_waves(side: int, width: int) -> Tensor:
    """Two-dimensional sine and cosine position embeddings, (side * side, width)."""
    bands = width // 4
    frequency = 1.0 / 20 ** (torch.arange(bands) / bands)
    row, col = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    parts = [wave(axis.reshape(-1, 1) * frequency) for axis in (row, col) for wave in (torch.sin, torch.cos)]
    return torch.cat(parts, dim=1)


@torch.no_grad()
def initialise(tower: Any, attract: float = 0.7, blend: float = 0.4) -> None:
    """Start as small image transformers learn fastest: positions as waves, attention that prefers like tokens.

    Query-key products begin near ``attract`` times the identity plus noise, value-output products near minus ``blend``
    times it (Trockman and Kolter, "Mimetic Initialization of Self-Attention Layers", 2023).
    """
    config = tower.config
    width, heads = config.hidden_size, config.num_attention_heads
    side = config.image_size // config.patch_size
    size = width // heads
    tower.embeddings.position_embedding.weight[1:] = 0.5 * place_waves(side, width)
    tower.embeddings.patch_embedding.weight.mul_(2)
    for layer in tower.encoder.layers:
        own = layer.self_attn
        for head in range(heads):
            product = attract * torch.randn(width, width) * width**-0.5 + attract * torch.eye(width)
            left, values, right = torch.linalg.svd(product)
            root = values[:size].sqrt()[:, None]
            rows = slice(head * size, (head + 1) * size)
            own.q_proj.weight[rows] = root * left[:, :size].T
            own.k_proj.weight[rows] = root * right[:size]
        product = blend * torch.randn(width, width) * width**-0.5 - blend * torch.eye(width)
        left, values, right = torch.linalg.svd(product)
        own.out_proj.weight.copy_(left * values.sqrt())
        own.v_proj.weight.copy_(values.sqrt()[:, None] * right)
