"""The prompt's own forward of the text model, which cuts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from tops.backbones._precision import full_precision
from tops.backbones.base import Seen, VisionContext
from tops.drawing import Places
from tops.engine.arguments import gathered, position_axes
from tops.engine.checks import check_selection
from tops.engine.kept import Kept, places
from tops.engine.passes import Kwargs, Pass, Setup
from tops.engine.point import Point
from tops.engine.prompt import UNPRUNED, Prompt
from tops.engine.record import PromptRecord
from tops.engine.segment import Gather, PromptState, Row, Segment, apply, plan_gather
from tops.engine.text import PromptText
from tops.signals import VisionSignals


class Prefill(Pass):
    """The prompt's own forward.

    Parameters
    ----------
    setup : Setup
    prompt : Prompt
    kwargs : dict
        Keyword arguments of the text model; ``self.kwargs`` are the ones to use instead.
    seen : mapping
        What the watched vision modules saw.
    replay : mapping, optional
        Cuts to repeat instead of asking the method, for a prompt that is recomputed with tokens added to its end.
    """

    def __init__(
        self,
        setup: Setup,
        prompt: Prompt,
        kwargs: Kwargs,
        seen: Mapping[str, Sequence[Seen]],
        replay: Mapping[int, list[Gather | None]] | None,
    ) -> None:
        super().__init__(setup, kwargs.get("past_key_values"))
        self.prompt, self.seen, self.replay = prompt, seen, replay
        self.cuts: dict[int, list[Gather | None]] = {}
        self._embeds: Tensor = kwargs["inputs_embeds"]
        self._vision: dict[int, VisionSignals] = {}
        self._memory: list[dict[str, Tensor]] = [{} for _ in prompt.layouts]
        self._before: Tensor | None = None
        self._cut_layers = {c.layer for s in prompt.schedules if s is not None for c in s.cuts}
        batch, length, _ = self._embeds.shape
        positions, axes_first = self._positions(kwargs.get("position_ids"), batch, length)
        rows = tuple(prompt.row(i, positions[..., i, :]) for i in range(batch))
        self._entry_rows = rows
        device = self._embeds.device
        mask = prompt.real.to(device)
        delta = torch.zeros(*positions.shape[:-2], batch, 1, dtype=torch.int64, device=device)
        segment = Segment(0, rows, length, False, mask, positions.to(device), delta)
        last = (
            positions.amax((0, 2))[None, :, None].expand(len(positions), -1, -1) if axes_first else positions[..., -1:]
        )
        self.state = PromptState(length, (last + 1).to(device), [segment])
        self.kwargs = self._enter(kwargs, segment)

    def _positions(self, given: Tensor | None, batch: int, length: int) -> tuple[Tensor, bool]:
        given = torch.arange(length)[None] if given is None else given.cpu()
        if given.ndim == 2:
            flat = given.expand(batch, length)
            axes = position_axes(self.setup.adapter)
            return (flat, False) if axes == 1 else (flat.expand(axes, batch, length), True)
        given = given[1:] if len(given) == 4 else given  # a fourth axis in front numbers the text alone
        return given.expand(len(given), batch, length), True

    def _enter(self, kwargs: Kwargs, segment: Segment) -> Kwargs:
        if 0 not in self._cut_layers:
            return kwargs
        hidden = self._cut(0, segment, self._embeds)
        after = self.state.segments[-1]
        if after is segment:
            return kwargs
        after = Segment(0, after.rows, after.length, True, after.mask, after.positions, after.delta)
        self.state.segments[:] = [after]
        positions = after.positions
        given = kwargs.get("position_ids")
        if given is not None and given.ndim == 3 and len(given) == 4:
            text = (after.mask.long().cumsum(-1) - 1).clamp_min(0)
            positions = torch.cat([text[None], positions])
        # Never None: without a mask, gapped positions are taken for packed sequences.
        mask = after.mask.to(torch.int64)
        return {**kwargs, "inputs_embeds": hidden, "attention_mask": mask, "position_ids": positions}

    def layer(self, number: int, hidden: Tensor) -> tuple[Tensor, Kwargs | None]:
        """Input and keyword arguments of a decoder layer; None leaves the arguments as they are."""
        segment = self.state.segments[-1]
        if number and number in self._cut_layers:
            hidden = self._cut(number, segment, hidden)
            segment = self.state.segments[-1]
        self._before = hidden if number + 1 in self._cut_layers else None
        return hidden, self._layer_kwargs(segment, hidden) if segment.changed else None

    def _sequence(self, segment: Segment) -> tuple[Tensor, Tensor]:
        return segment.mask, segment.positions

    def still_there(self, mask: Tensor, features: Tensor) -> tuple[Tensor, Tensor]:
        """Visual tokens of the present segment, and what the text model adds to them.

        Parameters
        ----------
        mask : Tensor, (B, L) bool
            Visual tokens of the unpruned prompt.
        features : Tensor, (V, d)
            One row for each, sample by sample.

        Returns
        -------
        Tensor, (B, M) bool
        Tensor, (V', d)
        """
        segment = self.state.segments[-1]
        if not segment.changed:
            return mask, features
        places = torch.full(mask.shape, -1, dtype=torch.int64)
        places[mask.cpu()] = torch.arange(len(features))
        there, kept = torch.zeros(mask.shape[0], segment.length, dtype=torch.bool), []
        for sample, (entry, row) in enumerate(zip(self._entry_rows, segment.rows, strict=True)):
            feature = places[sample, entry.slots[row.index]]
            there[sample, row.slots] = feature >= 0
            kept.append(feature[feature >= 0])
        return there.to(mask.device), features[torch.cat(kept).to(features.device)]

    def at_places(self, hidden: Tensor, wanted: Tensor) -> Tensor:
        """(B, M, d) -> (B, R, d): what the last layer made of places of the unpruned prompt, (R,) int64."""
        last = self.state.segments[-1]
        if not last.changed:
            return hidden[:, wanted.to(hidden.device)]
        return gathered(hidden, wanted, self._entry_rows, last, self.state.prompt_length)

    def _cut(self, number: int, segment: Segment, hidden: Tensor) -> Tensor:
        if self.replay is not None:
            gathers = self._replayed(number, segment)
        else:
            with full_precision():
                gathers = [self._select(number, i, row, hidden) for i, row in enumerate(segment.rows)]
        self.cuts[number] = gathers
        if all(gather is None for gather in gathers):
            return hidden
        after, hidden = apply(segment, number, gathers, hidden, self.setup.mode)
        self.state.segments.append(after)
        return hidden

    def _replayed(self, number: int, segment: Segment) -> list[Gather | None]:
        assert self.replay is not None
        out: list[Gather | None] = []
        for row, gather in zip(segment.rows, self.replay[number], strict=True):
            out.append(None if gather is None else gather.extended_to(len(row)))
        return out

    def _select(self, number: int, sample: int, row: Row, hidden: Tensor) -> Gather | None:
        keep = self.prompt.cut_at(sample, number)
        if keep is None:
            return None
        point = self._point(number, sample, row, hidden, keep)
        method = self.setup.method
        selection = method.select(point)
        check_selection(selection, int(row.candidate.sum()), hidden.shape[-1], method, number)
        return plan_gather(row, selection)

    def _point(self, number: int, sample: int, row: Row, hidden: Tensor, keep: int) -> Point:
        prompt, run = self.prompt, self.setup.run
        before = self._before
        if sample not in self._vision:
            self._vision[sample] = self.setup.adapter.vision(self._context(sample))
        return Point(
            adapter=self.setup.adapter,
            row=row,
            states=_unpadded(hidden, sample, row),
            before=None if before is None else _unpadded(before.to(hidden.device), sample, row),
            layout=prompt.layouts[sample],
            ordinal=prompt.ordinal(sample),
            layer=number,
            keep=keep,
            shape=prompt.shapes[sample],
            vision=self._vision[sample],
            text=self._text(sample),
            sample=run.name_of(sample, len(prompt.layouts)),
            memory=self._memory[sample],
        )

    def _context(self, sample: int) -> VisionContext:
        row = self._entry_rows[sample]
        return VisionContext(
            call=self.prompt.call,
            seen=self.seen,
            layouts=self.prompt.layouts,
            sample=sample,
            embeddings=self._embeds[sample, row.slots[row.candidate].to(self._embeds.device)],
            text_encoder=self.setup.encoder,
            device=self._embeds.device,
            with_newlines=self.prompt.with_newlines,
        )

    def _text(self, sample: int) -> PromptText:
        row, setup = self._entry_rows[sample], self.setup
        question = setup.run.question_of(sample, len(self.prompt.layouts))
        words = ~row.visual

        def read() -> str:
            ids = self.prompt.ids[sample, row.slots[words]]
            tokenizer = getattr(setup.processor, "tokenizer", setup.processor)
            # Special tokens stay until the turn is found: in most templates they are what marks it.
            question = setup.adapter.question(tokenizer.decode(ids))
            for token in getattr(tokenizer, "added_tokens_decoder", {}).values():
                question = question.replace(str(token), "") if token.special else question
            return question.strip()

        def after_image() -> Tensor:
            last = int(torch.nonzero(row.visual)[-1, 0])
            return self._embeds[sample, row.slots[last + 1 :].to(self._embeds.device)]

        return PromptText(question, read if setup.processor is not None else None, after_image, setup.encoder)

    def records(self) -> list[PromptRecord]:
        """What happened, one record per sample."""
        depth = len(self.setup.adapter.layers)
        out = []
        for sample, schedule in enumerate(self.prompt.schedules):
            rows = [self.state.at(layer).rows[sample] for layer in range(depth)]
            kept: dict[int, Kept] | None = None
            where: Places | None = None
            if self.setup.record_kept:
                ordinal, layout, kept = self.prompt.ordinal(sample), self.prompt.layouts[sample], {}
                where = places(layout, self.setup.adapter.placing)
                for cut in schedule.cuts if schedule else ():
                    row = self.state.at(cut.layer).rows[sample]
                    kept[cut.layer] = Kept(ordinal[row.index[row.candidate]].tolist(), layout)
            out.append(
                PromptRecord(
                    visual_tokens_per_layer=tuple(int(row.candidate.sum()) for row in rows),
                    newlines_per_layer=tuple(int((row.visual & ~row.candidate).sum()) for row in rows),
                    tokens_per_layer=tuple(len(row) for row in rows),
                    kept=kept,
                    scheduled=schedule.tokens_per_layer if schedule else (0,) * depth,
                    notes=() if schedule else (UNPRUNED,),
                    places=where,
                )
            )
        return out


def _unpadded(hidden: Tensor, sample: int, row: Row) -> Tensor:
    if len(row) == hidden.shape[1]:
        return hidden[sample]
    return hidden[sample, row.slots.to(hidden.device)]
