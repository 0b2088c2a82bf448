"""DART: keep a few pivots, and what is least like them; importance plays no part, duplication does."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Literal

from tops.budget import Cut, PromptShape, Schedule
from tops.errors import BudgetError
from tops.methods.base import InsideModel, Positions
from tops.methods.cuts import allowed, one_cut, scaled_layers
from tops.methods.units import Group

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class DART(InsideModel):
    """DART (Wen et al., EMNLP 2025, arXiv 2502.11494).

    Pivots are the visual and the text tokens with the largest keys (L1) in the layer before the cut. Each pivot in turn
    keeps the remaining visual tokens whose state, after the model's final norm, is least like its own. Official code:
    ``ZichenWen1/DART`` (mirror at ``d6a5af6``). Several images and videos are one pool.

    Parameters
    ----------
    budget : Budget, int or float
        Under ``layer_average`` the count after the cut is solved so that the layers average to it. ``as_printed`` is
        the count of the official LLaVA code, which goes over: 4 + 8 (T // 8), that is 132, 68 and 36.
    layer : int
        The cut; the layer before it gives the keys.
    of : int or None
        Depth that ``layer`` refers to; other models are cut at the same fraction, at layer 1 or later. None: literally.
    image_pivots, text_pivots : int
        Pivots among the visual tokens, and among the tokens after the last of them.
    order : {"set", "norm"}
        In which order pivots take. ``set``: the official code's, which iterates a Python set of the pivots' places.
        ``norm``: image before text, largest norm first.
    fill : bool
        The first pivots take one token more, so that the count is exact. False: every pivot takes the same number, as
        in the official code, and up to seven tokens of the budget stay unused.
    """

    title: ClassVar[str] = "DART"

    layer: int = 2
    image_pivots: int = 4
    text_pivots: int = 4
    order: Literal["set", "norm"] = "set"
    fill: bool = True
    positions: Positions | None = field(default="original", kw_only=True)

    @property
    def at(self) -> tuple[int, ...]:
        """The one cut."""
        return (self.layer,)

    def cuts(self, shape: PromptShape) -> Schedule:
        """One cut; ``as_printed`` is the official count."""
        (layer,) = scaled_layers((self.layer,), shape.depth, self.of, self.title)
        pivots = self.image_pivots + self.text_pivots
        if self.allowance.protocol == "as_printed":
            total = allowed(self.allowance, shape, self.title)
            keep = self.image_pivots + pivots * (total // pivots)
            cuts = (Cut(layer, keep),) if keep < shape.visual else ()
            return Schedule(shape.visual, shape.depth, cuts)
        return one_cut(self.allowance, shape, layer, self.title, kept=self._kept)

    def _kept(self, count: int) -> int:
        if count < self.image_pivots + 1:
            raise BudgetError(
                f"DART would keep {count} tokens after its cut, no more than its {self.image_pivots} image pivots; "
                f"give a budget that leaves {self.image_pivots + 1}, or fewer image_pivots"
            )
        pivots = self.image_pivots + self.text_pivots
        return count if self.fill else count - (count - self.image_pivots) % pivots

    def choose(self, group: Group) -> Tensor:
        """(1, keep) int64: image pivots and what all pivots took."""
        import torch

        from tops.selection.duplication import largest_norms, pick_dissimilar

        point = group.point
        slots, text = point.visual_slots, point.text_slots
        keys = point.keys(layer="previous")
        image_pivots = slots[largest_norms(keys[:, slots], min(self.image_pivots, point.keep))]
        pivots = image_pivots.tolist()
        if len(text) and self.text_pivots:
            pivots += text[largest_norms(keys[:, text], min(self.text_pivots, len(text)))].tolist()
        if self.order == "set":
            pivots = list(set(pivots))
        each, odd = divmod(point.keep - len(image_pivots), len(pivots))
        counts = [each + (i < odd) for i in range(len(pivots))]
        states = point.final_norm(point.hidden())
        places = pick_dissimilar(states, torch.tensor(pivots, device=slots.device), slots, counts)
        kept = torch.isin(slots, torch.cat([image_pivots, places]))
        return kept.nonzero().T
