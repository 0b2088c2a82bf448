"""A later forward of the text model: the decode step, which follows the cuts of its prompt."""

from __future__ import annotations

import torch
from torch import Tensor

from tops.engine.passes import Kwargs, Pass, Setup
from tops.engine.segment import PromptState, Segment


class Decode(Pass):
    """Later tokens: every layer attends to what its segment kept, at positions shifted by what the segment lost."""

    def __init__(self, setup: Setup, state: PromptState, kwargs: Kwargs) -> None:
        super().__init__(setup, kwargs["past_key_values"])
        self.state = state
        embeds: Tensor = kwargs["inputs_embeds"]
        batch, self._length, _ = embeds.shape
        given, mask = kwargs["position_ids"], kwargs.get("attention_mask")
        text = given[:1] if given.ndim == 3 and len(given) == 4 else None
        self._positions = (given if text is None else given[1:])[..., -self._length :]
        past = state.generated
        tail = torch.ones(batch, past + self._length, dtype=torch.bool, device=embeds.device)
        self._tail = tail if mask is None else mask[:, state.prompt_length :].bool()
        self.kwargs = kwargs
        first = state.segments[0]
        if first.changed:
            positions = self._positions + first.delta.to(self._positions.device)
            self.kwargs = {
                **kwargs,
                "attention_mask": torch.cat([first.mask.to(self._tail.device), self._tail], 1).to(torch.int64),
                "position_ids": positions if text is None else torch.cat([text, positions]),
            }

    def layer(self, number: int, hidden: Tensor) -> tuple[Tensor, Kwargs | None]:
        """As in :meth:`Prefill.layer`."""
        segment = self.state.at(number)
        return hidden, self._layer_kwargs(segment, hidden) if segment.changed else None

    def _sequence(self, segment: Segment) -> tuple[Tensor, Tensor]:
        mask = torch.cat([segment.mask.to(self._tail.device), self._tail], 1)
        return mask, self._positions + segment.delta.to(self._positions.device)

    def done(self) -> None:
        """Count the tokens that were added."""
        self.state.generated += self._length
