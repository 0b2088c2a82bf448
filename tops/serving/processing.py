"""What vLLM's processors must know: the placeholders left of an image, and by what caches tell images apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, ClassVar

import torch
from torch import Tensor
from vllm.multimodal.inputs import MultiModalFieldConfig
from vllm.multimodal.parse import ImageEmbeddingItems
from vllm.multimodal.processing import PromptUpdateDetails

from tops.errors import ConfigurationError
from tops.serving.images import ImageView
from tops.serving.pruning import KEY, Pruning, engine_pruning, parsed
from tops.serving.refusals import check_count, check_positions, check_signals


class PrunedProcessor:
    """Mixed in before a processor of vLLM.

    Every item carries its pruning as one canonical text: in the keyword arguments by which vLLM names items in all its
    caches, and as a field that reaches the model.
    """

    view: ClassVar[type[ImageView]]

    def __init__(self, info: Any, dummy_inputs: Any, **options: Any) -> None:
        super().__init__(info, dummy_inputs, **options)  # type: ignore[call-arg]
        config = info.get_hf_config()
        self._view = self.view(SimpleNamespace(config=config))  # type: ignore[arg-type]  # layouts need no weights
        self._view.check()
        self._engine = engine_pruning(config)
        self._check(self._engine)

    def _check(self, pruning: Pruning) -> None:
        """Refuse what this family's tower cannot give."""
        method = pruning.build()
        if method is not None:
            check_signals(method, self._view.signals, pruning.method, self._view.family)
            check_positions(method, self._view.default_positions, pruning.method, self._view.family)

    def apply(self, inputs: Any, timing_ctx: Any) -> Any:
        """As vLLM's own, with the pruning of the request among the keyword arguments that name its items.

        Raises
        ------
        ConfigurationError
            For a pruning that cannot be served, and for image features instead of pixels.
        """
        asked = inputs.hf_processor_mm_kwargs.get(KEY)
        pruning = self._engine if asked is None else self._engine.changed(asked)
        if pruning is not self._engine:
            self._check(pruning)
        items = inputs.mm_data_items
        if pruning.prunes and isinstance(items.get("image"), ImageEmbeddingItems):
            raise ConfigurationError(
                f"image features were given, and {pruning.method} reads the vision tower as it runs; send pixels"
            )
        if pruning.prunes and items.get("video"):
            raise ConfigurationError(
                f"a video was given, and {pruning.method} is served for images; ask with mm_processor_kwargs="
                f'{{"{KEY}": {{"method": "none"}}}} to have it unpruned'
            )
        named = {**inputs.hf_processor_mm_kwargs, KEY: pruning.text}
        return super().apply(replace(inputs, hf_processor_mm_kwargs=named), timing_ctx)  # type: ignore[misc]

    def _apply_hf_processor_main(self, mm_items: Any, hf_kwargs: Mapping[str, Any]) -> Any:
        features = super()._apply_hf_processor_main(mm_items, _without(hf_kwargs))  # type: ignore[misc]
        images = mm_items.get_all_counts().get("image", 0)
        if images:
            features[KEY] = [_encoded(hf_kwargs[KEY])] * images
        return features

    def _get_mm_fields_config(self, hf_inputs: Any, hf_processor_mm_kwargs: Mapping[str, Any]) -> Mapping[str, Any]:
        fields = super()._get_mm_fields_config(hf_inputs, _without(hf_processor_mm_kwargs))  # type: ignore[misc]
        return {**fields, KEY: MultiModalFieldConfig.batched("image", keep_on_cpu=True)}

    def _get_prompt_updates(
        self, mm_items: Any, hf_processor_mm_kwargs: Mapping[str, Any], out_mm_kwargs: Any
    ) -> Sequence[Any]:
        updates = super()._get_prompt_updates(mm_items, _without(hf_processor_mm_kwargs), out_mm_kwargs)  # type: ignore[misc]
        pruning = parsed(hf_processor_mm_kwargs[KEY])
        if not pruning.prunes:
            return updates  # type: ignore[no-any-return]

        def shortened(update: Any) -> Any:
            whole = update.replacement

            def replacement(number: int) -> Any:
                content = whole(number) if callable(whole) else whole
                facts = out_mm_kwargs["image"][number].get_data()
                return self._shortened(content, pruning, {name: facts[name] for name in self._view.facts})

            return replace(update, replacement=replacement) if update.modality == "image" else update

        return [shortened(update) for update in updates]

    def _shortened(self, content: Any, pruning: Pruning, facts: Mapping[str, Any]) -> Any:
        """What stands for an image in the prompt: only so many placeholders as tokens stay."""
        method, view = pruning.build(), self._view
        assert method is not None
        (placeholder, *_), layout = view.placeholder_ids, view.one_image(facts)
        detailed = isinstance(content, PromptUpdateDetails)
        tokens = content.full if detailed else content
        if tokens.count(placeholder) != len(layout):
            there = tokens.count(placeholder)
            raise AssertionError(f"{type(view).__name__}.one_image gave {len(layout)} tokens, vLLM's processor {there}")
        keep = check_count(method, view.candidates(layout, method), pruning.method)
        if keep is None:
            return content
        first = tokens.index(placeholder)
        left = [*tokens[:first], *[placeholder] * keep, *(t for t in tokens[first:] if t != placeholder)]
        return PromptUpdateDetails.select_token_id(left, placeholder) if detailed else left


def prunings_of(field: Tensor | Sequence[Tensor]) -> list[Pruning]:
    """The pruning of every image of a call, from the field that the processor made."""
    return [parsed(bytes(row.flatten().tolist()).decode()) for row in field]


def _encoded(text: str) -> Tensor:
    return torch.tensor(list(text.encode()), dtype=torch.uint8)


def _without(options: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if name != KEY}
