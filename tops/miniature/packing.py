"""Conversations about images as tensors: many questions share one image, each sees the image and itself only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from tops.miniature.prompts import IMAGE_FORMATS, Turn, make_turns
from tops.miniature.scenes import patch_labels
from tops.miniature.training_data import encode_turn, plain_turns

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from tokenizers import Tokenizer

    from tops.miniature.scenes import Scene
    from tops.miniature.training_data import Pool

NONE = -100


@dataclass(frozen=True)
class Template:
    """The texts of a family's chat around image, prompt and reply."""

    start: str
    after_image: str
    before_reply: str
    end: str


LLAVA = Template("<s>USER: ", "\n", " ASSISTANT:", "</s>")


@dataclass(frozen=True)
class Packed:
    """Questions about one image, one after the other.

    Attributes
    ----------
    ids, labels : ndarray of int64, shape (T,)
        The label of a token is the token after it where that belongs to a reply, else `NONE`.
    question : ndarray of int64, shape (T,)
        Which question a token belongs to; -1 for padding.
    offset : ndarray of int64, shape (T,)
        Place of the token in its question.
    turns : list of Turn
        The questions that fitted.
    """

    ids: NDArray[np.int64]
    labels: NDArray[np.int64]
    question: NDArray[np.int64]
    offset: NDArray[np.int64]
    turns: list[Turn]


def pack(bpe: Tokenizer, turns: Sequence[Turn], length: int, template: Template = LLAVA) -> Packed:
    """Pack questions into ``length`` tokens, leaving out those that no longer fit."""
    ids = np.zeros(length, dtype=np.int64)
    labels = np.full(length, NONE, dtype=np.int64)
    question = np.full(length, -1, dtype=np.int64)
    offset = np.zeros(length, dtype=np.int64)
    kept: list[Turn] = []
    used = 0
    for turn in turns:
        tokens, start = encode_turn(bpe, turn, (template.after_image, template.before_reply, template.end))
        size = len(tokens) - 1
        if used + size > length:
            continue
        here = slice(used, used + size)
        ids[here], offset[here], question[here] = tokens[:-1], np.arange(size), len(kept)
        labels[used + start - 1 : used + size] = tokens[start:]
        kept.append(turn)
        used += size
    return Packed(ids, labels, question, offset, kept)


@dataclass
class Batch:
    """One step's tensors; see `run_layers`."""

    scenes: list[int]
    packed: list[Packed]
    ids: Tensor
    labels: Tensor
    mask: Tensor
    positions: Tensor
    looking: Tensor
    target: Tensor


def make_batch(
    rng: np.random.Generator,
    pool: Pool,
    bpe: Tokenizer,
    chosen: list[int],
    length: int,
    prefix: int,
    plain: float,
) -> Batch:
    packed = []
    looking, target = [], []
    for i in chosen:
        scene: Scene = pool.scenes[i]
        if rng.random() < plain:
            turns = plain_turns(rng, scene, 22)
        else:
            turns = make_turns(rng, scene, 8, IMAGE_FORMATS, with_caption=bool(rng.random() < 0.3))
        packed.append(pack(bpe, turns, length))
        owner = patch_labels(scene).owner.reshape(-1)
        for number, turn in enumerate(packed[-1].turns):
            if len(turn.question.objects) == 1 and turn.benchmark != "caption":
                places = (packed[-1].question == number) & (packed[-1].labels != NONE)
                looking.append((len(packed) - 1, int(places.argmax())))
                target.append(owner == turn.question.objects[0])
    question = torch.from_numpy(np.stack([p.question for p in packed]))
    offset = torch.from_numpy(np.stack([p.offset for p in packed]))
    together = (question[:, :, None] == question[:, None]) & torch.ones(length, length, dtype=torch.bool).tril()
    sees = torch.cat([torch.ones(len(chosen), length, prefix, dtype=torch.bool), together], -1)[:, None]
    before = torch.arange(prefix).expand(len(chosen), -1)
    return Batch(
        chosen,
        packed,
        torch.from_numpy(np.stack([p.ids for p in packed])),
        torch.from_numpy(np.stack([p.labels for p in packed])),
        sees,
        torch.cat([before, prefix + offset], 1),
        torch.tensor(looking, dtype=torch.long).reshape(-1, 2),
        torch.from_numpy(np.stack(target)) if target else torch.zeros(0, pool.labels.shape[1], dtype=torch.bool),
    )
