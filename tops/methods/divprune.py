"""DivPrune: keep the tokens that are farthest from one another."""

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
class DivPrune:
    """DivPrune (Alvar et al., CVPR 2025, arXiv 2503.02175).

    Max-min diversity on the projected tokens, without attention or text. Official code: ``vbdi/divprune`` at
    ``799e2d9``.

    Parameters
    ----------
    budget : Budget, int or float
        Tokens per image. The official code takes a ratio, ``int(round(ratio * N))``.
    scope : {"image", "unit", "prompt"}
        What one selection runs over: an image with all its tiles (official), each tile or frame, or all images and
        frames of the prompt in one pool (the paper's video setting).
    with_newlines : bool
        Newline tokens between the rows of LLaVA-NeXT and LLaVA-Video are candidates and count in the budget, as in the
        official code. Off by default, so that a budget means the same for every method.
    """

    name: ClassVar[str] = "divprune"
    title: ClassVar[str] = "DivPrune"
    signals: ClassVar[frozenset[Signal]] = frozenset()

    budget: BudgetField = BudgetField()
    scope: Literal["image", "unit", "prompt"] = "image"
    with_newlines: bool = False
    positions: Positions | None = None

    def schedule(self, shape: PromptShape) -> Schedule:
        """One cut before the language model."""
        return before_model(self.budget, shape, self.title)

    def select(self, point: PruningPoint) -> Selection:
        """The max-min set of every image, in prompt order."""
        from tops.selection import select_max_min

        features = point.tokens.features
        return select_per_unit(
            point,
            lambda group: select_max_min(features[group.positions], group.keep),
            scope=self.scope,
            proportional=isinstance(self.budget.value, float),
        )
