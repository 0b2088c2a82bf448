from pathlib import Path

import numpy as np
import pytest
import torch

from tops.selection import select_tops

GOLDEN = Path(__file__).parents[1] / "golden"
TOPS = [(case, name) for case in range(3) for name in ("mean", "minmax")]
SUBSETS = ["R", "C", "D", "RC", "RD", "CD", "RCD"]


def load(method, case):
    with np.load(GOLDEN / method / f"case_{case}.npz", allow_pickle=False) as arrays:
        return {name: torch.from_numpy(arrays[name]) for name in arrays.files}


@pytest.mark.parametrize("principles", SUBSETS)
@pytest.mark.parametrize(("case", "normalisation"), TOPS)
def test_tops(case, normalisation, principles):
    a = load("tops", case)
    name = f"{normalisation}_{principles}"
    got = select_tops(
        a["features"],
        a["relevance"],
        int(a["k"]),
        alpha=float(a["alpha"]),
        lam=float(a["lam"]),
        principles=principles,
        normalisation=normalisation,
    )
    want = a[f"order_{name}"]
    # Two tokens that cover each other tie exactly in C alone; there float64 rounding chose, here the lower index.
    settled = a[f"gap_{name}"] > 2e-6
    assert torch.equal(got, want) if settled else set(got[:9].tolist()) == set(want[:9].tolist())
