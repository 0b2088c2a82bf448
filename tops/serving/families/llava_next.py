"""LLaVA-NeXT inside vLLM."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from vllm.model_executor.models import llava, llava_next
from vllm.multimodal import MULTIMODAL_REGISTRY

from tops.backbones.base import Layout
from tops.backbones.image_layouts import ImageLayout
from tops.backbones.llava_next import LlavaNext
from tops.serving.families.clip import ClipModel, ClipView
from tops.serving.processing import PrunedProcessor


class LlavaNextView(ClipView, LlavaNext):
    """A base view and tiles; a newline after every row of the tiles."""

    facts = ("image_sizes", "pixel_values")

    @property
    def newlines(self) -> bool:
        """Always: vLLM knows no other packing."""
        return True

    @contextmanager
    def shown(self, layout: ImageLayout) -> Iterator[None]:
        """Nothing: layouts with a packing of their own are refused by the plan."""
        yield

    def one_image(self, facts: Mapping[str, Any]) -> Layout:
        """As the model packs it; vLLM's tower also runs the tiles that pad an image to the largest of its prompt."""
        return replace(self.image_layout(facts["image_sizes"].tolist()), ran=len(facts["pixel_values"]))


class LlavaNextProcessor(PrunedProcessor, llava_next.LlavaNextMultiModalProcessor):
    """Placeholders of pruned images."""

    view = LlavaNextView


@MULTIMODAL_REGISTRY.register_processor(
    LlavaNextProcessor, info=llava_next.LlavaNextProcessingInfo, dummy_inputs=llava.LlavaDummyInputsBuilder
)
class PrunedLlavaNext(ClipModel, llava_next.LlavaNextForConditionalGeneration):
    """vLLM's LLaVA-NeXT with pruned images."""

    view = LlavaNextView
