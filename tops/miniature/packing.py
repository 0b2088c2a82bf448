"""Conversations about images as tensors: many questions share one image, each sees the image and itself only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from tops.miniature.grounding import asked_objects, mentions, option_span
from tops.miniature.scenes import patch_labels
from tops.miniature.training_data import encode_turn

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from tokenizers import Tokenizer

    from tops.miniature.prompts import Turn
    from tops.miniature.scenes import Scene
    from tops.miniature.training_data import Lesson, Pool

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


@dataclass(frozen=True)
class Looks:
    """Tokens whose attention has a target.

    Attributes
    ----------
    token : Tensor of int64, shape (K, 2)
        Row and place of the token.
    target : Tensor of bool, shape (K, n)
        Where it should look: patches of the image, or question tokens.
    """

    token: Tensor
    target: Tensor

    def spread(self, patches: Tensor) -> Looks:
        """The same over tokens that show these patches; -1 for tokens that show none."""
        return Looks(self.token, self.target[:, patches.clamp_min(0)] & (patches >= 0))

    @classmethod
    def of(cls, found: list[tuple[int, int, NDArray[np.bool_]]], width: int) -> Looks:
        token = torch.tensor([entry[:2] for entry in found], dtype=torch.long).reshape(-1, 2)
        return cls(token, torch.from_numpy(np.array([entry[2] for entry in found], dtype=bool).reshape(-1, width)))


@dataclass(frozen=True)
class Batch:
    """One step's tensors; see `run_layers`.

    ``asked``: the token that predicts the reply, at the object asked for. ``named``: the last token of a phrase, at the
    object that it names. ``chosen``: the token that predicts a letter, at the words of the right option.
    """

    scenes: list[int]
    packed: list[Packed]
    ids: Tensor
    labels: Tensor
    mask: Tensor
    positions: Tensor
    asked: Looks
    named: Looks
    chosen: Looks


def _places(bpe: Tokenizer, turn: Turn, template: Template = LLAVA) -> NDArray[np.int64]:
    """Token that holds each character of the prompt, counted from the question's first token."""
    before = template.after_image
    encoded = bpe.encode(before + turn.prompt + template.before_reply)
    holder = np.zeros(len(before) + len(turn.prompt), dtype=np.int64)
    for place, (start, end) in enumerate(encoded.offsets):
        holder[start:end] = place
    return holder[len(before) :]


Found = list[tuple[int, int, "NDArray[np.bool_]"]]


def _look_targets(bpe: Tokenizer, row: int, packed: Packed, scene: Scene, found: tuple[Found, Found, Found]) -> None:
    asked, named, chosen = found
    owner = patch_labels(scene).owner.reshape(-1)
    for number, turn in enumerate(packed.turns):
        first = int((packed.question == number).argmax())
        last = int(((packed.question == number) & (packed.labels != NONE)).argmax())
        objects = asked_objects(turn)
        if objects:
            asked.append((row, last, np.isin(owner, objects)))
        holder = _places(bpe, turn)
        named += [(row, first + int(holder[end]), owner == item) for end, item in mentions(turn.prompt, scene)]
        span = option_span(turn)
        if span:
            words = np.zeros(len(packed.ids), dtype=bool)
            words[first + holder[span[0] : span[1] + 1]] = True
            chosen.append((row, last, words))


def make_batch(
    rng: np.random.Generator,
    pool: Pool,
    bpe: Tokenizer,
    chosen: list[int],
    length: int,
    prefix: int,
    plain: float,
    lesson: Lesson,
) -> Batch:
    """Conversations about the ``chosen`` scenes.

    Parameters
    ----------
    rng : numpy.random.Generator
        The only source of randomness.
    pool : Pool
        The scenes.
    bpe : tokenizers.Tokenizer
        Of `train_bpe`.
    chosen : list of int
        Numbers of the scenes.
    length, prefix : int
        Tokens of the questions about one image, and before them.
    plain : float
        Share of conversations of direct questions.
    lesson : Lesson
        What they are about.
    """
    packed = []
    found: tuple[Found, Found, Found] = ([], [], [])
    for row, i in enumerate(chosen):
        scene = pool.scenes[i]
        packed.append(pack(bpe, lesson.turns(rng, scene, bool(rng.random() < plain), length), length))
        _look_targets(bpe, row, packed[-1], scene, found)
    patches = pool.labels.shape[1]
    asked, named, picked = (Looks.of(f, width) for f, width in zip(found, (patches, patches, length), strict=True))
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
        asked,
        named,
        picked,
    )
