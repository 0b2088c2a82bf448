"""Sharing a count among images and tiles, and choosing in each of them in one batch. Torch only inside functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from tops.errors import BudgetError, ConfigurationError
from tops.tokens import Selection, VisualTokens

if TYPE_CHECKING:
    from torch import Tensor

    from tops.budget import PromptShape
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
    point : PruningPoint
        The cut they are part of.
    values : mapping of str to Tensor, (N, ...)
        What tokens are compared by, over the whole prompt.
    whole : bool
        Whether these are all tokens in the order of the prompt, so that nothing has to be copied.
    """

    units: Tensor
    positions: Tensor
    keep: int
    point: PruningPoint
    values: Mapping[str, Tensor] = field(default_factory=dict)
    whole: bool = False

    def __getitem__(self, name: str) -> Tensor:
        """(G, n, ...): the values of that name at the tokens of these units; ``features`` is always there."""
        values = self.values[name] if name in self.values else {"features": self.point.tokens.features}[name]
        return values.view(*self.positions.shape, *values.shape[1:]) if self.whole else values[self.positions]

    def __len__(self) -> int:
        return len(self.units)


@dataclass(frozen=True)
class Rows:
    """New vectors for the tokens of a group: merged or summed up, or kept in an order of the method's own.

    Attributes
    ----------
    places : Tensor, (G, m) int64
        Place in the unit, 0..n-1, whose place in the prompt each row takes; may repeat.
    rows : Tensor, (G, m, c)
        Their vectors.
    rank : Tensor or None, (G, m) int64
        Sort key of the rows over the whole prompt, lowest first; None sorts by place in the prompt.
    encoder : bool
        The vectors are features of the vision tower and still have to pass the projector.
    """

    places: Tensor
    rows: Tensor
    rank: Tensor | None = None
    encoder: bool = False


def unit_after_unit(group: Group, places: Tensor) -> Tensor:
    """(G, m) int64: the ``rank`` of rows that stay in the method's own order inside a unit."""
    return group.units[:, None].expand_as(places)


