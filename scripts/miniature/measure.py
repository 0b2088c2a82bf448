"""Measurements of a trained miniature on unseen scenes: accuracy, blind accuracy, attention on objects."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor

from scripts.miniature.language import Prompts
from scripts.miniature.packing import NONE, Packed, Picture, Template, pack
from scripts.miniature.pool import plain_turns
from scripts.miniature.vision import attention_share, cls_attention, encode, pixels
from tops.miniature.prompts import IMAGE_FORMATS, Turn, make_turn
from tops.miniature.scenes import Scene, make_scene, patch_labels

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import CLIPVisionModel, LlavaForConditionalGeneration

LENGTH = 320


def scenes(number: int, seed: int) -> list[Scene]:
    """Scenes of the evaluation split."""
    rng = np.random.default_rng((seed, 4))
    return [make_scene(rng, "evaluation") for _ in range(number)]


def questions(seed: int, found: Sequence[Scene], per_scene: int = 2) -> list[list[Turn]]:
    """For each scene, a few questions of every image format and a few direct ones."""
    rng = np.random.default_rng((seed, 5))
    every = []
    for scene in found:
        turns = plain_turns(rng, scene, per_scene)
        for name in IMAGE_FORMATS:
            made = (make_turn(rng, scene, name) for _ in range(per_scene))
            turns += {turn.prompt: turn for turn in made if turn is not None}.values()
        every.append(turns)
    return every


def _packs(bpe: Tokenizer, turns: Sequence[Turn], length: int, template: Template) -> Iterator[Packed]:
    left = list(turns)
    while left:
        packed = pack(bpe, left, length, template)
        if not packed.turns:
            raise ValueError(f"a question takes more than {length} tokens: {left[0].prompt!r}")
        yield packed
        done = {id(turn) for turn in packed.turns}
        left = [turn for turn in left if id(turn) not in done]


@torch.inference_mode()
def visual_tokens(model: LlavaForConditionalGeneration, found: Sequence[Scene]) -> Tensor:
    """Projected patches of the scenes, shape (S, n, d)."""
    images = torch.from_numpy(np.stack([scene.image for scene in found]))
    parts = [model.get_image_features(pixels(part)).pooler_output for part in torch.split(images, 32)]
    return torch.cat([torch.stack(list(part)) for part in parts])


@torch.inference_mode()
def accuracy(
    model: Any,
    bpe: Tokenizer,
    images: Tensor,
    asked: Sequence[Sequence[Turn]],
    prompts: Prompts,
    image: Literal["own", "other", "none"] = "own",
) -> dict[str, tuple[float, int]]:
    """Share of replies that greedy decoding gets right to the last token, and their number.

    Parameters
    ----------
    model : PreTrainedModel
        A model of any family, in float32.
    bpe : tokenizers.Tokenizer
        The model's tokenizer.
    images : Tensor, (S, n, d)
        Visual tokens of the scenes, as of `visual_tokens`.
    asked : sequence of S sequences of Turn
        Questions about each scene.
    prompts : Prompts
        The prompts of the family.
    image : {"own", "other", "none"}
        Show the scene itself; another scene, so that only guessing helps; or nothing, a prompt never met in training.

    Returns
    -------
    dict
        Keys "kind <kind>" (open questions), "choice <kind>" (letters) and "format <benchmark>".
    """
    language, embedding = model.model.language_model, model.get_input_embeddings()
    start = torch.tensor(bpe.encode(prompts.template.start).ids)
    if image == "other":
        images = images.roll(1, 0)
    right: dict[str, list[bool]] = defaultdict(list)
    work = [(i, packed) for i, turns in enumerate(asked) for packed in _packs(bpe, turns, LENGTH, prompts.template)]
    for first in range(0, len(work), 8):
        rows = work[first : first + 8]
        parts = [embedding(start).expand(len(rows), -1, -1)]
        if image != "none":
            parts.append(images[[i for i, _ in rows]].to(parts[0].dtype))
        prefix = sum(part.shape[1] for part in parts)
        parts.append(embedding(torch.from_numpy(np.stack([p.ids for _, p in rows]))))
        mask, order = packed_layout([p for _, p in rows], prefix)
        counted = prompts if image != "none" else Prompts(prompts.template, prompts.shows[:0])
        places = counted.positions(prefix, LENGTH)
        positions = places[..., 0, order] if places.ndim == 3 else order
        states = language(
            inputs_embeds=torch.cat(parts, 1), attention_mask=mask, position_ids=positions, use_cache=False
        ).last_hidden_state[:, prefix:]
        for (_, packed), row in zip(rows, (states @ embedding.weight.T).argmax(-1).numpy(), strict=True):
            for number, turn in enumerate(packed.turns):
                places = (packed.question == number) & (packed.labels != NONE)
                hit = bool((row[places] == packed.labels[places]).all())
                kind = f"{'choice' if turn.question.options else 'kind'} {turn.question.kind}"
                right[kind].append(hit)
                right[f"format {turn.benchmark}"].append(hit)
    return {key: (float(np.mean(hits)), len(hits)) for key, hits in sorted(right.items())}


def packed_layout(packs: Sequence[Packed], prefix: int) -> tuple[Tensor, Tensor]:
    """Additive mask (B, 1, P + T, P + T), and the places of tokens in their own prompts (B, P + T)."""
    question = torch.from_numpy(np.stack([p.question for p in packs]))
    offset = torch.from_numpy(np.stack([p.offset for p in packs]))
    batch, length = question.shape
    sees = torch.ones(prefix + length, prefix + length, dtype=torch.bool).tril().repeat(batch, 1, 1)
    sees[:, prefix:, prefix:] &= question[:, :, None] == question[:, None]
    mask = torch.zeros(sees.shape).masked_fill(~sees, torch.finfo(torch.float32).min)[:, None]
    return mask, torch.cat([torch.arange(prefix).expand(batch, -1), prefix + offset], 1)


def _object_patches(found: Sequence[Scene]) -> Tensor:
    return torch.from_numpy(np.stack([patch_labels(scene).owner.reshape(-1) for scene in found]))


@torch.inference_mode()
def cls_on_objects(tower: CLIPVisionModel, found: Sequence[Scene]) -> dict[str, float]:
    """Share of the penultimate layer's CLS attention that lies on object patches, and their share of the area."""
    owner = _object_patches(found)
    on_object = owner >= 0
    layer = len(tower.encoder.layers) - 2
    shares = []
    for first in range(0, len(found), 32):
        images = torch.from_numpy(np.stack([scene.image for scene in found[first : first + 32]]))
        entering = encode(tower, pixels(images))[0]
        shares.append(attention_share(cls_attention(tower, entering, layer), on_object[first : first + 32]))
    return {"share": float(torch.cat(shares).mean()), "area": float(on_object.float().mean())}


