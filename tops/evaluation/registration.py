"""Entry points for people who live in lmms-eval's own command line: ``lmms-eval --model tops --model_args ...``.

    lmms-eval --model tops --model_args checkpoint=llava-hf/llava-1.5-7b-hf,method=tops,budget=64 --tasks pope

The stock evaluator then scores as it always does, its traps included; ``tops run`` has the guards and the store.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lmms_eval.models.registry_v2 import ModelManifest

NAME = "tops"


def manifest() -> ModelManifest:
    """Entry of the model ``tops`` for lmms-eval's model registry."""
    from lmms_eval.models.registry_v2 import ModelManifest

    return ModelManifest(model_id=NAME, chat_class_path="tops.evaluation.cli_model.TopsModel")
