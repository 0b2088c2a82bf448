"""``python -m scripts.miniature FAMILY``: all stages of a family's training, then the checkpoint in its place."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from scripts.miniature import family, llava15, llava15_further, llava_next, measure
from scripts.miniature.card import first_card, further_card, measured_llava
from scripts.miniature.language import llava_prompts
from scripts.miniature.saving import save_checkpoint
from scripts.miniature.stages import scaled
from tops.errors import ConfigurationError, TopsError
from tops.miniature import checkpoints

BASE = llava15.FAMILY


def train_llava_15(work: Path, minutes: float | None, start: Path | None, into: Path) -> Path:
    """LLaVA-1.5, from random weights or from the checkpoint in ``start``."""
    begin, then = llava15.Recipe(), llava15_further.Further()
    if minutes is not None:
        share = minutes / (then.minutes + (0 if start else begin.minutes))
        begin, then = scaled(begin, share), scaled(then, share)
    if start is None:
        llava15.run(work / "first", begin)
        model, clip, processor, bpe = llava15.restore(work / "first", begin)
        start = save_checkpoint(BASE, model, processor, bpe, first_card(model, clip, work / "first", begin), clip, work)
    llava15_further.run(start, work / "further", then)
    model, clip, processor, bpe = llava15_further.restore(start, work / "further")
    prompts = llava_prompts(torch.eye(llava_next.GRID**2))
    figures = measured_llava(model, clip, bpe, partial(measure.visual_tokens, model), prompts)
    card = further_card(start, work / "further", then) | figures
    return save_checkpoint(BASE, model, processor, bpe, card, clip, into)


def train_llava_next(work: Path, minutes: float | None, start: Path, into: Path) -> Path:
    """LLaVA-NeXT, from the LLaVA-1.5 in ``start``."""
    recipe = llava_next.Tiles()
    if minutes is not None:
        recipe = scaled(recipe, minutes / recipe.minutes)
    llava_next.run(start, work / "next", recipe)
    model, clip, processor, bpe = llava_next.restore(start, work / "next")
    tokens: Any = partial(llava_next.scene_tokens, model, processor)
    card = llava_next.card(start, work / "next", recipe, model, clip)
    card |= measured_llava(model, clip, bpe, tokens, llava_prompts(llava_next.shows()))
    return save_checkpoint(llava_next.FAMILY, model, processor, bpe, card, clip, into)


def train_other(name: str, work: Path, minutes: float | None, start: Path, into: Path) -> Path:
    """Qwen2.5-VL, InternVL3 or LLaVA-Video, from the LLaVA-1.5 in ``start`` or from a checkpoint of its own."""
    recipe = family.recipe(name, start)
    if minutes is not None:
        recipe = scaled(recipe, minutes / recipe.minutes)
    family.run(name, start, work / name, recipe)
    own = family.restore(name, start, work / name)
    card = family.card(name, start, work / name, recipe, own) | family.measured(own)
    return save_checkpoint(name, own.model, own.processor, own.bpe, card, root=into)


def train(
    name: str,
    work: Path,
    minutes: float | None = None,
    start: Path | None = None,
    into: Path = checkpoints.ROOT,
) -> Path:
    """Train one family and put its checkpoint in its place.

    Parameters
    ----------
    name : str
        One of `tops.miniature.checkpoints.FAMILIES`.
    work : Path
        Folder for stages and logs; finished stages of an interrupted training there are used.
    minutes : float, optional
        Wall-clock time of all stages instead of the recipes' own.
    start : Path, optional
        Folder of the checkpoint to start from: LLaVA-1.5, or the family's own where a recipe for that exists. By
        default LLaVA-1.5 starts from random weights, every other family from the LLaVA-1.5 that ships.
    into : Path
        Folder of checkpoints, whose checkpoint of the family is replaced; by default the folder inside the package.

    Returns
    -------
    Path
        The checkpoint.

    Raises
    ------
    ConfigurationError
        ``start`` is no checkpoint of LLaVA-1.5, nor one that this family can go on from.
    DataError
        ``start`` is damaged, or ``work`` holds stages of another recipe.
    """
    if start is not None:
        start = start.resolve()
        known = (BASE, *({name} & set(family.FURTHER)))
        if start.name not in known:
            names = " or ".join(known)
            raise ConfigurationError(f"--from is {start}; it must be a folder named {names}, as a checkpoint's is")
        checkpoints.path(start.name, start.parent)
    if name == BASE:
        return train_llava_15(work, minutes, start, into)
    start = start or checkpoints.path(BASE)
    if name == llava_next.FAMILY:
        return train_llava_next(work, minutes, start, into)
    return train_other(name, work, minutes, start, into)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m scripts.miniature", description=__doc__)
    parser.add_argument("family", choices=checkpoints.FAMILIES)
    parser.add_argument("--work", type=Path, default=Path("training"), help="folder for stages and logs")
    parser.add_argument("--minutes", type=float, help="wall-clock time of all stages (default: that of the recipe)")
    parser.add_argument("--from", dest="start", type=Path, help="folder of the checkpoint to go on from")
    parser.add_argument("--into", type=Path, default=checkpoints.ROOT, help="folder of checkpoints (default: shipped)")
    options = parser.parse_args(arguments)
    try:
        print(train(options.family, options.work, options.minutes, options.start, options.into))
    except TopsError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
