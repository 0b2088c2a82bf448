import itertools

import numpy as np
import pytest
import torch
from selection_cases import CALLS, KINDS, answers, inputs

from tops.errors import BudgetError, ConfigurationError, NonFiniteError
from tops.selection import (
    incremental,
    select_coverage,
    select_dpp,
    select_max_min,
    select_tops,
    top_k_lowest_index,
)
from tops.selection.dispatch import choose
from tops.selection.similarity import ONE, cosine_similarity, fixed_point_similarity


@pytest.mark.parametrize("kind", KINDS)
def test_incremental_equals_direct(kind):
    assert answers("incremental", kinds=[kind]) == answers("direct", kinds=[kind])


@pytest.mark.parametrize("call", CALLS)
def test_picks_are_distinct_and_an_entry_does_not_feel_its_batch(call):
    for kind in KINDS:
        x, r, k = inputs(kind, "batch")
        together = CALLS[call](x, r, k, "auto")
        assert all(sorted(row) == list(range(k)) for row in together.tolist())
        alone = [CALLS[call](x[b], r[b], k, "auto") for b in range(len(x))]
        assert torch.equal(together, torch.stack(alone))


@pytest.mark.parametrize("call", [c for c in CALLS if c != "coverage_add"])
def test_a_permutation_of_the_tokens_permutes_the_choice(call):
    x, r, k = inputs("random", "long")
    x, r = x[0].bfloat16().float(), r[0]
    shuffle = torch.randperm(len(x), generator=torch.Generator().manual_seed(1))
    moved = CALLS[call](x[shuffle], r[shuffle], k // 2, "auto")
    plain = CALLS[call](x, r, k // 2, "auto")
    # C alone has exact ties: two tokens that cover only each other
    assert torch.equal(shuffle[moved], plain) or "_C_" in call


def test_gain_never_drifts():
    x, _, _ = inputs("near_duplicate", "long")
    similarity = fixed_point_similarity(x).numpy()
    cover = incremental.CoverageGain(similarity, np.zeros(similarity.shape[:2], dtype=np.int32))
    for s in range(70):
        cover.add(similarity[:, s])
        anew = np.maximum(similarity.astype(np.int64) - cover.covered[:, :, None], 0).sum(1)
        assert np.array_equal(cover.gain, anew)
    assert not cover.gain.any()


def test_blocks_of_rows_do_not_change_the_gain(monkeypatch):
    want = answers("incremental", calls=["tops_RCD_mean", "coverage"])
    monkeypatch.setattr(incremental, "_CELLS", 150)
    assert answers("incremental", calls=["tops_RCD_mean", "coverage"]) == want


def test_max_min_starts_at_the_most_isolated_token():
    x = torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0], [-0.1, 1.0], [-1.0, -0.3]])
    assert select_max_min(x, 3).tolist()[0] == 4


def test_coverage_ignores_negative_similarity():
    # Counting negative similarity as coverage would send the first pick to the pair, away from the opposite token.
    x = torch.tensor([[1.0, 0.0], [0.95, 0.05], [-1.0, 0.01]])
    gains = cosine_similarity(x).clamp_min(0).sum(0)
    assert select_coverage(x, torch.tensor([1.0, 1.0, 1.9]), 1, alpha=1.0).item() == 0
    assert gains[2] == pytest.approx(1.0, abs=1e-6)


def test_dpp_equals_brute_force_determinants():
    x, r, _ = inputs("random", "one")
    x, r = x[0].double(), r[0].double() + 0.1
    x = x / x.norm(dim=-1, keepdim=True)
    kernel = r[:, None] * (x @ x.T) * r[None]
    order: list[int] = []
    for _ in range(6):
        volume = {j: torch.linalg.det(kernel[[*order, j]][:, [*order, j]]) for j in range(33) if j not in order}
        order.append(max(volume, key=volume.get))
    assert select_dpp(x, r.float(), 6).tolist() == order


def test_fixed_point_similarity_is_the_cosine():
    x, _, _ = inputs("clustered", "long")
    unit = torch.nn.functional.normalize(x.double(), dim=-1)
    got = fixed_point_similarity(x)
    assert torch.equal(got, got.mT)
    torch.testing.assert_close(got.double() / ONE, unit @ unit.mT, rtol=0, atol=1.01 / ONE)
    torch.testing.assert_close(cosine_similarity(x), (unit @ unit.mT).float(), rtol=0, atol=5e-7)


def test_fixed_point_similarity_across_blocks(monkeypatch):
    x, _, _ = inputs("random", "long")
    want = fixed_point_similarity(x)
    monkeypatch.setattr("tops.selection.similarity._ROWS", 16)
    got = fixed_point_similarity(x)
    assert torch.equal(got, got.mT)
    assert (got - want).abs().max() <= 1


def test_top_k_takes_the_lowest_index_among_equals():
    scores = torch.tensor([[1.0, 3.0, 3.0, 1.0], [2.0, 2.0, 2.0, 2.0]])
    assert top_k_lowest_index(scores, 3).tolist() == [[1, 2, 0], [0, 1, 2]]
    assert top_k_lowest_index(scores, 3, largest=False).tolist() == [[0, 3, 1], [0, 1, 2]]
    with pytest.raises(NonFiniteError):
        top_k_lowest_index(torch.tensor([1.0, float("nan")]), 1)
    with pytest.raises(BudgetError):
        top_k_lowest_index(scores, 5)


def test_refusals_of_the_siblings():
    x, r, _ = inputs("random", "one")
    for call in (select_coverage, select_dpp):
        with pytest.raises(NonFiniteError):
            call(x, torch.full_like(r, float("nan")), 3)
        with pytest.raises(BudgetError):
            call(x, r, 34)
    with pytest.raises(BudgetError):
        select_max_min(x, 0)
    with pytest.raises(ConfigurationError, match="negative"):
        select_coverage(x, r - 2, 3)
    with pytest.raises(ConfigurationError, match="incremental"):
        select_max_min(x, 3, implementation="incremental_")


def test_the_choice_of_implementation(monkeypatch):
    for triton, n in itertools.product((True, False), (576, 20000)):
        monkeypatch.setattr("tops.selection.dispatch.has_triton", lambda t=triton: t)
        assert choose("auto", torch.device("cpu"), n) == "incremental"
        assert choose("auto", torch.device("cuda"), n) == ("triton" if triton and n == 576 else "direct")
    with pytest.raises(ConfigurationError, match="not installed"):
        choose("triton", torch.device("cuda"), 576)


def test_no_gradient_is_recorded():
    x, r, k = inputs("random", "one")
    assert not select_tops(x.requires_grad_(), r.requires_grad_(), k, alpha=0.5, lam=0.7).requires_grad
