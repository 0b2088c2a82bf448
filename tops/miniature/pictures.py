"""A picture of the visual tokens that a run kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_GAP = 8  # pixels between panels


def kept_picture(
    image: NDArray[np.uint8], kept: Mapping[int, Sequence[int]], patch: int = 8, zoom: int = 3
) -> Image.Image:
    """The image once whole and once for each cut, with what was dropped by then faded to grey.

    Parameters
    ----------
    image : ndarray of uint8, shape (H, W, 3)
        One image whose visual tokens are its patches, row by row, as LLaVA-1.5's are.
    kept : mapping of int to sequence of int
        Layer of a cut to the visual tokens kept there, as in ``run.kept[0]``.
    patch : int
        Side of a patch, pixels; it divides both sides of the image.
    zoom : int
        Pixels of the picture for each of the image's.

    Returns
    -------
    PIL.Image.Image
        Panels from left to right: the image, then the cuts by layer.

    Raises
    ------
    ValueError
        A token lies outside the image.
    """
    height, width = image.shape[:2]
    rows, columns = height // patch, width // patch
    faded = (0.15 * image.mean(-1, keepdims=True) + 0.85 * 235).astype(np.uint8).repeat(3, -1)
    panels = [image]
    for layer in sorted(kept):
        tokens = np.asarray(kept[layer], dtype=int)
        if len(tokens) and not 0 <= tokens.min() <= tokens.max() < rows * columns:
            raise ValueError(
                f"token {tokens.max()} kept at layer {layer} is none of the {rows} x {columns} patches of {patch} "
                "pixels; give the side of the model's patches"
            )
        there = np.zeros(rows * columns, dtype=bool)
        there[tokens] = True
        mask = np.kron(there.reshape(rows, columns), np.ones((patch, patch), dtype=bool))
        panels.append(np.where(mask[..., None], image, faded))
    gap = np.full((height, max(1, _GAP // zoom), 3), 255, dtype=np.uint8)
    joined = np.concatenate([part for panel in panels for part in (panel, gap)][:-1], axis=1)
    return Image.fromarray(joined).resize((joined.shape[1] * zoom, height * zoom), Image.Resampling.NEAREST)
