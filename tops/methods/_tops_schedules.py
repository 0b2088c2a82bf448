"""TOPS' published settings as data (Tables 7 to 10, section C.2), and the schedules they turn into."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from tops.budget import Budget, Cut, PromptShape, Schedule
from tops.errors import BudgetError, ConfigurationError
from tops.methods.cuts import allowed, scaled_layers

STAGE_ONE = (0.5, 0.5)  # alpha, lambda of Stage I for every model: section C.2


class Weights(NamedTuple):
    """Weights published for Stage II at one budget."""

    backbone: str
    tokens: int  # per image, or per frame
    of: int  # visual tokens of the image, or frame
    alpha: float
    lam: float


STAGE_TWO: tuple[Weights, ...] = (
    Weights("llava-1.5-7b", 128, 576, 0.5, 0.5),
    Weights("llava-1.5-7b", 64, 576, 0.5, 1.0),
    Weights("llava-1.5-7b", 32, 576, 0.5, 1.0),
    Weights("llava-1.5-13b", 128, 576, 0.5, 0.4),
    Weights("llava-1.5-13b", 64, 576, 0.5, 0.4),
    Weights("llava-1.5-13b", 32, 576, 0.5, 0.4),
    Weights("llava-next-7b", 640, 2880, 0.5, 0.5),
    Weights("llava-next-7b", 320, 2880, 0.5, 0.4),
    Weights("llava-next-7b", 160, 2880, 0.5, 0.5),
    Weights("llava-next-13b", 640, 2880, 0.5, 0.5),
    Weights("llava-next-13b", 320, 2880, 0.5, 0.5),
    Weights("llava-next-13b", 160, 2880, 0.5, 0.5),
    Weights("qwen2.5-vl-7b", 256, 1296, 0.5, 0.4),
    Weights("qwen2.5-vl-7b", 128, 1296, 0.5, 0.4),
    Weights("internvl3-8b", 256, 1280, 0.2, 0.2),
    Weights("internvl3-8b", 128, 1280, 0.3, 0.2),
    Weights("llava-video-7b", 64, 169, 0.5, 0.5),
    Weights("llava-video-7b", 32, 169, 0.5, 0.5),
    Weights("llava-video-7b", 16, 169, 0.5, 0.5),
)


@dataclass(frozen=True)
class Pyramid:
    """Cuts of one backbone.

    Attributes
    ----------
    layers : tuple of int
        Stage II cut layers.
    depth : int
        Decoder layers they refer to.
    printed : tuple of (int, (int, ...))
        T, and the counts after Stage I and after each cut, as Tables 9 and 10 print them; empty where none is printed.
    fall : tuple of float
        Relative sizes of the counts after Stage II's cuts. With 2T before them they average T on ``depth`` layers.
    """

    layers: tuple[int, ...]
    depth: int
    printed: tuple[tuple[int, tuple[int, ...]], ...] = ()
    fall: tuple[float, ...] = (2.0, 1.0)


_LLAVA = ((128, (256, 128, 32)), (64, (128, 64, 16)), (32, (64, 32, 8)))
_NEXT = ((640, (1280, 640, 160)), (320, (640, 320, 80)), (160, (320, 160, 40)))
_QWEN = ((256, (512, 281, 77)), (128, (256, 139, 39)), (64, (128, 71, 19)))
PYRAMIDS: dict[str, Pyramid] = {
    "llava-1.5-7b": Pyramid((12, 24), 32, _LLAVA),
    "llava-1.5-13b": Pyramid((15, 30), 40, _LLAVA),
    "llava-next-7b": Pyramid((12, 24), 32, _NEXT),
    "llava-next-13b": Pyramid((15, 30), 40, _NEXT),
    "qwen2.5-vl-7b": Pyramid((12, 16), 28, _QWEN, (139.0, 39.0)),
    "internvl3-8b": Pyramid((12, 16), 28, _QWEN, (139.0, 39.0)),
    # No schedule is printed for it; those printed for 28 layers are the same for both backbones.
    "llava-video-7b": Pyramid((12, 16), 28, fall=(139.0, 39.0)),
}
UNPUBLISHED = Pyramid((3, 6), 8)  # cuts at 3/8 and 6/8 of the depth


def stage_two_weights(shape: PromptShape, total: int) -> tuple[float, float]:
    """alpha and lambda of Stage II: those published for this backbone at this count, else at the nearest kept share.

    A model of another depth than the published one, such as a miniature, goes by the share alone.

    Parameters
    ----------
    shape : PromptShape
        The prompt.
    total : int
        Tokens the budget allows over the whole prompt.

    Returns
    -------
    tuple of float
        (alpha, lambda); those of Stage I for a backbone without published ones.
    """
    rows = [row for row in STAGE_TWO if row.backbone == shape.backbone]
    if not rows:
        return STAGE_ONE
    each, share = total / max(1, shape.images), total / shape.visual
    same = shape.depth == PYRAMIDS[shape.backbone].depth
    best = min(rows, key=lambda row: (not same or row.tokens != each, abs(math.log(share * row.of / row.tokens))))
    return best.alpha, best.lam


def cut_layers(shape: PromptShape, asked: Sequence[int] | None, title: str) -> tuple[int, ...]:
    """Stage II cut layers on this model: the asked ones, else the published ones at the same share of the depth.

    Raises
    ------
    BudgetError
        If they do not rise from 1, or lie outside the model.
    """
    if asked is None:
        pyramid = PYRAMIDS.get(shape.backbone, UNPUBLISHED)
        return scaled_layers(pyramid.layers, shape.depth, pyramid.depth, title)
    layers = tuple(asked)
    if not layers or layers[0] < 1 or layers[-1] >= shape.depth or any(a >= b for a, b in pairwise(layers)):
        raise BudgetError(
            f"{title}: cut layers {list(layers)} must rise and lie in 1 to {shape.depth - 1}; "
            "layer 0 is Stage I, which has its own option"
        )
    return layers


def tops_schedule(
    budget: Budget, shape: PromptShape, *, first: bool, layers: Sequence[int], counts: Sequence[int] | None, title: str
) -> Schedule:
    """Cuts of TOPS on one prompt.

    Parameters
    ----------
    budget, shape
        What is asked, on which prompt.
    first : bool
        Whether Stage I runs.
    layers : sequence of int
        Stage II cut layers; empty without Stage II.
    counts : sequence of int, optional
        Tokens per image after every cut, instead of solving for them.
    title : str
        Method, for errors.

    Raises
    ------
    BudgetError
        If the budget exceeds the tokens or the layers before the first cut alone exceed it.
    """
    total = allowed(budget, shape, title)
    places = ((0,) if first else ()) + tuple(layers)
    if total == shape.visual and counts is None:
        return Schedule(shape.visual, shape.depth, ())
    pyramid = PYRAMIDS.get(shape.backbone, UNPUBLISHED)
    fall = pyramid.fall if len(layers) == len(pyramid.fall) else tuple(2.0**-i for i in range(len(layers)))
    if counts is not None:
        kept = _given(budget, shape, places, counts, total, title)
    elif budget.protocol == "as_printed":
        kept = _printed(pyramid, shape, total, places, title)
    elif budget.protocol == "kept":
        whole = (4 * fall[0], *fall) if first and fall else fall or (1.0,)
        kept = [max(1, _half_up(total * part / whole[0])) for part in whole]
    else:
        kept = _averaging(shape, total, places, fall, title)
    return Schedule(shape.visual, shape.depth, tuple(Cut(p, k) for p, k in zip(places, kept, strict=True)))


def _given(
    budget: Budget, shape: PromptShape, places: Sequence[int], counts: Sequence[int], total: int, title: str
) -> list[int]:
    if len(counts) != len(places):
        raise ConfigurationError(
            f"{title}: {len(counts)} counts for cuts at {list(places)}; one count per cut is needed"
        )
    kept = [count * max(1, shape.images) for count in counts]
    cuts = tuple(Cut(p, k) for p, k in zip(places, kept, strict=True))
    average = Schedule(shape.visual, shape.depth, cuts).layer_average
    if budget.protocol == "layer_average" and abs(average - total) > max(0.5, 0.01 * total):
        raise BudgetError(
            f"{title}: counts {list(counts)} at layers {list(places)} average {average:.1f} tokens, the budget says "
            f"{total}; change one of them"
        )
    return kept


def _printed(pyramid: Pyramid, shape: PromptShape, total: int, places: Sequence[int], title: str) -> list[int]:
    if not pyramid.printed or len(places) != 3:
        what = f"schedule of {len(places)} cuts" if pyramid.printed else "schedule"
        raise BudgetError(
            f"{title}: the paper prints no {what} for {shape.backbone or 'this backbone'}; use protocol=layer_average"
        )
    each = total / max(1, shape.images)
    of, counts = min(pyramid.printed, key=lambda entry: abs(math.log(each / entry[0])))
    kept: list[int] = []
    for count in counts:
        kept.append(min(max(1, _half_up(count * total / of)), kept[-1] if kept else shape.visual))
    return kept


def _averaging(shape: PromptShape, total: int, places: Sequence[int], fall: Sequence[float], title: str) -> list[int]:
    """Counts whose mean over layers is ``total``: 2T after Stage I, then ``fall`` scaled to what is left."""
    depth, visual = shape.depth, shape.visual
    ends = [*places[1:], depth]
    spans = [end - start for start, end in zip(places, ends, strict=True)]
    room = depth * total - places[0] * visual
    if room < sum(spans):
        floor = (places[0] * visual + sum(spans)) / depth
        raise BudgetError(
            f"{title} cannot average {total} of {visual} tokens over {depth} layers: with the first cut at layer "
            f"{places[0]} its floor is {floor:.1f}; cut earlier, use Stage I, or ask for at least {math.ceil(floor)}"
        )
    if places[0] > 0:
        return _falling(room, spans, fall, visual)
    if not fall:
        return [total]
    tail = sum(spans[1:])
    head = min(2 * total, visual)
    if room - head * spans[0] < tail:
        whole = spans[0] * 4 * fall[0] + sum(s * f for s, f in zip(spans[1:], fall, strict=True))
        head = min(head, int(room * 4 * fall[0] / whole), (room - tail) // spans[0])
    head = max(1, head)
    return [head, *_falling(room - head * spans[0], spans[1:], fall, head)]


def _falling(room: int, spans: Sequence[int], fall: Sequence[float], cap: int) -> list[int]:
    """Non-increasing counts of at least 1 and at most ``cap`` whose sum over spans is nearest to ``room``."""
    found: list[tuple[int, int, list[int]]] = []
    for nudge in (0, -1, 1, -2, 2):
        left, have, kept = room, cap, []
        for i, span in enumerate(spans):
            share = left * fall[i] / sum(s * f for s, f in zip(spans[i:], fall[i:], strict=True))
            count = _half_up(share) + (nudge if i == 0 and len(spans) > 1 else 0)
            # What the later cuts cannot take below their floor of one token bounds this one.
            most = (left - sum(spans[i + 1 :])) // span if i + 1 < len(spans) else have
            count = max(1, min(count, have, most))
            kept.append(count)
            left, have = left - span * count, count
        found.append((abs(left), abs(nudge), kept))
    return min(found, key=lambda f: f[:2])[2]


def _half_up(value: float) -> int:
    return math.floor(value + 0.5)
