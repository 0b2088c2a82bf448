"""Token counts as the tables state them."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean


def layer_average(per_layer: Sequence[int] | Sequence[Sequence[int]]) -> float:
    """Mean over decoder layers, and over prompts where there are several, of the visual tokens each layer saw.

    Parameters
    ----------
    per_layer : sequence of int, or sequence of such
        ``run.visual_tokens_per_layer`` of one prompt or of several; every prompt weighs the same.

    Raises
    ------
    ValueError
        If it is empty.
    """
    if not per_layer:
        raise ValueError("no layers to average over")
    return fmean(layer_average(entry) if isinstance(entry, Sequence) else entry for entry in per_layer)


def reduction(average: float, visual: int) -> float:
    """Share of the visual tokens that a layer average of ``average`` saves, 0..1.

    Parameters
    ----------
    average : float
        Layer-averaged visual tokens.
    visual : int
        Visual tokens of the unpruned prompt.
    """
    return 1.0 - average / visual
