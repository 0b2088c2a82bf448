"""Train LLaVA-1.5 in miniature, from generated scenes to a checkpoint with its card.

Stages, each a process of its own; (a) and (words) run side by side:

- (a) CLIP's towers (`training_vision`).
- (words) the language model on patch labels written as words, while there is no vision tower yet.
- (b) projector and language model on the frozen tower's features (`training_language`), by two processes.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from tops.errors import ConfigurationError, DataError
from tops.miniature.families import JOINT, WIDTH, build, clip_text
from tops.miniature.tokenizer import train_bpe
from tops.miniature.training_data import Pool, corpus, make_pool
from tops.miniature.training_language import LanguageRecipe, PatchWords, Share, train_language
from tops.miniature.training_vision import Clip, VisionRecipe, encode, initialise, pixels, train_vision

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import ProcessorMixin

FAMILY = "llava-1.5"


@dataclass(frozen=True)
class Recipe:
    """All settings of a training; written into the card."""

    scenes: int = 12000
    seed: int = 0
    vision_seed: int = 10
    vision: VisionRecipe = field(default_factory=lambda: VisionRecipe(minutes=40))
    words: LanguageRecipe = field(default_factory=lambda: LanguageRecipe(minutes=49))
    language: LanguageRecipe = field(
        default_factory=lambda: LanguageRecipe(minutes=14, rate=1e-3, plain=0.08, mixed=0.4, seed=1)
    )
    ranks: int = 2


def _material(recipe: Recipe) -> tuple[Pool, Tokenizer]:
    pool = make_pool(recipe.scenes, recipe.seed)
    return pool, train_bpe(corpus(pool, recipe.seed))


def _save(file: Path, modules: dict[str, nn.Module]) -> None:
    from safetensors.torch import save_file

    state = {f"{name}.{key}": value for name, module in modules.items() for key, value in module.state_dict().items()}
    fresh = file.with_suffix(".new")
    save_file({key: value.clone() for key, value in state.items()}, fresh)
    fresh.replace(file)


def _load(file: Path, modules: dict[str, nn.Module]) -> None:
    from safetensors.torch import load_file

    state = load_file(file)
    for name, module in modules.items():
        module.load_state_dict({k.removeprefix(f"{name}."): v for k, v in state.items() if k.startswith(f"{name}.")})


def _logger(file: Path) -> Callable[[str], None]:
    def log(line: str) -> None:
        with file.open("a", encoding="utf-8") as stream:
            stream.write(line + "\n")

    return log


def _done(work: Path, stage: str, **facts: Any) -> None:
    (work / f"{stage}.json").write_text(json.dumps(facts), encoding="utf-8")


def new_clip(model: Any, bpe: Tokenizer) -> Clip:
    """The model's own vision tower with a fresh text tower and joint space."""
    from transformers import CLIPTextModelWithProjection

    text = CLIPTextModelWithProjection(clip_text(bpe.get_vocab_size()))
    return Clip(model.model.vision_tower, text, nn.Linear(WIDTH, JOINT, bias=False))


def clip_modules(clip: Clip) -> dict[str, nn.Module]:
    return {"vision": clip.vision, "text": clip.text, "visual_projection": clip.visual_projection}


def run_vision(work: Path, recipe: Recipe) -> None:
    """Stage (a)."""
    torch.set_num_threads(1)
    begin = time.monotonic()
    bpe = _material(recipe)[1]
    pool = make_pool(recipe.scenes, recipe.vision_seed, crowded=True)
    clip = new_clip(build(FAMILY, bpe, recipe.seed)[0], bpe)
    initialise(clip.vision)
    modules = clip_modules(clip)
    file = work / "clip.safetensors"
    steps = train_vision(clip, pool, bpe, recipe.vision, _logger(work / "vision.log"), lambda: _save(file, modules))
    _save(file, modules)
    _done(work, "vision", steps=steps, minutes=(time.monotonic() - begin) / 60, data_sha256=pool.digest)


