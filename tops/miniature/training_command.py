"""``tops miniature train``: all stages of a family's training, then the checkpoint in its place."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import torch

from tops.errors import ConfigurationError
from tops.miniature import checkpoints, measure, training_next
from tops.miniature import training as first
from tops.miniature import training_further as further
from tops.miniature.saving import save_checkpoint
from tops.miniature.training_card import first_card, further_card, measured
from tops.miniature.training_stages import scaled

BASE = first.FAMILY


def _llava_15(work: Path, minutes: float | None, start: Path | None) -> Path:
    begin, then = first.Recipe(), further.Further()
    if minutes is not None:
        share = minutes / (then.minutes + (0 if start else begin.minutes))
        begin, then = scaled(begin, share), scaled(then, share)
    if start is None:
        first.run(work / "first", begin)
        model, clip, processor, bpe = first.restore(work / "first", begin)
        start = save_checkpoint(BASE, model, processor, bpe, first_card(model, clip, work / "first", begin), clip, work)
    further.run(start, work / "further", then)
    model, clip, processor, bpe = further.restore(start, work / "further")
    patches = torch.arange(training_next.GRID**2)
    figures = measured(model, clip, bpe, partial(measure.visual_tokens, model), patches)
    card = further_card(start, work / "further", then) | figures
    return save_checkpoint(BASE, model, processor, bpe, card, clip)


def _llava_next(work: Path, minutes: float | None, start: Path | None) -> Path:
    start = start or checkpoints.path(BASE)
    recipe = training_next.Tiles()
    if minutes is not None:
        recipe = scaled(recipe, minutes / recipe.minutes)
    training_next.run(start, work / "next", recipe)
    model, clip, processor, bpe = training_next.restore(start, work / "next")
    tokens: Any = partial(training_next.scene_tokens, model, processor)
    card = training_next.card(start, work / "next", recipe, model, clip)
    card |= measured(model, clip, bpe, tokens, training_next.token_patches())
    return save_checkpoint(training_next.FAMILY, model, processor, bpe, card, clip)


TRAININGS = {BASE: _llava_15, training_next.FAMILY: _llava_next}


def main(family: str, work: Path, minutes: float | None = None, start: Path | None = None) -> int:
    """Train and print where the checkpoint is.

    Parameters
    ----------
    family : str
        Which miniature.
    work : Path
        Folder for stages and logs; what it holds of a training that was cut off is used.
    minutes : float, optional
        Wall-clock time of all stages instead of the recipes' own.
    start : Path, optional
        Folder of the LLaVA-1.5 checkpoint to go on from. By default LLaVA-1.5 starts from random weights, LLaVA-NeXT
        from the LLaVA-1.5 that ships.

    Raises
    ------
    ConfigurationError
        No training for this family, or ``start`` is no checkpoint of LLaVA-1.5.
    DataError
        ``start`` is damaged, or ``work`` holds stages of another recipe.
    """
    if family not in TRAININGS:
        raise ConfigurationError(
            f"no training for the miniature {family!r} yet; there is one for {' and '.join(map(repr, TRAININGS))}"
        )
    if start is not None:
        start = start.resolve()
        if start.name != BASE:
            raise ConfigurationError(f"--from is {start}; it must be a folder named {BASE}, as a checkpoint's is")
        checkpoints.path(BASE, start.parent)
    print(TRAININGS[family](work, minutes, start))
    return 0
