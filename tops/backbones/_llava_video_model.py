"""LLaVA-Video in native transformers classes: LLaVA-OneVision with average pooling and a newline after every row.

The published checkpoint (``lmms-lab/LLaVA-Video-7B-Qwen2``) is in the layout of its authors' own code: with
:data:`RENAMINGS` ``from_pretrained`` reads it as it is, and :meth:`LlavaVideoConfig.from_original` its ``config.json``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d
from transformers import (
    AutoConfig,
    AutoModelForImageTextToText,
    AutoProcessor,
    LlavaOnevisionConfig,
    LlavaOnevisionForConditionalGeneration,
    LlavaOnevisionImageProcessor,
    LlavaOnevisionProcessor,
    LlavaOnevisionVideoProcessor,
)
from transformers.conversion_mapping import register_checkpoint_conversion_mapping
from transformers.core_model_loading import WeightRenaming
from transformers.models.llava_onevision.modeling_llava_onevision import LlavaOnevisionModel

from tops.backbones._siglip import TOWER
from tops.errors import UnsupportedModelError

RENAMINGS: tuple[tuple[str, str], ...] = (
    (r"^model\.mm_projector\.0\.", "model.multi_modal_projector.linear_1."),
    (r"^model\.mm_projector\.2\.", "model.multi_modal_projector.linear_2."),
    (r"^model\.vision_tower\.vision_tower\.vision_model\.", "model.vision_tower."),
    (r"^model\.embed_tokens\.", "model.language_model.embed_tokens."),
    (r"^model\.layers\.", "model.language_model.layers."),
    (r"^model\.norm\.", "model.language_model.norm."),
)
"""Original weight names (regular expression) and what they are called here."""

ORIGINAL_ARCHITECTURE = "LlavaQwenForCausalLM"
"""The authors' class. Their files carry its ``model_type``, ``llava_qwen``, or plain ``llava``."""

QWEN_1_5 = (
    "{% if messages[0]['role'] != 'system' %}{{ '<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n' }}"
    "{% endif %}{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' }}"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}{% for content in message['content'] %}"
    "{% if content['type'] == 'image' %}{{ '<image>\n' }}{% elif content['type'] == 'video' %}{{ '<video>\n' }}"
    "{% elif content['type'] == 'text' %}{{ content['text'] }}{% endif %}{% endfor %}{% endif %}"
    "{{ '<|im_end|>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
"""The authors' conversation ``qwen_1_5`` as a chat template."""


def is_original(content: Mapping[str, Any]) -> bool:
    """Whether a ``config.json`` is in the layout of the authors' code."""
    return content.get("model_type") == "llava_qwen" or ORIGINAL_ARCHITECTURE in (content.get("architectures") or ())


class LlavaVideoConfig(LlavaOnevisionConfig):  # type: ignore[no-untyped-call]
    """LLaVA-OneVision's configuration and the stride of the average pooling over a frame's patches."""

    model_type = "llava_video"
    mm_spatial_pool_stride: int = 2

    @classmethod
    def from_original(cls, original: Mapping[str, Any]) -> LlavaVideoConfig:
        """Configuration from the authors' ``config.json``.

        Parameters
        ----------
        original : mapping
            Its content. SigLIP's last layer and pooling head are not part of the model, as in the authors' code. The
            file's pooling mode and stride are those of training (``bilinear`` gives 14 x 14 tokens); stock lmms-eval
            (``llava_vid``) replaces them by average pooling with stride 2, which gives the paper's 13 x 13, and so is
            done here.

        Raises
        ------
        UnsupportedModelError
            If the file asks for a tower, projector or newline layout that these classes do not build.
        """
        wanted = {"mm_newline_position": "grid", "mm_projector_type": "mlp2x_gelu", "add_faster_video": False}
        for key, value in wanted.items():
            if original.get(key, value) != value:
                raise UnsupportedModelError(
                    f"{key}={original[key]!r} in the LLaVA-Video configuration; built here is {value!r} only"
                )
        tower = str(original.get("mm_vision_tower", ""))
        if "siglip-so400m-patch14-384" not in tower:
            raise UnsupportedModelError(f"vision tower {tower!r}; built here is google/siglip-so400m-patch14-384 only")
        return cls(
            vision_config=dict(TOWER),
            text_config={
                "model_type": "qwen2",
                **{
                    key: original[key]
                    for key in (
                        "vocab_size",
                        "hidden_size",
                        "intermediate_size",
                        "num_hidden_layers",
                        "num_attention_heads",
                        "num_key_value_heads",
                        "max_position_embeddings",
                        "rms_norm_eps",
                    )
                },
                "rope_parameters": {"rope_type": "default", "rope_theta": original.get("rope_theta", 1e6)},
                "use_sliding_window": False,
            },
            # Ids that the tokenizer gives to marks added after Qwen2's own three.
            image_token_index=int(original.get("image_token_index", 151646)),
            video_token_index=int(original.get("video_token_index", 151647)),
            vision_feature_layer=-1,
            vision_feature_select_strategy="full",
            image_grid_pinpoints=original.get("image_grid_pinpoints") or [[384, 384]],
            tie_word_embeddings=bool(original.get("tie_word_embeddings", False)),
            mm_spatial_pool_stride=2,
        )


