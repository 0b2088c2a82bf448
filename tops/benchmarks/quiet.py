"""lmms-eval without its side effects on the process that imports it."""

from __future__ import annotations

import logging
import os
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from unittest.mock import patch

from tops.benchmarks.surroundings import scrubbed


@cache
def import_lmms_eval() -> None:
    """Import lmms-eval once (seconds), keeping the log sinks, warning filters and environment of the process.

    By itself it removes loguru's sinks, silences all warnings, reads ``.env`` files of the working folder, and lets
    Pillow fill truncated pictures with grey.
    """
    from loguru import logger
    from PIL import ImageFile

    before, truncated = dict(os.environ), ImageFile.LOAD_TRUNCATED_IMAGES
    folder = Path.cwd()
    with tempfile.TemporaryDirectory() as empty, warnings.catch_warnings(), scrubbed():
        os.chdir(empty)
        try:
            with patch.object(type(logger), "remove"), patch.object(type(logger), "add"):
                import lmms_eval.evaluator
                import lmms_eval.models.chat.internvl_hf
                import lmms_eval.models.chat.llava_hf
                import lmms_eval.models.chat.qwen2_5_vl  # noqa: F401
        finally:
            os.chdir(folder)
            ImageFile.LOAD_TRUNCATED_IMAGES = truncated
            for name in set(os.environ) - set(before):
                if not name.startswith(("TOKENIZERS_", "HF_", "KMP_", "CUDA_")):
                    del os.environ[name]
    logger.disable("lmms_eval")
    logger.disable("utils")  # task modules are loaded under their bare file names
    logger.disable("evaluate_hb")
    logging.getLogger("qwen_vl_utils").setLevel(logging.ERROR)


@contextmanager
def without_dataset_bars() -> Iterator[None]:
    """Inside the block, ``datasets`` shows no progress bars."""
    from datasets.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    if are_progress_bars_disabled():
        yield
        return
    disable_progress_bars()
    try:
        yield
    finally:
        enable_progress_bars()


@contextmanager
def environment(hf_home: Path) -> Iterator[None]:
    """Set the environment variables that stock task code sees while a cell runs."""
    fixed = {"HF_HOME": str(hf_home), "API_TYPE": "dummy"}  # a task that wants a judge must not find one by chance
    with scrubbed(), patch.dict(os.environ, fixed):
        yield
