"""What is known of a prompt before any compute: its visual tokens and the cuts they will see."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from tops.backbones.base import Adapter, Layout
from tops.budget import PromptShape, Schedule
from tops.engine.segment import Row
from tops.errors import UnsupportedModelError
from tops.methods.base import Method

UNPRUNED = "no image: passed through unpruned"


@dataclass(frozen=True)
class Prompt:
    """One prefill call of a batch.

    Attributes
    ----------
    call : mapping
        Keyword arguments of the inner forward.
    ids : Tensor, (B, L) int64, on the CPU
    real : Tensor, (B, L) bool, on the CPU
        False on padding.
    visual : Tensor, (B, L) bool, on the CPU
        Visual placeholders.
    layouts : tuple of Layout
        One per sample.
    shapes : tuple of PromptShape
    schedules : tuple of Schedule or None
        None for samples without an image.
    with_newlines : bool
        Whether newline tokens are candidates.
    """

    call: Mapping[str, Any]
    ids: Tensor
    real: Tensor
    visual: Tensor
    layouts: tuple[Layout, ...]
    shapes: tuple[PromptShape, ...]
    schedules: tuple[Schedule | None, ...]
    with_newlines: bool

    def row(self, sample: int, positions: Tensor) -> Row:
        """A sample before any cut; positions (L,) or (3, L) of the padded row, on the CPU."""
        slots = torch.nonzero(self.real[sample])[:, 0]
        visual = self.visual[sample, slots]
        candidate = visual.clone()
        if not self.with_newlines:
            candidate[visual] = ~self.layouts[sample].newline
        positions = positions[..., slots]
        return Row(torch.arange(len(slots)), visual, candidate, positions, slots, torch.zeros_like(positions[..., 0]))

    def ordinal(self, sample: int) -> Tensor:
        """(L,) int64: for each unpadded place the number of visual tokens before it."""
        visual = self.visual[sample][self.real[sample]]
        return visual.long().cumsum(0) - visual.long()

    def cut_at(self, sample: int, layer: int) -> int | None:
        """Tokens to keep at a layer; None without a cut there."""
        schedule = self.schedules[sample]
        return next((c.keep for c in schedule.cuts if c.layer == layer), None) if schedule else None


def read_prompt(adapter: Adapter, method: Method, backbone: str, call: Mapping[str, Any]) -> Prompt:
    """Find the visual tokens and ask the method for its cuts; no model code runs.

    Raises
    ------
    BudgetError
        If the method cannot meet its budget on a sample.
    UnsupportedModelError
        If placeholders and images do not fit together.
    """
    ids, real, visual = _placeholders(adapter, call)
    layouts = _layouts(adapter, call, visual.sum(1).tolist())
    with_newlines = method.with_newlines
    shapes = []
    for layout in layouts:
        candidates = len(layout) if with_newlines else int((~layout.newline).sum())
        units = layout.sizes(with_newlines=with_newlines)
        shapes.append(PromptShape(candidates, len(adapter.layers), layout.images, backbone, units))
    schedules = tuple(method.schedule(shape) if shape.visual else None for shape in shapes)
    for schedule, shape in zip(schedules, shapes, strict=True):
        if schedule is not None:
            method.check_quotas(schedule, shape, adapter.own_signals)
    return Prompt(call, ids, real, visual, tuple(layouts), tuple(shapes), schedules, with_newlines)


def expanded_media(adapter: Adapter, call: Mapping[str, Any], times: int) -> dict[str, Tensor]:
    """Pixels and their sizes for a batch in which every sample stands ``times`` times: sample by sample.

    Parameters
    ----------
    adapter : Adapter
        The model's family.
    call : mapping
        Arguments of the model, one row a sample.
    times : int
        Rows of each sample.
    """
    layouts = _layouts(adapter, call, _placeholders(adapter, call)[2].sum(1).tolist())
    out = {}
    for name, rows in adapter.media(call, layouts).items():
        if call.get(name) is not None:
            given = torch.as_tensor(call[name])
            out[name] = torch.cat([part for one in torch.split(given, rows) for part in [one] * times])
    return out


def _placeholders(adapter: Adapter, call: Mapping[str, Any]) -> tuple[Tensor, Tensor, Tensor]:
    """Token ids, which of them are no padding, and which are visual: (B, L), on the CPU."""
    ids = call["input_ids"].cpu()
    mask = call.get("attention_mask")
    real = torch.ones_like(ids, dtype=torch.bool) if mask is None else mask.cpu().bool().expand(ids.shape)
    visual = torch.isin(ids, torch.tensor(adapter.placeholder_ids))
    hidden = (visual & ~real).sum(1)
    if bool(hidden.any()):
        raise UnsupportedModelError(
            f"attention_mask hides {int(hidden.max())} visual placeholders of prompt {int(hidden.argmax())}, yet the "
            "model would fill them; let the mask hide padding only, and leave tokens out by a method's budget"
        )
    return ids, real, visual


def _layouts(adapter: Adapter, call: Mapping[str, Any], counts: Sequence[int]) -> list[Layout]:
    try:
        layouts = adapter.layout(call, counts)
    except UnsupportedModelError as error:
        raise UnsupportedModelError(f"{error}{_lone(adapter, call)}") from error
    if [len(layout) for layout in layouts] != list(counts):
        raise AssertionError(
            f"{type(adapter).__name__}.layout gave {[len(x) for x in layouts]} tokens for {list(counts)}"
        )
    return layouts


def _lone(adapter: Adapter, call: Mapping[str, Any]) -> str:
    """A hint at placeholders that stand alone, as in words that name one: no image is a single token."""
    ids = call["input_ids"].cpu()
    visual = torch.nn.functional.pad(torch.isin(ids, torch.tensor(adapter.placeholder_ids)).long(), (1, 1))
    alone = torch.nonzero((visual[:, 1:-1] == 1) & (visual[:, :-2] == 0) & (visual[:, 2:] == 0)).tolist()
    if not alone:
        return ""
    sample, place = alone[0]
    return (
        f". In prompt {sample} token {place} is a placeholder that stands alone: either the processor did not expand "
        "it, or the user's words hold the placeholder's own text, which must then be taken out or escaped"
    )
