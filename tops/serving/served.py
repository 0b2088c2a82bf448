"""Which model classes are pruned inside vLLM, and the module of each. No torch."""

from __future__ import annotations

SERVED: dict[str, str] = {
    "LlavaForConditionalGeneration": "tops.serving.families.llava15:PrunedLlava",
    "LlavaNextForConditionalGeneration": "tops.serving.families.llava_next:PrunedLlavaNext",
    "Qwen2_5_VLForConditionalGeneration": "tops.serving.families.qwen25vl:PrunedQwen25VL",
    "InternVLForConditionalGeneration": "tops.serving.families.internvl3:PrunedInternVL3",
}
"""By the name of the class in transformers, which is the architecture in a checkpoint's ``config.json``."""
PREFIX = "Tops"
"""Before an architecture: its pruned class, beside vLLM's own under the plain name."""
