"""Prompts of random pixels and words for every family, at the input size of a backbone's configuration file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from tops.backbones.base import Adapter

TEXT = 60  # tokens of the question
Inputs = dict[str, Any]


@dataclass(frozen=True)
class BenchPrompt:
    """Arguments of one forward and what they hold.

    Attributes
    ----------
    inputs : dict
        Batch of one, on the device.
    visual : int
        Visual tokens, newlines not counted.
    images : int
        Images, or frames of the video.
    """

    inputs: Inputs
    visual: int
    images: int


def prompt(adapter: Adapter, visual: int, frames: int, device: torch.device) -> BenchPrompt:
    """One image, or one video, and :data:`TEXT` random words around it.

    Parameters
    ----------
    adapter : Adapter
        Its model may be on the meta device.
    visual : int
        Visual tokens of an image or frame, for families whose input size varies.
    frames : int
        Frames, for families of videos.
    device : torch.device
        Where the inputs go.
    """
    generator = torch.Generator().manual_seed(0)
    mark, count, pixels = adapter.bench_media(visual, frames, generator)
    words = torch.randint(5, 200, (TEXT,), generator=generator)
    words[torch.isin(words, torch.tensor(adapter.placeholder_ids))] = 200
    ids = torch.cat([words[:30], torch.full((count,), mark), words[30:]])[None]
    inputs: Inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids), **pixels}
    if adapter.token_types:
        inputs["mm_token_type_ids"] = (ids == mark).int()
    layout = adapter.layout(inputs, [count])[0]
    dtype = adapter.model.dtype
    moved = {k: v.to(device, dtype if v.is_floating_point() else v.dtype) for k, v in inputs.items()}
    return BenchPrompt(moved, int((~layout.newline).sum()), layout.images)
