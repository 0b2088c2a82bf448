"""DivPrune: keep the tokens that are farthest from one another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from tops.methods.base import BeforeModel
from tops.methods.units import Group, Scope
from tops.signals import PruningPoint

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class DivPrune(BeforeModel):
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

    scope: Literal["image", "unit", "prompt"] = "image"
    with_newlines: bool = False

    def scope_at(self, point: PruningPoint) -> Scope:
        """As the option says."""
        return self.scope

    def choose(self, group: Group) -> Tensor:
        """(G, keep) int64: the max-min set."""
        from tops.selection import select_max_min

        return select_max_min(group["features"], group.keep)
