"""What this machine has, and for every suite what would run and what is missing. Nothing is downloaded."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tops.errors import ConfigurationError, DataError, TopsError
from tops.evaluation.benchmark import load_benchmark, load_suite, suite_names
from tops.evaluation.data import DataRoot, missing
from tops.evaluation.fetch import size_text

if TYPE_CHECKING:
    from tops.experiments.schema import ProfileChoice

State = Literal["ok", "warning", "missing"]
PINNED = {"lmms_eval": "0.7.3"}
BYTES = {"bfloat16": 2, "float16": 2, "float32": 4}
HEADROOM = 1.25  # activations and cache beside the weights, at batch size 1


@dataclass(frozen=True)
class Finding:
    """One line of the doctor: what was looked at, how it stands, and what to do about it."""

    topic: str
    state: State
    text: str


def examine(profile: str = "paper", judge: str | None = None) -> list[Finding]:
    """All findings, in the order of a reader: the installation, the machine, models, suites."""
    from tops.experiments.choices import load_profile

    chosen = load_profile(profile)
    return [
        *_installation(),
        *_gpus(chosen),
        *_disk(chosen),
        *_offline(),
        _judge(judge),
        *_backbones(chosen),
        *_suites(chosen),
    ]


def _installation() -> Iterator[Finding]:
    good = sys.version_info >= (3, 11)
    yield Finding(
        "python", "ok" if good else "missing", platform.python_version() + ("" if good else "; 3.11 is needed")
    )
    for name in ("torch", "transformers", "lmms_eval", "av"):
        try:
            found = version(name)
        except PackageNotFoundError:
            yield Finding(name, "missing", f"not installed; pip install {name}")
            continue
        wanted = PINNED.get(name)
        if wanted is not None and found != wanted:
            yield Finding(name, "warning", f"{found}; prompts and scores were checked with {wanted}")
        else:
            yield Finding(name, "ok", found)


def _gpus(profile: ProfileChoice) -> Iterator[Finding]:
    if find_spec("torch") is None:
        return
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if not count:
        need: State = "missing" if profile.device == "cuda" else "ok"
        hint = "; profile paper runs on CUDA, profile=miniature on the CPU" if need == "missing" else ""
        yield Finding("gpu", need, f"no CUDA device, {os.cpu_count()} CPU cores{hint}")
    for i in range(count):
        free, total = torch.cuda.mem_get_info(i)
        text = (
            f"{torch.cuda.get_device_name(i)}, {size_text(free)} free of {size_text(total)}, CUDA {torch.version.cuda}"
        )
        yield Finding(f"gpu {i}", "ok", text)


def _disk(profile: ProfileChoice) -> Iterator[Finding]:
    from tops.experiments import staging

    places = {"results": Path("results"), "data": staging.data_root(profile).mirror, "checkpoints": staging.hub_cache()}
    for name, folder in places.items():
        there = folder.absolute()
        while not there.exists():
            there = there.parent
        free = shutil.disk_usage(there).free
        writable = os.access(there, os.W_OK)
        state: State = "ok" if writable and free > 5e9 else "warning"
        note = "" if writable else ", cannot be written"
        yield Finding(f"disk for {name}", state, f"{size_text(free)} free at {folder}{note}")


def _offline() -> Iterator[Finding]:
    flags = [n for n in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE") if os.environ.get(n) == "1"]
    yield Finding("network", "ok", f"offline ({', '.join(flags)})" if flags else "allowed; runs use staged files only")


def _judge(url: str | None) -> Finding:
    from tops.evaluation.judge import Judge

    judge = Judge(url) if url else Judge.from_environment()
    if judge is None:
        return Finding(
            "judge", "warning", "none: MM-Vet is answered, not judged; pass --judge URL or set TOPS_JUDGE_URL"
        )
    try:
        found = judge.probe()
    except TopsError as error:
        return Finding("judge", "missing", str(error))
    return Finding("judge", "ok", f"{found.model} at {found.base}")


def _backbones(profile: ProfileChoice) -> Iterator[Finding]:
    from tops.experiments import staging
    from tops.experiments.choices import choice_names, load_backbone

    memory = _largest_gpu()
    for name in choice_names("backbone"):
        choice = load_backbone(name)
        if profile.miniature and choice.miniature is None:
            continue
        try:
            staged = staging.checkpoint(choice, profile)
        except (ConfigurationError, DataError) as error:
            yield Finding(name, "missing", str(error))
            continue
        if staged is None:
            yield Finding(name, "missing", f"{choice.checkpoint} is not staged; run `tops fetch {name}`")
            continue
        need = choice.parameters * BYTES.get(profile.dtype or choice.dtype, 2) * HEADROOM
        if not profile.miniature and memory is not None and memory < need:
            text = f"needs about {size_text(int(need))}, the largest GPU has {size_text(memory)}"
            yield Finding(name, "missing", text)
        else:
            trained = "" if staged.trained else ", random weights: plumbing only"
            yield Finding(name, "ok", f"revision {staged.revision[:12]}{trained}")


def _largest_gpu() -> int | None:
    if find_spec("torch") is None:
        return None
    import torch

    if not torch.cuda.is_available():
        return None
    return max(torch.cuda.mem_get_info(i)[1] for i in range(torch.cuda.device_count()))


def _suites(profile: ProfileChoice) -> Iterator[Finding]:
    from tops.experiments import staging

    root: DataRoot = staging.data_root(profile)
    for suite in suite_names():
        names = load_suite(suite)
        lacking = [name for name in names if missing(load_benchmark(name), root) is not None]
        there = [name for name in names if name not in lacking]
        if not lacking:
            yield Finding(f"suite {suite}", "ok", f"all {len(names)} benchmarks are staged")
            continue
        how = "`tops miniature build`" if profile.miniature else f"`tops fetch {' '.join(lacking)}`"
        size = sum(load_benchmark(n).data.megabytes for n in lacking) * 10**6
        amount = "" if profile.miniature else f" (about {size_text(size)})"
        runs = f"would run {', '.join(there)}; " if there else ""
        yield Finding(f"suite {suite}", "missing", f"{runs}missing {', '.join(lacking)}{amount}: {how}")
