"""Kept tokens on their pictures: every grid names the tokens that the model's own layout puts there."""

from __future__ import annotations

import numpy as np
import pytest
import tiny
import tiny_families
import torch
from PIL import Image

import tops
from tops import TOPS, Random
from tops.backbones import adapter_for
from tops.drawing import Places, Sheet, draw_kept, tile_grid, views
from tops.engine import prune
from tops.engine.kept import places
from tops.errors import ConfigurationError

CASES = {
    "llava": tiny.llava,
    "llava-next": tiny_families.llava_next,
    "llava-video": tiny_families.llava_video,
    "onevision": tiny_families.llava_onevision,
    "onevision-video": tiny_families.llava_onevision_video,
    "qwen": tiny_families.qwen25vl,
    "qwen-video": tiny_families.qwen25vl_video,
    "internvl": tiny_families.internvl3,
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("images", [1, 2])
def test_grids_hold_every_token_once(name: str, images: int) -> None:
    case = CASES[name](images)
    adapter = adapter_for(case.model)
    count = sum(int((case.inputs["input_ids"] == i).sum()) for i in adapter.placeholder_ids)
    layout = adapter.layout(case.inputs, [count])[0]
    found = [
        (s.start + r * s.stride + c, s.image)
        for s in places(layout, adapter.placing).sheets
        for r in range(s.rows)
        for c in range(s.columns)
    ]
    wanted = torch.nonzero(~layout.newline)[:, 0].tolist()
    assert sorted(found) == [(number, int(layout.image[number])) for number in wanted]


@pytest.mark.parametrize("name", CASES)
def test_a_picture_of_every_family(name: str) -> None:
    case = CASES[name]()
    with prune(case.model, Random(budget=0.5), record_kept=True) as run, torch.no_grad():
        case.model(**case.inputs)
    kept = run.kept[0][0]
    assert [len(getattr(kept, n)) for n in ("image", "tile", "row", "column")] == [len(kept)] * 4
    steps = max(kept.image) + 1
    pictures = [Image.new("RGB", (112, 80), (200, 40, 40))] * steps
    drawn = np.asarray(tops.draw(pictures, run))
    assert ((drawn == (200, 40, 40)).all(-1)).any()
    assert (drawn.max(-1) < 90).any()


def test_kept_places_are_light_and_dropped_ones_dark() -> None:
    square = Places("whole", (Sheet(0, 0, 2, 2, 0, 2),))
    drawn = np.asarray(draw_kept([Image.new("RGB", (100, 100), "white")], [1], square))
    assert drawn.shape == (336, 336, 3)
    assert (drawn[20, 300] == 255).all()
    assert (drawn[300, 20] < 90).all()
    assert Places.from_json(square.to_json()) == square


def test_the_square_that_is_seen() -> None:
    wide = Image.new("RGB", (300, 100), "white")
    sheets = (Sheet(0, 0, 1, 1, 0, 1),)
    assert draw_kept([wide], None, Places("whole", sheets)).size == (336, 112)
    assert draw_kept([wide], None, Places("crop", sheets)).size == (336, 336)
    assert np.asarray(draw_kept([wide], None, Places("pad", sheets)))[5, 5].tolist() == [122, 116, 104]
    assert tile_grid(6, 1.4) == (2, 3)
    assert tile_grid(2, 0.5) == (2, 1)


def test_nothing_recorded_is_said() -> None:
    case = tiny.llava()
    with prune(case.model, TOPS(budget=8)) as run, torch.no_grad():
        case.model(**case.inputs)
    with pytest.raises(ConfigurationError, match="record_kept=True"):
        tops.draw(Image.new("RGB", (28, 28)), run)


def test_views_of_a_tiled_picture_and_its_thumbnail() -> None:
    sheets = tuple(Sheet(0, i, 4, 4, 16 * i, 4) for i in range(3))
    tiles, thumbnail = views(Places("tiles", sheets), aspect=2.0)
    assert tiles == [(0, 4, 4, 4, 0.0, 0.0, 0.5, 1.0), (16, 4, 4, 4, 0.5, 0.0, 1.0, 1.0)]
    assert thumbnail == [(32, 4, 4, 4, 0.0, 0.0, 1.0, 1.0)]
    assert views(Places("whole", sheets[:2]), 1.0)[1] == [(16, 4, 4, 4, 0.0, 0.0, 1.0, 1.0)]
