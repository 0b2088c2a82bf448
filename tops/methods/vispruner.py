"""VisPruner: half by CLS attention, half by dropping duplicates of what is left; FasterVLM is its first half alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from tops.errors import ConfigurationError
from tops.methods._encoder import patch_or_token_features
from tops.methods.base import BeforeModel
from tops.methods.units import Group
from tops.signals import PruningPoint, Signal

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class VisPruner(BeforeModel):
    """VisPruner (Zhang et al., ICCV 2025, arXiv 2412.01818; version 1 of that number is FasterVLM).

    In every tile: the patches with the most CLS attention (mean over heads), then of the others, ranked by attention,
    what is left when the most duplicated of every second one are dropped in rounds of eight. Similarity is that of
    encoder features, and the tile's order stays. Official code: ``Theia-4869/VisPruner`` at ``aefa01a``. It fails for
    odd lists and for tiny budgets; the rounds are defined for both here, and equal it wherever it runs. Tiles and
    newlines of LLaVA-NeXT stay as the backbone makes them, where the official code forces 672 x 672 without newlines.

    Families without a CLS token rank by the attention that a token receives, as the official branch for SigLIP does;
    those whose tokens are no single encoder rows compare projected tokens (ours).

    Parameters
    ----------
    budget : Budget, int or float
        Tokens per image, shared among its tiles.
    important_ratio : float
        Share kept by attention. The repository leaves open which share belongs to which row of the paper's tables; its
        argument defaults to 0.5. 1 is FasterVLM.
    """

    name: ClassVar[str] = "vispruner"
    title: ClassVar[str] = "VisPruner"
    signals: ClassVar[frozenset[Signal]] = frozenset({Signal.SALIENCY})

    important_ratio: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.important_ratio <= 1:
            raise ConfigurationError(
                f"VisPruner: important_ratio={self.important_ratio} is a share; it must lie in [0, 1]"
            )

    def values(self, point: PruningPoint) -> Mapping[str, Tensor]:
        """Encoder features where a token is one of them, and CLS attention."""
        return {"features": patch_or_token_features(point), "saliency": point.vision.saliency()}

    def choose(self, group: Group) -> Tensor:
        """(G, keep) int64: important and diverse patches."""
        from tops.selection.rounds import select_important_diverse

        return select_important_diverse(
            group["features"], group["saliency"], group.keep, important=self.important_ratio
        )
