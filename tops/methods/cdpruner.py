"""CDPruner: a diverse set of tokens, conditioned on how relevant each is to the question."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from tops.errors import ConfigurationError, MissingSignalError
from tops.methods._text import without_instruction
from tops.methods.base import BeforeModel
from tops.methods.units import Group
from tops.signals import PruningPoint, Signal

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class CDPruner(BeforeModel):
    """CDPruner (Zhang et al., NeurIPS 2025, arXiv 2506.10967).

    Greedy MAP of a determinantal point process in every tile: similarity of projected tokens, weighted on both sides by
    relevance. Relevance is **minus** the cosine with the question in CLIP's joint space, since patch features of the
    penultimate layer respond inversely to text, mapped to 0..1 over all tiles of an image. Official code:
    ``Theia-4869/CDPruner`` at ``bbd5653``. The image's tiles and newlines stay as the backbone makes them, where the
    official code forces a grid of 672 x 672 without newlines.

    Parameters
    ----------
    budget : Budget, int or float
        Tokens per image, shared among its tiles.
    relevance : {"auto", "clip", "embeddings"}
        ``clip``: as above; needs CLIP's text tower. ``embeddings``: plus the cosine of the projected tokens with the
        mean input embedding of the text after the image, as the OpenVINO port does for models without a CLIP tower.
        ``auto``: ``clip`` where the vision tower is CLIP's, and an error there if no text tower is given; else
        ``embeddings``.
    theta : float
        Trade-off in [0, 1) of the paper's generalised form, relevance to ``exp(theta / (2 (1 - theta)) * relevance)``;
        0 leaves relevance as it is, as the released code does.
    """

    title: ClassVar[str] = "CDPruner"
    reads_question: ClassVar[bool] = True

    relevance: Literal["auto", "clip", "embeddings"] = "auto"
    theta: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.theta < 1:
            raise ConfigurationError(f"CDPruner: theta={self.theta} must lie in [0, 1)")

    def needs(self, have: frozenset[Signal]) -> frozenset[Signal]:
        """CLIP's text tower where the vision tower is CLIP's, or where it is asked for."""
        clip = self.relevance == "clip" or (self.relevance == "auto" and Signal.ENCODER in have)
        return frozenset({Signal.TEXT_TOWER}) if clip else frozenset()

    def values(self, point: PruningPoint) -> Mapping[str, Tensor]:
        """Relevance to the question."""
        return {"quality": self.quality(point)}

    def choose(self, group: Group) -> Tensor:
        """(G, keep) int64: the most probable set."""
        from tops.selection import select_dpp

        return select_dpp(group["features"], group["quality"], group.keep)

    def quality(self, point: PruningPoint) -> Tensor:
        """(N,) float32: relevance after min-max over each image."""
        from torch.nn.functional import normalize

        vision = point.vision
        clip = bool(self.needs(vision.signals))
        if clip and Signal.TEXT_TOWER not in vision.signals:
            raise MissingSignalError(
                "CDPruner compares patches with the question in CLIP's joint space, and no text tower is given; pass "
                "one to load_backbone (text_tower=...), or choose relevance=embeddings, which is another method"
            )
        if clip:
            text = point.text.clip_embeddings(without_instruction(point.text.question), segments=True).float()
            patches = normalize(vision.packed(vision.joint_embeddings()).float(), dim=-1)
            relevance = -(patches @ normalize(text, dim=-1).mT.to(patches)).mean(-1)
        else:
            text = point.text.embeddings().float().mean(0, keepdim=True)
            relevance = (normalize(point.tokens.features.float(), dim=-1) @ normalize(text, dim=-1).mT)[:, 0]
        image = point.tokens.image
        bounds = relevance.new_zeros(int(image.max()) + 1)
        low = bounds.scatter_reduce(0, image, relevance, "amin", include_self=False)[image]
        high = bounds.scatter_reduce(0, image, relevance, "amax", include_self=False)[image]
        # The official code adds 1e-6 above the line only, and divides by zero where all tokens are alike.
        scaled = (relevance - low + 1e-6) / (high - low).clamp_min(1e-12)
        return (scaled * (self.theta / (2 * (1 - self.theta)))).exp() if self.theta else scaled
