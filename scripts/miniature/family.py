"""Qwen2.5-VL, InternVL3 and LLaVA-Video in miniature, from LLaVA-1.5's.

Two stages, each a process of its own:

- (tower) the family's own vision tower learns to produce LLaVA-1.5's tokens (`teacher`); - (language) LLaVA-1.5's
decoder learns the family's chat, places and tiles or frames, on the tokens of the tower, which
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
from scripts.miniature.video_pool import Script, VideoLesson, VideoPool, make_video_pool
from tops.miniature import checkpoints
from tops.miniature.prompts import Turn
from tops.miniature.scenes import patch_labels
from tops.miniature.video_questions import VIDEO_MAKERS, ask_video

if TYPE_CHECKING:
    from tops.miniature.scenes import Scene


@dataclass(frozen=True)
class FamilyRecipe:
    """All settings of a family's training; they are written into the card."""

    tower_scenes: int = 6000
    scenes: int = 2000
    seed: int = 40
    tower: TowerRecipe = field(default_factory=TowerRecipe)
    language: LanguageRecipe = field(
        default_factory=lambda: LanguageRecipe(
            minutes=20, rate=7e-4, warmup=30, plain=0.2, mixed=0.3, lesson=LAST_LESSON, seed=5
        )
    )

    @property
    def minutes(self) -> float:
        """Wall-clock time."""
        return self.tower.minutes + self.language.minutes


_DIRECT = LanguageRecipe(
    minutes=20,
    length=320,
    rate=7e-4,
    warmup=30,
    plain=0.2,
    mixed=0.3,
    lesson=LAST_LESSON,
    seed=5,
    compiled=False,  # so short a training would be half over before a compiler has paid off
)
_VIDEO = replace(
    _DIRECT,
    minutes=60,
    batch=6,
    length=192,
    rate=1e-3,
    warmup=60,
    plain=0.4,
    mixed=0.5,
    lesson=VideoLesson(),
    compiled=True,
)
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
        scenes=4000,
        tower=TowerRecipe(minutes=8, batch=16, rate=7e-4),
        language=_VIDEO,
    ),
}
# Digits are read at the size of a glyph in an enlarged quarter, which CLIP's layers have not met.
_DIGITS = replace(
    LAST_LESSON,
    direct=(*LAST_LESSON.direct, *("digit",) * 6, "existence", "existence"),
    formats=(*LAST_LESSON.formats, *("textvqa_no_ocr",) * 3, "pope"),
)
# From a checkpoint of the family's own.
FURTHER: dict[str, FamilyRecipe] = {
    "internvl3": FamilyRecipe(
        tower_scenes=4000,
        scenes=1500,
        seed=60,
        tower=TowerRecipe(minutes=14, batch=6, rate=7e-4, seed=1),
        language=replace(_DIRECT, minutes=10, plain=0.0, mixed=0.5, lesson=_DIGITS, seed=7),
    ),
    "llava-video": FamilyRecipe(
        tower_scenes=4000,
        scenes=4000,
        seed=60,
        tower=TowerRecipe(minutes=4, batch=16, rate=7e-4, seed=1),
        language=replace(_VIDEO, minutes=54, seed=7),
    ),
}
VIDEO = "llava-video"
SEED = 100  # seed of the scenes or videos that are measured on


def recipe(family: str, start: Path) -> FamilyRecipe:
    """The recipe of a training that begins with the checkpoint in ``start``."""
    return FURTHER[family] if start.name == family else RECIPES[family]


def run_tower(family: str, start: Path, work: Path, recipe: FamilyRecipe) -> None:
    """Run the stage (tower)."""
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
    """The tower's tokens of scenes or videos, computed at the first use and kept in half precision.

    ``images`` is uint8 of shape (S, side, side, 3), or (S, frames, side, side, 3) for videos.
    """

    def __init__(self, own: Student, images: Tensor) -> None:
        self._see, self._images = own.see, images
        shape = (*images.shape[1:-3], *own.shows.shape[:1], own.model.get_input_embeddings().weight.shape[1])
        self._kept = torch.zeros(len(images), *shape, dtype=torch.float16)
        self._there = torch.zeros(len(images), dtype=torch.bool)

    @torch.no_grad()
    def __call__(self, chosen: Sequence[int]) -> Tensor:
        """Tokens of the chosen scenes or videos, shape (B, m, d) or (B, frames, m, d)."""
        for number in chosen:
            if not self._there[number]:
                images = self._images[number]
                # A video stands still most of the time.
                own, which = torch.unique(images if images.ndim == 4 else images[None], dim=0, return_inverse=True)
                self._kept[number] = self._see(own)[which].view(self._kept.shape[1:]).half()
                self._there[number] = True
        return self._kept[list(chosen)].float()


def material(family: str, scenes: int, seed: int) -> tuple[Pool | VideoPool, Tensor]:
    """Scenes, or videos, and their images."""
    if family == VIDEO:
        videos = make_video_pool(scenes, seed)
        return videos, torch.from_numpy(videos.frames)
    pool = make_pool(scenes, seed, workers=1)
    return pool, torch.from_numpy(pool.images)


