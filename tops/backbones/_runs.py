"""Checks that several families share: runs of placeholders in a prompt, pixels of the size that the tower takes."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

from tops.backbones.base import Call
from tops.errors import UnsupportedModelError

if TYPE_CHECKING:
    import torch
    from torch import Tensor


def placeholder_runs(call: Call, sample: int, ids: Sequence[int]) -> list[tuple[int, int]]:
    """Token id and length of every run of equal visual placeholders in one sample, in prompt order.

    Raises
    ------
    UnsupportedModelError
        Without ``input_ids``, which alone tell one image from the next.
    """
    tokens = call.get("input_ids")
    if tokens is None:
        raise UnsupportedModelError("pruning this family needs input_ids; inputs_embeds alone do not tell images apart")
    return [(token, len(list(run))) for token, run in groupby(tokens[sample].tolist()) if token in ids]


def check_pixels(pixels: Tensor, side: int) -> None:
    """Refuse views that are not squares of the tower's input size: it would fail deep inside, or not at all.

    Parameters
    ----------
    pixels : Tensor, (..., height, width)
        As the model gets them.
    side : int
        Side of the tower's input in pixels.

    Raises
    ------
    UnsupportedModelError
        If they have another size.
    """
    height, width = pixels.shape[-2:]
    if (height, width) != (side, side):
        raise UnsupportedModelError(
            f"images of {height} x {width} pixels were given, the vision tower takes {side} x {side}; use the "
            "processor of this checkpoint"
        )


def one_view(config: Any, side: int, rows: tuple[int, ...], generator: torch.Generator) -> tuple[int, int, Any]:
    """One square view of random pixels, as :meth:`tops.backbones.base.Adapter.bench_media` gives it.

    Parameters
    ----------
    config : PretrainedConfig
        Of the model.
    side : int
        Tokens along the view.
    rows : tuple of int
        Axes before the channels, all 1.
    generator : torch.Generator
        Of the pixels.
    """
    import torch

    pixels = int(config.vision_config.image_size)
    view = torch.randn(*rows, 3, pixels, pixels, generator=generator)
    return config.image_token_id, side**2, {"pixel_values": view}


def tiled_noise(pixels: int, side: int, generator: torch.Generator) -> tuple[int, dict[str, Tensor]]:
    """A base view and 2 x 2 tiles of random pixels, as LLaVA-NeXT packs them: a newline a row of the tiles.

    Parameters
    ----------
    pixels, side : int
        Along a view, in pixels and in patches.
    generator : torch.Generator
        Of the pixels.

    Returns
    -------
    int
        Placeholders of the image.
    dict of str to Tensor
        Arguments of the model.
    """
    import torch

    views = torch.randn(1, 5, 3, pixels, pixels, generator=generator)
    media = {"pixel_values": views, "image_sizes": torch.tensor([[2 * pixels, 2 * pixels]])}
    return side**2 + 2 * side * (2 * side + 1), media