def groups(
    point: PruningPoint,
    *,
    proportional: bool,
    scope: Scope = "unit",
    values: Mapping[str, Tensor] | None = None,
    singly: bool = False,
) -> list[Group]:
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
    values : mapping of str to Tensor, optional
        What tokens are compared by.
    singly : bool
        One unit a group, for methods that keep another number of tokens in each.

    Raises
    ------
    BudgetError
        If there are more images than tokens to keep.
    NonFiniteError
        NaN or infinity in values of one number a token.
    """
    import torch

    from tops.selection.checks import check_finite

    values = {} if values is None else values
    for name, value in values.items():
        if value.ndim == 1 and value.is_floating_point():  # vectors are looked at by what compares them
            check_finite(name, value)
    tokens = point.tokens
    whole = torch.zeros_like(tokens.unit) if scope == "prompt" else tokens.unit
    unit = {"unit": tokens.unit, "image": tokens.image, "prompt": whole}[scope]
    image = whole if scope == "prompt" else tokens.image
    in_order = bool((unit[1:] >= unit[:-1]).all())
    order = torch.arange(len(unit), device=unit.device) if in_order else unit.argsort(stable=True)
    if in_order and int(unit[0]) == int(unit[-1]):
        (keep,) = share(point.keep, [len(unit)], proportional=proportional, least=1)
        return [Group(unit[:1], order[None], keep, point, values, whole=True)]
    # One number for both: of pairs, torch finds consecutive ones far more slowly.
    number = (image * (unit.max() + 1) + unit)[order]
    lengths = torch.unique_consecutive(number, return_counts=True)[1]
    first = order[lengths.cumsum(0) - lengths]
    images, units = torch.stack([image[first], unit[first]]).tolist()
    sizes = lengths.tolist()
    members: dict[int, list[int]] = {}
    for place, number in enumerate(images):
        members.setdefault(number, []).append(place)
    shares = quotas(point.keep, [[sizes[p] for p in places] for places in members.values()], proportional=proportional)
    kept = [0] * len(sizes)
    for places, counts in zip(members.values(), shares, strict=True):
        for place, count in zip(places, counts, strict=True):
            kept[place] = count
    chunks = torch.split(order, sizes)
    batches: dict[tuple[int, int, int], list[int]] = {}
    for place, (size, keep) in enumerate(zip(sizes, kept, strict=True)):
        if keep:
            batches.setdefault((size, keep, place if singly else 0), []).append(place)
    return [
        Group(
            units=torch.tensor([units[p] for p in places], device=order.device),
            positions=torch.stack([chunks[p] for p in places]),
            keep=keep,
            point=point,
            values=values,
            whole=in_order and len(places) == len(sizes),
        )
        for (_, keep, _), places in batches.items()
    ]


def quotas(keep: int, units: Sequence[Sequence[int]], *, proportional: bool) -> list[list[int]]:
    """Tokens that each unit of each image keeps: shared among images, then among the units of each.

    Parameters
    ----------
    keep : int
        Over the whole prompt.
    units : sequence of sequence of int
        Per image the tokens of each of its units.
    proportional : bool
        Share by size.
    """
    parts = share(keep, [sum(sizes) for sizes in units], proportional=proportional, least=1)
    return [share(part, sizes, proportional=proportional) for sizes, part in zip(units, parts, strict=True)]


def check_units(keep: int, shape: PromptShape, least: int, *, proportional: bool, title: str) -> None:
    """Refuse a count under which a unit would keep fewer tokens than a method needs there.

    Parameters
    ----------
    keep : int
        Over the whole prompt.
    shape : PromptShape
        Where its units are not known, every image is taken for one.
    least : int
        Fewest tokens of a unit that keeps any.
    proportional : bool
        As in :func:`groups`.
    title : str
        Method, for the error.

    Raises
    ------
    BudgetError
        With the next budget that is enough.
    """
    images = max(1, shape.images)
    units = shape.units or ((shape.visual // images,),) * images
    total = sum(map(sum, units))
    if least < 2 or keep >= total:
        return

    def few(count: int) -> list[tuple[int, int]]:
        """Image and tokens of every unit that would keep too few."""
        shares = enumerate(quotas(count, units, proportional=proportional))
        return [(image, part) for image, parts in shares for part in parts if 0 < part < least]

    if not (wrong := few(keep)):
        return
    step = 1 if proportional else images
    enough = next((count for count in range(keep + step, total, step) if not few(count)), total)
    advice = (
        f"a keep ratio of at least {enough / total:.6g}" if proportional else f"{enough // images} tokens per image"
    )
    image, part = wrong[0]
    raise BudgetError(
        f"{title} needs {least} tokens of every tile or frame that keeps any, and {keep} of {total} tokens leave "
        f"{part} of one of the {len(units[image])} in image {image}; give {advice}"
    )


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


def assembled(point: PruningPoint, batches: Sequence[Group], parts: Sequence[Tensor | Rows], title: str) -> Selection:
    """What was chosen in every group, as one selection in order.

    Parameters
    ----------
    point : PruningPoint
        The cut.
    batches : sequence of Group
        All its groups.
    parts : sequence of Tensor or Rows
        What :meth:`tops.methods.base.BeforeModel.choose` gave for each of them.
    title : str
        Method, for errors.

    Raises
    ------
    ConfigurationError
        If what was chosen does not fit its group.
    """
    import torch

    chosen: list[Tensor] = []
    merged: list[Rows] = []
    for group, part in zip(batches, parts, strict=True):
        places = part.places if isinstance(part, Rows) else part
        if places.ndim != 2 or len(places) != len(group) or places.dtype != torch.int64:
            raise ConfigurationError(
                f"{title}: choose gave {places.dtype} of shape {tuple(places.shape)} for {len(group)} units that keep "
                f"{group.keep} tokens each; wanted int64 of shape ({len(group)}, {group.keep})"
            )
        chosen.append(group.positions.gather(1, places))
        if isinstance(part, Rows):
            merged.append(part)
    if not merged:
        return Selection(torch.cat([c.flatten() for c in chosen]).sort().values)
    places = torch.cat([c.flatten() for c in chosen])
    ranks = [anchors if part.rank is None else part.rank for anchors, part in zip(chosen, merged, strict=True)]
    rank = torch.cat([rank.flatten() for rank in ranks])
    rows = torch.cat([part.rows.flatten(0, 1) for part in merged]) if len(merged) > 1 else merged[0].rows.flatten(0, 1)
    if bool((rank[1:] < rank[:-1]).any()):
        order = rank.argsort(stable=True)
        places, rows = places[order], rows[order]
    return Selection(places, point.vision.project(rows) if merged[0].encoder else rows)


def everything(tokens: VisualTokens) -> Selection:
    """All tokens, unchanged."""
    import torch

    return Selection(torch.arange(len(tokens), device=tokens.index.device))
