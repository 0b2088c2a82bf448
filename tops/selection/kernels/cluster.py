"""TOPS' greedy on one cluster of 16 thread blocks per batch entry (NVIDIA GPUs of compute capability 9 and above).

``cluster.cu`` is built with ``nvcc`` when it is asked for. No selection uses it by itself: its blocks are tested by
threads of a CPU, and ``scripts/bench_cluster.py`` builds, checks and times it where there is a GPU.
"""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from pathlib import Path

import torch
from torch import Tensor

from tops.errors import ConfigurationError
from tops.selection.direct import coverage_gain

SOURCE = Path(__file__).with_name("cluster.cu")
THREADS = 256  # a power of two
_SHARED = 227 * 1024  # bytes of shared memory that a block may have


class ClusterKernel:
    """The built kernel.

    Parameters
    ----------
    folder : Path
        Where the library is built.

    Raises
    ------
    ConfigurationError
        Without ``nvcc``, or if it does not compile.
    """

    def __init__(self, folder: Path) -> None:
        if shutil.which("nvcc") is None:
            raise ConfigurationError(
                "nvcc is not on the path; the cluster kernel needs the CUDA toolkit, 12.0 or newer"
            )
        library = folder / "cluster.so"
        words = ["nvcc", "-arch=sm_90", "-O3", "-fmad=false", "-shared", "-Xcompiler", "-fPIC", str(SOURCE)]
        done = subprocess.run([*words, "-o", str(library)], capture_output=True, text=True)
        if done.returncode:
            raise ConfigurationError(f"{SOURCE.name} does not compile: {done.stderr.strip()[:500]}")
        self._library = ctypes.CDLL(str(library))

    def tops(self, similarity: Tensor, relevance: Tensor, k: int, *, alpha: float, lam: float) -> tuple[Tensor, Tensor]:
        """All three principles with mean normalisation; arguments and results as in :mod:`tops.selection.direct`.

        Raises
        ------
        ConfigurationError
            For more tokens than shared memory holds, or if the GPU refuses the launch.
        """
        batch, n = relevance.shape
        needed = int(self._library.tops_cluster_bytes(n, THREADS))
        if needed > _SHARED:
            raise ConfigurationError(f"{n} tokens need {needed} bytes of shared memory, a block has {_SHARED}")
        similarity, relevance = similarity.contiguous(), relevance.contiguous()
        first = relevance.argmax(1)
        covered = similarity[torch.arange(batch, device=first.device), first].contiguous()
        gain = coverage_gain(similarity, covered).long().contiguous()
        order = torch.empty(batch, k, dtype=torch.int64, device=first.device)
        score = torch.empty(batch, k, dtype=torch.float64, device=first.device)
        pointers = [ctypes.c_void_p(x.data_ptr()) for x in (similarity, relevance, covered, gain, first, order, score)]
        stream = ctypes.c_void_p(torch.cuda.current_stream(first.device).cuda_stream)
        with torch.cuda.device(first.device):
            error = self._library.tops_cluster_launch(
                *pointers, batch, n, k, ctypes.c_double(alpha), ctypes.c_double(lam), THREADS, stream
            )
        if error:
            raise ConfigurationError(
                f"the GPU refused {batch} clusters of 16 blocks (cudaError {error}); compute capability 9 is needed"
            )
        return order, score