def run_language(family: str, start: Path, work: Path, recipe: FamilyRecipe) -> None:
    """Run the stage (language)."""
    torch.set_num_threads(1)
    begin, busy = time.monotonic(), time.process_time()
    own = student(family, start)[0]
    load_modules(work / "tower.safetensors", {"tower": own.tower})
    own.tower.requires_grad_(False)
    pool, images = material(family, recipe.scenes, recipe.seed + 1)
    seen = Seen(own, images)
    width = own.model.get_input_embeddings().weight.shape[1]
    script = Script(pool, own.prompts.shows, width) if isinstance(pool, VideoPool) else None

    def visual(chosen: list[int]) -> tuple[Tensor, Tensor]:
        return own.arrange(seen(chosen)), torch.zeros(())

    modules: dict[str, nn.Module] = {"language": own.language}
    log, file = file_log(work / "language.log"), work / "language.safetensors"
    steps = train_language(
        own.model.model.language_model,
        pool,
        own.bpe,
        recipe.language,
        own.prompts,
        visual,
        [*own.language.parameters(), *(script.parameters() if script else ())],
        log,
        lambda: save_modules(file, modules),
        read=script,
    )
    save_modules(file, modules)
    mark_done(work, "language", steps=steps, **_spent(begin, busy), data_sha256=pool.digest)


def run(family: str, start: Path, work: Path, recipe: FamilyRecipe) -> None:
    """All stages; those whose result is in ``work`` already are passed over."""
    stages: list[Job] = [
        ("tower", run_tower, (family, start, work, recipe)),
        ("language", run_language, (family, start, work, recipe)),
    ]
    run_stages(work, recipe, [[stage] for stage in stages])


def restore(family: str, start: Path, work: Path) -> Student:
    """The model that the stages in ``work`` have made; weights as they ship."""
    own = student(family, start)[0]
    load_modules(work / "tower.safetensors", {"tower": own.tower})
    load_modules(work / "language.safetensors", {"language": own.language})
    own.model.tie_weights()
    own.model.eval().to(torch.bfloat16).float()
    return own


@torch.inference_mode()
def scene_tokens(own: Student, found: Sequence[Scene]) -> Tensor:
    """Visual tokens of scenes, shape (S, n, d)."""
    images = torch.from_numpy(np.stack([scene.image for scene in found]))
    return torch.cat([own.see(part) for part in torch.split(images, 16)])


@torch.inference_mode()
def video_tokens(own: Student, frames: Tensor) -> Tensor:
    """(S, FRAMES, side, side, 3) uint8 to (S, n, d) visual tokens."""
    return torch.cat([own.arrange(own.see(video)[None]) for video in frames])


def measured(own: Student, scenes: int = 100, videos: int = 120) -> dict[str, Any]:
    """Figures on a fixed set of unseen scenes or videos."""
    if own.family != VIDEO:
        shares = tower_on_objects(own, measure.scenes(scenes, SEED))
        return measured_scenes(own.model, own.bpe, partial(scene_tokens, own), own.prompts, scenes) | shares
    pool = make_video_pool(videos, SEED, "evaluation")
    rng = np.random.default_rng((SEED, 5))
    lesson = VideoLesson(direct=tuple(VIDEO_MAKERS))
    asked = [lesson.turns(rng, video, True, 128) + lesson.turns(rng, video, False, 96) for video in pool.videos]
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
    """For towers with a CLS token: the share of its last-layer attention on objects, and the objects' area."""
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
SCRIPT = (
    " Beside the decoder linear heads that exist only during training read a video's script from the states of its "
    "tokens: the frame that a token is of, the frame in which its object appeared, and from the last token of each "
    "frame the names seen until then and their number."
)
INPUTS = {"qwen2.5-vl": "mRoPE", "internvl3": "tiles", "llava-video": "frames"}


AGAIN = " Both stages were then taught again, from the weights that they had given, with the recipes under Further."


def card(family: str, start: Path, work: Path, recipe: FamilyRecipe, own: Student) -> dict[str, Any]:
    """The card without measured figures; further training from a checkpoint of the family adds an entry to its card."""
    statement = STATEMENT.format(tower=TOWERS[family], input=INPUTS[family])
    before = checkpoints.card(start.name, start.parent)
    leg = {"start": before["weights_sha256"], "recipe": asdict(recipe), "stages": facts(work, "tower", "language")}
    known = {
        "family": family,
        "class": type(own.model).__name__,
        "trained": True,
        "parameters": sum(p.numel() for p in own.model.parameters()),
    }
    script = SCRIPT if family == VIDEO else ""
    if start.name != family:
        return {**known, "statement": statement + script, **leg}
    legs = before.get("further", {})
    first = {key: before[key] for key in ("start", "recipe", "stages")}
    again = {**legs, f"leg {len(legs) + 1}": leg}
    return {**known, "statement": statement + AGAIN + script, **first, "further": again}
