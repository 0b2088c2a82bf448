"""TOPS against its definition, worked out from the model's own eager attention."""

from __future__ import annotations

from typing import Any

import pytest
import tiny
import torch
from oracles.reference import entering

from tops import TOPS, Budget, prune
from tops.errors import ConfigurationError
from tops.selection import select_tops

LAYERS = (2, 4)
COUNTS = (8, 5, 3)


def run_tops(case: tiny.Case, **options: Any) -> list[dict[int, list[int]]]:
    method = TOPS(budget=Budget(6, "kept"), cut_layers=LAYERS, counts=COUNTS, **options)
    with prune(case.model, method, record_kept=True) as run, torch.no_grad():
        case.model(**case.inputs)
    assert run.kept is not None
    return run.kept


@torch.no_grad()
def cls_relevance(case: tiny.Case, layer: int) -> torch.Tensor:
    tower = case.model.model.vision_tower
    tower.set_attn_implementation("eager")
    attention = tower(case.inputs["pixel_values"], output_attentions=True).attentions[layer]
    tower.set_attn_implementation("sdpa")
    return attention[:, :, 0, 1:]


@pytest.mark.parametrize("images", [1, 3])
def test_stage_one(images: int) -> None:
    case = tiny.llava(images)
    embeds, _ = entering(case.model, case.inputs)
    visual = embeds[0, case.inputs["input_ids"][0] == tiny.IMAGE].view(images, 16, -1)
    relevance = cls_relevance(case, -2).mean(1)
    picks = select_tops(visual, relevance, 8, alpha=0.5, lam=0.5).sort().values
    want = (picks + torch.arange(images)[:, None] * 16).flatten().tolist()
    assert run_tops(case)[0][0] == want
    assert run_tops(case, stage1_lam=2.0, stage1_alpha=0.0, principles="R")[0][0] == sorted(
        int(i) + 16 * n for n in range(images) for i in relevance[n].topk(8).indices
    )


@pytest.mark.parametrize("rater", ["dynamic", "last_token", "all_mean", "sparsevlm"])
@pytest.mark.parametrize("alpha", [None, 2.0])
@torch.no_grad()
def test_stage_two(rater: Any, alpha: float | None) -> None:
    """The second cut, from hidden states and eager attention of a run that makes only the first."""
    case = tiny.llava()
    got = run_tops(case, rater=rater, alpha=alpha, lam=None if alpha is None else 0.3, positions="original")[0]
    case.model.set_attn_implementation("eager")
    first = TOPS(budget=8, stages="first", positions="original")
    with prune(case.model, first, record_kept=True) as run:
        out = case.model(**case.inputs, output_attentions=True, output_hidden_states=True)
    assert run.kept is not None
    kept = torch.tensor(run.kept[0][0])
    assert kept.tolist() == got[0]
    # 4 words, 8 visual tokens, 8 words.
    hidden, attention = out.hidden_states[2][0, 4:12], out.attentions[2][0, :, 12:, 4:12].mean(0)
    mass = attention.sum(-1)
    raters = {
        "dynamic": mass >= mass.mean(),
        "last_token": torch.arange(8) == 7,
        "all_mean": torch.ones(8, dtype=torch.bool),
    }
    embeds, _ = entering(case.model, case.inputs)
    rating = (embeds[0, 4:20] @ embeds[0, 20:].T).softmax(-1).mean(0)
    raters["sparsevlm"] = rating > rating.mean()
    assert 0 < int(raters["dynamic"].sum()) < 8
    weights = (0.5, 0.5) if alpha is None else (2.0, 0.3)
    picks = select_tops(hidden, attention[raters[rater]].mean(0), 5, alpha=weights[0], lam=weights[1]).sort().values
    assert kept[picks].tolist() == got[2]


@torch.no_grad()
def test_other_readings_change_what_they_say() -> None:
    case = tiny.llava()
    default = run_tops(case)[0]
    relevance = cls_relevance(case, -1)
    assert run_tops(case, cls_layer="last", principles="R")[0][0] == sorted(
        relevance.mean(1)[0].topk(8).indices.tolist()
    )
    heads = cls_relevance(case, -2).amax(1)[0].topk(8).indices
    assert run_tops(case, heads="max", principles="R")[0][0] == sorted(heads.tolist())
    changed = [
        run_tops(case, **option)[0] != default
        for option in (
            {"normalisation": "minmax"}, {"stage1_features": "encoder"}, {"attention_layer": "previous"},
            {"principles": "CD"}, {"rater": "last_token"},
        )
    ]  # fmt: skip
    assert sum(changed) >= 4
    together = run_tops(tiny.llava(images=2), per_tile=False)[0][0]
    assert len(together) == 16
    assert sum(i < 16 for i in together) != 8


def test_published_weights_reach_stage_two() -> None:
    case = tiny.llava()
    picks = {}
    for backbone in ("", "internvl3-8b"):
        with prune(case.model, TOPS(budget=8, cut_layers=(2,)), record_kept=True, backbone=backbone) as run:
            case.model(**case.inputs)
        picks[backbone] = run.kept
    with prune(case.model, TOPS(budget=8, cut_layers=(2,), alpha=0.2, lam=0.2), record_kept=True) as run:
        case.model(**case.inputs)
    assert run.kept == picks["internvl3-8b"]


@pytest.mark.parametrize(
    "option",
    [{"rater": "last"}, {"principles": "RX"}, {"principles": ""}, {"stages": "1"}, {"normalisation": "z"}],
)
def test_unknown_options(option: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="TOPS"):
        TOPS(budget=4, **option)


@torch.no_grad()
def test_raters_that_look_alike_all_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """The mean of equal masses can round above them; no rater at all would be left."""
    case = tiny.llava()
    mass = torch.full((8,), 0.1)
    assert bool((mass < mass.mean()).all())

    def attention(self: Any, rows: torch.Tensor, layer: str) -> torch.Tensor:
        out = torch.zeros(1, len(rows), len(self.states))
        out[0, :, self.visual_slots[0]] = mass
        return out

    monkeypatch.setattr("tops.engine.point.Point.attention", attention)
    assert {layer: len(kept) for layer, kept in run_tops(case)[0].items()} == {0: 8, 2: 5, 4: 3}
