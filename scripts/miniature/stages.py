"""Helpers of the training stages: files, logs, parallel processes."""

from __future__ import annotations

import json
import multiprocessing
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from tops.errors import DataError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    from scripts.miniature.language import Share
    from scripts.miniature.vision import Clip

R = TypeVar("R", bound="DataclassInstance")
# Name of the stage, what it runs, and with what; each a process of its own.
Job = tuple[str, Callable[..., None], tuple[Any, ...]]


def save_modules(file: Path, modules: dict[str, nn.Module]) -> None:
    """Weights of several modules as one safetensors file, whole or not at all."""
    from safetensors.torch import save_file

    state = {f"{name}.{key}": value for name, module in modules.items() for key, value in module.state_dict().items()}
    fresh = file.with_suffix(".new")
    save_file({key: value.clone() for key, value in state.items()}, fresh)
    fresh.replace(file)


def load_modules(file: Path, modules: dict[str, nn.Module]) -> None:
    """The opposite of `save_modules`."""
    from safetensors.torch import load_file

    state = load_file(file)
    for name, module in modules.items():
        module.load_state_dict({k.removeprefix(f"{name}."): v for k, v in state.items() if k.startswith(f"{name}.")})


def clip_modules(clip: Clip) -> dict[str, nn.Module]:
    return {"vision": clip.vision, "text": clip.text, "visual_projection": clip.visual_projection}


def llava_modules(model: Any) -> dict[str, nn.Module]:
    """The modules that a language stage trains."""
    return {"language": model.model.language_model, "projector": model.model.multi_modal_projector}


def file_log(file: Path) -> Callable[[str], None]:
    """A function that appends lines to ``file``."""

    def log(line: str) -> None:
        with file.open("a", encoding="utf-8") as stream:
            stream.write(line + "\n")

    return log


def mark_done(work: Path, stage: str, **facts: Any) -> None:
    (work / f"{stage}.json").write_text(json.dumps(facts), encoding="utf-8")


def facts(work: Path, *stages: str) -> dict[str, Any]:
    """The facts that the stages wrote down when they ended."""
    return {stage: json.loads((work / f"{stage}.json").read_text(encoding="utf-8")) for stage in stages}


def scaled(recipe: R, factor: float) -> R:
    """The recipe with the minutes of every stage times ``factor``."""
    stages: dict[str, Any] = {f.name: getattr(recipe, f.name) for f in fields(recipe)}
    timed = {name: stage for name, stage in stages.items() if hasattr(stage, "minutes")}
    return replace(recipe, **{name: replace(stage, minutes=stage.minutes * factor) for name, stage in timed.items()})


def fit_projector(
    projector: nn.Module,
    distance: Callable[[list[int]], Tensor],
    scenes: int,
    seed: int,
    share: Share,
    log: Callable[[str], None],
    steps: int = 150,
) -> None:
    """Train the projector alone, towards embeddings that the language model knows.

    Parameters
    ----------
    projector : nn.Module
        Trained in place.
    distance : callable
        Maps scene numbers to the loss.
    scenes, seed : int
        How many scenes there are, and the seed of their order.
    share : Share
        The processes that train together.
    log : callable
        Called every 50 steps.
    steps : int
        Adam steps, the rate falling to nothing.
    """
    rng = np.random.default_rng((seed, 7, share.rank))
    trained = list(projector.parameters())
    optimiser = torch.optim.Adam(trained, lr=3e-3)
    for step in range(steps):
        loss = distance(rng.integers(0, scenes, 16).tolist())
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        share.average(trained, 0.0)
        for group in optimiser.param_groups:
            group["lr"] = 3e-3 * (1 - step / steps)
        optimiser.step()
        if (step + 1) % 50 == 0:
            log(f"projector {step + 1} distance {loss.item():.3f}")


def run_stages(work: Path, recipe: DataclassInstance, groups: Sequence[Sequence[Job]]) -> None:
    """Run groups of stages in order, the stages of a group in parallel; stages with a result in ``work`` are skipped.

    Raises
    ------
    DataError
        If ``work`` holds stages of another recipe, or a stage failed.
    """
    work.mkdir(parents=True, exist_ok=True)
    stated, kept = json.dumps(asdict(recipe), indent=1), work / "recipe.json"
    if kept.exists() and kept.read_text(encoding="utf-8") != stated:
        raise DataError(
            f"{work} holds stages of another recipe ({kept}); name another folder with --work, or remove it"
        )
    kept.write_text(stated, encoding="utf-8")
    (work / "rendezvous").unlink(missing_ok=True)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    context = multiprocessing.get_context("spawn")
    for group in groups:
        jobs = [
            context.Process(target=target, args=arguments, name=stage)
            for stage, target, arguments in group
            if not (work / f"{stage}.json").exists()
        ]
        for job in jobs:
            job.start()
        for job in jobs:
            job.join()
        failed = sorted({job.name for job in jobs if job.exitcode})
        if failed:
            raise DataError(
                f"training stage {' and '.join(failed)} ended with an error; see above and the logs in {work}"
            )
