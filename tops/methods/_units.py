"""Sharing a count among images and tiles, and choosing in each of them in one batch. Torch only inside functions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from tops.errors import BudgetError
from tops.tokens import Selection, VisualTokens

if TYPE_CHECKING:
    from torch import Tensor

    from tops.signals import PruningPoint


Scope = Literal["unit", "image", "prompt"]


@dataclass(frozen=True)
class Group:
    """Units of one size and one quota, chosen from in one batch.

    Attributes
    ----------
    units : Tensor, (G,) int64
        Their numbers: tiles or frames as in ``VisualTokens.unit``, images, or 0 for the whole prompt.
    positions : Tensor, (G, n) int64
        Positions of their tokens, ascending.
    keep : int
        Tokens each of them keeps, 1..n.
    """

    units: Tensor
    positions: Tensor
    keep: int


def groups(point: PruningPoint, *, proportional: bool, scope: Scope = "unit") -> list[Group]:
    """The units of a prompt with their quotas, batched by size.

    ``point.keep`` is shared equally among images (or in proportion to their tokens) and an image's part equally among
    its tiles, the odd tokens going to the first; what a small image cannot take goes to the others. The quotas add up
    to ``point.keep``, and every image gets at least one.

    Parameters
    ----------
    point : PruningPoint
        The cut.
    proportional : bool
        Share by size: what a keep ratio means. A count means the same for every image.
    scope : {"unit", "image", "prompt"}
        What is chosen from at once: a tile or frame, an image with all its tiles, or everything.

    Raises
    ------
    BudgetError
        If there are more images than tokens to keep.
    """
    import torch

    tokens = point.tokens
    whole = torch.zeros_like(tokens.unit)
    unit = {"unit": tokens.unit, "image": tokens.image, "prompt": whole}[scope]
    image = whole if scope == "prompt" else tokens.image
    order = unit.argsort(stable=True)
    pairs, counts = torch.unique_consecutive(torch.stack([image, unit])[:, order], dim=1, return_counts=True)
    images, units = pairs.tolist()
    sizes = counts.tolist()
    members: dict[int, list[int]] = {}
    for place, number in enumerate(images):
        members.setdefault(number, []).append(place)
    image_sizes = [sum(sizes[p] for p in places) for places in members.values()]
    quotas = [0] * len(sizes)
    parts = share(point.keep, image_sizes, proportional=proportional, least=1)
    for places, part in zip(members.values(), parts, strict=True):
        for place, count in zip(
            places, share(part, [sizes[p] for p in places], proportional=proportional), strict=True
        ):
            quotas[place] = count
    chunks = torch.split(order, sizes)
    batches: dict[tuple[int, int], list[int]] = {}
    for place, (size, keep) in enumerate(zip(sizes, quotas, strict=True)):
        if keep:
            batches.setdefault((size, keep), []).append(place)
    return [
        Group(
            units=torch.tensor([units[p] for p in places], device=order.device),
            positions=torch.stack([chunks[p] for p in places]),
            keep=keep,
        )
        for (_, keep), places in batches.items()
    ]


def share(total: int, sizes: Sequence[int], *, proportional: bool, least: int = 0) -> list[int]:
    """A total shared among holders of limited size, equally or in proportion; odd ones go to the first.

    Raises
    ------
    BudgetError
        If the sizes cannot take the total, or it does not give everyone ``least``.
    """
    if total > sum(sizes) or total < least * len(sizes):
        raise BudgetError(
            f"{total} tokens cannot be shared among {len(sizes)} images of {sum(sizes)} tokens, at least {least} each; "
            f"use {max(1, least * len(sizes))} to {sum(sizes)}"
        )
    out = [least] * len(sizes)
    rest = total - sum(out)
    while rest:
        free = [i for i, size in enumerate(sizes) if out[i] < size]
        weights = [sizes[i] if proportional else 1 for i in free]
        whole = sum(weights)
        gains = [min(rest * w // whole, sizes[i] - out[i]) for i, w in zip(free, weights, strict=True)]
        if not any(gains):
            for i in free[:rest]:
                out[i] += 1
            break
        for i, gain in zip(free, gains, strict=True):
            out[i] += gain
        rest = total - sum(out)
    return out


def select_per_unit(
    point: PruningPoint, choose: Callable[[Group], Tensor], *, proportional: bool, scope: Scope = "unit"
) -> Selection:
    """Choose in every unit and put the tokens back in prompt order.

    Parameters
    ----------
    point : PruningPoint
        The cut.
    choose : callable
        Gets a group, gives (G, keep) int64 places 0..n-1 in the units of that group.
    proportional, scope
        See :func:`groups`.
    """
    import torch

    batches = groups(point, proportional=proportional, scope=scope)
    picks = [group.positions.gather(1, choose(group)).flatten() for group in batches]
    return Selection(torch.cat(picks).sort().values)


def in_order_of_units(parts: Sequence[tuple[Tensor, Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """Anchors and rows of several groups as one sequence, unit after unit.

    Parameters
    ----------
    parts : sequence of (Tensor (G,), Tensor (G, m), Tensor (G, m, c))
        Numbers of the units, positions their tokens stand for, and vectors.

    Returns
    -------
    Tensor, (K,) int64
    Tensor, (K, c)
    """
    import torch

    unit = torch.cat([units[:, None].expand_as(anchors).flatten() for units, anchors, _ in parts])
    order = unit.argsort(stable=True)
    anchors = torch.cat([anchors.flatten() for _, anchors, _ in parts])[order]
    return anchors, torch.cat([rows.flatten(0, 1) for _, _, rows in parts])[order]


def everything(tokens: VisualTokens) -> Selection:
    """All tokens, unchanged."""
    import torch

    return Selection(torch.arange(len(tokens), device=tokens.index.device))