def single_objects(seed: int, found: Sequence[Scene]) -> list[Picture]:
    """One question about the colour, shape or number of one object, for each scene that carries one."""
    rng = np.random.default_rng((seed, 6))
    turns = [make_turn(rng, scene, "gqa", ("colour", "shape", "digit")) for scene in found]
    owners = _object_patches(found).numpy()
    return [
        Picture([turn] if turn else [], scene.objects, owner)
        for scene, turn, owner in zip(found, turns, owners, strict=True)
    ]


@torch.inference_mode()
def text_on_object(
    model: Any, bpe: Tokenizer, pictures: Sequence[Picture], images: Tensor, prompts: Prompts
) -> dict[str, object]:
    """Share of the text's attention to the image that lies on the object asked for, by decoder layer.

    The result has the share for three kinds of text tokens. ``last``: the token that predicts the reply; ``question``:
    mean over the prompt's tokens after the image; ``rater``: the one of these tokens with the largest share. Heads are
    averaged, attention is normalised over the image.

    ``images`` (S, n, d) are the visual tokens of the S ``pictures``, each with a question about one object or none; a
    visual token belongs to the object if a quarter of its area or more shows it.
    """
    language, embedding = model.model.language_model, model.get_input_embeddings()
    before = language.config._attn_implementation
    language.set_attn_implementation("eager")
    start = torch.tensor(bpe.encode(prompts.template.start).ids)
    place = slice(len(start), len(start) + images.shape[1])
    rows, areas = [], []
    for picture, image in zip(pictures, images, strict=True):
        if not picture.turns:
            continue
        packed = pack(bpe, picture.turns, LENGTH, prompts.template)
        end = int(np.flatnonzero(packed.labels != NONE)[0]) + 1
        ids = torch.from_numpy(packed.ids[:end])
        states = torch.cat([embedding(start), image, embedding(ids)])[None]
        positions = prompts.positions(place.stop, end)
        attentions = language(
            inputs_embeds=states, position_ids=positions, output_attentions=True, use_cache=False
        ).attentions
        asked = torch.from_numpy(picture.owner == picture.turns[0].question.objects[0])
        here = prompts.shows @ asked.float() >= 0.25
        text = torch.stack([a[0, :, place.stop :, place].mean(0) for a in attentions])
        share = (text * here).sum(-1) / text.sum(-1)
        rows.append(torch.stack([share[:, -1], share.mean(-1), share.max(-1).values]))
        areas.append(float(here.float().mean()))
    language.set_attn_implementation(before)
    table = torch.stack(rows).mean(0)
    named = {name: [round(float(v), 3) for v in table[i]] for i, name in enumerate(("last", "question", "rater"))}
    return {"area": float(np.mean(areas)), "questions": len(areas), **named}
