"""What an adapter is told of a prompt, and what it tells of it: calls, layouts, watches and what was seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from tops.backbones._text_tower import TextEncoder

Call = Mapping[str, Any]
"""Keyword arguments of one call of the inner multimodal model (``model.model.forward``), positional ones named."""


@dataclass(frozen=True)
class Layout:
    """The visual placeholders of one sample in prompt order, V of them. All on the CPU, shape (V,).

    Attributes
    ----------
    unit, image : Tensor, int64
        Unit and image (or video frame) of each token, from 0 over the prompt.
    row, col : Tensor, int64
        Place in the unit's grid; a newline has the row it ends and the column after the last.
    patch : Tensor, int64
        Place among the projected patches of the unit; -1 for a newline.
    newline : Tensor, bool
        Separator embeddings without image content.
    ran : int or None
        Units that the tower runs for the sample, where some may leave no token (a tile that is padding alone).
    """

    unit: Tensor
    image: Tensor
    row: Tensor
    col: Tensor
    patch: Tensor
    newline: Tensor
    ran: int | None = None

    def __len__(self) -> int:
        return int(self.unit.shape[0])

    @property
    def units(self) -> int:
        """Units of the prompt, those without a token among them."""
        if self.ran is not None:
            return self.ran
        return int(self.unit.max()) + 1 if len(self) else 0

    @property
    def images(self) -> int:
        """Images, or video frames, of the prompt."""
        return int(self.image.max()) + 1 if len(self) else 0

    def sizes(self, *, with_newlines: bool) -> tuple[tuple[int, ...], ...]:
        """Per image the tokens of each of its units that has any, in prompt order."""
        import torch

        counted = torch.ones_like(self.newline) if with_newlines else ~self.newline
        out: list[list[int]] = [[] for _ in range(self.images)]
        for unit in torch.unique(self.unit[counted]).tolist():
            mine = counted & (self.unit == unit)
            out[int(self.image[mine][0])].append(int(mine.sum()))
        return tuple(map(tuple, out))

    @staticmethod
    def grids(shapes: Sequence[tuple[int, int]], images: Sequence[int] | None = None) -> Layout:
        """Row-major grids without newlines, one unit each.

        Parameters
        ----------
        shapes : sequence of (int, int)
            Rows and columns of each unit.
        images : sequence of int, optional
            Image of each unit; each unit is its own image when absent.
        """
        import torch

        images = range(len(shapes)) if images is None else images
        columns: list[list[Tensor]] = [[], [], [], [], []]
        for number, ((rows, cols), image) in enumerate(zip(shapes, images, strict=True)):
            cell = torch.arange(rows * cols)
            parts = (torch.full_like(cell, number), torch.full_like(cell, image), cell // cols, cell % cols, cell)
            for column, part in zip(columns, parts, strict=True):
                column.append(part)
        unit, image_of, row, col, patch = (
            torch.cat(column) if column else torch.zeros(0, dtype=torch.int64) for column in columns
        )
        return Layout(unit, image_of, row, col, patch, torch.zeros_like(unit, dtype=torch.bool))


@dataclass(frozen=True)
class Watch:
    """A module whose hidden states the vision signals may ask for.

    Attributes
    ----------
    name : str
        Key under which the engine hands over what it saw.
    module : nn.Module
        Module inside the vision tower or projector.
    side : str
        ``input`` (first argument, or ``hidden_states``) or ``output`` (first element of a tuple).
    """

    name: str
    module: nn.Module
    side: Literal["input", "output"] = "input"


def attention_of(layer: int) -> str:
    """Name of the :class:`Watch` on the attention input of a tower layer."""
    return f"attention-{layer}"


@dataclass(frozen=True)
class Seen:
    """One call of a watched module: the tensor itself (never a copy) and the call's keyword arguments."""

    value: Tensor
    kwargs: Mapping[str, Any]


@dataclass(frozen=True)
class VisionContext:
    """What :meth:`Adapter.vision` gets to build the signals of one sample.

    Attributes
    ----------
    call : Call
        Keyword arguments of the inner forward, of the whole batch.
    seen : mapping
        Per :class:`Watch` name, its calls in order (a tower may run several times, in chunks).
    layouts : sequence of Layout
        Of every sample in the batch.
    sample : int
        Which sample.
    embeddings : Tensor, (N0, d)
        Its projected visual tokens before any cut, newlines left out.
    text_encoder : TextEncoder or None
        CLIP's text tower, where one was given.
    device : torch.device
        Where signals are wanted.
    with_newlines : bool
        Whether newline tokens count among the visual tokens; signals give them zeros.
    """

    call: Call
    seen: Mapping[str, Sequence[Seen]]
    layouts: Sequence[Layout]
    sample: int
    embeddings: Tensor
    text_encoder: TextEncoder | None
    device: torch.device
    with_newlines: bool = False

    @property
    def layout(self) -> Layout:
        """Layout of this sample."""
        return self.layouts[self.sample]

    def units(self, name: str) -> Tensor:
        """(U, ...): what a watch saw of this sample's units; calls are joined along the first axis.

        For towers that see one unit per row, whatever the number of calls."""
        import torch

        first = sum(layout.units for layout in self.layouts[: self.sample])
        last, rows, at = first + self.layout.units, [], 0
        for seen in self.seen[name]:
            size = seen.value.shape[0]
            low, high = max(first - at, 0), min(last - at, size)
            if low < high:
                rows.append(seen.value[low:high])
            at += size
        return rows[0] if len(rows) == 1 else torch.cat(rows)
