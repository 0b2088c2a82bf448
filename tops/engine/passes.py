"""What every forward of the text model shares: its block's settings, and the masks and RoPE of segments."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from tops.backbones.base import Adapter, Watch
from tops.engine.record import Run
from tops.engine.segment import PromptState, Segment
from tops.methods.base import Method, Positions

if TYPE_CHECKING:
    from tops.backbones._text_tower import TextEncoder
    from tops.engine.vision_memory import VisionMemory

Kwargs = dict[str, Any]


@dataclass(frozen=True)
class Setup:
    """What one ``prune()`` block was given."""

    adapter: Adapter
    method: Method
    run: Run
    processor: Any
    encoder: TextEncoder | None
    backbone: str
    record_kept: bool
    memory: VisionMemory | None = None
    watches: tuple[Watch, ...] = ()

    @property
    def mode(self) -> Positions:
        """Position ids after a cut."""
        return self.method.positions or self.adapter.default_positions


class Pass(ABC):
    """What both kinds of pass share: mask and RoPE of a segment, built once per segment and device."""

    state: PromptState

    def __init__(self, setup: Setup, cache: Any) -> None:
        self.setup, self.cache = setup, cache
        self.layers_run = 0
        self._built: dict[tuple[int, torch.device], Kwargs] = {}

    @abstractmethod
    def _sequence(self, segment: Segment) -> tuple[Tensor, Tensor]:
        """Mask (B, M) and position ids (B, L) or (3, B, L) of a segment in this pass."""

    def _layer_kwargs(self, segment: Segment, hidden: Tensor) -> Kwargs:
        # Here, not above: this module of transformers costs more than torch itself to import.
        from transformers.masking_utils import create_causal_mask

        key = (segment.start, hidden.device)
        if key not in self._built:
            adapter, (mask, positions) = self.setup.adapter, self._sequence(segment)
            causal = create_causal_mask(
                config=adapter.text_config,
                inputs_embeds=hidden,
                attention_mask=mask.to(hidden.device),
                past_key_values=self.cache,
                position_ids=None,
                layer_idx=segment.start,
            )
            rope = adapter.rotary(hidden, positions.to(hidden.device))
            # Gapped position ids would be read as packed sequences by FlashAttention, so layers never see them.
            self._built[key] = {"attention_mask": causal, "position_embeddings": rope, "position_ids": None}
        return self._built[key]
