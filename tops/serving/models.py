"""What vLLM's model classes do beside their own: watch the tower as it runs, and hand on what is left of an image."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

from torch import Tensor, nn

from tops.backbones.base import Layout, Seen, Watch
from tops.serving.images import ImageView, Kept, prune_images
from tops.serving.processing import prunings_of
from tops.serving.pruning import KEY
from tops.serving.refusals import check_modes


class PrunedModel:
    """Mixed in before a model class of vLLM."""

    view: ClassVar[type[ImageView]]

    def __init__(self, *, vllm_config: Any, prefix: str = "") -> None:
        check_modes(vllm_config)
        super().__init__(vllm_config=vllm_config, prefix=prefix)  # type: ignore[call-arg]
        self.tops_view = self.view(self)  # type: ignore[arg-type]
        self.tops_view.check()

    def embed_multimodal(self, **kwargs: Any) -> Any:
        """Embeddings of every image, pruned as its request says."""
        field = kwargs.pop(KEY, None)
        if field is None:
            return super().embed_multimodal(**kwargs)  # type: ignore[misc]
        view, prunings = self.tops_view, prunings_of(field)
        methods = [method for method in (pruning.build() for pruning in prunings) if method is not None]
        layers = {layer for method in methods for layer in method.tower_layers(view.tower)}
        with watching(view.watches(sorted(layers)) if methods else []) as seen:
            embeddings = list(super().embed_multimodal(**kwargs))  # type: ignore[misc]
        if methods:
            view.complete(seen)
        facts = [{name: kwargs[name][number] for name in view.facts} for number in range(len(prunings))]
        layouts = [view.one_image(one) for one in facts]
        kept = prune_images(view, prunings, layouts, embeddings, seen, kwargs)
        return tuple(self.handed_on(*one) for one in zip(kept, layouts, facts, strict=True))

    def handed_on(self, kept: Kept, layout: Layout, facts: Mapping[str, Any]) -> Tensor:
        """What vLLM caches of an image: its rows, for models whose text counts on from the last of them."""
        return kept.rows


@contextmanager
def watching(watches: Sequence[Watch]) -> Iterator[dict[str, list[Seen]]]:
    """What the watched modules see while the block lasts; references, no copies."""
    seen: dict[str, list[Seen]] = {watch.name: [] for watch in watches}

    def before(name: str) -> Any:
        def note(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            values = [value for value in (*args, *kwargs.values()) if isinstance(value, Tensor)]
            seen[name].append(Seen(args[0] if args else values[0], kwargs))

        return note

    def after(name: str) -> Any:
        def note(module: nn.Module, args: tuple[Any, ...], out: Any) -> None:
            seen[name].append(Seen(out[0] if isinstance(out, tuple) else out, {}))

        return note

    handles = [
        watch.module.register_forward_pre_hook(before(watch.name), with_kwargs=True)
        if watch.side == "input"
        else watch.module.register_forward_hook(after(watch.name))
        for watch in watches
    ]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()
