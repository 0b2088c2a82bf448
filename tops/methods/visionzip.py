"""VisionZip: keep the patches that CLS attends to, and merge the rest into a few contextual tokens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from tops.budget import PromptShape, Schedule
from tops.errors import ConfigurationError
from tops.methods._cuts import before_model
from tops.methods._units import Group, everything, groups
from tops.methods.base import BudgetField, Positions
from tops.signals import PruningPoint, Signal
from tops.tokens import Selection

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class VisionZip:
    """VisionZip (Yang et al., CVPR 2025, arXiv 2412.04467).

    In every tile: the CLS token, the patches it attends to most, and contextual tokens, each a patch plus the mean of
    the patches whose keys are most like its own. All of it on encoder features; the projector runs on what is left.
    Official code: ``dvlab-research/VisionZip`` at ``3151f6d``. The paper speaks of averaging a contextual token with
    its group; the code adds the group's mean, and so does this.

    A backbone without a CLS token or single-row projector (InternVL3 after pixel shuffle, Qwen2.5-VL, SigLIP) selects
    and merges projected tokens instead, compares the tokens themselves, and leaves contextual tokens in their places,
    as the official Qwen2.5-VL code does with keys.

    Parameters
    ----------
    budget : Budget, int or float
        Tokens per image, shared among its tiles: dominant, CLS and contextual together.
    contextual : float
        Share of contextual tokens: 10/64 gives the authors' 54 + 10, 108 + 20, 162 + 30 and 27 + 5.
    """

    name: ClassVar[str] = "visionzip"
    title: ClassVar[str] = "VisionZip"
    signals: ClassVar[frozenset[Signal]] = frozenset({Signal.SALIENCY})

    budget: BudgetField = BudgetField()
    contextual: float = 10 / 64
    positions: Positions | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.contextual < 1:
            raise ConfigurationError(f"VisionZip: contextual={self.contextual} is a share; it must lie in [0, 1)")

    def schedule(self, shape: PromptShape) -> Schedule:
        """One cut before the language model."""
        return before_model(self.budget, shape, self.title)

    def split(self, keep: int) -> tuple[int, int]:
        """Dominant (CLS included) and contextual tokens of a tile that keeps this many."""
        contextual = min(keep - 1, int(keep * self.contextual + 0.5))
        return keep - contextual, contextual

    def select(self, point: PruningPoint) -> Selection:
        """Per image: its first tile's CLS, dominant and contextual tokens, then those of the other tiles, by kind."""
        if point.keep >= len(point.tokens):
            return everything(point.tokens)
        batches = groups(point, proportional=isinstance(self.budget.value, float))
        with_cls = {Signal.ENCODER, Signal.CLS} <= point.vision.signals
        return self._encoder(point, batches) if with_cls else self._projected(point, batches)

    def _encoder(self, point: PruningPoint, batches: list[Group]) -> Selection:
        import torch

        from tops.selection.merging import add_group_means, contextual_groups

        vision = point.vision
        encoder = vision.encoder_features()
        hidden = vision.packed(encoder[:, 1:])
        metric = vision.packed(vision.encoder_keys(layer="feature").float().mean(1)[:, 1:])
        scores = vision.saliency(reduce="sum")
        rows: list[Tensor] = []
        anchors: list[Tensor] = []
        ranks: list[Tensor] = []
        for group in batches:
            at = group.positions
            count, contextual = self.split(group.keep)
            dominant, targets, member = contextual_groups(scores[at], metric[at], count - 1, contextual)
            local = hidden[at]
            rows += [
                encoder[group.units, :1],
                local.gather(1, dominant[..., None].expand(-1, -1, local.shape[-1])),
                add_group_means(local, targets, member),
            ]
            anchors += [at[:, :1], at.gather(1, dominant), at.gather(1, targets)]
            ranks += [_rank(point, group, kind, at) for kind, at in enumerate(anchors[-3:])]
        place = torch.cat([a.flatten() for a in anchors])
        order = torch.cat([r.flatten() for r in ranks]).argsort(stable=True)
        vectors = torch.cat([r.flatten(0, 1) for r in rows])[order]
        return Selection(place[order], vision.project(vectors))

    def _projected(self, point: PruningPoint, batches: list[Group]) -> Selection:
        import torch

        from tops.selection.merging import add_group_means, contextual_groups

        features = point.tokens.features
        scores = point.vision.saliency(reduce="sum")
        rows = features.clone()
        kept: list[Tensor] = []
        for group in batches:
            at = group.positions
            count, contextual = self.split(group.keep)
            dominant, targets, member = contextual_groups(scores[at], features[at], count, contextual)
            places = at.gather(1, targets)
            rows[places] = add_group_means(features[at], targets, member)
            kept += [at.gather(1, dominant).flatten(), places.flatten()]
        indices = torch.cat(kept).sort().values
        return Selection(indices, rows[indices])


def _rank(point: PruningPoint, group: Group, kind: int, anchors: Tensor) -> Tensor:
    """(G, m): sort key of the CLS (kind 0), dominant (1) or contextual (2) tokens of a group.

    Of an image first come its first tile's CLS, dominant and contextual tokens; then the dominant tokens of its other
    tiles in prompt order, across tiles; then these tiles' CLS tokens, then their contextual tokens, tile by tile."""
    import torch

    tokens = point.tokens
    image = tokens.image[group.positions[:, 0]]
    first = torch.full((int(tokens.image.max()) + 1,), len(tokens), device=image.device)
    first = first.scatter_reduce(0, tokens.image, tokens.unit, "amin")
    block = image * 6 + torch.where(group.units == first[image], kind, 3 + (1, 0, 2)[kind])
    tile = torch.zeros_like(image) if kind == 1 else group.units
    size = len(tokens)
    return (block * size + tile)[:, None] * size + anchors
