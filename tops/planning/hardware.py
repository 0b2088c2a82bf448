"""GPUs of this machine, found without importing torch."""

from __future__ import annotations

import ctypes
import os
from functools import cache


@cache
def gpu_count() -> int:
    """Number of CUDA devices that the driver shows to this process; 0 without a driver."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return 0
    count = ctypes.c_int(0)
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return 0
    return count.value


def visible_gpus() -> list[str]:
    """Names of the visible GPUs, each a value of ``CUDA_VISIBLE_DEVICES`` for one worker."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        devices = [d.strip() for d in named.split(",") if d.strip()]
        return devices[: gpu_count()]
    return [str(i) for i in range(gpu_count())]