def run_words(work: Path, recipe: Recipe) -> None:
    """The language model on patch labels as words."""
    torch.set_num_threads(1)
    begin = time.monotonic()
    pool, bpe = _material(recipe)
    model = build(FAMILY, bpe, recipe.seed)[0].model.language_model
    words = PatchWords(bpe, WIDTH, pool.labels.shape[1])
    labels = torch.from_numpy(pool.labels)

    def visual(chosen: list[int]) -> tuple[Tensor, Tensor]:
        image = words(model.embed_tokens, labels[chosen].long())
        return image + 0.02 * torch.randn_like(image), torch.zeros(())

    modules: dict[str, nn.Module] = {"language": model, "words": words}
    file = work / "words.safetensors"
    trained = [*model.parameters(), *words.parameters()]
    log = _logger(work / "words.log")
    steps = train_language(model, pool, bpe, recipe.words, visual, trained, log, lambda: _save(file, modules))
    _save(file, modules)
    _done(work, "words", steps=steps, minutes=(time.monotonic() - begin) / 60, data_sha256=pool.digest)


def run_language(work: Path, recipe: Recipe, rank: int) -> None:
    """Stage (b), one of ``recipe.ranks`` processes."""
    torch.set_num_threads(1)
    begin = time.monotonic()
    pool, bpe = _material(recipe)
    store = f"file://{work / 'rendezvous'}"
    torch.distributed.init_process_group("gloo", init_method=store, rank=rank, world_size=recipe.ranks)
    model = build(FAMILY, bpe, recipe.seed)[0]
    language, tower = model.model.language_model, model.model.vision_tower.eval()
    projector = model.model.multi_modal_projector
    words = PatchWords(bpe, WIDTH, pool.labels.shape[1])
    _load(work / "clip.safetensors", clip_modules(new_clip(model, bpe)))
    _load(work / "words.safetensors", {"language": language, "words": words})
    images, labels = torch.from_numpy(pool.images), torch.from_numpy(pool.labels)

    def project(chosen: list[int]) -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            features = encode(tower, pixels(images[chosen]), torch.bfloat16)[1][:, 1:]
        with torch.no_grad():
            wanted = words(language.embed_tokens, labels[chosen].long())
        image = projector(features.float())
        return image, (image - wanted).square().sum(-1).mean()

    log = _logger(work / f"language{rank}.log")
    share = Share(rank, recipe.ranks)
    _fit_projector(projector, project, len(images), recipe, share, log)
    weight = recipe.language.align

    def visual(chosen: list[int]) -> tuple[Tensor, Tensor]:
        image, distance = project(chosen)
        return image, weight * distance

    modules: dict[str, nn.Module] = {"language": language, "projector": projector}
    file = work / "language.safetensors"

    def save() -> None:
        if rank == 0:
            _save(file, modules)

    trained = [*language.parameters(), *projector.parameters()]
    steps = train_language(model.model.language_model, pool, bpe, recipe.language, visual, trained, log, save, share)
    save()
    if rank == 0:
        _done(work, "language", steps=steps, minutes=(time.monotonic() - begin) / 60, data_sha256=pool.digest)


def _fit_projector(
    projector: nn.Module,
    project: Callable[[list[int]], tuple[Tensor, Tensor]],
    scenes: int,
    recipe: Recipe,
    share: Share,
    log: Callable[[str], None],
    steps: int = 150,
) -> None:
    """The projector alone, towards the patch words the language model knows."""
    import numpy as np

    rng = np.random.default_rng((recipe.seed, 7, share.rank))
    trained = list(projector.parameters())
    optimiser = torch.optim.Adam(trained, lr=3e-3)
    for step in range(steps):
        loss = project(rng.integers(0, scenes, 16).tolist())[1]
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        share.average(trained, 0.0)
        for group in optimiser.param_groups:
            group["lr"] = 3e-3 * (1 - step / steps)
        optimiser.step()
        if (step + 1) % 50 == 0:
            log(f"projector {step + 1} distance {loss.item():.3f}")


