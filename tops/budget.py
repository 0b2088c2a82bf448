"""Token budgets and the schedules they turn into. Pure arithmetic: no tensors, no model."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from tops.errors import BudgetError

Protocol = Literal["layer_average", "as_printed", "kept"]
PROTOCOLS: tuple[Protocol, ...] = ("layer_average", "as_printed", "kept")


def layer_average(tokens_per_layer: Sequence[int]) -> float:
    """Mean over decoder layers of the visual tokens that each one sees at prefill: what a budget is compared with."""
    return sum(tokens_per_layer) / len(tokens_per_layer)


@dataclass(frozen=True)
class PromptShape:
    """What a schedule may depend on; known before any compute.

    Attributes
    ----------
    visual : int
        Visual tokens of the whole prompt that a method may keep or drop (newline tokens are not counted).
    depth : int
        Decoder layers of the language model.
    images : int
        Images of the prompt, or frames of its videos: a count budget is meant for each of them.
    backbone : str
        Catalogue name such as ``"llava-1.5-7b"``; empty when unknown. Selects published schedules.
    units : tuple of tuple of int
        Per image the tokens of each of its units (tiles, views, or one frame), in prompt order; empty when unknown.
    """

    visual: int
    depth: int
    images: int = 1
    backbone: str = ""
    units: tuple[tuple[int, ...], ...] = ()


@dataclass(frozen=True)
class Budget:
    """How many visual tokens a method may use, and what that number means.

    Attributes
    ----------
    value : int or float
        A count of tokens per image (per frame of a video), or a keep ratio in (0, 1] of the tokens that are there.
        ``1.0`` (a float) prunes nothing; ``1`` (an int) keeps a single token.
    protocol : str
        ``layer_average``: the mean over decoder layers of the visual tokens each one saw; ``kept``: tokens after the
        method's (first) cut; ``as_printed``: the schedule printed in the paper for that number.
    """

    value: int | float
    protocol: Protocol = "layer_average"

    def __post_init__(self) -> None:
        if self.protocol not in PROTOCOLS:
            raise BudgetError(f"budget protocol {self.protocol!r} is not one of {', '.join(PROTOCOLS)}")
        if isinstance(self.value, bool) or not isinstance(self.value, int | float) or not math.isfinite(self.value):
            raise BudgetError(
                f"budget {self.value!r} is neither a token count (int) nor a keep ratio (float in (0, 1])"
            )
        if isinstance(self.value, int) and self.value < 1:
            raise BudgetError(
                f"budget of {self.value} tokens: at least 1 token must stay; use method=text_only for none"
            )
        if isinstance(self.value, float) and not 0.0 < self.value <= 1.0:
            raise BudgetError(
                f"keep ratio {self.value} is outside (0, 1]; write a token count as an int, such as {round(self.value)}"
            )

    def tokens(self, shape: PromptShape) -> int:
        """Tokens this budget allows over the whole prompt.

        Raises
        ------
        BudgetError
            If a count exceeds the visual tokens that are there.
        """
        if isinstance(self.value, float):
            return max(1, math.floor(self.value * shape.visual + 0.5))
        total = self.value * max(1, shape.images)
        if total > shape.visual:
            raise BudgetError(
                f"budget of {self.value} tokens x {shape.images} image(s) = {total} exceeds the {shape.visual} visual "
                f"tokens of the prompt; use at most {shape.visual // max(1, shape.images)}, or a keep ratio"
            )
        return total


@dataclass(frozen=True)
class NoBudget(Budget):
    """What a method has that was given no budget: counts as keeping everything, and is refused where one is needed."""

    value: int | float = 1.0


@dataclass(frozen=True)
class Cut:
    """From decoder layer ``layer`` on, ``keep`` visual tokens. Layer 0 is before the language model (Stage I)."""

    layer: int
    keep: int


@dataclass(frozen=True)
class Schedule:
    """Which cuts a method makes on one prompt.

    Raises
    ------
    BudgetError
        If a cut lies outside the model, layers do not rise, or a cut keeps no token or more than were there.
    """

    visual: int
    depth: int
    cuts: tuple[Cut, ...]

    def __post_init__(self) -> None:
        have = self.visual
        for cut in self.cuts:
            if not 0 <= cut.layer < self.depth:
                raise BudgetError(
                    f"pruning layer {cut.layer} is outside the model: its layers are 0 to {self.depth - 1}"
                )
            if cut.keep < 1:
                raise BudgetError(f"the cut at layer {cut.layer} would keep {cut.keep} tokens; at least 1 must stay")
            if cut.keep > have:
                raise BudgetError(f"the cut at layer {cut.layer} keeps {cut.keep} tokens, but only {have} are there")
            have = cut.keep
        if any(a.layer >= b.layer for a, b in pairwise(self.cuts)):
            raise BudgetError(f"pruning layers must rise: {[c.layer for c in self.cuts]}")

    @property
    def tokens_per_layer(self) -> tuple[int, ...]:
        """Visual tokens each decoder layer sees at prefill, shape (depth,)."""
        out, have, cuts = [], self.visual, {c.layer: c.keep for c in self.cuts}
        for layer in range(self.depth):
            have = cuts.get(layer, have)
            out.append(have)
        return tuple(out)

    @property
    def layer_average(self) -> float:
        """Mean over decoder layers of the visual tokens each one sees at prefill."""
        return layer_average(self.tokens_per_layer)
