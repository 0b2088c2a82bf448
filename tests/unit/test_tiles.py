"""Stage I per tile or over the whole image, on the tokens that a tiled image really has."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tiny import IMAGE
from tiny_families import NEXT_SIZES, internvl3, llava_next

from tops.backbones import adapter_for
from tops.engine import prune
from tops.errors import BudgetError
from tops.methods import build


@torch.no_grad()
def kept(case: Any, **options: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Units of the kept tokens, and of all tokens that count."""
    adapter: Any = adapter_for(case.model)
    placeholders = int((case.inputs["input_ids"] == adapter.placeholder_ids[0]).sum())
    layout = adapter.layout(case.inputs, [placeholders])[0]
    with prune(case.model, build("tops", stages="first", **options), record_kept=True) as run:
        case.model(**case.inputs)
    (record,) = run.last
    assert record.kept is not None
    assert not layout.newline[record.kept[0]].any()
    return layout.unit[record.kept[0]], layout.unit[~layout.newline]


@pytest.mark.parametrize("seed", range(len(NEXT_SIZES)))
def test_a_keep_ratio_is_of_the_true_count(seed: int) -> None:
    """Unpadding leaves tiles of unequal sizes; newlines do not count."""
    units, every = kept(llava_next(seed=seed), budget=0.5, per_tile=True)
    assert len(units) == round(0.5 * len(every))
    for unit, size in zip(*every.unique(return_counts=True), strict=True):
        assert abs(int((units == unit).sum()) - 0.5 * int(size)) <= 1


def test_a_count_is_shared_equally_among_tiles() -> None:
    units, every = kept(internvl3(), budget=12, per_tile=True)
    assert len(every) == 48
    assert units.bincount().tolist() == [4, 4, 4]


def test_the_whole_image_may_spend_its_tokens_where_it_likes() -> None:
    case = llava_next()
    per_tile, _ = kept(case, budget=12, per_tile=True)
    whole, every = kept(case, budget=12, per_tile=False)
    assert len(whole) == len(per_tile) == 12
    assert whole.bincount(minlength=8).tolist() != per_tile.bincount(minlength=8).tolist()
    assert len(every.unique()) > 1


@torch.no_grad()
@pytest.mark.parametrize(
    ("name", "options", "images", "budget", "enough"),
    [
        ("visionzip", {}, 1, 5, 10),
        ("visionzip", {}, 2, 9, 10),
        ("visionzip", {}, 2, 0.06, 0.160714),
        ("prumerge_plus", {"rule": "literal"}, 1, 5, 10),
    ],
)
def test_too_few_tokens_of_a_tile_are_refused_before_the_tower_runs(
    name: str, options: Any, images: int, budget: float, enough: float
) -> None:
    case = llava_next(images)
    counts = [int(row.sum()) for row in case.inputs["input_ids"] == IMAGE]
    adapter = adapter_for(case.model)
    units = adapter.layout(case.inputs, counts)[0].sizes(with_newlines=False)
    assert sum(map(sum, units)) == counts[0] - int(adapter.layout(case.inputs, counts)[0].newline.sum())
    ran = []
    case.model.model.vision_tower.register_forward_hook(lambda *a: ran.append(1))
    with (
        prune(case.model, build(name, budget=budget, **options)),
        pytest.raises(BudgetError, match=f"needs 2 tokens of every tile.*give .*{enough}") as refused,
    ):
        case.model(**case.inputs)
    assert not ran, refused
    with prune(case.model, build(name, budget=enough, **options)):
        case.model(**case.inputs)


def test_vscan_of_the_official_second_cut_without_a_first() -> None:
    case = llava_next()
    with prune(case.model, build("vscan", budget=0.9, second="first_tile")) as run:
        case.model(**case.inputs)
    layers = run.visual_tokens_per_layer
    assert layers[0] > layers[-1]
