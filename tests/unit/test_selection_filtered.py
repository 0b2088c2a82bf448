"""Max-min and DPP on a CPU compute little exactly and pick what the whole exact similarity picks."""

import numpy as np
import pytest
import torch
from selection_cases import KINDS

from tops.selection import filtered, incremental, select_max_min, similarity
from tops.selection.similarity import ONE, exact_pairs, fixed_point_on_cpu

SIZES = {"one": (1, 300, 1500, 40), "batch": (6, 90, 70, 20), "all": (2, 60, 40, 60)}


def inputs(kind, size, dtype=np.float32):
    batch, n, width, k = SIZES[size]
    g = np.random.default_rng([KINDS.index(kind), n])
    x = g.standard_normal((batch, n, width), dtype=np.float32)
    centres = x[np.arange(batch)[:, None], g.integers(8, size=(batch, n))]
    if kind == "clustered":
        x = centres + np.float32(0.7) * x
    elif kind == "near_duplicate":
        x = centres + np.float32(1e-5) * x
    elif kind == "duplicate":
        x = centres
    elif kind == "opposite":
        x[:, 1::2] = -x[:, ::2]
    elif kind == "zero_rows":
        x[:, ::3] = 0
    return x.astype(dtype), g.random((batch, n)), k


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", KINDS)
def test_picks_are_those_of_the_whole_similarity(kind, size):
    x, q, k = inputs(kind, size)
    whole = fixed_point_on_cpu(x)
    assert np.array_equal(filtered.max_min(x, k), incremental.max_min(whole, k)[0])
    for quality in (q, q**4, 0.5 + 0.01 * q, np.ones_like(q)):
        assert np.array_equal(filtered.dpp(x, quality, k), incremental.dpp(whole, quality, k)[0])


@pytest.mark.parametrize("scale", [1e-30, 1e-12, 1e12, 1e30])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_numbers_that_float32_cannot_square(dtype, scale):
    x, q, k = inputs("clustered", "batch", dtype)
    wide = x.copy()
    wide[1] *= dtype(scale)
    wide[2, ::2] *= dtype(scale)
    assert np.array_equal(filtered.max_min(wide, k), filtered.max_min(x, k))
    assert np.array_equal(filtered.dpp(wide, q, k), filtered.dpp(x, q, k))


@pytest.mark.parametrize("kind", KINDS)
def test_the_float32_error_stays_within_its_bound(kind):
    x, _, _ = inputs(kind, "one")
    cosine, bound, safe = filtered._float32_cosines(x)
    exact = fixed_point_on_cpu(x)
    difference = np.abs(cosine.astype(np.float64) * ONE - exact)
    np.fill_diagonal(difference[0], 0)
    assert safe.all()
    assert 0 < difference.max() < bound < 2e-4 * ONE


def test_much_doubt_is_settled_by_the_whole_similarity(monkeypatch):
    whole = []
    exact = filtered.fixed_point_on_cpu
    monkeypatch.setattr(filtered, "fixed_point_on_cpu", lambda x: whole.append(len(x)) or exact(x))
    x, _, k = inputs("clustered", "batch")
    x[4] = x[4, :1] + 1e-6 * x[4]
    got = filtered.max_min(x, k)
    assert whole == [1]
    assert np.array_equal(got, incremental.max_min(exact(x), k)[0])


def test_few_pairs_are_computed_exactly(monkeypatch):
    counted = []
    monkeypatch.setattr(filtered, "exact_pairs", lambda v, *w: counted.append(len(w[0])) or exact_pairs(v, *w))
    x, _, k = inputs("random", "one")
    filtered.max_min(x, k)
    assert sum(counted) < x.shape[1]


def test_a_dpp_leaves_out_tokens_of_low_quality(monkeypatch):
    sizes = []
    exact = filtered.fixed_point_on_cpu
    monkeypatch.setattr(filtered, "fixed_point_on_cpu", lambda x: sizes.append(x.shape[1]) or exact(x))
    x, q, k = inputs("clustered", "one")
    filtered.dpp(x, q**2, k)
    assert max(sizes) < 150
    # Where the outsiders are as good as the insiders, all of them are looked at.
    filtered.dpp(x, np.ones_like(q), k)
    assert sizes[-1] == 300


def test_exact_pairs_are_entries_of_the_similarity():
    x, _, _ = inputs("clustered", "batch")
    entry, left, right = np.nonzero(np.ones((6, 90, 90), dtype=bool))
    apart = left != right
    got = exact_pairs(x, entry[apart], left[apart], right[apart])
    assert np.array_equal(got, fixed_point_on_cpu(x)[entry[apart], left[apart], right[apart]])


def test_large_entries_are_computed_in_parts(monkeypatch):
    x, q, k = inputs("clustered", "one")
    want = fixed_point_on_cpu(x), filtered.max_min(x, k), filtered.dpp(x, q, k)
    for module in (similarity, filtered):
        monkeypatch.setattr(module, "LARGE", 100)
    monkeypatch.setattr(similarity, "_ROWS", 64)
    got = fixed_point_on_cpu(x), filtered.max_min(x, k), filtered.dpp(x, q, k)
    assert np.abs(got[0] - want[0]).max() <= 1
    assert np.array_equal(got[0], got[0].swapaxes(1, 2))
    assert np.array_equal(got[1], want[1])
    assert np.array_equal(got[2], want[2])


def test_an_entry_does_not_feel_its_batch():
    x = torch.from_numpy(inputs("clustered", "batch")[0])
    assert torch.equal(select_max_min(x, 20), torch.stack([select_max_min(e, 20) for e in x]))
