"""The sequence that a stretch of decoder layers sees, and how a cut turns one into the next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tops.engine.positions import renumber
from tops.methods.base import Positions
from tops.tokens import Selection


@dataclass(frozen=True)
class Row:
    """One sample of a segment: unpadded, on the CPU.

    Attributes
    ----------
    index : Tensor, (L,) int64
        Place of each token in the unpruned, unpadded prompt.
    visual : Tensor, (L,) bool
        Visual tokens, newlines included.
    candidate : Tensor, (L,) bool
        Visual tokens that a method may keep or drop.
    positions : Tensor, (L,) or (3, L) int64
        Position ids.
    slots : Tensor, (L,) int64
        Places in the padded batch row.
    delta : Tensor, () or (3,) int64
        What all later tokens add to their position in the unpruned numbering.
    """

    index: Tensor
    visual: Tensor
    candidate: Tensor
    positions: Tensor
    slots: Tensor
    delta: Tensor

    def __len__(self) -> int:
        return int(self.index.shape[0])


@dataclass(frozen=True)
class Segment:
    """The sequence from decoder layer ``start`` on.

    Attributes
    ----------
    start : int
        First layer that sees it.
    rows : tuple of Row
    length : int
        Padded length M.
    changed : bool
        Whether it differs from what the caller passed in.
    mask : Tensor, (B, M) bool
    positions : Tensor, (B, M) or (3, B, M) int64
    delta : Tensor, (B, 1) or (3, B, 1) int64
    """

    start: int
    rows: tuple[Row, ...]
    length: int
    changed: bool
    mask: Tensor
    positions: Tensor
    delta: Tensor

    def select(self, numbers: Sequence[int]) -> Segment:
        """The segment of other rows."""
        at = torch.tensor(numbers, device=self.mask.device)
        return Segment(
            self.start,
            tuple(self.rows[number] for number in numbers),
            self.length,
            self.changed,
            self.mask[at],
            self.positions.index_select(-2, at),
            self.delta.index_select(-2, at),
        )


@dataclass
class PromptState:
    """All segments of one prompt and the numbering of what follows. Lives on the cache it belongs to."""

    prompt_length: int
    next_position: Tensor
    segments: list[Segment]
    generated: int = 0

    def at(self, layer: int) -> Segment:
        """The segment that a layer sees."""
        return next(s for s in reversed(self.segments) if s.start <= layer)

    @property
    def batch(self) -> int:
        """Rows."""
        return len(self.segments[0].rows)

    def select(self, indices: Tensor) -> PromptState:
        """The state of other rows, any number of them, in the order of ``indices`` (B',) int64."""
        numbers, at = indices.tolist(), indices.to(self.next_position.device)
        next_position = self.next_position.index_select(-2, at)
        return PromptState(
            self.prompt_length, next_position, [s.select(numbers) for s in self.segments], self.generated
        )


@dataclass(frozen=True)
class Gather:
    """What one sample's cut does to its sequence.

    Attributes
    ----------
    source : Tensor, (M,) int64, on the CPU
        Place before the cut of each token after it.
    places : Tensor, (K,) int64, on the CPU
        Places after the cut of the rows that are new.
    values : Tensor or None, (K, d)
        These rows, in the order of ``places``.
    length : int
        Length L before the cut.
    """

    source: Tensor
    places: Tensor
    values: Tensor | None
    length: int

    def extended_to(self, length: int) -> Gather:
        """The same cut on a sequence that has more tokens at its end, ``length`` in all; they stay."""
        return Gather(torch.cat([self.source, torch.arange(self.length, length)]), self.places, self.values, length)


def plan_gather(row: Row, selection: Selection) -> Gather | None:
    """Turn a selection into a gather; None where it changes nothing.

    New tokens stand in the visual block of their anchor, in the order in which the method gave them. Newlines that are
    not candidates go with the first token that is dropped."""
    chosen = selection.indices.cpu()
    candidates = torch.nonzero(row.candidate)[:, 0]
    if selection.rows is None and torch.equal(chosen, torch.arange(len(candidates))):
        return None
    anchors = candidates[chosen]
    starts = torch.arange(len(row))
    inside = row.visual.clone()
    inside[1:] &= row.visual[:-1]
    starts[inside] = 0
    block = torch.where(row.visual, starts.cummax(0).values, torch.arange(len(row)))
    text = torch.nonzero(~row.visual)[:, 0]
    slots, keys = torch.cat([text, anchors]), torch.cat([block[text], block[anchors]])
    order = torch.argsort(keys, stable=True)
    new = order >= len(text)
    values = None if selection.rows is None else selection.rows[(order[new] - len(text)).to(selection.rows.device)]
    return Gather(slots[order], torch.nonzero(new)[:, 0], values, len(row))


def follow(row: Row, gather: Gather | None, mode: Positions) -> Row:
    """The sample after its cut; ``slots`` are still to be set."""
    if gather is None:
        return row
    source = gather.source
    positions, shift = renumber(row.positions, row.visual, source, mode)
    return Row(
        row.index[source], row.visual[source], row.candidate[source], positions, row.slots[source], row.delta + shift
    )


def pack(start: int, rows: Sequence[Row], device: torch.device, *, changed: bool) -> Segment:
    """Samples of different lengths as one left-padded segment."""
    length = max(len(row) for row in rows)
    axes = rows[0].positions.shape[:-1]
    mask = torch.zeros(len(rows), length, dtype=torch.bool)
    positions = torch.zeros(*axes, len(rows), length, dtype=torch.int64)
    packed = []
    for number, row in enumerate(rows):
        slots = torch.arange(length - len(row), length)
        mask[number, slots] = True
        positions[..., number, slots] = row.positions
        packed.append(Row(row.index, row.visual, row.candidate, row.positions, slots, row.delta))
    delta = torch.stack([row.delta for row in rows], -1)[..., None]
    return Segment(start, tuple(packed), length, changed, mask.to(device), positions.to(device), delta.to(device))


def apply(
    segment: Segment, start: int, gathers: Sequence[Gather | None], hidden: Tensor, mode: Positions
) -> tuple[Segment, Tensor]:
    """Cut a batch.

    Parameters
    ----------
    segment : Segment
        Before the cut.
    start : int
        Layer at which it happens.
    gathers : sequence of Gather or None
        One per sample.
    hidden : Tensor, (B, L, d)
        Before the cut.
    mode : {"contiguous", "original"}
        What becomes of the position ids.

    Returns
    -------
    Segment
    Tensor, (B, M, d)
    """
    rows = [follow(row, gather, mode) for row, gather in zip(segment.rows, gathers, strict=True)]
    after = pack(start, rows, hidden.device, changed=True)
    places = torch.zeros(len(rows), after.length, dtype=torch.int64)
    for number, row in enumerate(rows):
        places[number, after.length - len(row) :] = row.slots
    places = places.to(hidden.device)
    out = hidden.gather(1, places[..., None].expand(-1, -1, hidden.shape[-1]))
    for number, (row, gather) in enumerate(zip(rows, gathers, strict=True)):
        if gather is not None and gather.values is not None:
            at = (gather.places + after.length - len(row)).to(hidden.device)
            out[number, at] = gather.values.to(out.device, out.dtype)
    return after, out
