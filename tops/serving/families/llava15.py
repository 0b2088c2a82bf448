"""LLaVA-1.5 inside vLLM."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vllm.model_executor.models import llava
from vllm.multimodal import MULTIMODAL_REGISTRY

from tops.backbones.base import Layout
from tops.serving.families.clip import ClipModel, ClipView
from tops.serving.processing import PrunedProcessor


class LlavaView(ClipView):
    """One image, one unit."""

    def one_image(self, facts: Mapping[str, Any]) -> Layout:
        """A square."""
        return Layout.grids([(self.side, self.side)])


class LlavaProcessor(PrunedProcessor, llava.LlavaMultiModalProcessor):
    """Placeholders of pruned images."""

    view = LlavaView


@MULTIMODAL_REGISTRY.register_processor(
    LlavaProcessor, info=llava.LlavaProcessingInfo, dummy_inputs=llava.LlavaDummyInputsBuilder
)
class PrunedLlava(ClipModel, llava.LlavaForConditionalGeneration):
    """vLLM's LLaVA with pruned images."""

    view = LlavaView
