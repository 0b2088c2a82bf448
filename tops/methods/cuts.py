"""From a budget to cuts: what the schedules of several methods share. Arithmetic only."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

from tops.budget import Budget, Cut, PromptShape, Schedule
from tops.errors import BudgetError, ConfigurationError


def allowed(budget: Budget, shape: PromptShape, title: str) -> int:
    """Tokens over the whole prompt, at least one per image.

    Raises
    ------
    BudgetError
        If the budget exceeds the tokens, or leaves an image with none.
    """
    total = budget.tokens(shape)
    if total < shape.images:
        raise BudgetError(
            f"{title}: {total} tokens for {shape.images} images would leave an image with no token; "
            f"use at least 1 token per image, or a keep ratio of at least {shape.images / shape.visual:.4g}"
        )
    return total


def before_model(budget: Budget, shape: PromptShape, title: str) -> Schedule:
    """One cut before the language model: kept count and layer average are the same number under every protocol."""
    total = allowed(budget, shape, title)
    return Schedule(shape.visual, shape.depth, () if total == shape.visual else (Cut(0, total),))


def as_tuples(method: object, *names: str) -> None:
    """Turn the lists that configuration files give into the tuples that frozen dataclasses hold."""
    for name in names:
        value = getattr(method, name)
        if value is not None:
            object.__setattr__(method, name, tuple(value))


def refuse_budget(budget: Budget, title: str) -> None:
    """For controls that prune nothing: only the default budget makes sense.

    Raises
    ------
    ConfigurationError
        If a budget was given.
    """
    if budget.value != 1.0 or isinstance(budget.value, int):
        raise ConfigurationError(f"{title} has no budget, got {budget.value}; leave it out (budget=1.0)")


def scaled_layers(layers: Sequence[int], depth: int, of: int | None, title: str) -> tuple[int, ...]:
    """Layers given for a model of depth ``of``, at the same fraction of another depth: at least 1, and rising.

    Parameters
    ----------
    layers : sequence of int
        Cut layers, rising, as in the paper of the method.
    depth : int
        Decoder layers of the model at hand.
    of : int or None
        Depth that ``layers`` refer to; None takes them literally.
    title : str
        Method, for the error.

    Raises
    ------
    ConfigurationError
        If the layers do not rise or there are fewer layers than cuts.
    """
    if any(b <= a for a, b in pairwise(layers)) or not layers or layers[0] < 0:
        raise ConfigurationError(f"{title}: cut layers {list(layers)} must rise and start at 0 or later")
    if of is None or of == depth:
        return tuple(layers)
    out: list[int] = []
    for layer in layers:
        out.append(max(out[-1] + 1 if out else 1, round(layer * depth / of)))
    if out[-1] >= depth:
        raise ConfigurationError(
            f"{title}: {len(layers)} cuts do not fit a model of {depth} layers; give fewer cut layers"
        )
    return tuple(out)


def one_cut(
    budget: Budget, shape: PromptShape, layer: int, title: str, *, kept: Callable[[int], int] = lambda count: count
) -> Schedule:
    """One cut inside the language model.

    Under ``layer_average`` the count k after the cut is the largest whose layer average does not exceed the budget,
    ``(layer * N + (depth - layer) * k) / depth <= T``; under ``kept`` it is T.

    Parameters
    ----------
    budget, shape, title
        What is asked, on which prompt, by which method.
    layer : int
        First layer that sees the pruned sequence.
    kept : callable
        The count a method really keeps when asked for one, for methods that can only keep certain counts.

    Raises
    ------
    BudgetError
        If the uncut layers alone exceed the average; the message gives the floor.
    """
    visual, depth = shape.visual, shape.depth
    total = allowed(budget, shape, title)
    if total == visual:
        return Schedule(visual, depth, ())
    if budget.protocol == "as_printed":
        raise BudgetError(
            f"{title} has no printed schedule for {budget.value}; use protocol=layer_average (how the paper counts its "
            "baselines) or protocol=kept"
        )
    count = total
    if budget.protocol == "layer_average":
        count = math.floor((total * depth - layer * visual) / (depth - layer)) if layer < depth else total
    least = max(1, shape.images)
    if count < least:
        raise too_low(title, total, (layer * visual + (depth - layer) * least) / depth, layer, shape)
    return Schedule(visual, depth, (Cut(layer, kept(count)),))


def pyramid(budget: Budget, shape: PromptShape, layers: Sequence[int], title: str) -> Schedule:
    """Cuts whose counts fall geometrically.

    Under ``layer_average`` the i-th keeps ``int(N * ratio ** i)``, all relative to the original N, with the ratio that
    solves the average; under ``kept`` the first keeps the budget and each later one half of the one before, the ratio
    of the PyramidDrop paper.

    Raises
    ------
    BudgetError
        If the layers before the first cut alone exceed the average, or the last cut would keep less than a token per
        image; the message gives the floor.
    """
    visual, depth = shape.visual, shape.depth
    total = allowed(budget, shape, title)
    if total == visual:
        return Schedule(visual, depth, ())
    if budget.protocol == "as_printed":
        raise BudgetError(f"{title} has no printed schedule for {budget.value}; use protocol=layer_average or kept")
    least = max(1, shape.images)
    if budget.protocol == "kept":
        counts = [total >> i for i in range(len(layers))]
        if counts[-1] < least:
            raise BudgetError(
                f"{title}: keeping {total} of {visual} tokens after the first cut leaves {counts[-1]} after the last, "
                f"at least {least} must stay; ask for at least {least << (len(layers) - 1)}"
            )
        return Schedule(visual, depth, tuple(Cut(layer, k) for layer, k in zip(layers, counts, strict=True)))
    spans = [b - a for a, b in zip((0, *layers), (*layers, depth), strict=True)]

    def average(ratio: float) -> float:
        return sum(span * visual * ratio**i for i, span in enumerate(spans)) / depth

    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if average(middle) <= total else (low, middle)
    # A product such as 0.25 * 576 must not lose a token to the last bit of the ratio.
    counts = [math.floor(visual * low**i + 1e-9) for i in range(1, len(layers) + 1)]
    if counts[-1] < least:
        raise too_low(title, total, average((least / visual) ** (1 / len(layers))), layers[0], shape)
    return Schedule(visual, depth, tuple(Cut(layer, k) for layer, k in zip(layers, counts, strict=True)))


def too_low(title: str, total: int, floor: float, layer: int, shape: PromptShape) -> BudgetError:
    """The refusal of an average that the layers before the first cut already exceed."""
    each = "" if shape.images <= 1 else f" ({shape.images} images or frames, {total / shape.images:.4g} each)"
    least = math.ceil(floor / max(1, shape.images))
    return BudgetError(
        f"{title} cannot average {total} of {shape.visual} tokens over {shape.depth} layers{each}: with the first cut "
        f"at layer {layer} its floor is {floor:.1f}. Cut earlier, ask for at least {least} per image, or use "
        "protocol=kept"
    )
