"""LLaVA-1.5 (7B, 13B): CLIP ViT-L/14-336, a two-layer MLP, Vicuna. One image = one unit of 24 x 24 tokens."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from tops.backbones._runs import check_pixels, one_view
from tops.backbones._vision import TowerSignals
from tops.backbones.base import Adapter, Call, Layout, VisionContext, Watch
from tops.drawing import Placing
from tops.errors import UnsupportedModelError
from tops.signals import Signal, VisionSignals

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn
    from transformers import PretrainedConfig

    from tops.backbones.inputs import Inputs

_DECODERS: dict[str, dict[str, Any]] = {
    "7b": {"hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32, "num_attention_heads": 32},
    "13b": {"hidden_size": 5120, "intermediate_size": 13824, "num_hidden_layers": 40, "num_attention_heads": 40},
}


class Llava15(Adapter):
    """``LlavaForConditionalGeneration`` with a CLIP tower."""

    family = "llava"
    placing: ClassVar[Placing] = "crop"
    model_classes = ("LlavaForConditionalGeneration",)
    model_types = ("llava",)
    checkpoints = ("llava-hf/llava-1.5-7b-hf", "llava-hf/llava-1.5-13b-hf")
    published: ClassVar[dict[tuple[str, int, int], str]] = {
        ("llama", 32, 4096): "llava-1.5-7b",
        ("llama", 40, 5120): "llava-1.5-13b",
    }
    signals: ClassVar[frozenset[Signal]] = frozenset({Signal.SALIENCY, Signal.RECEIVED, Signal.CLS, Signal.ENCODER})
    turns = (("USER:", "ASSISTANT:"),)
    chat = "llava_hf"

    @property
    def side(self) -> int:
        """Patches along a view's side."""
        vision: Any = self.model.config.vision_config
        return int(vision.image_size // vision.patch_size)

    def check(self) -> None:
        """Refuse towers that are not CLIP and feature layers that are lists."""
        config: Any = self.model.config
        if config.vision_config.model_type != "clip_vision_model":
            raise UnsupportedModelError(
                f"vision tower {config.vision_config.model_type!r} of this LLaVA model is not served; "
                "served is 'clip_vision_model'"
            )
        if not isinstance(config.vision_feature_layer, int):
            raise UnsupportedModelError(
                f"vision_feature_layer={config.vision_feature_layer} reads several layers; a single one is needed"
            )
        if config.vision_feature_select_strategy != "default":
            raise UnsupportedModelError(
                f"vision_feature_select_strategy={config.vision_feature_select_strategy!r} keeps the CLS token "
                "among the visual tokens; 'default' is needed"
            )

    @property
    def feature_layer(self) -> int:
        """Index of the tower layer whose output the projector reads."""
        layer = int(self.model.config.vision_feature_layer)
        return (layer if layer >= 0 else len(self._encoder) + 1 + layer) - 1

    @property
    def _encoder(self) -> Any:
        return self._module(self._module(self._module(self.outer, "vision_tower"), "encoder"), "layers")

    @property
    def tower_attention(self) -> list[nn.Module]:
        """CLIP's attention modules."""
        return [layer.self_attn for layer in self._encoder]

    def layout(self, call: Call, placeholders: Sequence[int]) -> list[Layout]:
        """Each image a square grid; images go to samples by the number of their placeholders."""
        pixels, side = call.get("pixel_values"), self.side
        images = 0 if pixels is None else int(pixels.shape[0])
        if pixels is not None:
            view = int(self.model.config.vision_config.image_size)
            check_pixels(pixels, view)
            if call.get("image_sizes") is not None:
                raise UnsupportedModelError(
                    "image_sizes are for towers that take images of any size; this one takes squares of "
                    f"{view} pixels, so leave image_sizes out"
                )
        layouts = []
        for count in placeholders:
            if count % side**2:
                raise UnsupportedModelError(
                    f"a prompt has {count} image placeholders, which is no multiple of the {side**2} tokens of an "
                    "image; let the processor expand the image token"
                )
            layouts.append(Layout.grids([(side, side)] * (count // side**2)))
        wanted = sum(layout.units for layout in layouts)
        if wanted != images:
            raise UnsupportedModelError(
                f"the prompts have placeholders for {wanted} image(s), but {images} image(s) were given"
            )
        return layouts

    def media(self, call: Call, layouts: Sequence[Layout]) -> dict[str, list[int]]:
        """Images of each sample; a view or a tile is no row of its own."""
        images = [layout.images for layout in layouts]
        return {"pixel_values": images, "image_sizes": images}

    def watches(self, layers: Collection[int] = ()) -> list[Watch]:
        """Also the attention input of the layer after the feature layer, and the feature layer's output."""
        encoder, at = self._encoder, self.feature_layer
        after = [at + 1] if at + 1 < len(encoder) else []
        return [*super().watches([*after, *layers]), Watch("features", encoder[at], "output")]

    def vision(self, context: VisionContext) -> VisionSignals:
        """CLS attention of the feature layer (penultimate in the published models)."""
        return TowerSignals(context, self, projector=self._module(self.outer, "multi_modal_projector"))

    def chat_settings(self, inputs: Inputs) -> dict[str, Any]:
        """Frames of a video."""
        return {"max_frames_num": inputs.frames}

    def bench_media(self, visual: int, frames: int, generator: torch.Generator) -> tuple[int, int, dict[str, Tensor]]:
        """One view."""
        return one_view(self.model.config, self.side, (1,), generator)

    @classmethod
    def real_config(cls, checkpoint: str) -> PretrainedConfig:
        """Sizes of ``llava-hf/llava-1.5-7b-hf`` and ``-13b-hf``."""
        from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig

        size = "13b" if "13b" in checkpoint.lower() else "7b"
        return LlavaConfig(
            vision_config=CLIPVisionConfig(
                hidden_size=1024,
                intermediate_size=4096,
                num_hidden_layers=24,
                num_attention_heads=16,
                image_size=336,
                patch_size=14,
                projection_dim=768,
            ),
            text_config=LlamaConfig(
                vocab_size=32064, max_position_embeddings=4096, rms_norm_eps=1e-5, pad_token_id=0, **_DECODERS[size]
            ),
            image_token_index=32000,
            image_seq_length=576,
            vision_feature_layer=-2,
            vision_feature_select_strategy="default",
        )
