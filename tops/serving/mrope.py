"""Position ids of pruned images under mRoPE: kept tokens keep their ids, text goes on as after the whole image."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

CHANNELS = 8
"""Behind every embedding: place in time, row and column, and extent of the image; two digits each."""
_BASE = 128
"""Of the digits: whole numbers up to 256 are exact in bfloat16."""


def places_as_channels(places: Tensor, extent: int) -> Tensor:
    """Places in an image's grid as numbers that every dtype holds.

    Parameters
    ----------
    places : Tensor, (3, K) int64
        Step, row and column of each kept token.
    extent : int
        Ids that the whole image takes: the text after it starts so much later than the image.

    Returns
    -------
    Tensor, (K, 8) int64
    """
    whole = torch.cat([places, places.new_full((1, places.shape[1]), extent)])
    return torch.cat([whole // _BASE, whole % _BASE]).T


def prompt_positions(length: int, images: Sequence[tuple[int, int, int]]) -> tuple[Tensor, int]:
    """Position ids of a prompt, before the kept tokens of its images are known.

    Parameters
    ----------
    length : int
        Of the prompt with pruned images.
    images : sequence of (int, int, int)
        Place of the first placeholder, number of placeholders and extent of each, in prompt order.

    Returns
    -------
    Tensor, (3, length) int64
        Right for the text; every placeholder has the first id of its image.
    int
        What is added to the place of a later token to give its id.

    Raises
    ------
    ValueError
        If an image follows another without a token between them.
    """
    ids, at, following = [], 0, 0
    for offset, count, extent in images:
        if offset == at and at:
            raise ValueError(
                f"the image at token {offset} follows another without a token between; keep the template's"
            )
        ids += [torch.arange(following, following + offset - at), torch.full((count,), following + offset - at)]
        following += offset - at + extent
        at = offset + count
    ids.append(torch.arange(following, following + length - at))
    following += length - at
    return torch.cat(ids).expand(3, -1).clone(), following - length


def image_positions(
    placeholders: Tensor, channels: Sequence[Tensor], positions: Tensor, computed: int
) -> tuple[Tensor, int]:
    """Position ids of a prompt once the kept tokens of a chunk of it are known.

    Parameters
    ----------
    placeholders : Tensor, (L,) bool
        Which tokens of the prompt stand for images.
    channels : sequence of Tensor, (k, 8)
        Of the kept tokens of this chunk, image by image.
    positions : Tensor, (3, L) int64
        As they stand.
    computed : int
        Tokens before the chunk.

    Returns
    -------
    Tensor, (3, L) int64
    int
        As in :func:`prompt_positions`.
    """
    positions, length = positions.clone(), len(placeholders)
    ends = int(positions[:, -1].max()) + 1
    if len(channels):
        digits = torch.cat([rows.T for rows in channels], 1).round().long().to(positions.device)
        whole = digits[:4] * _BASE + digits[4:]
        slots = torch.nonzero(placeholders)[:, 0]
        slots = slots[slots >= computed][: whole.shape[1]]
        # The id of the last token before the image: it is text, whose ids never change.
        text = torch.where(placeholders, -1, torch.arange(length, device=positions.device)).cummax(0).values[slots]
        first = torch.where(text < 0, 0, positions[0, text.clamp_min(0)] + 1)
        positions[:, slots] = whole[:3] + first
        if int(slots[-1]) == length - 1:
            ends = int(first[-1] + whole[3, -1])
    return positions, ends - length