def run(work: Path, recipe: Recipe) -> None:
    """All stages; those whose result is in ``work`` already are passed over.

    Raises
    ------
    DataError
        ``work`` holds stages of another recipe.
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
    side_by_side = [("vision", run_vision, (work, recipe)), ("words", run_words, (work, recipe))]
    together = [("language", run_language, (work, recipe, rank)) for rank in range(recipe.ranks)]
    for group in (side_by_side, together):
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


def restore(work: Path, recipe: Recipe) -> tuple[Any, Clip, ProcessorMixin, Tokenizer]:
    """The model that the stages in ``work`` have made, its towers, processor and tokenizer; weights as they ship."""
    bpe = _material(recipe)[1]
    model, processor = build(FAMILY, bpe, recipe.seed)
    clip = new_clip(model, bpe)
    _load(work / "clip.safetensors", clip_modules(clip))
    language = {"language": model.model.language_model, "projector": model.model.multi_modal_projector}
    _load(work / "language.safetensors", language)
    model.tie_weights()
    for module in (model, clip.text, clip.visual_projection):
        module.eval().to(torch.bfloat16).float()
    return model, clip, processor, bpe


def describe(work: Path, recipe: Recipe, scenes: int = 200) -> tuple[dict[str, Any], Any]:
    """The card of what is in ``work``, measured on unseen scenes, and what `save_checkpoint` needs beside it."""
    from tops.miniature import measure

    model, clip, processor, bpe = restore(work, recipe)
    found = measure.scenes(scenes, recipe.seed + 100)
    asked = measure.questions(recipe.seed + 100, found)
    sighted = measure.accuracy(model, bpe, found, asked)
    blind, other = (measure.accuracy(model, bpe, found, asked, image=image) for image in ("none", "other"))
    stages = {stage: json.loads((work / f"{stage}.json").read_text()) for stage in ("vision", "words", "language")}
    card = {
        "family": FAMILY,
        "class": type(model).__name__,
        "trained": True,
        "parameters": sum(p.numel() for p in model.parameters()),
        "text_tower_parameters": sum(p.numel() for p in clip.text.parameters()),
        "statement": STATEMENT,
        "recipe": asdict(recipe),
        "stages": stages,
        "accuracy": {
            key: {
                "accuracy": round(value, 3),
                "blind": round(blind[key][0], 3),
                "other image": round(other[key][0], 3),
                "questions": number,
            }
            for key, (value, number) in sighted.items()
        },
        "cls_attention_on_objects": measure.cls_on_objects(clip.vision, found),
        "text_attention_on_the_asked_object": measure.text_on_object(model, bpe, found, recipe.seed + 100),
    }
    return card, (model, processor, bpe, clip)


STATEMENT = (
    "The recipe was fixed, and the figures below measured, before any pruning method was compared on this model. "
    "Beside CLIP's contrastive loss the vision tower learned patch labels, what the scene holds from the CLS state of "
    "its penultimate layer, and a hinge asked for half of that layer's CLS attention on objects, no matter which. "
    "One head of the decoder's fourth layer was taught to look at the object asked for, from the token that predicts "
    "the reply. Accuracy is on unseen scenes with unseen handwritten digits, of greedy decoding: 'kind' open answers, "
    "'choice' letters of options, 'format' all questions of one benchmark's prompt; 'blind' is the same prompt "
    "without the image, which the model never met in training and mostly answers with nothing of use; 'other image' is "
    "with the image of another scene, what guessing reaches. Attention shares are of the attention paid to the image."
)


def main(family: str, work: Path, minutes: float | None) -> int:
    """``tops miniature train``: all stages, then the checkpoint in its place."""
    if family != FAMILY:
        raise ConfigurationError(f"no training for the miniature {family!r} yet; there is one for {FAMILY!r}")
    from tops.miniature.saving import save_checkpoint

    recipe = Recipe()
    if minutes is not None:
        stages = {
            name: replace(getattr(recipe, name), minutes=minutes * getattr(recipe, name).minutes / 63)
            for name in ("vision", "words", "language")
        }
        recipe = replace(recipe, **stages)
    run(work, recipe)
    card, (model, processor, bpe, clip) = describe(work, recipe)
    print(save_checkpoint(family, model, processor, bpe, card, clip))
    return 0
