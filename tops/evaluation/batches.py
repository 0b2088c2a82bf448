"""Several prompts in one call of the model: grouped by length, padded into a batch, and split again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor

from tops.errors import UnsupportedModelError
from tops.evaluation.models import Prepared

T = TypeVar("T")
BatchSize = int | Literal["auto"]
MOST = 32  # prompts of a batch whose size is chosen: more gain little and lose more when one of them fails
ON_CPU = 8  # there, larger batches are no faster
SPARE = 0.5  # share of the free memory that may be planned for: later prompts can be longer than the first
# Arguments with one entry per token of the prompt, and what stands on padding.
PER_TOKEN = {"attention_mask": 0, "mm_token_type_ids": 0, "token_type_ids": 0}


def length(prepared: Prepared) -> int:
    """Length of a prompt in tokens."""
    return int(prepared.options["input_ids"].shape[1])


def kind(prepared: Prepared) -> tuple[str, ...]:
    """Names of a prompt's tensors. Prompts with the same names can share a batch (one without an image has fewer)."""
    return tuple(sorted(name for name, value in prepared.options.items() if isinstance(value, Tensor)))


def merge(prompts: Sequence[Prepared]) -> dict[str, Any]:
    """Arguments of one ``generate`` for several prompts, padded on the left.

    Raises
    ------
    UnsupportedModelError
        If the prompts cannot share a batch.
    """
    first, longest = prompts[0].options, max(length(p) for p in prompts)
    if len({kind(p) for p in prompts}) > 1:
        raise UnsupportedModelError("prompts with and without images do not share a batch")
    out: dict[str, Any] = {}
    for name, value in first.items():
        values = [p.options[name] for p in prompts]
        if not isinstance(value, Tensor):
            if any(other != value for other in values):
                raise UnsupportedModelError(f"prompts with different {name} do not share a batch")
            out[name] = value
        elif name == "input_ids":
            out[name] = torch.cat([_left(v, longest, int(first["pad_token_id"])) for v in values])
        elif name in PER_TOKEN:
            out[name] = torch.cat([_left(v, longest, PER_TOKEN[name]) for v in values])
        else:
            out[name] = torch.cat(_same_tiles(name, values))
    return out


def split(ids: Tensor, prompts: Sequence[Prepared]) -> list[Tensor]:
    """Split a batch into the output of ``generate`` for each prompt alone: its ids, and its answer up to the end token.

    Parameters
    ----------
    ids : Tensor, (B, L + T) int64
        Output of ``generate`` for the batch.
    prompts : sequence of Prepared
        The prompts, in the order of the rows.

    Returns
    -------
    list of Tensor, (1, L_i + T_i) int64
    """
    longest = max(length(p) for p in prompts)
    out = []
    for row, prompt in zip(ids, prompts, strict=True):
        answer = row[longest:]
        ends = prompt.options["eos_token_id"]
        found = torch.nonzero(torch.isin(answer, torch.as_tensor(ends, device=answer.device)))
        if len(found):
            answer = answer[: int(found[0]) + 1]
        out.append(torch.cat([prompt.options["input_ids"][0], answer])[None])
    return out


def buckets(items: Sequence[T], size: int, prepared: Callable[[T], Prepared]) -> list[list[T]]:
    """Batches of at most ``size`` items of one :func:`kind`, with prompts of similar length together."""
    out: list[list[T]] = []
    for item in sorted(items, key=lambda i: (kind(prepared(i)), length(prepared(i)))):
        if not out or len(out[-1]) == size or kind(prepared(out[-1][0])) != kind(prepared(item)):
            out.append([])
        out[-1].append(item)
    return out


@dataclass
class Room:
    """Memory that one prompt took, and free memory, in bytes."""

    used: int = 0
    free: int = 0

    @property
    def prompts(self) -> int:
        """Prompts that fit into one call, 1..``MOST``."""
        return max(1, min(MOST, int(SPARE * self.free) // max(1, self.used)))


@contextmanager
def measured(device: torch.device) -> Iterator[Room]:
    """Measure the additional GPU memory that the block takes; on other devices there is room for ``ON_CPU`` prompts."""
    if device.type != "cuda":
        yield Room(1, int(ON_CPU / SPARE))
        return
    room, before = Room(), torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    yield room
    room.used = torch.cuda.max_memory_allocated(device) - before
    # Memory that the allocator holds but does not use counts as free.
    held = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    room.free = torch.cuda.mem_get_info(device)[0] + held


def ahead(
    make: Callable[[int], T], numbers: Sequence[int], window: int, then: Callable[[], None] | None = None
) -> Iterator[list[T]]:
    """``make(number)`` of every number, ``window`` at a time; a thread makes the next window meanwhile.

    Parameters
    ----------
    make : callable
        Must not raise.
    numbers : sequence of int
        Arguments, in order.
    window : int
        Results made at a time; twice as many are held.
    then : callable, optional
        Called by the thread when all are made, while the last window is used. Must not raise.
    """
    parts = [numbers[i : i + window] for i in range(0, len(numbers), window)]
    if not parts:
        return
    with ThreadPoolExecutor(1, thread_name_prefix="prepare") as pool:

        def start(part: Sequence[int]) -> Future[list[T]]:
            return pool.submit(lambda: [make(number) for number in part])

        waiting = start(parts[0])
        for following in parts[1:]:
            done, waiting = waiting.result(), start(following)
            yield done
        last = waiting.result()
        if then is not None:
            pool.submit(then)
        yield last


def _left(value: Tensor, width: int, fill: int) -> Tensor:
    return torch.nn.functional.pad(value, (width - value.shape[1], 0), value=fill)


def _same_tiles(name: str, values: Sequence[Tensor]) -> list[Tensor]:
    """LLaVA-NeXT's images padded with zeros to the same number of tiles, as its processor does."""
    if name != "pixel_values" or values[0].ndim != 5:
        if len({v.shape[1:] for v in values}) > 1:
            raise UnsupportedModelError(f"{name} of different shapes do not share a batch")
        return list(values)
    most = max(v.shape[1] for v in values)
    return [torch.nn.functional.pad(v, (0, 0, 0, 0, 0, 0, 0, most - v.shape[1])) for v in values]
