"""What the methods of 2026 do where their papers, their code and a budget pull apart."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from scenes import scene

from tops.budget import Budget, PromptShape
from tops.errors import BudgetError, ConfigurationError
from tops.methods import build
from tops.selection.components import principal_loadings, share_by_picks
from tops.selection.crops import pick_in_crops, weigh_crops
from tops.selection.hierarchy import select_hierarchy
from tops.selection.rounds import duplicate_rounds, select_important_diverse
from tops.selection.scan import select_scans, window_of
from tops.selection.segments import segment_sizes, share_in_segments
from tops.testing import ArrayPoint, ArrayVision, grid_tokens
from tops.tokens import VisualTokens


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def video(frames: int = 6, size: int = 12, seed: int = 0) -> torch.Tensor:
    return draw(frames, size, 16, seed=seed)


def film(values: torch.Tensor, keep: int) -> ArrayPoint:
    frames = len(values)
    tokens = grid_tokens(values.flatten(0, 1), units=frames, images=frames)
    return ArrayPoint(keep=keep, tokens=tokens, vision=ArrayVision(received=draw(len(tokens), seed=3).softmax(0)))


@pytest.mark.parametrize("n", [7, 14, 36])
def test_vispruner_meets_every_budget_where_the_official_code_fails(n: int) -> None:
    features, scores = draw(2, n, 8), draw(2, n, seed=1)
    for keep in range(1, n + 1):
        for share in (0.0, 0.3, 0.5, 0.75, 1.0):
            kept = select_important_diverse(features, scores, keep, important=share)
            assert [len(row.unique()) for row in kept] == [keep, keep]
    best = scores.sort(dim=1, descending=True).indices
    assert torch.equal(select_important_diverse(features, scores, 4, important=1.0), best[:, :4])


def test_a_round_drops_the_more_duplicated_of_the_even_places() -> None:
    features = torch.eye(6)[None]
    features[0, 4] = features[0, 1]  # place 4 is even and a copy of the odd place 1
    (step, *_) = duplicate_rounds(features, torch.arange(6)[None], 5)
    assert step.dropped.tolist() == [[4]]
    assert step.left.tolist() == [[0, 2, 1, 3, 5]]


def test_holov_keeps_the_same_tokens_whatever_the_features() -> None:
    """Its diversity term cancels: what is kept is decided by attention alone."""
    attention = draw(1, 64, seed=1).softmax(1)
    kept = {
        tuple(pick_in_crops(weigh_crops(draw(1, 64, 8, seed=s), attention, 16, 8), attention, 16, surplus="share")[0])
        for s in range(5)
    }
    assert len({tuple(int(i) for i in row) for row in kept}) == 1


def test_holov_loses_the_surplus_of_a_hot_crop_or_shares_it() -> None:
    attention = torch.full((1, 40), 1e-3)
    attention[0, :5] = 1.0
    crops = weigh_crops(draw(1, 40, 8), attention, 20, 8)
    lost = pick_in_crops(crops, attention, 20, surplus="zeros")[0]
    shared = pick_in_crops(crops, attention, 20, surplus="share")[0]
    assert int((lost < 0).sum()) > 5
    assert len(shared.unique()) == 20
    assert set(lost[lost >= 0].tolist()) <= set(shared.tolist())


def test_holovs_zero_rows_reach_the_model_only_when_asked_for() -> None:
    hot = torch.full((36,), 1e-3)
    hot[:3] = 1.0
    point = ArrayPoint(keep=18, tokens=grid_tokens(draw(36, 8)), vision=ArrayVision(received=hot))
    for surplus, zeros in (("share", False), ("zeros", True)):
        out = build("holov", budget=18, crops=12, surplus=surplus).select(point)
        assert len(out.indices) == 18
        assert bool((out.rows == 0).all(1).any()) is zeros
    ordered = build("holov", budget=18, crops=12, order="prompt").select(point).indices
    assert bool((ordered.diff() > 0).all())


def test_hiprunes_neighbours_wrap_at_the_edge_and_are_clamped() -> None:
    middle, deep = torch.zeros(2, 16), torch.linspace(0, 1, 16).expand(2, -1).clone()
    middle[0, 4], middle[1, 1] = 1.0, 1.0  # first column of the second row; first row
    found = select_hierarchy(middle, deep, 6, anchors=1, columns=torch.tensor([4, 4]))
    assert found.buffer[0].nonzero()[:, 0].tolist() == [0, 3, 4, 5, 8]
    assert found.buffer[1].nonzero()[:, 0].tolist() == [0, 1, 2, 5]
    assert found.kept.sum(1).tolist() == [6, 6]


def test_hiprune_falls_short_where_scores_are_sums_and_one_is_subtracted() -> None:
    middle, deep = torch.zeros(1, 16), torch.ones(1, 16)
    middle[0, 5], deep[0, 5] = 1.0, 9.0
    short = select_hierarchy(middle, deep, 8, anchors=1, columns=torch.tensor([4]), exclude=False)
    exact = select_hierarchy(middle, deep, 8, anchors=1, columns=torch.tensor([4]))
    assert int(short.kept.sum()) < 8 == int(exact.kept.sum())
    with pytest.raises(BudgetError, match="lower alpha"):
        select_hierarchy(middle, deep, 3, anchors=1, columns=torch.tensor([4]))


def test_vscans_local_scan_loses_tokens_or_makes_up_for_them() -> None:
    row, column = (torch.arange(64) // 8)[None], (torch.arange(64) % 8)[None]
    window = window_of(row, column, "sixteen")
    assert torch.bincount(window[0]).tolist() == [4] * 16
    shallow, deep = draw(1, 64), draw(1, 64, seed=1)
    floor = select_scans(shallow, deep, window, 40, windows="sixteen", exact=False)
    exact = select_scans(shallow, deep, window, 40, windows="sixteen", exact=True)
    assert (floor.kept.shape[1], exact.kept.shape[1]) == (36, 40)
    over = window_of(torch.arange(7)[None], torch.zeros(1, 7, dtype=torch.long), "four")
    assert over.tolist() == [[0] * 7]  # rows that are over belong to the last window


def test_vscan_averages_its_budget_three_to_one() -> None:
    shape = PromptShape(576, 32)
    assert [(c.layer, c.keep) for c in build("vscan", budget=64).schedule(shape).cuts] == [(0, 96), (16, 32)]
    assert [(c.layer, c.keep) for c in build("vscan", keeps=[96, 32]).schedule(shape).cuts] == [(0, 96), (16, 32)]
    assert [c.keep for c in build("vscan", budget=64, layer=None).schedule(shape).cuts] == [64]
    with pytest.raises(ConfigurationError, match="two counts"):
        build("vscan", keeps=[96])


def test_vscans_second_cut_on_tiles_looks_at_all_of_them_unless_the_official_code_is_asked_for() -> None:
    point = scene(12, layer=4, tiles=5)
    whole = build("vscan", budget=12).select(point).indices
    point.memory["tile"] = torch.tensor(36)
    official = build("vscan", budget=12, second="first_tile").select(point).indices
    assert len(whole) == 12
    assert int(whole.max()) >= 36
    assert official[-144:].tolist() == list(range(36, 180))
    assert len(official) == 12 + 144


def test_prunesids_groups_follow_the_seed_only_where_the_draw_is_asked_for() -> None:
    point = scene(16, seed=2)
    point.vision.encoder = draw(1, 37, 32)
    exact = {tuple(build("prunesid", budget=16, seed=s).select(point).indices.tolist()) for s in range(4)}
    drawn = {
        tuple(build("prunesid", budget=16, seed=s, svd="low_rank").select(point).indices.tolist()) for s in range(4)
    }
    again = build("prunesid", budget=16, seed=1, svd="low_rank").select(point).indices
    assert len(exact) == 1
    assert len(drawn) > 1
    assert tuple(again.tolist()) in drawn
    loadings = principal_loadings(draw(12, 20), 4)
    assert torch.allclose(loadings.square().sum(0), torch.ones(4, dtype=torch.float64))


@pytest.mark.parametrize("k", range(1, 20))
def test_shares_of_groups_add_up(k: int) -> None:
    picks, sizes = torch.tensor([1, 5, 2, 0, 7]), torch.tensor([3, 5, 4, 0, 8])
    quota = share_by_picks(picks, sizes, k, k)
    assert int(quota.sum()) == k
    assert bool((quota <= sizes).all())


def test_evs_keeps_the_first_frame_and_what_changes() -> None:
    still = video(1).expand(6, -1, -1).clone()
    still[3, 5] = draw(16, seed=9)
    kept = build("evs", budget=3).select(film(still, 14)).indices
    assert kept.tolist() == [*range(12), 3 * 12 + 5, 4 * 12 + 5]
    shape = PromptShape(240, 8, images=20)
    counts = {c: build("evs", budget=0.1, count=c).schedule(shape).cuts[0].keep for c in ("nearest", "vllm")}
    assert counts == {"nearest": 24, "vllm": 23}
    assert torch.equal(build("evs", budget=3).select(film(5 * still, 14)).indices, kept)


def test_vidcom2_gives_unlike_frames_more_and_counts_newlines_apart() -> None:
    values = video(1).expand(6, -1, -1) + 0.01 * video(6, seed=1)
    values[2] = 3 * draw(12, 16, seed=5)
    point = film(values, 24)
    exact = build("vidcom2", budget=4).select(point).indices
    counts = torch.bincount(exact // 12, minlength=6)
    assert int(counts.sum()) == 24
    assert int(counts.argmax()) == 2
    rounded = build("vidcom2", budget=4, count="rounded").select(point).indices
    assert len(rounded) != 24
    with_newlines = replace(point, tokens=_with_newlines(values))
    out = build("vidcom2", budget=1 / 3, newlines="keep", count="rounded").select(with_newlines).indices
    assert len(out) == len(rounded) + 6 * 3
    first = out[: int((with_newlines.tokens.image[out] == 0).sum())]
    assert with_newlines.tokens.newline[first].tolist() == [False] * (len(first) - 3) + [True] * 3


def _with_newlines(values: torch.Tensor) -> VisualTokens:
    """Three rows of four tokens and a newline in every frame."""
    frames = len(values)
    rows = torch.cat([values.view(frames, 3, 4, 16), torch.zeros(frames, 3, 1, 16)], 2).flatten(0, 2)
    place = torch.arange(len(rows))
    frame, row, column = place // 15, place % 15 // 5, place % 5
    return VisualTokens(rows, place, frame, frame, row, column, column == 4)


def test_fastvid_cuts_segments_and_keeps_the_count_or_loses_remainders() -> None:
    assert segment_sizes(torch.tensor([0.99, 0.2, 0.95, 0.97]), 2, 0.9) == [2, 3]
    assert segment_sizes(torch.tensor([0.99, 0.98]), 8, 0.9) == [1, 1, 1]
    salient, anchors = share_in_segments([5], [4] * 5, 12, 0.4, 2, equal=False)
    assert (sum(salient) + sum(anchors), anchors) == (20, [2, 0, 3, 0, 3])
    salient, anchors = share_in_segments([5], [4] * 5, 12, 0.4, 2, equal=True)
    assert (salient, anchors) == ([3] * 5, [1, 0, 1, 0, 1])
    crowded = share_in_segments([4], [11] * 4, 12, 0.4, 4, equal=False)
    assert sum(map(sum, crowded)) == 44
    assert max(s + a for s, a in zip(*crowded, strict=True)) <= 12


@pytest.mark.parametrize("beta", [0.6, 1.0])
def test_fastvids_anchors_take_in_their_segment_unless_they_weigh_everything(beta: float) -> None:
    point = film(video(), 36)
    out = build("fastvid", budget=6, beta=beta).select(point)
    moved = (out.rows != point.tokens.features[out.indices]).any(1)
    assert len(out.indices) == 36
    assert bool(moved.any()) is (beta < 1)


@pytest.mark.parametrize("name", ["evs", "vidcom2", "fastvid"])
def test_videos_only(name: str) -> None:
    with pytest.raises(BudgetError, match="this prompt shows one image"):
        build(name, budget=Budget(64)).schedule(PromptShape(576, 32))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("vispruner", {"important_ratio": 1.5}), ("hiprune", {"alpha": 2.0}), ("vscan", {"share": 0.0}),
        ("fastvid", {"context": -0.1}), ("fastvid", {"step": 0}),
    ],
)  # fmt: skip
def test_shares_outside_their_range_are_refused(name: str, options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(options))):
        build(name, **options)
