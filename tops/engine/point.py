"""One cut on one sample, as a method sees it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor

from tops.backbones._precision import as_the_model_runs
from tops.backbones.base import Adapter, Layout
from tops.budget import PromptShape
from tops.engine.attention import layer_keys, row_attention
from tops.engine.segment import Row
from tops.errors import ConfigurationError
from tops.signals import TextSignals, VisionSignals
from tops.tokens import VisualTokens

Which = Literal["own", "previous"]


@dataclass
class Point:
    """Implements :class:`tops.signals.PruningPoint`.

    Attributes
    ----------
    adapter : Adapter
    row : Row
        The sample as it stands.
    states : Tensor, (L, d)
        Unpadded input of ``layer``.
    before : Tensor or None, (L, d)
        Unpadded input of ``layer - 1`` when that ran; same tokens, same positions.
    layout : Layout
    """

    adapter: Adapter
    row: Row
    states: Tensor
    before: Tensor | None
    layout: Layout
    layer: int
    keep: int
    shape: PromptShape
    vision: VisionSignals
    text: TextSignals
    sample: str = ""
    memory: dict[str, Tensor] = field(default_factory=dict)
    ordinal: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.int64))

    @property
    def initial(self) -> int:
        """Visual tokens of the prompt before any cut."""
        return self.shape.visual

    @cached_property
    def tokens(self) -> VisualTokens:
        """Visual tokens in prompt order."""
        index = self.ordinal[self.row.index[self.row.candidate]]
        device, layout = self.states.device, self.layout
        return VisualTokens(
            features=self.states[self.visual_slots],
            index=index.to(device),
            unit=layout.unit[index].to(device),
            image=layout.image[index].to(device),
            row=layout.row[index].to(device),
            col=layout.col[index].to(device),
            newline=layout.newline[index].to(device),
        )

    @cached_property
    def positions(self) -> Tensor:
        """(L,) or (3, L) int64: position ids as they stand."""
        return self.row.positions.to(self.states.device)

    @cached_property
    def visual_slots(self) -> Tensor:
        """(N,) int64: places of ``tokens`` in the sequence."""
        return torch.nonzero(self.row.candidate)[:, 0].to(self.states.device)

    @cached_property
    def text_slots(self) -> Tensor:
        """(T,) int64: places of the text after the last visual token."""
        last = int(torch.nonzero(self.row.visual)[-1, 0])
        return torch.arange(last + 1, len(self.row), device=self.states.device)

    def hidden(self) -> Tensor:
        """(L, d): the sequence entering ``layer``."""
        return self.states

    def attention(self, rows: Tensor, *, layer: Which = "own", rope: bool = True) -> Tensor:
        """(H, R, L) float32: causal attention probabilities of the query rows."""
        return self._on_layer(layer, lambda m, h, p: row_attention(self.adapter, m, h, p, rows.to(h.device), rope=rope))

    def keys(self, *, layer: Which = "own") -> Tensor:
        """(KV, L, head_dim): keys after RoPE."""
        return self._on_layer(layer, lambda m, h, p: layer_keys(self.adapter, m, h, p))

    def final_norm(self, hidden: Tensor) -> Tensor:
        """(L, d) -> (L, d): the language model's last norm."""
        norm = next(self.adapter.text_model.get_submodule("norm").parameters())
        with as_the_model_runs():
            return self.adapter.final_norm(hidden.to(norm.device)).to(hidden.device)

    def _on_layer(self, which: Which, compute: Callable[[torch.nn.Module, Tensor, Tensor], Tensor]) -> Tensor:
        if which == "previous" and self.before is None:
            raise ConfigurationError(
                f"layer {self.layer} has no previous layer: a cut there can only use layer='own'; cut at "
                "layer 1 or later"
            )
        number, states = (self.layer, self.states) if which == "own" else (self.layer - 1, self.before)
        assert states is not None
        module = self.adapter.layers[number]
        # Layers may live on other devices than their input does at this moment.
        device = next(module.parameters()).device
        out = compute(module, states.to(device), self.positions.to(device))
        return out.to(self.states.device)
