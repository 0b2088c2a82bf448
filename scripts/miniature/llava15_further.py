"""Training of LLaVA-1.5 in miniature that goes on from a checkpoint.

Stages, each a process of its own; the first two run side by side:

- (vision) both towers on crowded scenes whose digits vary beyond the collection, objective as in `training_vision`;
- (language) projector and language model on the tower as it was;
- (together) the projector fitted to the new tower, then projector and language model on it, by several processes.
"""

from __future__ import annotations

import copy
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import transformers
from torch import Tensor, nn

from scripts.miniature.language import LanguageRecipe, Share, llava_prompts, train_language
from scripts.miniature.pool import Lesson, make_pool
from scripts.miniature.saving import JOINT_FILE
from scripts.miniature.stages import (
    Job,
    clip_modules,
    file_log,
    fit_projector,
    llava_modules,
    load_modules,
    mark_done,
    run_stages,
    save_modules,
)
from scripts.miniature.vision import Clip, VisionRecipe, encode, pixels, train_vision
from tops.miniature.families import build
from tops.miniature.prompts import IMAGE_FORMATS

if TYPE_CHECKING:
    from tokenizers import Tokenizer

hf: Any = transformers  # its loaders are partly untyped

# The hardest kinds are repeated: comparing, counting, choosing a letter, and all of these in Chinese.
LESSON = Lesson(
    direct=(
        *("existence", "colour", "shape", "digit", "digit", "location", "place", "count", "count", "background"),
        *("relation", "relation", "relation", "relation check", "relation check", "neighbour", "neighbour"),
        *("count check", "count check", "digit check", "more"),
    ),
    chinese=0.3,
    formats=(
        *IMAGE_FORMATS,
        *("scienceqa_img", "mmbench_en", "mmstar", "ai2d", "gqa", "mme", "hallusionbench"),
        *("mmbench_cn", "mmbench_cn", "mmbench_cn"),
    ),
    captions=0.1,
)


# Letters in Chinese were learned last.
LAST_LESSON = replace(LESSON, chinese=0.4, formats=(*LESSON.formats, "mmbench_cn", "mmbench_cn", "mmbench_cn"))


def _language(minutes: float, rate: float, seed: int, lesson: Lesson) -> LanguageRecipe:
    return LanguageRecipe(minutes=minutes, length=320, rate=rate, plain=0.0, mixed=0.3, lesson=lesson, seed=seed)


@dataclass(frozen=True)
class Further:
    """All settings of a further training; they are written into the card."""

    scenes: int = 12000
    seed: int = 20
    vision: VisionRecipe = field(default_factory=lambda: VisionRecipe(minutes=45, rate=1.2e-3, patch=3.0, seed=1))
    language: LanguageRecipe = field(default_factory=lambda: _language(45, 1.2e-3, 2, LESSON))
    together: LanguageRecipe = field(default_factory=lambda: _language(40, 8e-4, 3, LAST_LESSON))
    ranks: int = 2

    @property
    def minutes(self) -> float:
        """Wall-clock time."""
        return max(self.vision.minutes, self.language.minutes) + self.together.minutes


def open_checkpoint(folder: Path) -> tuple[Any, Clip, Tokenizer]:
    """Model, towers and tokenizer of a checkpoint, ready to train, weights in float32."""
    from safetensors.torch import load_file
    from tokenizers import Tokenizer

    model = hf.LlavaForConditionalGeneration.from_pretrained(folder, dtype=torch.float32)
    text = hf.CLIPTextModelWithProjection.from_pretrained(folder / "text_tower", dtype=torch.float32)
    weight = load_file(folder / "text_tower" / JOINT_FILE)["visual_projection.weight"].float()
    projection = nn.Linear(weight.shape[1], weight.shape[0], bias=False)
    projection.weight.data.copy_(weight)
    bpe = Tokenizer.from_file(str(folder / "tokenizer.json"))
    bpe.post_processor = None  # the conversations write their own <s>
    return model, Clip(model.model.vision_tower, text, projection), bpe


def transplant(
    family: str, donor: Any, clip: Clip, bpe: Tokenizer, extra: dict[str, Tensor] | None = None
) -> tuple[Any, Clip, Any]:
    """Put the donor's weights into a newly built model of ``family``; returns the model, its towers and its processor.

    ``extra`` holds the weights that the donor lacks. The model is built anew because a model read from a folder keeps
    traces of the folder in its configuration.
    """
    built: Any = build(family, bpe)
    model, processor = built
    model.load_state_dict({**donor.state_dict(), **(extra or {})})
    model.tie_weights()
    return model, Clip(model.model.vision_tower, clip.text, clip.visual_projection), processor


def _features(tower: Any, images: Tensor) -> Tensor:
    """Images (B, side, side, 3) uint8 to the features (B, n, c) that the projector reads."""
    with torch.no_grad():
        return encode(tower, pixels(images))[1][:, 1:]


