"""One image inside vLLM: its visual tokens, pruned by the library's own selection as ``prune()`` does for a prompt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NoReturn

import torch
from torch import Tensor

from tops.backbones._precision import full_precision
from tops.backbones.base import Adapter, Layout, Seen, VisionContext
from tops.budget import PromptShape
from tops.engine.checks import check_selection
from tops.engine.point import Point
from tops.engine.segment import Row, plan_gather
from tops.engine.text import PromptText
from tops.errors import ConfigurationError
from tops.methods.base import Method
from tops.serving.pruning import Pruning
from tops.serving.refusals import check_count


class ImageView(Adapter):
    """A family as it stands in vLLM: its classes for transformers, read from vLLM's modules. Mixed in before them."""

    facts: tuple[str, ...] = ()
    """Processed inputs, by name, from which the layout of one image follows."""

    def one_image(self, facts: Mapping[str, Any]) -> Layout:
        """The visual placeholders of one image.

        Parameters
        ----------
        facts : mapping of str to Tensor
            This image's part of the inputs named in ``facts``.
        """
        raise NotImplementedError

    def complete(self, seen: dict[str, list[Seen]]) -> None:
        """Add to what was seen of the tower what follows from it; nothing where vLLM runs all that methods read."""

    def candidates(self, layout: Layout, method: Method) -> PromptShape:
        """The shape that a method's schedule is made for, on a prompt with this image alone."""
        units = layout.sizes(with_newlines=method.with_newlines)
        return replace(self.shape(sum(map(sum, units))), units=units)

    def shape(self, visual: int) -> PromptShape:
        """What a schedule may depend on, for a prompt with one image of so many visual tokens."""
        text: Any = self.model.config.get_text_config()
        depth = int(text.num_hidden_layers)
        return PromptShape(visual, depth, 1, self.published.get((text.model_type, depth, text.hidden_size), ""))


@dataclass(frozen=True)
class Kept:
    """What is left of an image.

    Attributes
    ----------
    rows : Tensor, (K, d)
        Its embeddings, in the order in which the language model sees them.
    source : Tensor, (K,) int64, on the CPU
        Place among the unpruned placeholders that each stands for.
    """

    rows: Tensor
    source: Tensor


class _ImagePoint(Point):
    """A cut before the language model on an image without a prompt."""

    @cached_property
    def positions(self) -> NoReturn:
        """Refused."""
        raise _no("position ids")

    @cached_property
    def text_slots(self) -> NoReturn:
        """Refused."""
        raise _no("text tokens")

    def attention(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refused."""
        raise _no("decoder attention")

    def keys(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refused."""
        raise _no("decoder keys")


def prune_images(
    adapter: ImageView,
    prunings: Sequence[Pruning],
    layouts: Sequence[Layout],
    embeddings: Sequence[Tensor],
    seen: Mapping[str, Sequence[Seen]],
    call: Mapping[str, Any],
) -> list[Kept]:
    """Prune every image of one call of the vision tower.

    Parameters
    ----------
    adapter : ImageView
        The family on the loaded model.
    prunings : sequence of Pruning
        One an image.
    layouts : sequence of Layout
        One an image.
    embeddings : sequence of Tensor, (n, d)
        Projected visual tokens of every image, newlines among them.
    seen : mapping
        What the watched modules of the tower saw, of all images.
    call : mapping
        Processed inputs of all images.
    """
    with full_precision():
        return [
            _prune(adapter, pruning, number, layouts, rows, seen, call)
            for number, (pruning, rows) in enumerate(zip(prunings, embeddings, strict=True))
        ]


def _prune(
    adapter: ImageView,
    pruning: Pruning,
    number: int,
    layouts: Sequence[Layout],
    rows: Tensor,
    seen: Mapping[str, Sequence[Seen]],
    call: Mapping[str, Any],
) -> Kept:
    layout, method, everything = layouts[number], pruning.build(), torch.arange(len(rows))
    if len(layout) != len(rows):
        raise AssertionError(f"{type(adapter).__name__}.one_image gave {len(layout)} tokens, vLLM's tower {len(rows)}")
    if method is None:
        return Kept(rows, everything)
    shape = adapter.candidates(layout, method)
    keep = check_count(method, shape, pruning.method)
    if keep is None:
        return Kept(rows, everything)
    row = _row(layout, method)
    context = VisionContext(
        call=call,
        seen=seen,
        layouts=layouts,
        sample=number,
        embeddings=rows[row.candidate.to(rows.device)],
        text_encoder=None,
        device=rows.device,
        with_newlines=method.with_newlines,
    )
    point = _ImagePoint(
        adapter=adapter,
        row=row,
        states=rows,
        before=None,
        layout=layout,
        layer=0,
        keep=keep,
        shape=shape,
        vision=adapter.vision(context),
        text=PromptText("", _no_question, _no_text, None),
        sample=pruning.sample,
        ordinal=everything,
    )
    selection = method.select(point)
    check_selection(selection, int(row.candidate.sum()), rows.shape[-1], method, 0)
    gather = plan_gather(row, selection)
    if gather is None:
        return Kept(rows, everything)
    kept = rows[gather.source.to(rows.device)]
    if gather.values is not None:
        kept[gather.places.to(rows.device)] = gather.values.to(kept)
    if len(kept) != keep:
        raise ConfigurationError(
            f"{method.title} gave {len(kept)} tokens of an image where its schedule says {keep}; the count must be "
            "known before the image is seen"
        )
    return Kept(kept, gather.source)


def _row(layout: Layout, method: Method) -> Row:
    """An image as a sequence of its own, without text around it."""
    places = torch.arange(len(layout))
    visual = torch.ones(len(layout), dtype=torch.bool)
    candidate = visual if method.with_newlines else ~layout.newline
    return Row(places, visual, candidate, places, places, torch.zeros((), dtype=torch.int64))


def _no(what: str) -> ConfigurationError:
    return ConfigurationError(
        f"this method reads {what} before the language model, and a serving engine prunes images without their "
        "prompts; set reads_question on it, so that it is refused before a model loads"
    )


def _no_question() -> str:
    raise _no("the question")


def _no_text() -> Tensor:
    raise _no("the text")
