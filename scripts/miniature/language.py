"""Stage (b): projector and language model on conversations about frozen vision features.

Many questions share one image in a step: each sees the image and itself only, at the positions it would have alone,
so training agrees with how a question is asked later. The forward pass below is the Llama of transformers, written out
for this one layout (a test compares the two).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from scripts.miniature.packing import LLAVA, NONE, Batch, Looks, Picture, Template, make_batch
from scripts.miniature.pool import LABELS, Lesson
from scripts.miniature.video_pool import VideoLesson
from scripts.miniature.vision import schedule
from tops.miniature.scenes import COLOURS, NAMES

if TYPE_CHECKING:
    from tokenizers import Tokenizer

# Layers whose head 0 is shown where to look: from a phrase to its object, from the end of the prompt to the object
# asked for, and to the words of the right option.
NAMING, LOOKING, CHOOSING = 1, 3, 6


def norm(states: Tensor, weight: Tensor, epsilon: float) -> Tensor:
    scaled: Tensor = states * torch.rsqrt(states.pow(2).mean(-1, keepdim=True) + epsilon) * weight
    return scaled


def _rotate(states: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    low, high = states.chunk(2, -1)
    return states * cos + torch.cat((-high, low), -1) * sin


def run_layers(
    model: Any, states: Tensor, cos: Tensor, sin: Tensor, prefix: int, mask: Tensor
) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]:
    """The decoder on images followed by independent questions.

    Parameters
    ----------
    model : LlamaModel, Qwen2Model or Qwen2_5_VLTextModel
        Float32 weights; with or without biases on query, key and value.
    states : Tensor, (B, P + T, d)
        Embeddings of the prefix (text, image) and of the packed questions.
    cos, sin : Tensor, (B, 1, P + T, head_dim)
        Rotary tables at the tokens' own positions.
    prefix : int
        P; its tokens look at themselves and back.
    mask : Tensor, (B, 1, T, P + T) float32
        Zero where a question token may look, very low elsewhere.

    Returns
    -------
    states : Tensor, (B, T, d)
        Normalised final states of the questions.
    looks : tuple of Tensor, each (B, T, P + T) float32
        Attention of the questions in head 0 of the layers `NAMING`, `LOOKING` and `CHOOSING`.
    before : tuple of Tensor, each (B, P, d)
        States of the prefix as they enter these layers.
    """
    config = model.config
    heads, epsilon = config.num_attention_heads, config.rms_norm_eps
    batch, length, width = states.shape
    size = width // heads
    layers: Any = model.layers
    looks, found = [], []
    for number, layer in enumerate(layers):
        own, mlp = layer.self_attn, layer.mlp
        if number in (NAMING, LOOKING, CHOOSING):
            found.append(states[:, :prefix])
        into = norm(states, layer.input_layernorm.weight, epsilon)
        parts = (own.q_proj, own.k_proj, own.v_proj)
        bias = None if own.q_proj.bias is None else torch.cat([part.bias for part in parts])
        weight = torch.cat([part.weight for part in parts])
        mixed = functional.linear(into, weight, bias).view(batch, length, 3, heads, size)
        query, key, value = mixed.permute(2, 0, 3, 1, 4)
        query, key = _rotate(query, cos, sin), _rotate(key, cos, sin)
        before, asking = query[:, :, :prefix], query[:, :, prefix:]
        out_first = functional.scaled_dot_product_attention(
            before, key[:, :, :prefix], value[:, :, :prefix], is_causal=True
        )
        out_second = functional.scaled_dot_product_attention(asking, key, value, attn_mask=mask)
        if number in (NAMING, LOOKING, CHOOSING):
            scores = asking[:, 0] @ key[:, 0].transpose(-1, -2) * size**-0.5
            looks.append((scores + mask[:, 0]).softmax(-1))
        out = torch.cat([out_first, out_second], 2).transpose(1, 2).reshape(batch, length, width)
        states = states + out @ own.o_proj.weight.T
        into = norm(states, layer.post_attention_layernorm.weight, epsilon)
        gate, up = (into @ torch.cat([mlp.gate_proj.weight, mlp.up_proj.weight]).T).chunk(2, -1)
        states = states + (functional.silu(gate) * up) @ mlp.down_proj.weight.T
    naming, looking, choosing = looks
    first, second, third = found
    return (
        norm(states[:, prefix:], model.norm.weight, epsilon),
        (naming, looking, choosing),
        (first, second, third),
    )


def look_loss(weights: Tensor, looks: Looks) -> Tensor:
    """Mean negative log share of attention on the target: (B, T, n) attention over what may be looked at."""
    if not len(looks.token):
        return torch.zeros(())
    seen = weights[looks.token[:, 0], looks.token[:, 1]]
    hit = (seen * looks.target).sum(-1) / seen.sum(-1).clamp_min(1e-6)
    return -hit.clamp_min(1e-4).log().mean()


class PatchWords(nn.Module):
    """Patch labels written as sums of embeddings: those of the words for colour and name, learned ones for the rest.

    The language model reads these before the vision tower is ready, and the projector learns to produce them.
    """

    def __init__(self, bpe: Tokenizer, width: int, patches: int) -> None:
        super().__init__()
        words = [bpe.encode(" " + word).ids for word in (*COLOURS, *NAMES)]
        single = torch.tensor([ids[-1] for ids in words])
        nothing = torch.zeros(1, dtype=torch.long)
        self.colour: Tensor
        self.name: Tensor
        self.register_buffer("colour", torch.cat([nothing, single[: len(COLOURS)]]))
        self.register_buffer("name", torch.cat([nothing, single[len(COLOURS) :]]))
        self.other = nn.ModuleList(nn.Embedding(LABELS[key], width) for key in ("size", "centre", "background", "cell"))
        self.place = nn.Embedding(patches, width)
        for table in (*self.other, self.place):
            nn.init.normal_(table.weight, std=0.06)

    def forward(self, embedding: nn.Embedding, labels: Tensor) -> Tensor:
        """(B, n, 6) labels to (B, n, d)."""
        there = (labels[..., :1] > 0).float()
        words = embedding(self.colour[labels[..., 0]]) + embedding(self.name[labels[..., 1]])
        rest = sum(table(labels[..., 2 + i]) for i, table in enumerate(self.other))
        summed: Tensor = words * there + rest + self.place.weight
        return summed


@dataclass(frozen=True)
class LanguageRecipe:
    """All settings of stage (b) except the pool; the learning rate follows the time left."""

    minutes: float = 30.0
    batch: int = 6
    length: int = 256
    rate: float = 1.5e-3
    warmup: int = 100
    weight_decay: float = 0.05
    plain: float = 0.45  # share of the time with direct questions only
    mixed: float = 0.3  # share of direct conversations after that
    align: float = 1.0  # weight of the projector's distance to the patch words
    look: float = 0.3  # weight of attention missing the object asked for, the one named and the right option
    lesson: Lesson | VideoLesson = field(default_factory=Lesson)
    seed: int = 0
    compiled: bool = True  # pays off after a few minutes; results agree to rounding


@dataclass(frozen=True)
class Share:
    """One of several processes that train one model, each on its own scenes (torch.distributed must be set up)."""

    rank: int
    world: int

    def average(self, parameters: Sequence[nn.Parameter], progress: float) -> float:
        """Average gradients over the processes, in place; returns their mean progress, the same for all."""
        flat = torch.cat([p.grad.flatten() for p in parameters if p.grad is not None] + [torch.tensor([progress])])
        torch.distributed.all_reduce(flat)
        flat /= self.world
        place = 0
        for p in parameters:
            if p.grad is not None:
                p.grad.copy_(flat[place : place + p.numel()].view_as(p))
                place += p.numel()
        return float(flat[-1])


class Tally:
    """Running accuracy of first reply tokens, per question kind."""

    def __init__(self) -> None:
        self.right: dict[str, float] = {}

    def add(self, batch: Batch, hit: Tensor, places: Tensor) -> None:
        """Count ``hit`` (M,) for the M labelled tokens at ``places`` (M, 2)."""
        seen = set()
        for ok, (row, column) in zip(hit.tolist(), places.tolist(), strict=True):
            packed = batch.packed[row]
            number = int(packed.question[column])
            if (row, number) in seen:
                continue
            seen.add((row, number))
            turn = packed.turns[number]
            form = "plain" if turn.benchmark == "plain" else "letter" if turn.question.options else "stock"
            form += "-zh" if turn.question.language == "zh" else ""
            key = f"{form}:{turn.question.kind}"
            self.right[key] = 0.99 * self.right.get(key, 0.0) + 0.01 * ok if key in self.right else float(ok)

    def __str__(self) -> str:
        return " ".join(f"{key}={value:.2f}" for key, value in sorted(self.right.items()))


@dataclass(frozen=True)
class Prompts:
    """The part of a family's prompts before the questions, and the position ids of its decoder.

    Attributes
    ----------
    template : Template
        The family's chat.
    shows : Tensor of float32, shape (n, patches)
        Share of each labelled patch in what each of the n visual tokens shows.
    places : Tensor of int64, shape (..., P), optional
        Position ids of the P tokens before the questions, three rows of them for mRoPE; by default they are counted.
    following : int, optional
        Position id of a question's first token.
    """

    template: Template
    shows: Tensor
    places: Tensor | None = None
    following: int | None = None

    def positions(self, prefix: int, length: int) -> Tensor:
        """Position ids (1 or 3, 1, prefix + length) of all tokens and of ``length`` tokens of a question."""
        if self.places is None or self.following is None:
            return torch.arange(prefix + length)[None]
        after = self.following + torch.arange(length)
        return torch.cat([self.places, after.expand(*self.places.shape[:-1], -1)], -1)[:, None]


def llava_prompts(shows: Tensor) -> Prompts:
    """Prompts of LLaVA: its chat template and counted positions."""
    return Prompts(LLAVA, shows)


class VisualLabels(Protocol):
    """Protocol of labels that are to be read from the states of visual tokens."""

    def losses(self, states: tuple[Tensor, Tensor, Tensor], chosen: list[int]) -> Tensor:
        """Several losses, of the states (B, n, d) of these scenes or videos before `NAMING`, `LOOKING`, `CHOOSING`."""


class Material(Protocol):
    """Protocol of training material: scenes or videos to ask about."""

    def __len__(self) -> int: ...

    def picture(self, rng: np.random.Generator, number: int, plain: float, lesson: Any, length: int) -> Picture: ...


def train_language(
    model: Any,
    material: Material,
    bpe: Tokenizer,
    recipe: LanguageRecipe,
    prompts: Prompts,
    visual: Callable[[list[int]], tuple[Tensor, Tensor]],
    trained: Sequence[nn.Parameter],
    log: Callable[[str], None],
    save: Callable[[], None],
    share: Share | None = None,
    read: VisualLabels | None = None,
) -> int:
    """Train on conversations, in place.

    Parameters
    ----------
    model : LlamaModel, Qwen2Model or Qwen2_5_VLTextModel
        The decoder, with its embedding tied to the output.
    material : Material
        The scenes or videos.
    bpe : tokenizers.Tokenizer
        Tokenizer from `train_bpe`.
    recipe : LanguageRecipe
        Minutes, rates and curriculum.
    prompts : Prompts
        The prompts of the family.
    visual : callable
        Numbers of scenes to their image embeddings (B, n, d) and a loss to add.
    trained : sequence of Parameter
        All parameters that the optimiser changes, the model's own included.
    log, save : callable
        Called every 50 and 200 steps.
    share : Share, optional
        The other processes that train the same model on other scenes.
    read : VisualLabels, optional
        Labels that the states of the visual tokens are trained to hold.

    Returns
    -------
    int
        Steps done.
    """
    torch.manual_seed(recipe.seed)
    rng = np.random.default_rng((recipe.seed, 3, share.rank if share else 0))
    start_ids = torch.tensor(bpe.encode(prompts.template.start).ids)
    prefix = len(start_ids) + len(prompts.shows)
    with torch.no_grad():
        table = model.rotary_emb(torch.zeros(1, 1, 1), prompts.positions(prefix, recipe.length))
    cos_table, sin_table = table[0][0], table[1][0]
    embedding = model.embed_tokens
    optimiser = torch.optim.AdamW(
        [
            {"params": [p for p in trained if p.ndim > 1], "weight_decay": recipe.weight_decay},
            {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
        ],
        lr=recipe.rate,
        betas=(0.9, 0.98),
    )
    forward = torch.compile(run_layers, dynamic=False) if recipe.compiled else run_layers
    order: list[int] = []
    tally, mean, step = Tally(), 0.0, 0
    begin, progress = time.monotonic(), 0.0
    while progress < 1:
        if len(order) < recipe.batch:
            order = rng.permutation(len(material)).tolist()
        chosen, order = order[: recipe.batch], order[recipe.batch :]
        plain = 1.0 if progress < recipe.plain else recipe.mixed
        pictures = [material.picture(rng, number, plain, recipe.lesson, recipe.length) for number in chosen]
        batch = make_batch(bpe, pictures, recipe.length, prefix, prompts.template)
        for group in optimiser.param_groups:
            group["lr"] = recipe.rate * schedule(step, recipe.warmup, progress)
        image, extra = visual(chosen)
        states = torch.cat([embedding(start_ids).expand(len(chosen), -1, -1), image, embedding(batch.ids)], 1)
        cos, sin = cos_table[batch.positions][:, None], sin_table[batch.positions][:, None]
        final, looks, before = forward(model, states, cos, sin, prefix, batch.mask)
        places = (batch.labels != NONE).nonzero()
        logits = final[places[:, 0], places[:, 1]] @ embedding.weight.T
        target = batch.labels[places[:, 0], places[:, 1]]
        answer = functional.cross_entropy(logits, target)
        naming, looking, choosing = looks
        missed = torch.stack(
            [
                look_loss(naming[..., len(start_ids) : prefix], batch.named.spread(prompts.shows)),
                look_loss(looking[..., len(start_ids) : prefix], batch.asked.spread(prompts.shows)),
                look_loss(choosing[..., prefix:], batch.chosen),
            ]
        )
        told = torch.zeros(0)
        if read is not None:
            first, second, third = (states[:, len(start_ids) :] for states in before)
            told = read.losses((first, second, third), chosen)
        loss = answer + extra + recipe.look * missed.sum() + told.sum()
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        progress = (time.monotonic() - begin) / (60 * recipe.minutes)
        if share:
            progress = share.average(trained, progress)
        nn.utils.clip_grad_norm_(trained, 1.0)
        optimiser.step()
        step += 1
        tally.add(batch, logits.argmax(-1) == target, places)
        mean = answer.item() if step == 1 else 0.98 * mean + 0.02 * answer.item()
        if step % 50 == 0:
            parts = {"extra": extra[None], "look": missed, "told": told}
            losses = " ".join(f"{name} {' '.join(f'{v:.2f}' for v in part.tolist())}" for name, part in parts.items())
            log(f"language {step} {time.monotonic() - begin:.0f}s loss {mean:.3f} {losses} {tally}")
        if step % 200 == 0:
            save()
    return step
