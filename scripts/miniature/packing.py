"""Conversations about images as tensors: many questions share one image, each sees the image and itself only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from scripts.miniature.grounding import answered_objects, mentions, option_span

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from tokenizers import Tokenizer

    from tops.miniature.prompts import Turn
    from tops.miniature.scenes import SceneObject

NONE = -100
LOW = -1e4  # added where a token may not look


@dataclass(frozen=True)
class Template:
    """The chat template of a family: the texts around image, prompt and reply."""

    start: str
    after_image: str
    before_reply: str
    end: str


LLAVA = Template("<s>USER: ", "\n", " ASSISTANT:", "</s>")
_TURN = ("<|im_end|>\n<|im_start|>assistant\n", "<|im_end|>")
LLAVA_VIDEO = Template("<|im_start|>user\n", "\n", *_TURN)
QWEN = Template(
    "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n<|vision_start|>",
    "<|vision_end|>",
    *_TURN,
)
INTERNVL = Template("<|im_start|>user\n<img>", "</img>\n", *_TURN)


@dataclass(frozen=True)
class Picture:
    """Questions about one image or video, and where its objects are.

    Attributes
    ----------
    turns : list of Turn
    objects : sequence of SceneObject
        Objects that the questions' phrases may name.
    owner : ndarray of int64, shape (patches,)
        Index of the object that a patch shows, -1 for none.
    """

    turns: list[Turn]
    objects: Sequence[SceneObject]
    owner: NDArray[np.int64]


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


def encode_turn(bpe: Tokenizer, turn: Turn, template: Template) -> tuple[list[int], int]:
    """Token ids of one question and answer after the image, and where the answer begins."""
    asked = bpe.encode(template.after_image + turn.prompt + template.before_reply).ids
    answered = bpe.encode(_reply(turn) + template.end).ids
    return asked + answered, len(asked)


def _reply(turn: Turn) -> str:
    # Chinese takes no space: the first token of every reply says something, and letters are chosen by what it would be.
    return (" " if turn.reply[0].isascii() else "") + turn.reply


def pack(bpe: Tokenizer, turns: Sequence[Turn], length: int, template: Template = LLAVA) -> Packed:
    """Pack questions into ``length`` tokens, leaving out those that no longer fit."""
    ids = np.zeros(length, dtype=np.int64)
    labels = np.full(length, NONE, dtype=np.int64)
    question = np.full(length, -1, dtype=np.int64)
    offset = np.zeros(length, dtype=np.int64)
    kept: list[Turn] = []
    used = 0
    for turn in turns:
        tokens, start = encode_turn(bpe, turn, template)
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

    def spread(self, shows: Tensor) -> Looks:
        """The same targets over the visual tokens of a family.

        ``shows`` (n, patches) is the share of each patch in the area that a token shows. A token is a target if at
        least a quarter of its area is of target patches.
        """
        return Looks(self.token, self.target.float() @ shows.T >= 0.25)

    @classmethod
    def of(cls, found: list[tuple[int, int, NDArray[np.bool_]]], width: int) -> Looks:
        token = torch.tensor([entry[:2] for entry in found], dtype=torch.long).reshape(-1, 2)
        return cls(token, torch.from_numpy(np.array([entry[2] for entry in found], dtype=bool).reshape(-1, width)))


@dataclass(frozen=True)
class Batch:
    """One step's tensors; see `run_layers`. ``mask`` is to be added to the attention scores of the questions.

    ``asked``: the token that predicts the reply, or a phrase of it, at the object asked for. ``named``: the last token
    of a phrase, at the object that it names. ``chosen``: the token that predicts a letter, at the words of the right
    option.
    """

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


def _look_targets(
    bpe: Tokenizer, row: int, packed: Packed, picture: Picture, template: Template, found: tuple[Found, Found, Found]
) -> None:
    asked, named, chosen = found
    for number, turn in enumerate(packed.turns):
        first = int((packed.question == number).argmax())
        last = int(((packed.question == number) & (packed.labels != NONE)).argmax())
        reply = _reply(turn)
        starts = [start for start, _ in bpe.encode(reply).offsets]
        for begin, objects in answered_objects(turn):
            wanted, there = np.isin(picture.owner, objects), begin + len(reply) - len(turn.reply)
            if wanted.any():
                asked.append((row, last + max(i for i, start in enumerate(starts) if start <= there), wanted))
        holder = _places(bpe, turn, template)
        named += [
            (row, first + int(holder[end]), picture.owner == item)
            for end, item in mentions(turn.prompt, picture.objects)
            if (picture.owner == item).any()
        ]
        span = option_span(turn)
        if span:
            words = np.zeros(len(packed.ids), dtype=bool)
            words[first + holder[span[0] : span[1] + 1]] = True
            chosen.append((row, last, words))


def make_batch(
    bpe: Tokenizer, pictures: Sequence[Picture], length: int, prefix: int, template: Template = LLAVA
) -> Batch:
    """Conversations as tensors.

    Parameters
    ----------
    bpe : tokenizers.Tokenizer
        Tokenizer from `train_bpe`.
    pictures : sequence of Picture
        One picture per row of the batch.
    length, prefix : int
        Number of tokens for the questions about one image, and of the tokens before them.
    template : Template
        The family's chat.
    """
    packed = [pack(bpe, picture.turns, length, template) for picture in pictures]
    found: tuple[Found, Found, Found] = ([], [], [])
    for row, picture in enumerate(pictures):
        _look_targets(bpe, row, packed[row], picture, template, found)
    patches = len(pictures[0].owner)
    asked, named, picked = (Looks.of(f, width) for f, width in zip(found, (patches, patches, length), strict=True))
    question = torch.from_numpy(np.stack([p.question for p in packed]))
    offset = torch.from_numpy(np.stack([p.offset for p in packed]))
    together = (question[:, :, None] == question[:, None]) & torch.ones(length, length, dtype=torch.bool).tril()
    sees = torch.zeros(len(packed), 1, length, prefix + length)
    sees[:, 0, :, prefix:].masked_fill_(~together, LOW)
    before = torch.arange(prefix).expand(len(packed), -1)
    return Batch(
        packed,
        torch.from_numpy(np.stack([p.ids for p in packed])),
        torch.from_numpy(np.stack([p.labels for p in packed])),
        sees,
        torch.cat([before, prefix + offset], 1),
        asked,
        named,
        picked,
    )
