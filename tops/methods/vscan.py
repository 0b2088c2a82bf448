"""VScan: a local and a global scan with merging before the language model, and one more cut inside it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from tops.budget import Cut, PromptShape, Schedule
from tops.errors import BudgetError, ConfigurationError
from tops.methods.base import BeforeModel
from tops.methods.cuts import allowed, before_model, scaled_layers
from tops.methods.units import Group, Rows, Scope
from tops.signals import PruningPoint, Signal, Tower

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class VScan(BeforeModel):
    """VScan (Zhang et al., TMLR 2026, arXiv 2505.22654).

    Before the language model every tile keeps the patches that a shallow layer of the vision tower attends to, spread
    over windows, and those that the deep layer attends to; all others merge into the kept one most like them, a plain
    mean. At a middle decoder layer the tokens that the last token of the prompt attends to stay. Official code:
    ``Tencent/SelfEvolvingAgent`` at ``a82450e``, folder ``VScan``. Families without a CLS token use attention received,
    windows of four by four tokens, and compare queries and keys without RoPE, as the official Qwen2.5-VL code does.

    Parameters
    ----------
    budget : Budget, int or float
        Under ``layer_average`` both counts are solved so that the layers average to it, three to one as in the authors'
        96 and 32; under ``kept`` it is the first.
    layer : int or None
        The second cut. None: only the first.
    of : int or None
        Depth that ``layer`` refers to; other models are cut at the same fraction. None: literally.
    share : float
        The second count, of the first.
    keeps : tuple of int, optional
        Instead of a budget: tokens per image after either cut.
    shallow_layer : int or None
        Layer of the vision tower, from 0, of the local scan. None: 5 of CLIP's 24, the same fraction of another depth;
        on a tower that attends in windows the first layer that does not.
    windows : {"auto", "sixteen", "four"}
        ``sixteen``: four by four windows, each giving the same number (official LLaVA code). ``four``: windows of four
        by four tokens, each giving at most its share (official Qwen2.5-VL code). ``auto``: by the tower's CLS token.
    local : {"exact", "floor"}
        ``floor``: the official LLaVA code rounds each window's share down, and keeps 40 tokens where 48 were asked for.
        ``exact``: the global scan makes up for it, so that a budget means the same as for other methods.
    second : {"whole", "first_tile"}
        ``first_tile``: on LLaVA-NeXT the official code takes the count of one tile for that of all; it cuts among the
        base tile alone, by what a visual token of the grid attends to. ``whole``: all visual tokens, by the last token.
    rope : bool or None
        Whether the second cut sees positions. None: where position ids have one axis.
    """

    name: ClassVar[str] = "vscan"
    title: ClassVar[str] = "VScan"
    signals: ClassVar[frozenset[Signal]] = frozenset({Signal.SALIENCY})

    layer: int | None = 16
    of: int | None = 32
    share: float = 1 / 3
    keeps: tuple[int, ...] | None = None
    shallow_layer: int | None = None
    windows: Literal["auto", "sixteen", "four"] = "auto"
    local: Literal["exact", "floor"] = "exact"
    second: Literal["whole", "first_tile"] = "whole"
    rope: bool | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.share <= 1:
            raise ConfigurationError(f"VScan: share={self.share} of the first count must lie in (0, 1]")
        if self.keeps is not None and (self.layer is None or len(self.keeps) != 2):
            raise ConfigurationError(f"VScan: keeps={list(self.keeps)} must be two counts, with a layer for the second")

    @property
    def takes_budget(self) -> bool:
        """Not with ``keeps``."""
        return self.keeps is None

    @property
    def follows_prompt(self) -> bool:
        """With the official counts."""
        return self.local == "floor" or self.second == "first_tile"

    def tower_layers(self, tower: Tower) -> tuple[int, ...]:
        """The layer of the local scan."""
        if self.shallow_layer is not None:
            return (self.shallow_layer,)
        return (tower.depth * 5 // 24 if len(tower.whole) == tower.depth else tower.whole[0],)

    def cuts(self, shape: PromptShape) -> Schedule:
        """One cut before the model and one inside it.

        Raises
        ------
        BudgetError
            If the layers before the second cut alone exceed the average.
        """
        if self.layer is None:
            return before_model(self.allowance, shape, self.title)
        (layer,) = scaled_layers((self.layer,), shape.depth, self.of, self.title)
        if self.keeps is not None:
            first, second = (count * max(1, shape.images) for count in self.keeps)
        else:
            total = allowed(self.allowance, shape, self.title)
            if total == shape.visual:
                return Schedule(shape.visual, shape.depth, ())
            first, second = self._counts(total, shape, layer)
        cuts = (Cut(0, first), Cut(layer, second))
        return Schedule(shape.visual, shape.depth, cuts if first < shape.visual else cuts[1:])

    def _counts(self, total: int, shape: PromptShape, layer: int) -> tuple[int, int]:
        depth, protocol = shape.depth, self.allowance.protocol
        if protocol == "as_printed":
            raise BudgetError(
                f"{self.title} has no printed schedule for {self.allowance.value}; use protocol=layer_average or kept"
            )
        if protocol == "kept":
            return total, max(1, math.floor(total * self.share + 1e-9))
        first = math.floor(total * depth / (layer + (depth - layer) * self.share) + 1e-9)
        first = max(min(first, shape.visual), max(1, shape.images))
        second = min(first, (total * depth - layer * first) // (depth - layer))
        if second < 1:
            raise BudgetError(
                f"{self.title} cannot average {total} of {shape.visual} tokens over {depth} layers with its second cut "
                f"at layer {layer}; cut earlier, or ask for more"
            )
        return first, second

    def scope_at(self, point: PruningPoint) -> Scope:
        """Tiles and frames before the model, everything inside it."""
        return "unit" if point.layer == 0 else "prompt"

    def values(self, point: PruningPoint) -> Mapping[str, Tensor]:
        """Attention of a shallow and of the deep layer of the tower."""
        if point.layer:
            return {}
        (layer,) = self.tower_layers(point.vision.tower)
        return {"shallow": point.vision.saliency(layer=layer), "deep": point.vision.saliency()}

    def choose(self, group: Group) -> Tensor | Rows:
        """(G, keep) merged rows before the model; (1, keep) int64 inside it."""
        return self._second(group) if group.point.layer else self._first(group)

    def _first(self, group: Group) -> Rows:
        import torch

        from tops.selection.scan import merge_into_nearest, select_scans, window_of

        tokens, vision = group.point.tokens, group.point.vision
        group.point.memory["tile"] = torch.tensor(group.keep)
        row, column = tokens.row[group.positions], tokens.col[group.positions]
        row, column = row - row.amin(1, keepdim=True), column - column.amin(1, keepdim=True)
        windows = self.windows
        if windows == "auto":
            windows = "sixteen" if Signal.CLS in vision.signals else "four"
        window = window_of(row, column, windows)
        exact = self.local == "exact"
        kept = select_scans(group["shallow"], group["deep"], window, group.keep, windows=windows, exact=exact).kept
        return Rows(kept, merge_into_nearest(group["features"], kept)[0])

    def _second(self, group: Group) -> Tensor:
        import torch

        from tops.selection import top_k_lowest_index

        have, keep = group.positions.shape[1], group.keep
        if self.second == "whole":
            return top_k_lowest_index(self.scores(group.point), keep)[None]
        tile = self._tile(group.point)
        best = top_k_lowest_index(self.scores(group.point)[:tile], max(1, math.floor(tile * self.share + 1e-9)))
        return torch.cat([best, torch.arange(tile, have, device=best.device)])[None]

    @staticmethod
    def _tile(point: PruningPoint) -> int:
        """What one tile kept at the first cut; without a first cut all tokens of the first."""
        tokens = point.tokens
        kept = int(point.memory["tile"] if "tile" in point.memory else (tokens.unit == tokens.unit[0]).sum())
        return min(kept, len(tokens))

    def scores(self, point: PruningPoint) -> Tensor:
        """(N,) float32: attention of the last prompt token in the layer about to run, mean over heads."""
        import torch

        last = point.positions.shape[-1] - 1
        if self.second == "first_tile":
            last += self._tile(point) - len(point.tokens)
        rope = point.positions.ndim == 1 if self.rope is None else self.rope
        rows = torch.tensor([last], device=point.tokens.index.device)
        return point.attention(rows, layer="own", rope=rope)[:, 0, point.visual_slots].mean(0)
