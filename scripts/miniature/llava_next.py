"""LLaVA-NeXT in miniature from LLaVA-1.5's: the same tower, projector and language model, then its own tiled input.

The newline token, which LLaVA-1.5 lacks, starts at zero. One stage: projector, language model and newline learn to read
the thumbnail and the tiles of one image, the tower stays. With a recipe of no minutes the shared weights are used
without training.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from scripts.miniature.language import LanguageRecipe, llava_prompts, train_language
from scripts.miniature.llava15_further import LAST_LESSON, open_checkpoint, transplant
from scripts.miniature.pool import make_pool
from scripts.miniature.stages import (
    Job,
    facts,
    file_log,
    llava_modules,
    load_modules,
    mark_done,
    run_stages,
    save_modules,
)
from tops.miniature import checkpoints
from tops.miniature.families import PATCH, SIDE

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from scripts.miniature.vision import Clip
    from tops.miniature.scenes import Scene

FAMILY = "llava-next"
GRID = SIDE // PATCH


@dataclass(frozen=True)
class Tiles:
    """All settings of the training; they are written into the card."""

    scenes: int = 6000
    seed: int = 30
    tiles: LanguageRecipe = field(
        default_factory=lambda: LanguageRecipe(
            minutes=20, rate=7e-4, warmup=30, plain=0.3, mixed=0.3, lesson=LAST_LESSON, seed=4
        )
    )

    @property
    def minutes(self) -> float:
        """Wall-clock time."""
        return self.tiles.minutes


def shared(start: Path) -> tuple[Any, Clip, Any, Tokenizer]:
    """LLaVA-NeXT with LLaVA-1.5's weights; its towers, processor and tokenizer."""
    donor, clip, bpe = open_checkpoint(start)
    newline = torch.zeros(donor.config.text_config.hidden_size)
    model, clip, processor = transplant(FAMILY, donor, clip, bpe, {"model.image_newline": newline})
    return model.eval(), clip, processor, bpe


def visual_tokens(model: Any, processor: Any, images: Tensor) -> Tensor:
    """(B, side, side, 3) uint8 to (B, n, d): the thumbnail's patches, then the tiles', a newline after each row."""
    made = processor.image_processor(images=[Image.fromarray(image) for image in images.numpy()], return_tensors="pt")
    parts = model.get_image_features(made["pixel_values"], made["image_sizes"]).pooler_output
    return torch.stack([part.reshape(-1, part.shape[-1]) for part in parts])


@torch.inference_mode()
def scene_tokens(model: Any, processor: Any, found: Sequence[Scene]) -> Tensor:
    """Visual tokens of scenes, shape (S, n, d)."""
    images = torch.from_numpy(np.stack([scene.image for scene in found]))
    return torch.cat([visual_tokens(model, processor, part) for part in torch.split(images, 16)])


def shows() -> Tensor:
    """Which patch each of the tokens of `visual_tokens` shows, newlines none: (n, patches) float32.

    The image of `SIDE` by `SIDE` pixels lies whole in the unpadded tiles.
    """
    patches = torch.eye(GRID * GRID)
    rows = torch.cat([patches.view(GRID, GRID, -1), torch.zeros(GRID, 1, GRID * GRID)], 1)
    return torch.cat([patches, rows.flatten(0, 1)])


def run_tiles(start: Path, work: Path, recipe: Tiles) -> None:
    """Run the one stage."""
    torch.set_num_threads(1)
    begin, busy = time.monotonic(), time.process_time()
    model, _, processor, bpe = shared(start)
    pool = make_pool(recipe.scenes, recipe.seed)
    images = torch.from_numpy(pool.images)
    model.model.vision_tower.requires_grad_(False)

    def visual(chosen: list[int]) -> tuple[Tensor, Tensor]:
        return visual_tokens(model, processor, images[chosen]), torch.zeros(())

    modules, file = llava_modules(model), work / "tiles.safetensors"
    trained = [model.model.image_newline, *(p for module in modules.values() for p in module.parameters())]
    modules["newline"] = torch.nn.ParameterDict({"newline": model.model.image_newline})
    log = file_log(work / "tiles.log")

    def save() -> None:
        save_modules(file, modules)

    steps = 0
    if recipe.tiles.minutes > 0:
        steps = train_language(
            model.model.language_model, pool, bpe, recipe.tiles, llava_prompts(shows()), visual, trained, log, save
        )
    save()
    spent = {"minutes": (time.monotonic() - begin) / 60, "cpu_minutes": (time.process_time() - busy) / 60}
    mark_done(work, "tiles", steps=steps, **spent, data_sha256=pool.digest)


def run(start: Path, work: Path, recipe: Tiles) -> None:
    """Run the stage, unless its result is in ``work`` already."""
    stage: Job = ("tiles", run_tiles, (start, work, recipe))
    run_stages(work, recipe, [[stage]])


def restore(start: Path, work: Path) -> tuple[Any, Clip, Any, Tokenizer]:
    """As `shared`, with what the stage has learned; weights as they ship."""
    model, clip, processor, bpe = shared(start)
    newline = torch.nn.ParameterDict({"newline": model.model.image_newline})
    load_modules(work / "tiles.safetensors", {**llava_modules(model), "newline": newline})
    model.tie_weights()
    for module in (model, clip.text, clip.visual_projection):
        module.eval().to(torch.bfloat16).float()
    return model, clip, processor, bpe


STATEMENT = (
    "Tower, projector, language model and CLIP's text side are those of the LLaVA-1.5 miniature named by its hashes; "
    "the newline token {newline}. The recipe was fixed, and the figures below measured, before any pruning method was "
    "compared on this model. What the accuracy rows mean, LLaVA-1.5's card tells."
)
TRAINED = (
    "started at zero, and projector, language model and newline were then trained on the family's own input, thumbnail "
    "and tiles, while the tower stayed"
)
UNTRAINED = (
    "is zero. Nothing was trained on the family's own input, thumbnail and tiles: what the tiles show stands where "
    "LLaVA-1.5 expects other places, so questions about places and counts suffer most"
)


def card(start: Path, work: Path, recipe: Tiles, model: Any, clip: Clip) -> dict[str, Any]:
    """The card without measured figures."""
    stages = facts(work, "tiles")
    newline = TRAINED if stages["tiles"]["steps"] else UNTRAINED
    return {
        "family": FAMILY,
        "class": type(model).__name__,
        "trained": True,
        "parameters": sum(p.numel() for p in model.parameters()),
        "text_tower_parameters": sum(p.numel() for p in clip.text.parameters()),
        "statement": STATEMENT.format(newline=newline),
        "start": checkpoints.card(start.name, start.parent)["weights_sha256"],
        "recipe": asdict(recipe),
        "stages": stages,
    }
