"""Train another family's vision tower to produce LLaVA-1.5's projected tokens, which the decoder can read.

Every token of the family shows some of LLaVA-1.5's patches; its target is the mean of their tokens. Labels of the
patches, read from the same tokens by linear heads that exist only during training, keep colours and names apart.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from scripts.miniature.pool import LABELS
from scripts.miniature.vision import encode, pixels, schedule

if TYPE_CHECKING:
    from scripts.miniature.pool import Pool

# Colour, name, size, centre, background, cell.
WEIGHTS = (1.0, 1.0, 0.2, 0.0, 0.2, 0.1)


@dataclass(frozen=True)
class TowerRecipe:
    """All settings of the stage except the pool; the learning rate follows the time left."""

    minutes: float = 15.0
    batch: int = 16
    rate: float = 1.5e-3
    warmup: int = 60
    weight_decay: float = 0.05
    distance: float = 1.0
    labels: float = 1.0
    seed: int = 0


def teacher_tokens(model: Any) -> Callable[[Tensor], Tensor]:
    """A function from images (B, side, side, 3) uint8 to the tokens (B, patches, d) that LLaVA-1.5's decoder reads."""
    tower = model.model.vision_tower.eval().requires_grad_(False)
    projector = model.model.multi_modal_projector.eval().requires_grad_(False)

    @torch.no_grad()
    def tokens(images: Tensor) -> Tensor:
        projected: Tensor = projector(encode(tower, pixels(images))[1][:, 1:])
        return projected

    return tokens


class TokenLabels(nn.Module):
    """Linear heads from a family's tokens to the labels of the patches that they show."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.heads = nn.Linear(width, sum(LABELS.values()))

    def forward(self, tokens: Tensor, labels: Tensor, shows: Tensor) -> tuple[Tensor, Tensor]:
        """Losses (6,) and hits of colour and name (2,) on tokens that show an object.

        ``tokens`` (B, n, d), ``labels`` (B, patches, 6) int64, ``shows`` (n, patches) with rows that sum to one.
        """
        losses, hits = [], []
        for place, (part, size) in enumerate(
            zip(self.heads(self.norm(tokens)).split(list(LABELS.values()), dim=-1), LABELS.values(), strict=True)
        ):
            wanted = shows @ nn.functional.one_hot(labels[..., place], size).float()
            losses.append(-(wanted * part.log_softmax(-1)).sum(-1).mean())
            if place < 2:
                there = wanted[..., 0] < 0.5
                hits.append((part.argmax(-1) == wanted.argmax(-1))[there].float().mean())
        return torch.stack(losses), torch.stack(hits)


def train_tower(
    student: Callable[[Tensor], Tensor],
    trained: nn.Module,
    shows: Tensor,
    teacher: Callable[[Tensor], Tensor],
    pool: Pool,
    recipe: TowerRecipe,
    log: Callable[[str], None],
    save: Callable[[], None],
) -> int:
    """Train a tower and its projector, in place.

    Parameters
    ----------
    student : callable
        (B, side, side, 3) uint8 to (B, n, d) tokens of the family.
    trained : Module
        Holds the parameters behind ``student``.
    shows : Tensor of float32, shape (n, patches)
        Share of each of LLaVA-1.5's patches in what a token shows; rows sum to one.
    teacher : callable
        Function from `teacher_tokens`.
    pool : Pool
        The scenes.
    recipe : TowerRecipe
        Minutes, rates and weights.
    log, save : callable
        Called every 25 and 100 steps.

    Returns
    -------
    int
        Steps done.
    """
    torch.manual_seed(recipe.seed)
    rng = np.random.default_rng((recipe.seed, 8))
    images, labels = torch.from_numpy(pool.images), torch.from_numpy(pool.labels)
    spread = teacher(images[:64]).flatten(0, 1).var(0).sum()
    heads = TokenLabels(int(teacher(images[:1]).shape[-1]))
    parameters = [*trained.parameters(), *heads.parameters()]
    optimiser = torch.optim.AdamW(
        [
            {"params": [p for p in parameters if p.ndim > 1], "weight_decay": recipe.weight_decay},
            {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
        ],
        lr=recipe.rate,
        betas=(0.9, 0.98),
    )
    weights = torch.tensor(WEIGHTS)
    order: list[int] = []
    mean: Any = None
    step, begin = 0, time.monotonic()
    while (progress := (time.monotonic() - begin) / (60 * recipe.minutes)) < 1:
        if len(order) < recipe.batch:
            order = rng.permutation(len(images)).tolist()
        chosen, order = order[: recipe.batch], order[recipe.batch :]
        for group in optimiser.param_groups:
            group["lr"] = recipe.rate * schedule(step, recipe.warmup, progress)
        wanted = shows @ teacher(images[chosen])
        found = student(images[chosen])
        distance = (found - wanted).square().sum(-1).mean() / spread
        losses, hits = heads(found, labels[chosen].long(), shows)
        loss = recipe.distance * distance + recipe.labels * (weights * losses).sum()
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        step += 1
        values = np.array([distance.item(), *losses[:2].tolist(), *hits.tolist()])
        mean = values if mean is None else 0.95 * mean + 0.05 * values
        if step % 25 == 0:
            row = " ".join(
                f"{k} {v:.3f}" for k, v in zip(("distance", "colour", "name", "hit", "hit"), mean, strict=True)
            )
            log(f"tower {step} {time.monotonic() - begin:.0f}s {row}")
        if step % 100 == 0:
            save()
    return step
