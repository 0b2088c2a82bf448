"""InternVL3-8B and InternVL3.5-8B: InternViT on tiles and a thumbnail, 2 x 2 patches merged into a token.

One tile is one unit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from tops.backbones._packed import PackedSignals
from tops.backbones._qwen import QWEN2_7B
from tops.backbones._received import cls_rows
from tops.backbones._runs import check_pixels, placeholder_runs
from tops.backbones.base import Adapter, Call, Layout, VisionContext
from tops.backbones.image_layouts import ImageLayout
from tops.errors import UnsupportedModelError
from tops.signals import Signal, TowerLayer, VisionSignals

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn
    from transformers import PretrainedConfig

    from tops.backbones.inputs import Inputs


class InternVL3(Adapter):
    """``InternVLForConditionalGeneration``."""

    family = "internvl3"
    placing = "tiles"
    model_classes = ("InternVLForConditionalGeneration",)
    model_types = ("internvl",)
    checkpoints = ("OpenGVLab/InternVL3-8B-hf", "OpenGVLab/InternVL3_5-8B-HF")
    published: ClassVar[dict[tuple[str, int, int], str]] = {
        ("qwen2", 28, 3584): "internvl3-8b",
        ("qwen3", 36, 4096): "internvl3.5-8b",
    }
    signals: ClassVar[frozenset[Signal]] = frozenset({Signal.SALIENCY, Signal.RECEIVED, Signal.CLS, Signal.FRAMES})
    turns = (("<|im_start|>user\n", "<|im_end|>"),)
    chat = "internvl_hf"
    image_layouts: ClassVar[Mapping[str, ImageLayout]] = {
        "dynamic": ImageLayout("dynamic", tiles=(1, 12)),
        # Four tiles, 2 x 2 or in a row as the image is shaped, and the thumbnail.
        "fixed-5-tiles": ImageLayout("fixed-5-tiles", tokens=1280, tiles=(4, 4), view=448, units=(256,) * 5),
        # The paper's: every image 896 x 896, so 2 x 2 tiles and the thumbnail (CDPruner's issue 17).
        "fixed-896": ImageLayout("fixed-896", tokens=1280, side=896, tiles=(4, 4), view=448, units=(256,) * 5),
    }

    @property
    def _encoder(self) -> Any:
        tower = self._module(self.outer, "vision_tower")
        return self._module(self._module(tower, "encoder"), "layer")

    @property
    def tower_attention(self) -> list[nn.Module]:
        """InternViT's attention modules."""
        return [layer.attention for layer in self._encoder]

    @property
    def feature_layer(self) -> int:
        """Index of the tower layer whose output is shuffled and projected: the last."""
        layer = int(self.model.config.vision_feature_layer)
        return (layer if layer >= 0 else len(self._encoder) + 1 + layer) - 1

    @property
    def side(self) -> int:
        """Tokens along a tile's side, after the shuffle."""
        vision: Any = self.model.config.vision_config
        return int(vision.image_size[0] // vision.patch_size[0] * self.model.config.downsample_ratio)

    def check(self) -> None:
        """Refuse tiles that are not square and features that keep the CLS token."""
        config: Any = self.model.config
        vision = config.vision_config
        if vision.image_size[0] != vision.image_size[1]:
            raise UnsupportedModelError(
                f"InternVL tiles of {vision.image_size} pixels are not square; squares are needed"
            )
        if config.vision_feature_select_strategy != "default":
            raise UnsupportedModelError(
                f"vision_feature_select_strategy={config.vision_feature_select_strategy!r}; 'default' is needed"
            )

    def layout(self, call: Call, placeholders: Sequence[int]) -> list[Layout]:
        """Each run of placeholders is one image, or one video frame, of as many tiles as fit in it."""
        size, pixels = self.side**2, call.get("pixel_values")
        if pixels is not None:
            check_pixels(pixels, int(self.model.config.vision_config.image_size[0]))
        layouts = []
        for sample in range(len(placeholders)):
            tiles: list[int] = []
            for image, (_, length) in enumerate(placeholder_runs(call, sample, self.placeholder_ids)):
                if length % size:
                    raise UnsupportedModelError(
                        f"an image has {length} placeholders, which is no multiple of the {size} tokens of a tile; let "
                        "the processor expand the image token"
                    )
                tiles += [image] * (length // size)
            layouts.append(Layout.grids([(self.side, self.side)] * len(tiles), tiles))
        wanted, given = sum(layout.units for layout in layouts), 0 if pixels is None else int(pixels.shape[0])
        if wanted != given:
            raise UnsupportedModelError(f"{given} tile(s) were given, but the prompts have placeholders for {wanted}")
        return layouts

    def media(self, call: Call, layouts: Sequence[Layout]) -> dict[str, list[int]]:
        """Tiles of each sample."""
        return {"pixel_values": [layout.units for layout in layouts]}

    def vision(self, context: VisionContext) -> VisionSignals:
        """CLS row of the feature layer, averaged over the patches that make a token."""
        return _InternVitSignals(context, self)

    def chat_settings(self, inputs: Inputs) -> dict[str, Any]:
        """Tiles of an image, frames of a video."""
        return {
            "min_patches": inputs.min_patches,
            "max_patches": inputs.max_patches,
            "num_frames": inputs.frames,
            "fps": None,
        }

    def bench_media(self, visual: int, frames: int, generator: torch.Generator) -> tuple[int, int, dict[str, Tensor]]:
        """As many tiles as ``visual`` tokens need."""
        import torch

        config: Any = self.model.config
        pixels, tiles = int(config.vision_config.image_size[0]), visual // self.side**2
        media = {"pixel_values": torch.randn(tiles, 3, pixels, pixels, generator=generator)}
        return config.image_token_id, tiles * self.side**2, media

    @classmethod
    def load_config(cls, checkpoint: str, revision: str | None) -> PretrainedConfig:
        """Where the file does not say whether output and input embeddings are one, the decoder's own setting counts.

        The class would take them for one, which the published 8B's are not."""
        from transformers import PretrainedConfig

        config: Any = super().load_config(checkpoint, revision)
        content, _ = PretrainedConfig.get_config_dict(checkpoint, revision=revision)
        if "tie_word_embeddings" not in content:
            config.tie_word_embeddings = bool(config.text_config.tie_word_embeddings)
        loaded: PretrainedConfig = config
        return loaded

    @classmethod
    def real_config(cls, checkpoint: str) -> PretrainedConfig:
        """Sizes of ``OpenGVLab/InternVL3-8B-hf`` and ``OpenGVLab/InternVL3_5-8B-HF``."""
        from transformers import InternVLConfig, InternVLVisionConfig, Qwen2Config, Qwen3Config

        later = "3_5" in checkpoint or "3.5" in checkpoint
        decoder = (
            Qwen3Config(
                vocab_size=151936,
                hidden_size=4096,
                intermediate_size=12288,
                num_hidden_layers=36,
                num_attention_heads=32,
                num_key_value_heads=8,
                head_dim=128,
                max_position_embeddings=40960,
            )
            if later
            else Qwen2Config(
                vocab_size=151674,
                **QWEN2_7B,
                max_position_embeddings=32768,
            )
        )
        return InternVLConfig(
            vision_config=InternVLVisionConfig(
                hidden_size=1024,
                intermediate_size=4096,
                num_hidden_layers=24,
                num_attention_heads=16,
                attention_bias=True,
                use_qk_norm=False,
                image_size=[448, 448],
                patch_size=[14, 14],
            ),
            text_config=decoder,
            image_token_id=151671 if later else 151667,
            image_seq_length=256,
            downsample_ratio=0.5,
            vision_feature_layer=-1,
            vision_feature_select_strategy="default",
            tie_word_embeddings=False,
        )


class _InternVitSignals(PackedSignals):
    """Attention of InternViT's layers; what is known of patches is brought to the tokens that 2 x 2 of them make."""

    def __init__(self, context: VisionContext, adapter: InternVL3) -> None:
        super().__init__(context, adapter)
        self._ratio = float(adapter.model.config.downsample_ratio)

    def cls_attention(self, *, layer: TowerLayer = "feature") -> Tensor:
        """(U, H, 1 + n) float32: softmaxed CLS row, CLS column first; a token has the mass of its 2 x 2 patches."""
        import torch

        row = cls_rows(*self.attention_input(layer))
        units, heads, _ = row.shape
        tokens = self._shuffled(row[..., 1:].flatten(0, 1)).sum(-1).view(units, heads, -1)
        return torch.cat([row[..., :1], tokens], -1).to(self.context.device)

    def saliency(self, *, reduce: Literal["mean", "sum"] = "mean", layer: TowerLayer = "feature") -> Tensor:
        """(N,) float32: CLS attention over heads, mean of the 2 x 2 patches of each token."""
        return super().saliency(reduce=reduce, layer=layer) * self._ratio**2

    def pooled(self, per_patch: Tensor) -> Tensor:
        """(U, patches) -> (N,): mean of the 2 x 2 patches of each token."""
        return self.packed(self._shuffled(per_patch).mean(-1))

    def _shuffled(self, per_patch: Tensor) -> Tensor:
        """(M, patches) -> (M, n, 4): the patches of each token, by the model's own shuffle, so in its order."""
        side, outer = int(per_patch.shape[-1] ** 0.5), self.adapter.outer
        shuffled: Tensor = outer.pixel_shuffle(per_patch.reshape(-1, side, side, 1), self._ratio)  # type: ignore[operator]
        return shuffled.flatten(1, 2)
