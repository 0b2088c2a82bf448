"""Timing, and what every benchmark says about the machine it ran on."""

from __future__ import annotations

import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

import torch


def median_seconds(run: Callable[[], object], device: torch.device, *, repeats: int, warmup: int = 1) -> float:
    """Median wall time of one call, the device synchronised before and after, warm-up calls discarded.

    Parameters
    ----------
    run : callable
        What is timed.
    device : torch.device
        Where it runs.
    repeats, warmup : int
        Calls that count, and calls before them that do not.

    Returns
    -------
    float
        Seconds.
    """
    for _ in range(warmup):
        run()
    times = []
    for _ in range(repeats):
        synchronise(device)
        start = time.perf_counter()
        run()
        synchronise(device)
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def interleaved_seconds(
    runs: Sequence[Callable[[], object]], device: torch.device, *, repeats: int, long: float = 2.0
) -> list[float]:
    """Median wall times of several calls that take turns, so that other load on the machine meets all of them alike.

    Parameters
    ----------
    runs : sequence of callable
        What is compared.
    device : torch.device
        Where they run.
    repeats : int
        Turns that count, after a first one that does not.
    long : float
        Seconds; a call whose first turn takes longer is not repeated, and that turn counts.

    Returns
    -------
    list of float
        Seconds of each.
    """
    first = [median_seconds(run, device, repeats=1, warmup=0) for run in runs]
    times: list[list[float]] = [[] for _ in runs]
    for _ in range(repeats):
        for run, own, warm in zip(runs, times, first, strict=True):
            if warm <= long:
                own.append(median_seconds(run, device, repeats=1, warmup=0))
    return [statistics.median(own) if own else warm for own, warm in zip(times, first, strict=True)]


def synchronise(device: torch.device) -> None:
    """Wait for a CUDA device; nothing on others."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def machine(device: torch.device) -> dict[str, object]:
    """Hardware, threads and versions, for the record beside every number."""
    found: dict[str, object] = {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "load_average": round(os.getloadavg()[0], 1),  # above the cores: others shared them, times are too long
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "python": platform.python_version(),
    }
    for package in ("torch", "numpy", "triton"):
        if package in sys.modules:
            found[package] = version(package)
    return found


def write_json(path: Path, content: Mapping[str, object]) -> None:
    """Write one benchmark's record, making its folder when needed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
