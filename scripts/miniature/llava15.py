"""Train LLaVA-1.5 in miniature, from generated scenes to a checkpoint with its card.

Stages, each a process of its own; (a) and (words) run side by side:

- (a) CLIP's towers (`training_vision`).
- (words) the language model on patch labels written as words, while there is no vision tower yet.
- (b) projector and language model on the frozen tower's features (`training_language`), by two processes.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from scripts.miniature.language import LanguageRecipe, PatchWords, Share, llava_prompts, train_language
from scripts.miniature.pool import Pool, corpus, make_pool
from scripts.miniature.stages import (
    Job,
    clip_modules,
    file_log,
    fit_projector,
    load_modules,
    mark_done,
    run_stages,
    save_modules,
)
from scripts.miniature.vision import Clip, VisionRecipe, encode, initialise, pixels, train_vision
from tops.miniature.families import JOINT, WIDTH, build, clip_text
from tops.miniature.tokenizer import train_bpe

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import ProcessorMixin

FAMILY = "llava-1.5"


@dataclass(frozen=True)
class Recipe:
    """All settings of a training; they are written into the card."""

    scenes: int = 12000
    seed: int = 0
    vision_seed: int = 10
    vision: VisionRecipe = field(default_factory=lambda: VisionRecipe(minutes=40))
    words: LanguageRecipe = field(default_factory=lambda: LanguageRecipe(minutes=49))
    language: LanguageRecipe = field(
        default_factory=lambda: LanguageRecipe(minutes=14, rate=1e-3, plain=0.08, mixed=0.4, seed=1)
    )
    ranks: int = 2

    @property
    def minutes(self) -> float:
        """Wall-clock time."""
        return max(self.vision.minutes, self.words.minutes) + self.language.minutes


def _material(recipe: Recipe) -> tuple[Pool, Tokenizer]:
    pool = make_pool(recipe.scenes, recipe.seed)
    return pool, train_bpe(corpus(pool, recipe.seed))


def new_clip(model: Any, bpe: Tokenizer) -> Clip:
    """The model's own vision tower with a fresh text tower and joint space."""
    from transformers import CLIPTextModelWithProjection

    text = CLIPTextModelWithProjection(clip_text(bpe.get_vocab_size()))
    return Clip(model.model.vision_tower, text, nn.Linear(WIDTH, JOINT, bias=False))


def run_vision(work: Path, recipe: Recipe) -> None:
    """Run stage (a)."""
    torch.set_num_threads(1)
    begin = time.monotonic()
    bpe = _material(recipe)[1]
    pool = make_pool(recipe.scenes, recipe.vision_seed, crowded=True)
    clip = new_clip(build(FAMILY, bpe, recipe.seed)[0], bpe)
    initialise(clip.vision)
    modules = clip_modules(clip)
    file = work / "clip.safetensors"
    steps = train_vision(
        clip, pool, bpe, recipe.vision, file_log(work / "vision.log"), lambda: save_modules(file, modules)
    )
    save_modules(file, modules)
    mark_done(work, "vision", steps=steps, minutes=(time.monotonic() - begin) / 60, data_sha256=pool.digest)


def run_words(work: Path, recipe: Recipe) -> None:
    """Run the stage (words): train the language model on patch labels as words."""
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
    log = file_log(work / "words.log")
    prompts = llava_prompts(torch.eye(pool.labels.shape[1]))
    steps = train_language(
        model, pool, bpe, recipe.words, prompts, visual, trained, log, lambda: save_modules(file, modules)
    )
    save_modules(file, modules)
    mark_done(work, "words", steps=steps, minutes=(time.monotonic() - begin) / 60, data_sha256=pool.digest)


def run_language(work: Path, recipe: Recipe, rank: int) -> None:
    """Run stage (b) in one of ``recipe.ranks`` processes."""
    torch.set_num_threads(1)
    begin = time.monotonic()
    pool, bpe = _material(recipe)
    store = f"file://{work / 'rendezvous'}"
    torch.distributed.init_process_group("gloo", init_method=store, rank=rank, world_size=recipe.ranks)
    model = build(FAMILY, bpe, recipe.seed)[0]
    language, tower = model.model.language_model, model.model.vision_tower.eval()
    projector = model.model.multi_modal_projector
    words = PatchWords(bpe, WIDTH, pool.labels.shape[1])
    load_modules(work / "clip.safetensors", clip_modules(new_clip(model, bpe)))
    load_modules(work / "words.safetensors", {"language": language, "words": words})
    images, labels = torch.from_numpy(pool.images), torch.from_numpy(pool.labels)

    def project(chosen: list[int]) -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            features = encode(tower, pixels(images[chosen]))[1][:, 1:]
        with torch.no_grad():
            wanted = words(language.embed_tokens, labels[chosen].long())
        image = projector(features)
        return image, (image - wanted).square().sum(-1).mean()

    log = file_log(work / f"language{rank}.log")
    share = Share(rank, recipe.ranks)
    fit_projector(projector, lambda chosen: project(chosen)[1], len(images), recipe.seed, share, log)
    weight = recipe.language.align

    def visual(chosen: list[int]) -> tuple[Tensor, Tensor]:
        image, distance = project(chosen)
        return image, weight * distance

    modules: dict[str, nn.Module] = {"language": language, "projector": projector}
    file = work / "language.safetensors"

    def save() -> None:
        if rank == 0:
            save_modules(file, modules)

    trained = [*language.parameters(), *projector.parameters()]
    prompts = llava_prompts(torch.eye(pool.labels.shape[1]))
    language_model = model.model.language_model
    steps = train_language(language_model, pool, bpe, recipe.language, prompts, visual, trained, log, save, share)
    save()
    if rank == 0:
        mark_done(work, "language", steps=steps, minutes=(time.monotonic() - begin) / 60, data_sha256=pool.digest)


def run(work: Path, recipe: Recipe) -> None:
    """All stages; those whose result is in ``work`` already are passed over."""
    side_by_side: list[Job] = [("vision", run_vision, (work, recipe)), ("words", run_words, (work, recipe))]
    together: list[Job] = [("language", run_language, (work, recipe, rank)) for rank in range(recipe.ranks)]
    run_stages(work, recipe, (side_by_side, together))


def restore(work: Path, recipe: Recipe) -> tuple[Any, Clip, ProcessorMixin, Tokenizer]:
    """The model that the stages in ``work`` have made, its towers, processor and tokenizer; weights as they ship."""
    bpe = _material(recipe)[1]
    model, processor = build(FAMILY, bpe, recipe.seed)
    clip = new_clip(model, bpe)
    load_modules(work / "clip.safetensors", clip_modules(clip))
    language = {"language": model.model.language_model, "projector": model.model.multi_modal_projector}
    load_modules(work / "language.safetensors", language)
    model.tie_weights()
    for module in (model, clip.text, clip.visual_projection):
        module.eval().to(torch.bfloat16).float()
    return model, clip, processor, bpe
