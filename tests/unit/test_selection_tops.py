import subprocess
import sys

import pytest
import torch
from selection_cases import float64_greedy

from tops.errors import BudgetError, ConfigurationError, NonFiniteError
from tops.selection import select_tops

SUBSETS = ["R", "C", "D", "RC", "RD", "CD", "RCD"]


def clustered(n, d, seed, clusters=8, spread=0.3):
    g = torch.Generator().manual_seed(seed)
    centres = torch.randn(clusters, d, generator=g)
    x = centres[torch.randint(clusters, (n,), generator=g)] + spread * torch.randn(n, d, generator=g)
    return x, torch.rand(n, generator=g).square()


@pytest.mark.parametrize("normalisation", ["mean", "minmax"])
@pytest.mark.parametrize("principles", SUBSETS)
def test_equals_direct_float64(principles, normalisation):
    compared = 0
    for seed in range(4):
        x, r = clustered(48, 24, seed)
        want, gap = float64_greedy(x, r, 20, 0.5, 0.7, principles, normalisation)
        if gap > 2e-6:
            got = select_tops(x, r, 20, alpha=0.5, lam=0.7, principles=principles, normalisation=normalisation)
            assert got.tolist() == want
            compared += 1
    assert compared >= 3


def test_weights_are_not_swapped():
    x, r = clustered(48, 24, 0)
    assert select_tops(x, r, 20, alpha=2.0, lam=0.1).tolist() == float64_greedy(x, r, 20, 2.0, 0.1, "RCD", "mean")[0]
    assert select_tops(x, r, 20, alpha=0.1, lam=2.0).tolist() == float64_greedy(x, r, 20, 0.1, 2.0, "RCD", "mean")[0]
    assert select_tops(x, r, 20, alpha=2.0, lam=0.1).tolist() != select_tops(x, r, 20, alpha=0.1, lam=2.0).tolist()


def test_batch_equals_alone():
    pairs = [clustered(40, 16, seed) for seed in range(5)]
    x, r = torch.stack([p[0] for p in pairs]), torch.stack([p[1] for p in pairs])
    together = select_tops(x, r, 12, alpha=0.5, lam=0.7)
    assert together.shape == (5, 12)
    assert together.dtype == torch.int64
    for b, (xb, rb) in enumerate(pairs):
        assert torch.equal(together[b], select_tops(xb, rb, 12, alpha=0.5, lam=0.7))


@pytest.mark.parametrize("normalisation", ["mean", "minmax"])
@pytest.mark.parametrize("principles", SUBSETS)
def test_identical_tokens_come_in_index_order(principles, normalisation):
    x, r = torch.ones(9, 4), torch.full((9,), 0.25)
    order = select_tops(x, r, 9, alpha=0.5, lam=0.7, principles=principles, normalisation=normalisation)
    assert order.tolist() == list(range(9))


def test_keep_all_is_a_permutation_and_zero_rows_are_legal():
    x, r = clustered(30, 8, 1)
    x[3] = 0
    x[7] = 0
    assert sorted(select_tops(x, r, 30, alpha=0.5, lam=0.7).tolist()) == list(range(30))


def test_half_precision_is_scored_as_its_float32_value():
    x, r = clustered(64, 16, 2)
    x, r = x.bfloat16(), r.bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        low = select_tops(x, r, 20, alpha=0.5, lam=0.7)
    assert torch.equal(low, select_tops(x.float(), r.float(), 20, alpha=0.5, lam=0.7))


def test_scale_of_features_does_not_matter():
    x, r = clustered(48, 24, 3)
    want = select_tops(x, r, 20, alpha=0.5, lam=0.7)
    assert torch.equal(want, select_tops(x * 2.0**100, r * 8, 20, alpha=0.5, lam=0.7))
    assert torch.equal(want, select_tops(x * 2.0**-100, r, 20, alpha=0.5, lam=0.7))


@pytest.mark.parametrize("k", [0, 49, -1, 2.0, True])
def test_refuses_counts_out_of_range(k):
    x, r = clustered(48, 24, 0)
    with pytest.raises(BudgetError, match=r"1\.\.48"):
        select_tops(x, r, k, alpha=0.5, lam=0.7)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_refuses_values_that_are_not_finite(bad):
    x, r = clustered(48, 24, 0)
    broken = x.clone()
    broken[5, 2] = bad
    with pytest.raises(NonFiniteError, match=r"features.*\(5, 2\)"):
        select_tops(broken, r, 4, alpha=0.5, lam=0.7)
    scores = r.clone()
    scores[9] = bad
    with pytest.raises(NonFiniteError, match="relevance"):
        select_tops(x, scores, 4, alpha=0.5, lam=0.7)


@pytest.mark.parametrize(
    "change",
    [
        {"principles": ""},
        {"principles": "RX"},
        {"principles": "RR"},
        {"normalisation": "max"},
        {"alpha": -1.0},
        {"lam": float("nan")},
        {"relevance": torch.rand(47)},
        {"features": torch.rand(48)},
        {"features": torch.ones(48, 3, dtype=torch.int64)},
    ],
)
def test_refuses_wrong_settings(change):
    x, r = clustered(48, 24, 0)
    with pytest.raises(ConfigurationError):
        select_tops(**{"features": x, "relevance": r, "k": 4, "alpha": 0.5, "lam": 0.7} | change)


def test_importing_the_package_does_not_import_torch():
    code = "import sys, tops.selection; assert 'torch' not in sys.modules; tops.selection.select_tops"
    subprocess.run([sys.executable, "-c", code], check=True)