def run_vision(start: Path, work: Path, recipe: Further) -> None:
    """Run the stage (vision)."""
    torch.set_num_threads(1)
    begin = time.monotonic()
    _, clip, bpe = open_checkpoint(start)
    pool = make_pool(recipe.scenes, recipe.seed, crowded=True, hands=True)
    modules, file = clip_modules(clip), work / "clip.safetensors"
    log = file_log(work / "vision.log")
    steps = train_vision(clip, pool, bpe, recipe.vision, log, lambda: save_modules(file, modules))
    save_modules(file, modules)
    mark_done(work, "vision", steps=steps, minutes=(time.monotonic() - begin) / 60, data_sha256=pool.digest)


def run_language(start: Path, work: Path, recipe: Further) -> None:
    """Run the stage (language)."""
    torch.set_num_threads(1)
    begin = time.monotonic()
    model, _, bpe = open_checkpoint(start)
    tower, projector = model.model.vision_tower, model.model.multi_modal_projector
    pool = make_pool(recipe.scenes, recipe.seed + 1)
    images = torch.from_numpy(pool.images)

    def visual(chosen: list[int]) -> tuple[Tensor, Tensor]:
        return projector(_features(tower, images[chosen])), torch.zeros(())

    modules, file = llava_modules(model), work / "language.safetensors"
    trained = [p for module in modules.values() for p in module.parameters()]
    log = file_log(work / "language.log")

    def save() -> None:
        save_modules(file, modules)

    prompts = llava_prompts(torch.eye(pool.labels.shape[1]))
    language_model = model.model.language_model
    steps = train_language(language_model, pool, bpe, recipe.language, prompts, visual, trained, log, save)
    save()
    mark_done(work, "language", steps=steps, minutes=(time.monotonic() - begin) / 60, data_sha256=pool.digest)


def run_together(start: Path, work: Path, recipe: Further, rank: int) -> None:
    """Run the stage (together) in one of ``recipe.ranks`` processes."""
    torch.set_num_threads(1)
    begin = time.monotonic()
    store = f"file://{work / 'rendezvous'}"
    torch.distributed.init_process_group("gloo", init_method=store, rank=rank, world_size=recipe.ranks)
    model, clip, bpe = open_checkpoint(start)
    modules, projector = llava_modules(model), model.model.multi_modal_projector
    load_modules(work / "language.safetensors", modules)
    before, known = copy.deepcopy(clip.vision), copy.deepcopy(projector).requires_grad_(False)
    load_modules(work / "clip.safetensors", clip_modules(clip))
    tower = clip.vision
    pool = make_pool(recipe.scenes, recipe.seed + 2)
    images = torch.from_numpy(pool.images)

    def distance(chosen: list[int]) -> Tensor:
        wanted: Tensor = known(_features(before, images[chosen]))
        found: Tensor = projector(_features(tower, images[chosen]))
        return (found - wanted).square().sum(-1).mean()

    def visual(chosen: list[int]) -> tuple[Tensor, Tensor]:
        return projector(_features(tower, images[chosen])), torch.zeros(())

    share, log = Share(rank, recipe.ranks), file_log(work / f"together{rank}.log")
    fit_projector(projector, distance, len(images), recipe.seed, share, log)
    file = work / "together.safetensors"

    def save() -> None:
        if rank == 0:
            save_modules(file, modules)

    trained = [p for module in modules.values() for p in module.parameters()]
    prompts = llava_prompts(torch.eye(pool.labels.shape[1]))
    language_model = model.model.language_model
    steps = train_language(language_model, pool, bpe, recipe.together, prompts, visual, trained, log, save, share)
    save()
    if rank == 0:
        mark_done(work, "together", steps=steps, minutes=(time.monotonic() - begin) / 60, data_sha256=pool.digest)


def run(start: Path, work: Path, recipe: Further) -> None:
    """All stages; those whose result is in ``work`` already are passed over."""
    side_by_side: list[Job] = [
        ("vision", run_vision, (start, work, recipe)),
        ("language", run_language, (start, work, recipe)),
    ]
    together: list[Job] = [("together", run_together, (start, work, recipe, rank)) for rank in range(recipe.ranks)]
    run_stages(work, recipe, (side_by_side, together))


def restore(start: Path, work: Path) -> tuple[Any, Clip, Any, Tokenizer]:
    """The model that the stages in ``work`` have made, its towers, processor and tokenizer; weights as they ship."""
    donor, clip, bpe = open_checkpoint(start)
    load_modules(work / "clip.safetensors", clip_modules(clip))
    load_modules(work / "together.safetensors", llava_modules(donor))
    model, clip, processor = transplant("llava-1.5", donor, clip, bpe)
    for module in (model, clip.text, clip.visual_projection):
        module.eval().to(torch.bfloat16).float()
    return model, clip, processor, bpe
