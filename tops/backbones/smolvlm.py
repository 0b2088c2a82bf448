"""SmolVLM2-2.2B: SigLIP on the tiles of an image and its whole view, or on frames; 3 x 3 patches make a token.

Text stands between the tiles of an image, and the same mark before every whole view. A tile, a whole view or a frame is
one unit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any, ClassVar

from tops.backbones._packed import PackedSignals
from tops.backbones._runs import check_pixels, one_view
from tops.backbones.base import Adapter, Call, Layout, VisionContext
from tops.backbones.image_layouts import NATIVE, ImageLayout
from tops.errors import UnsupportedModelError
from tops.signals import Signal, VisionSignals

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn
    from transformers import PretrainedConfig

    from tops.backbones.inputs import Inputs


class SmolVLM(Adapter):
    """``SmolVLMForConditionalGeneration``. lmms-eval's chat model of LLaVA asks it: it has none of its own."""

    family = "smolvlm"
    model_classes = ("SmolVLMForConditionalGeneration",)
    model_types = ("smolvlm",)
    checkpoints = ("HuggingFaceTB/SmolVLM2-2.2B-Instruct",)
    published: ClassVar[dict[tuple[str, int, int], str]] = {("llama", 24, 2048): "smolvlm2-2.2b"}
    signals: ClassVar[frozenset[Signal]] = frozenset({Signal.SALIENCY, Signal.RECEIVED})
    turns = (("User:", "<end_of_utterance>"),)
    chat = "llava_hf"
    image_layouts: ClassVar[Mapping[str, ImageLayout]] = {
        "native": NATIVE,
        # 4 x 4 tiles and the whole view, 81 tokens each.
        "fixed-1536": ImageLayout("fixed-1536", tokens=1377, side=1536, view=384, units=(81,) * 17),
    }

    @property
    def text_model(self) -> nn.Module:
        """Llama's decoder."""
        return self._module(self.outer, "text_model")

    @property
    def _encoder(self) -> Any:
        return self._module(self._module(self._module(self.outer, "vision_model"), "encoder"), "layers")

    @property
    def tower_attention(self) -> list[nn.Module]:
        """SigLIP's attention modules."""
        return [layer.self_attn for layer in self._encoder]

    @property
    def feature_layer(self) -> int:
        """The last layer: the connector reads what the tower ends with."""
        return len(self._encoder) - 1

    @property
    def side(self) -> int:
        """Tokens along a unit's side, after the shuffle."""
        config: Any = self.model.config
        return int(config.vision_config.image_size // config.vision_config.patch_size // config.scale_factor)

    def layout(self, call: Call, placeholders: Sequence[int]) -> list[Layout]:
        """Each run of placeholders is one unit; an image ends with the mark that the prompt's last unit has."""
        size, layouts = self.side**2, []
        for sample in range(len(placeholders)):
            runs = self._runs(call, sample)
            wrong = [length for _, length in runs if length != size]
            if wrong:
                raise UnsupportedModelError(
                    f"a run of {wrong[0]} placeholders is not the {size} tokens of a tile; let the processor expand "
                    "the image token"
                )
            images, image = [], 0
            for mark, _ in runs:
                images.append(image)
                image += mark == runs[-1][0]
            layouts.append(Layout.grids([(self.side, self.side)] * len(runs), images))
        self._check_pixels(call, [layout.units for layout in layouts])
        return layouts

    def _runs(self, call: Call, sample: int) -> list[tuple[int, int]]:
        """For every run of placeholders in a sample: the token before it, and its length."""
        tokens, runs, at = call["input_ids"][sample].tolist(), [], 0
        for token, group in groupby(tokens):
            length = len(list(group))
            if token in self.placeholder_ids:
                runs.append((tokens[at - 1] if at else -1, length))
            at += length
        return runs

    def _check_pixels(self, call: Call, units: Sequence[int]) -> None:
        """Refuse pixels that are not one picture a unit, and pictures that are padded within."""
        pixels, mask = call.get("pixel_values"), call.get("pixel_attention_mask")
        real = None
        if pixels is not None:
            check_pixels(pixels, int(self.model.config.vision_config.image_size))
            real = (pixels != 0).flatten(2).any(-1)  # the others fill up the rows of a batch
        given = [0] * len(units) if real is None else real.sum(1).tolist()
        if given != list(units):
            raise UnsupportedModelError(
                f"{given} tile(s) were given, but the prompts have placeholders for {list(units)}"
            )
        if mask is not None and real is not None and not bool(mask[real].all()):
            raise UnsupportedModelError(
                "pixel_attention_mask hides a part of a tile, so its tokens are no grid; let the processor split and "
                "resize images (do_image_splitting, do_resize)"
            )

    def media(self, call: Call, layouts: Sequence[Layout]) -> dict[str, list[int]]:
        """Nothing: pixels are padded to one row a sample."""
        return {}

    def vision(self, context: VisionContext) -> VisionSignals:
        """Mean attention received, averaged over the patches that make a token."""
        return _SmolSignals(context, self)

    def chat_settings(self, inputs: Inputs) -> dict[str, Any]:
        """Frames of a video."""
        return {"max_frames_num": inputs.frames}

    def bench_media(self, visual: int, frames: int, generator: torch.Generator) -> tuple[int, int, dict[str, Tensor]]:
        """One whole view: a run of more would need the marks between tiles."""
        return one_view(self.model.config, self.side, (1, 1), generator)

    @classmethod
    def real_config(cls, checkpoint: str) -> PretrainedConfig:
        """Sizes of ``HuggingFaceTB/SmolVLM2-2.2B-Instruct``."""
        from transformers import LlamaConfig, SmolVLMConfig

        return SmolVLMConfig(
            vision_config={
                "model_type": "smolvlm_vision",
                "hidden_size": 1152,
                "intermediate_size": 4304,
                "num_hidden_layers": 27,
                "num_attention_heads": 16,
                "image_size": 384,
                "patch_size": 14,
            },
            text_config=LlamaConfig(
                vocab_size=49280,
                hidden_size=2048,
                intermediate_size=8192,
                num_hidden_layers=24,
                num_attention_heads=32,
                num_key_value_heads=32,
                max_position_embeddings=8192,
                rms_norm_eps=1e-5,
                rope_parameters={"rope_type": "default", "rope_theta": 130000.0},
                pad_token_id=2,
            ),
            image_token_id=49190,
            scale_factor=3,
            pad_token_id=2,
            tie_word_embeddings=False,
        )


class _SmolSignals(PackedSignals):
    """Attention of SigLIP's layers; what is known of patches is brought to the tokens that 3 x 3 of them make."""

    def pooled(self, per_patch: Tensor) -> Tensor:
        """(U, patches) -> (N,): mean of the patches of each token, by the connector's own shuffle."""
        outer: Any = self.adapter.outer
        shuffled: Tensor = outer.connector.pixel_shuffle(per_patch[..., None], self.adapter.model.config.scale_factor)
        return self.packed(shuffled.mean(-1))
