"""Qwen2.5-VL, InternVL3 and LLaVA-Video in miniature, from LLaVA-1.5's.

Two stages, each a process of its own:

- (tower) the family's own way to see learns LLaVA-1.5's tokens (`teacher`);
- (language) LLaVA-1.5's decoder learns the family's chat, places and tiles or frames, on the tokens of the tower, which
  stays as it is. Its tokens are computed once a scene.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from scripts.miniature import measure
from scripts.miniature.card import measured as card_measured
from scripts.miniature.card import measured_scenes
from scripts.miniature.language import LanguageRecipe, train_language
from scripts.miniature.llava15_further import LAST_LESSON
from scripts.miniature.packing import Picture
from scripts.miniature.pool import Pool, make_pool
from scripts.miniature.stages import Job, facts, file_log, load_modules, mark_done, run_stages, save_modules
from scripts.miniature.student import Student, student, tiles
from scripts.miniature.teacher import TowerRecipe, teacher_tokens, train_tower
from scripts.miniature.video_pool import Times, VideoLesson, VideoPool, make_video_pool
from tops.miniature import checkpoints
from tops.miniature.prompts import Turn
from tops.miniature.scenes import patch_labels
from tops.miniature.video_questions import VIDEO_MAKERS, ask_video

if TYPE_CHECKING:
    from tops.miniature.scenes import Scene


@dataclass(frozen=True)
class FamilyRecipe:
    """All settings; written into the card."""

    tower_scenes: int = 6000
    scenes: int = 2000
    seed: int = 40
    tower: TowerRecipe = field(default_factory=TowerRecipe)
    language: LanguageRecipe = field(
        default_factory=lambda: LanguageRecipe(
            minutes=20, rate=7e-4, warmup=30, plain=0.2, mixed=0.3, lesson=LAST_LESSON, seed=5
        )
    )

    times: LanguageRecipe | None = None

    @property
    def minutes(self) -> float:
        """Wall-clock time."""
        return self.tower.minutes + self.language.minutes + (self.times.minutes if self.times else 0.0)


_DIRECT = LanguageRecipe(minutes=20, length=320, rate=7e-4, warmup=30, plain=0.2, mixed=0.3, lesson=LAST_LESSON, seed=5)
RECIPES: dict[str, FamilyRecipe] = {
    "qwen2.5-vl": FamilyRecipe(
        tower_scenes=3000,
        scenes=1500,
        tower=TowerRecipe(minutes=13, batch=12, rate=1.2e-3),
        language=replace(_DIRECT, minutes=14),
    ),
    "internvl3": FamilyRecipe(
        tower_scenes=1500, tower=TowerRecipe(minutes=8, batch=6, rate=7e-4), language=replace(_DIRECT, minutes=16)
    ),
    "llava-video": FamilyRecipe(
        tower_scenes=4000,
        scenes=2400,
        tower=TowerRecipe(minutes=8, batch=16, rate=7e-4),
        language=replace(
            _DIRECT, minutes=36, batch=4, length=384, rate=1e-3, plain=0.3, mixed=0.4, lesson=VideoLesson()
        ),
        times=replace(
            _DIRECT, minutes=8, batch=4, length=384, rate=8e-4, plain=0.3, mixed=0.4, lesson=VideoLesson(), seed=6
        ),
    ),
}
VIDEO = "llava-video"
SEED = 100  # of what is measured on


def run_tower(family: str, start: Path, work: Path, recipe: FamilyRecipe) -> None:
    """Stage (tower)."""
    torch.set_num_threads(1)
    begin, busy = time.monotonic(), time.process_time()
    own, donor = student(family, start)
    pool = make_pool(recipe.tower_scenes, recipe.seed, crowded=True, hands=True, workers=1)
    log, file = file_log(work / "tower.log"), work / "tower.safetensors"

    def save() -> None:
        save_modules(file, {"tower": own.tower})

    steps = train_tower(own.see, own.tower, own.shows, teacher_tokens(donor), pool, recipe.tower, log, save)
    save()
    mark_done(work, "tower", steps=steps, **_spent(begin, busy), data_sha256=pool.digest)


def _spent(begin: float, busy: float) -> dict[str, float]:
    return {"minutes": (time.monotonic() - begin) / 60, "cpu_minutes": (time.process_time() - busy) / 60}


class Seen:
    """What the tower makes of scenes or videos, computed when first asked for and kept in half precision.

    ``images`` (S, side, side, 3), or (S, frames, side, side, 3) of videos, uint8.
    """

    def __init__(self, own: Student, images: Tensor) -> None:
        self._see, self._images = own.see, images
        shape = (*images.shape[1:-3], *own.shows.shape[:1], own.model.get_input_embeddings().weight.shape[1])
        self._kept = torch.zeros(len(images), *shape, dtype=torch.float16)
        self._there = torch.zeros(len(images), dtype=torch.bool)

    @torch.no_grad()
    def __call__(self, chosen: Sequence[int]) -> Tensor:
        """(B, m, d), or (B, frames, m, d)."""
        for number in chosen:
            if not self._there[number]:
                images = self._images[number]
                seen = self._see(images if images.ndim == 4 else images[None])
                self._kept[number] = seen.view(self._kept.shape[1:]).half()
                self._there[number] = True
        return self._kept[list(chosen)].float()


def material(family: str, scenes: int, seed: int) -> tuple[Pool | VideoPool, Tensor]:
    """Scenes, or videos, and their images."""
    if family == VIDEO:
        videos = make_video_pool(scenes, seed)
        return videos, torch.from_numpy(videos.frames)
    pool = make_pool(scenes, seed, workers=1)
    return pool, torch.from_numpy(pool.images)


def run_language(family: str, start: Path, work: Path, recipe: FamilyRecipe, stage: str = "language") -> None:
    """Stage (language), or (times), which goes on from it."""
    torch.set_num_threads(1)
    begin, busy = time.monotonic(), time.process_time()
    own = student(family, start)[0]
    load_modules(work / "tower.safetensors", {"tower": own.tower})
    own.tower.requires_grad_(False)
    settings, seed = recipe.language, recipe.seed + 1
    if stage == "times" and recipe.times is not None:
        settings, seed = recipe.times, recipe.seed + 2
        load_modules(work / "language.safetensors", {"language": own.language})
    pool, images = material(family, recipe.scenes, seed)
    seen = Seen(own, images)
    width = own.model.get_input_embeddings().weight.shape[1]
    times = Times(pool, own.prompts.shows, width) if stage == "times" and isinstance(pool, VideoPool) else None

    def visual(chosen: list[int]) -> tuple[Tensor, Tensor]:
        return own.arrange(seen(chosen)), torch.zeros(())

    modules: dict[str, nn.Module] = {"language": own.language}
    log, file = file_log(work / f"{stage}.log"), work / f"{stage}.safetensors"
    steps = train_language(
        own.model.model.language_model,
        pool,
        own.bpe,
        settings,
        own.prompts,
        visual,
        [*own.language.parameters(), *(times.parameters() if times else ())],
        log,
        lambda: save_modules(file, modules),
        compiled=False,  # so short a training would be half over before a compiler has paid off
        read=times,
    )
    save_modules(file, modules)
    mark_done(work, stage, steps=steps, **_spent(begin, busy), data_sha256=pool.digest)


def run(family: str, start: Path, work: Path, recipe: FamilyRecipe) -> None:
    """All stages; those whose result is in ``work`` already are passed over."""
    stages: list[Job] = [
        ("tower", run_tower, (family, start, work, recipe)),
        ("language", run_language, (family, start, work, recipe)),
    ]
    if recipe.times is not None:
        stages.append(("times", run_language, (family, start, work, recipe, "times")))
    run_stages(work, recipe, [[stage] for stage in stages])


def restore(family: str, start: Path, work: Path) -> Student:
    """The model that the stages in ``work`` have made; weights as they ship."""
    own = student(family, start)[0]
    load_modules(work / "tower.safetensors", {"tower": own.tower})
    last = work / "times.safetensors"
    load_modules(last if last.exists() else work / "language.safetensors", {"language": own.language})
    own.model.tie_weights()
    own.model.eval().to(torch.bfloat16).float()
    return own


@torch.inference_mode()
def scene_tokens(own: Student, found: Sequence[Scene]) -> Tensor:
    """(S, n, d) visual tokens of scenes."""
    images = torch.from_numpy(np.stack([scene.image for scene in found]))
    return torch.cat([own.see(part) for part in torch.split(images, 16)])


@torch.inference_mode()
def video_tokens(own: Student, frames: Tensor) -> Tensor:
    """(S, FRAMES, side, side, 3) uint8 to (S, n, d) visual tokens."""
    return torch.cat([own.arrange(own.see(video)[None]) for video in frames])


def measured(own: Student, scenes: int = 40) -> dict[str, Any]:
    """Figures on unseen scenes or videos; which ones is fixed."""
    if own.family != VIDEO:
        shares = tower_on_objects(own, measure.scenes(scenes, SEED))
        return measured_scenes(own.model, own.bpe, partial(scene_tokens, own), own.prompts, scenes) | shares
    pool = make_video_pool(scenes, SEED, "evaluation")
    rng = np.random.default_rng((SEED, 5))
    lesson = VideoLesson(direct=tuple(VIDEO_MAKERS))
    asked = [lesson.turns(rng, video, True, 128) + lesson.turns(rng, video, False, 192) for video in pool.videos]
    pictures = []
    for number, video in enumerate(pool.videos):
        question = ask_video(rng, video, ("video colour",))
        turns = [Turn(question.text, question.answer, "plain", question)] if question else []
        pictures.append(Picture(turns, (), pool.owner[number].astype(np.int64)))
    return card_measured(
        own.model, own.bpe, video_tokens(own, torch.from_numpy(pool.frames)), asked, pictures, own.prompts
    )


@torch.inference_mode()
def tower_on_objects(own: Student, found: Sequence[Scene]) -> dict[str, Any]:
    """With a CLS token: the share of its attention in the last layer that lies on objects, and their area."""
    if own.family != "internvl3":
        return {}
    tower = own.model.model.vision_tower
    tower.set_attn_implementation("eager")
    shares, areas = [], []
    for scene in found:
        images = tiles(torch.from_numpy(scene.image)[None])[-1:]  # the thumbnail
        row = tower(images, output_attentions=True).attentions[-1][0, :, 0, 1:].mean(0)
        there = torch.from_numpy(patch_labels(scene).owner.reshape(-1) >= 0)
        shares.append(float(row[there].sum() / row.sum()))
        areas.append(float(there.float().mean()))
    tower.set_attn_implementation("sdpa")
    return {"cls_attention_on_objects": {"share": float(np.mean(shares)), "area": float(np.mean(areas))}}


STATEMENT = (
    "The decoder started as that of the LLaVA-1.5 miniature named by its hashes. {tower} The tower and projector then "
    "learned to say on crowded scenes what LLaVA-1.5's say, beside linear heads that read patch labels from the same "
    "tokens, and stayed. The decoder learned the family's chat, places and {input} on their tokens, with the same "
    "three heads shown where to look. The recipe was fixed, and the figures below measured, before any pruning method "
    "was compared on this model. What the accuracy rows mean, LLaVA-1.5's card tells."
)
TOWERS = {
    "qwen2.5-vl": (
        "The tower started as CLIP's first five layers without their position embeddings, for which the windows and "
        "rotary places stand, and the merger as the mean of LLaVA-1.5's projector over four patches."
    ),
    "internvl3": "The tower started as CLIP's first five layers, its first normalisation folded into the embeddings.",
    "llava-video": "The tower started as CLIP's first five layers, its first normalisation folded into the embeddings.",
}
TIMES = (
    " In a last stage linear heads that exist only during training read from the states of a visual token its frame "
    "and the frame in which its object appeared."
)
INPUTS = {"qwen2.5-vl": "mRoPE", "internvl3": "tiles", "llava-video": "frames"}


def card(family: str, start: Path, work: Path, recipe: FamilyRecipe, own: Student) -> dict[str, Any]:
    """All but the measured figures."""
    return {
        "family": family,
        "class": type(own.model).__name__,
        "trained": True,
        "parameters": sum(p.numel() for p in own.model.parameters()),
        "statement": STATEMENT.format(tower=TOWERS[family], input=INPUTS[family]) + (TIMES if recipe.times else ""),
        "start": checkpoints.card(start.name, start.parent)["weights_sha256"],
        "recipe": asdict(recipe),
        "stages": facts(work, "tower", "language", *(("times",) if recipe.times else ())),
    }
