"""SCOPE: keep salient tokens that between them cover the image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from tops.budget import PromptShape, Schedule
from tops.methods._cuts import before_model
from tops.methods._units import select_per_unit
from tops.methods.base import BudgetField, Positions
from tops.signals import PruningPoint, Signal
from tops.tokens import Selection


@dataclass(frozen=True)
class SCOPE:
    """SCOPE (Deng et al., NeurIPS 2025, arXiv 2510.24214).

    Greedy facility location on encoder features, each gain times the CLS attention of the token, in every tile.
    Official code: ``kinredon/SCOPE`` at ``6bf7306``, folder ``scope/``. Kept features go through the projector one by
    one, so gathering projected tokens is the same. A backbone whose tokens are not single encoder rows (InternVL3,
    Qwen2.5-VL, LLaVA-Video) selects on projected tokens, which is ours.

    Parameters
    ----------
    budget : Budget, int or float
        Tokens per image, shared among its tiles; the official code drops the remainder of that division.
    alpha : float
        Exponent of the saliency; 0 is plain coverage. The official scripts use 1.
    combine : {"multiply", "add"}
        Gain times, or plus, the power of the saliency.
    """

    name: ClassVar[str] = "scope"
    title: ClassVar[str] = "SCOPE"
    signals: ClassVar[frozenset[Signal]] = frozenset({Signal.SALIENCY})

    budget: BudgetField = BudgetField()
    alpha: float = 1.0
    combine: Literal["multiply", "add"] = "multiply"
    positions: Positions | None = None

    def schedule(self, shape: PromptShape) -> Schedule:
        """One cut before the language model."""
        return before_model(self.budget, shape, self.title)

    def select(self, point: PruningPoint) -> Selection:
        """The chosen tokens of every tile, in prompt order."""
        from tops.selection import select_coverage

        vision = point.vision
        saliency = vision.saliency(reduce="sum")
        own = Signal.ENCODER in vision.signals
        features = vision.packed(vision.encoder_features()[:, 1:]) if own else point.tokens.features
        return select_per_unit(
            point,
            lambda group: select_coverage(
                features[group.positions],
                saliency[group.positions],
                group.keep,
                alpha=self.alpha,
                combine=self.combine,
            ),
            proportional=isinstance(self.budget.value, float),
        )
