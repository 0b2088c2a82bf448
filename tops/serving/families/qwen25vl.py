"""Qwen2.5-VL inside vLLM: kept tokens keep their place in the image's grid, so positions travel with the embeddings.

vLLM computes mRoPE ids from whole grids before the tower runs. For pruned videos it has a way back, which images take
here: rows carry channels behind their embeddings, and ``recompute_mrope_positions`` reads and removes them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Literal

import torch
from torch import Tensor
from vllm.model_executor.models import qwen2_5_vl
from vllm.multimodal import MULTIMODAL_REGISTRY

from tops.backbones._packed import PackedSignals
from tops.backbones._received import received_attention
from tops.backbones.base import Layout, VisionContext, attention_of
from tops.backbones.qwen25vl import Qwen25VL
from tops.errors import UnsupportedModelError
from tops.serving.images import ImageView, Kept
from tops.serving.models import PrunedModel
from tops.serving.mrope import CHANNELS, image_positions, places_as_channels, prompt_positions
from tops.serving.processing import PrunedProcessor
from tops.signals import Tower, TowerLayer, VisionSignals


class Qwen25VLView(ImageView, Qwen25VL):
    """An image is one grid of merged tokens."""

    facts = ("image_grid_thw",)

    @property
    def visual(self) -> Any:
        """The vision tower."""
        return self._module(self.model, "visual")

    @property
    def tower(self) -> Tower:
        """The blocks; those with full attention are ``whole``, and the last of them is what saliency reads."""
        vision: Any = self.model.config.vision_config
        whole = tuple(sorted(i for i in vision.fullatt_block_indexes if i < vision.depth))
        return Tower(vision.depth, whole[-1] if whole else vision.depth - 1, whole)

    def check(self) -> None:
        """Refuse towers of windows alone."""
        if not self.tower.whole:
            vision: Any = self.model.config.vision_config
            raise UnsupportedModelError(
                f"fullatt_block_indexes={list(vision.fullatt_block_indexes)} names none of the tower's {vision.depth} "
                "blocks; saliency needs one with full attention"
            )

    def one_image(self, facts: Mapping[str, Any]) -> Layout:
        """A rectangle."""
        steps, rows, columns = facts["image_grid_thw"].tolist()
        side = int(self.model.config.vision_config.spatial_merge_size)
        return Layout.grids([(rows // side, columns // side)] * steps, [0] * steps)

    def vision(self, context: VisionContext) -> VisionSignals:
        """Mean attention received, over the patches that make a token."""
        return _Signals(context, self)


class _Signals(PackedSignals):
    """Received attention of a block, from vLLM's fused projection and its own rotation."""

    def attention_received(self, *, reduce: Literal["mean", "sum"] = "mean", layer: TowerLayer = "feature") -> Tensor:
        """(N,) float32: mean attention received, over heads and over the patches of each token."""
        context, view, number = self.context, self.adapter, self.number(layer)
        assert isinstance(view, Qwen25VLView)
        (seen,) = context.seen[attention_of(number)]
        module: Any = view.tower_attention[number]
        states, count = seen.value, module.num_attention_heads_per_partition
        fused = module.qkv(states)[0].view(len(states), 1, 3, count, -1)
        turned = module.apply_rotary_emb(
            fused[:, :, :2].permute(2, 1, 0, 3, 4).flatten(0, 1).contiguous(),
            seen.kwargs["rotary_pos_emb_cos"],
            seen.kwargs["rotary_pos_emb_sin"],
        )
        queries, keys = turned.transpose(1, 2).unbind(0)
        scale = module.hidden_size_per_attention_head**-0.5
        pieces = []
        for low, high in pairwise(seen.kwargs["cu_seqlens"].tolist()):
            received = received_attention(queries[:, low:high], keys[:, low:high], scale)
            pieces.append(received.mean(0) if reduce == "mean" else received.sum(0))
        merged = torch.cat(pieces).view(-1, int(view.visual.spatial_merge_size) ** 2).mean(-1)
        order = view.patch_order(context.call["image_grid_thw"].cpu())
        assert order is not None
        merged = merged[torch.argsort(order.to(merged.device))]
        first = sum(len(layout) for layout in context.layouts[: context.sample])
        return merged[first : first + len(context.layout)].to(context.device)


class Qwen25VLInfo(qwen2_5_vl.Qwen2_5_VLProcessingInfo):
    """Images alone: the channels behind embeddings are those of images."""

    def get_supported_mm_limits(self) -> Mapping[str, int | None]:
        """No videos."""
        return {"image": None}


class Qwen25VLProcessor(PrunedProcessor, qwen2_5_vl.Qwen2_5_VLMultiModalProcessor):
    """Placeholders of pruned images."""

    view = Qwen25VLView


@MULTIMODAL_REGISTRY.register_processor(
    Qwen25VLProcessor, info=Qwen25VLInfo, dummy_inputs=qwen2_5_vl.Qwen2_5_VLDummyInputsBuilder
)
class PrunedQwen25VL(PrunedModel, qwen2_5_vl.Qwen2_5_VLForConditionalGeneration):
    """vLLM's Qwen2.5-VL with pruned images."""

    view = Qwen25VLView
    rows_carry_places = True

    def __init__(self, *, vllm_config: Any, prefix: str = "") -> None:
        super().__init__(vllm_config=vllm_config, prefix=prefix)
        # vLLM asks for recomputed positions where it is told of pruned videos. No video comes here: a switch, no rate.
        vllm_config.model_config.multimodal_config.video_pruning_rate = 0.5

    def handed_on(self, kept: Kept, layout: Layout, facts: Mapping[str, Any]) -> Tensor:
        """Rows with their places in the grid behind them."""
        places = torch.stack([torch.zeros_like(layout.row), layout.row, layout.col])[:, kept.source]
        extent = int(torch.stack([layout.row, layout.col]).max()) + 1
        return torch.cat([kept.rows, places_as_channels(places, extent).to(kept.rows)], 1)

    def get_mrope_input_positions(self, input_tokens: list[int], mm_features: Sequence[Any]) -> tuple[Tensor, int]:
        """Positions of the text; those of kept tokens come with their embeddings."""
        lengths = {feature.mm_position.offset: feature.mm_position.length for feature in mm_features}
        images = [
            (offset, lengths[offset], max(steps, rows, columns))
            for offset, steps, rows, columns, _ in self.iter_mm_grid_thw(mm_features)
        ]
        return prompt_positions(len(input_tokens), images)

    def recompute_mrope_positions(
        self,
        input_ids: list[int] | Tensor,
        multimodal_embeddings: Sequence[Tensor],
        mrope_positions: Tensor,
        num_computed_tokens: int,
    ) -> tuple[Sequence[Tensor], Tensor, int]:
        """Positions of the kept tokens of this chunk, and their embeddings without the channels."""
        ids = torch.as_tensor(input_ids, device=mrope_positions.device)
        positions, delta = image_positions(
            ids == self.config.image_token_id,
            [rows[:, -CHANNELS:] for rows in multimodal_embeddings],
            mrope_positions,
            num_computed_tokens,
        )
        return [rows[:, :-CHANNELS] for rows in multimodal_embeddings], positions, delta
