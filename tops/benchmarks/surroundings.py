"""Environment variables that would change an answer although the cell's specification does not name them.

Found by reading what lmms-eval's chat models and tasks, qwen-vl-utils, transformers, accelerate and torch ask
``os.environ`` for, on the way from a document to an answer. Those that name places, devices or threads, or only decide
how much is printed, stay.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

NAMES = frozenset(
    (
        # prompts, pictures and frames
        *("MODEL_SEQ_LEN", "FORCE_QWENVL_VIDEO_READER", "NUM_IMAGE", "WORKERS"),
        # a judge or a model that a task finds by chance
        *("OPENAI_API_KEY", "OPENAI_API_URL", "OPENAI_API_BASE", "MODEL_VERSION", "API_VERSION", "USE_LLM_JUDGE"),
        *("LLM_JUDGE_URL", "HF_DATASETS_CACHE"),
        # how many processes share the documents: each cell has one
        *("WORLD_SIZE", "RANK", "LOCAL_RANK", "LOCAL_WORLD_SIZE"),
        # numbers: other kernels, other precision
        *("NVIDIA_TF32_OVERRIDE", "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE", "ONEDNN_DEFAULT_FPMATH_MODE"),
        *("DNNL_DEFAULT_FPMATH_MODE", "USE_HUB_KERNELS", "XLA_USE_BF16", "XLA_DOWNCAST_BF16"),
        *("TRANSFORMERS_DISABLE_DEEPGEMM_LINEAR", "TORCH_COMPILE_FORCE_FULLGRAPH"),
    )
)
PREFIXES = ("LMMS_", "TORCHCODEC_", "JUDGE_", "AZURE_", "ACCELERATE_", "TRANSFORMERS_TEST_")


def unwanted() -> list[str]:
    """Names of such variables that are set in this process, sorted."""
    return sorted(name for name in os.environ if name in NAMES or name.startswith(PREFIXES))


def scrub() -> list[str]:
    """Remove such variables from this process for good, before it loads a library; returns their names."""
    found = unwanted()
    for name in found:
        del os.environ[name]
    return found


@contextmanager
def scrubbed() -> Iterator[None]:
    """Inside the block, the environment lacks such variables."""
    before = {name: os.environ.pop(name) for name in unwanted()}
    try:
        yield
    finally:
        os.environ.update(before)
