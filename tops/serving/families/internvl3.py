"""InternVL3 inside vLLM, whose class for checkpoints of transformers is that of Intern-S1."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn
from vllm.model_executor.models import interns1
from vllm.multimodal import MULTIMODAL_REGISTRY

from tops.backbones.base import Layout
from tops.backbones.internvl3 import InternVL3
from tops.serving.images import ImageView
from tops.serving.models import PrunedModel
from tops.serving.processing import PrunedProcessor


class InternVL3View(ImageView, InternVL3):
    """Tiles and a thumbnail, a unit each."""

    facts = ("image_num_patches",)

    @property
    def outer(self) -> nn.Module:
        """The model: vLLM has no model inside it."""
        return self.model

    def one_image(self, facts: Mapping[str, Any]) -> Layout:
        """Squares, one after the other."""
        tiles = int(facts["image_num_patches"])
        return Layout.grids([(self.side, self.side)] * tiles, [0] * tiles)


class InternVL3Processor(PrunedProcessor, interns1.InternS1MultiModalProcessor):
    """Placeholders of pruned images."""

    view = InternVL3View


@MULTIMODAL_REGISTRY.register_processor(
    InternVL3Processor, info=interns1.InternS1ProcessingInfo, dummy_inputs=interns1.InternS1DummyInputsBuilder
)
class PrunedInternVL3(PrunedModel, interns1.InternS1ForConditionalGeneration):
    """vLLM's InternVL3 with pruned images."""

    view = InternVL3View
