import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from selection_cases import CALLS, KINDS, SHAPES, answers

pytest.importorskip("triton")
CASES = Path(__file__).with_name("selection_cases.py")


def interpreted(kinds, shapes):
    """Answers of the kernels in Triton's interpreter, which must be on before Triton is imported."""
    environment = os.environ | {"TRITON_INTERPRET": "1", "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, CASES, "triton", " ".join(kinds), " ".join(shapes)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_interpreted_kernels_equal_direct():
    kinds = ["random", "clustered", "near_duplicate"]
    assert interpreted(kinds, ["tiny"]) == answers("direct", kinds=kinds, shapes=["tiny"])


@pytest.mark.slow
def test_interpreted_kernels_equal_direct_everywhere():
    assert interpreted(KINDS, SHAPES) == answers("direct")


@pytest.mark.skipif("TRITON_INTERPRET" in os.environ, reason="the interpreter compiles nothing")
@pytest.mark.parametrize("program", ["tops_program", "coverage_program", "max_min_program", "dpp_program"])
def test_kernel_compiles_for_a_gpu_that_is_not_here(program, tmp_path, monkeypatch):
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from tops.selection.kernels import programs

    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    pointers = {"similarity": "i32", "covered": "i32", "scratch": "i32", "nearest": "i32"}
    pointers |= dict.fromkeys(("first", "gain", "order"), "i64")
    pointers |= dict.fromkeys(("relevance", "weights", "weight", "quality", "floor", "factors", "score"), "fp64")
    constants = {"USE_R": True, "USE_C": True, "USE_D": True, "MINMAX": True, "MULTIPLY": True}
    constants |= {"ROWS": 8, "BLOCK": 256, "ONE": 2**29}
    function = getattr(programs, program)
    signature = {
        name: "constexpr" if name in constants else "i32" if name in "nk" else "*" + pointers[name]
        for name in function.arg_names
    }
    values = {(i,): constants[name] for i, name in enumerate(function.arg_names) if name in constants}
    source = ASTSource(fn=function, signature=signature, constexprs=values)
    assert "cubin" in triton.compile(source, target=GPUTarget("cuda", 80, 32), options={"num_warps": 4}).asm


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("call", CALLS)
def test_kernel_on_the_device_equals_direct(call):
    generator = torch.Generator().manual_seed(0)
    for batch, n, k in ((1, 2880, 640), (5, 576, 128), (64, 169, 64)):
        x = torch.randn(batch, n, 64, generator=generator).cuda()
        r = torch.rand(batch, n, generator=generator).cuda()
        assert torch.equal(CALLS[call](x, r, k, "triton"), CALLS[call](x, r, k, "direct"))
