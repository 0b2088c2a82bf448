"""The cluster kernel's own source, its 16 blocks run by threads of a CPU, against the library's selection."""

import ctypes
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from selection_cases import KINDS
from test_selection_filtered import inputs

from tops.selection import incremental, kernels
from tops.selection.similarity import fixed_point_on_cpu

SOURCE = Path(kernels.__file__).with_name("cluster.cu")


@pytest.fixture(scope="module")
def simulate(tmp_path_factory):
    if shutil.which("g++") is None:
        pytest.skip("no C++ compiler")
    library = tmp_path_factory.mktemp("cluster") / "simulated.so"
    header = Path(__file__).with_name("simulated_cluster.h")
    words = ["-std=c++20", "-O1", "-ffp-contract=off", "-pthread", "-shared", "-fPIC", "-x", "c++", str(header)]
    subprocess.run(["g++", *words, f'-DCLUSTER_SOURCE="{SOURCE}"', "-o", str(library)], check=True)
    return ctypes.CDLL(str(library)).simulate


def run(simulate, similarity, relevance, k, *, alpha, lam, threads):
    batch, n = relevance.shape
    first = relevance.argmax(1)
    covered = similarity[np.arange(batch), first].copy()
    gain = incremental.CoverageGain(similarity, covered.copy()).gain
    order, score = np.empty((batch, k), np.int64), np.empty((batch, k))
    arrays = [similarity, relevance, covered, gain, first, order, score]
    pointers = [ctypes.c_void_p(a.ctypes.data) for a in arrays]
    simulate(*pointers, batch, n, k, ctypes.c_double(alpha), ctypes.c_double(lam), threads)
    return order


@pytest.mark.parametrize("threads", [1, 4])
@pytest.mark.parametrize("kind", KINDS)
def test_picks_are_those_of_the_library(simulate, kind, threads):
    x, relevance, _ = inputs(kind, "batch")
    x, relevance, k = x[:2, :75], relevance[:2, :75].copy(), 20
    similarity = fixed_point_on_cpu(x)
    weights = {"alpha": 0.5, "lam": 0.7}
    library = incremental.tops(similarity, relevance, k, principles="RCD", normalisation="mean", **weights)[0]
    assert np.array_equal(run(simulate, similarity, relevance, k, threads=threads, **weights), library)


def test_fewer_tokens_than_blocks_and_all_of_them_kept(simulate):
    x, relevance, _ = inputs("random", "batch")
    similarity, relevance = fixed_point_on_cpu(x[:1, :11]), relevance[:1, :11].copy()
    weights = {"alpha": 0.5, "lam": 0.7}
    library = incremental.tops(similarity, relevance, 11, principles="RCD", normalisation="mean", **weights)[0]
    assert np.array_equal(run(simulate, similarity, relevance, 11, threads=2, **weights), library)


@pytest.mark.slow
def test_it_compiles_for_hopper(tmp_path):
    if shutil.which("nvcc") is None:
        pytest.skip("no CUDA compiler")
    subprocess.run(
        ["nvcc", "-arch=sm_90", "-fmad=false", "-cubin", str(SOURCE), "-o", tmp_path / "k.cubin"], check=True
    )