class LlavaVideoModel(LlavaOnevisionModel):  # type: ignore[no-untyped-call]
    """Video frames are average-pooled, and ``image_newline`` ends every row of every frame ("grid")."""

    config_class = LlavaVideoConfig

    def apply_pooling(self, image_features: Tensor) -> Tensor:
        """(F, side * side, d) -> (F, p * (p + 1), d), p = side // stride: 27 x 27 give 13 rows of 13 + newline."""
        vision: Any = self.config.vision_config
        side = vision.image_size // vision.patch_size
        frames, _, width = image_features.shape
        grid = image_features.view(frames, side, side, width).permute(0, 3, 1, 2)
        pooled = avg_pool2d(grid, self.config.mm_spatial_pool_stride).permute(0, 2, 3, 1)
        newline = self.image_newline.to(pooled).expand(frames, pooled.shape[1], 1, width)
        return torch.cat([pooled, newline], dim=2).flatten(1, 2)

    def get_video_features(self, *args: Any, **kwargs: Any) -> Any:
        """Pooled frames without the very last newline: the parent's ``forward`` appends one to every video."""
        features = super().get_video_features(*args, **kwargs)
        features.pooler_output = features.pooler_output[:, :-1]
        return features


class LlavaVideoForConditionalGeneration(LlavaOnevisionForConditionalGeneration):  # type: ignore[no-untyped-call]
    """LLaVA-Video with its language-model head."""

    config_class = LlavaVideoConfig

    def __init__(self, config: LlavaVideoConfig) -> None:
        super().__init__(config)
        self.model = LlavaVideoModel(config)  # type: ignore[no-untyped-call]
        self.post_init()  # type: ignore[no-untyped-call]


class LlavaVideoProcessor(LlavaOnevisionProcessor):
    """Counts a frame's tokens as the model pools them: rounding down, one newline a row."""

    @classmethod
    def for_original(cls, config: LlavaVideoConfig, tokenizer: Any) -> LlavaVideoProcessor:
        """Processor in the settings of the authors' code: frames stretched to the tower's square, mean and std of 0.5.

        Parameters
        ----------
        config : LlavaVideoConfig
            Its placeholder ids are set to those of the tokenizer, which gets the marks where it lacks them.
        tokenizer : PreTrainedTokenizerBase
            Of the checkpoint.

        Raises
        ------
        UnsupportedModelError
            If the tokenizer gives the marks other ids than the model's configuration.
        """
        tokenizer.add_tokens(["<image>", "<video>"], special_tokens=True)
        for mark, wanted in (("<image>", config.image_token_id), ("<video>", config.video_token_id)):
            found = tokenizer.convert_tokens_to_ids(mark)
            if found != wanted:
                raise UnsupportedModelError(
                    f"the tokenizer gives {mark} the id {found}, the model's configuration {wanted}; "
                    "use the tokenizer of the checkpoint"
                )
        vision: Any = config.vision_config
        side = int(vision.image_size)
        pixels: dict[str, Any] = {
            "size": {"height": side, "width": side},
            "image_mean": [0.5, 0.5, 0.5],
            "image_std": [0.5, 0.5, 0.5],
        }
        return cls(
            LlavaOnevisionImageProcessor(image_grid_pinpoints=config.image_grid_pinpoints, **pixels),
            tokenizer,
            LlavaOnevisionVideoProcessor(**pixels),
            num_image_tokens=(side // int(vision.patch_size)) ** 2,
            vision_feature_select_strategy="full",
            chat_template=QWEN_1_5,
        )

    def replace_video_token(self, video_inputs: dict[str, Any], video_idx: int, **kwargs: Any) -> str:
        """The placeholders of one video."""
        frames = len(video_inputs["pixel_values_videos"][video_idx])
        side = math.isqrt(self.num_image_tokens) // 2
        return str(self.video_token) * (frames * side * (side + 1))


AutoConfig.register("llava_video", LlavaVideoConfig, exist_ok=True)
AutoModelForImageTextToText.register(LlavaVideoConfig, LlavaVideoForConditionalGeneration, exist_ok=True)
AutoProcessor.register(LlavaVideoConfig, LlavaVideoProcessor, exist_ok=True)  # type: ignore[no-untyped-call]
register_checkpoint_conversion_mapping(
    "LlavaVideoForConditionalGeneration", [WeightRenaming(old, new) for old, new in RENAMINGS], overwrite=True
)
