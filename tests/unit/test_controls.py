"""Controls: what they show a model, and that it is what their name says."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from PIL import Image
from scenes import scene

from tops.budget import PromptShape
from tops.errors import ConfigurationError
from tops.methods import build
from tops.methods.base import InputContext, InputControl
from tops.selection.grids import grid_cells


def picture(number: int, size: tuple[int, int] = (40, 30)) -> Image.Image:
    image = Image.new("RGB", size, (number, 2 * number, 3))
    image.putpixel((0, 0), (255, 0, number))
    return image


def context(document: int = 0, documents: int = 6, images: Any = None, pixels: int = 14) -> InputContext:
    return InputContext(document, documents, images or (lambda d: [picture(d)]), pixels)


def test_input_controls_are_told_from_others() -> None:
    names = {"text_only", "blank_image", "shuffled_image", "downsampling"}
    assert all(isinstance(build(n), InputControl) for n in names)
    assert not isinstance(build("random"), InputControl)


def test_text_only_takes_every_image_out() -> None:
    assert build("text_only").prepare([picture(1), picture(2)], context()) == []


def test_blank_image_keeps_size_and_shows_one_colour() -> None:
    (out,) = build("blank_image", grey=7).prepare([picture(3)], context())
    assert out.size == (40, 30)
    assert out.getcolors() == [(1200, (7, 7, 7))]


@pytest.mark.parametrize("document", range(6))
def test_shuffled_image_is_another_documents(document: int) -> None:
    shown = [
        build("shuffled_image", seed=s).prepare([picture(document)], context(document))[0].getpixel((0, 0))[2]
        for s in range(8)
    ]
    assert document not in shown
    assert len(set(shown)) > 1
    again = build("shuffled_image", seed=0).prepare([picture(document)], context(document))[0]
    assert again.getpixel((0, 0))[2] == shown[0]


def test_shuffled_image_passes_over_documents_with_the_same_image() -> None:
    many = context(0, 12, lambda d: [picture(d // 6)])
    for seed in range(12):
        (out,) = build("shuffled_image", seed=seed).prepare([picture(0)], many)
        assert out.getpixel((0, 0))[2] == 1


def test_shuffled_image_keeps_the_size_so_that_token_counts_stay() -> None:
    (out,) = build("shuffled_image").prepare([picture(0, (40, 30))], context(0, 2, lambda d: [picture(d, (9, 50))]))
    assert out.size == (40, 30)


@pytest.mark.parametrize("documents", [1, 4])
def test_shuffled_image_refuses_when_no_other_image_exists(documents: int) -> None:
    with pytest.raises(ConfigurationError, match="more documents"):
        build("shuffled_image").prepare([picture(0)], context(0, documents, lambda _: [picture(0)]))


@pytest.mark.parametrize("tokens", [1, 16, 64, 128, 500])
@pytest.mark.parametrize("size", [(336, 336), (640, 480), (480, 640), (2000, 100), (5, 5)])
def test_downsampling_leaves_at_most_the_pixels_of_the_budget(tokens: int, size: tuple[int, int]) -> None:
    (out,) = build("downsampling", budget=tokens).prepare([picture(1, size)], context(pixels=14))
    width, height = out.size
    assert width * height <= max(tokens * 14 * 14, size[0] * size[1] if size == (5, 5) else 0)
    if size == (336, 336) and tokens < 576:
        assert (width % 14, height % 14) == (0, 0)
        assert width * height >= 0.7 * tokens * 14 * 14


def test_downsampling_pools_what_the_processor_scaled_up_again_and_nothing_else() -> None:
    method = build("downsampling", budget=9)
    assert [(c.layer, c.keep) for c in method.schedule(PromptShape(36, 8)).cuts] == [(0, 9)]
    assert method.schedule(PromptShape(8, 8)).cuts == ()
    assert torch.equal(method.select(scene(9)).rows, build("pooling", budget=9).select(scene(9)).rows)


@pytest.mark.parametrize("name", ["text_only", "blank_image", "shuffled_image"])
def test_controls_without_a_budget_refuse_one(name: str) -> None:
    with pytest.raises(ConfigurationError, match="has no budget, got 64"):
        build(name, budget=64)


def test_downsampling_refuses_a_ratio() -> None:
    with pytest.raises(ConfigurationError, match="count of tokens"):
        build("downsampling", budget=0.5)


def test_pooling_is_the_mean_of_every_cell() -> None:
    point = scene(9)
    out = build("pooling", budget=9).select(point)
    blocks = point.tokens.features.view(3, 2, 3, 2, -1).mean((1, 3)).flatten(0, 1)
    torch.testing.assert_close(out.rows, blocks)


def test_pooling_to_one_token_an_image_is_the_mean_of_the_image() -> None:
    point = scene(2, images=2)
    out = build("pooling", budget=1).select(point)
    torch.testing.assert_close(out.rows, point.tokens.features.view(2, 36, -1).mean(1))


def test_uniform_takes_one_token_of_every_cell() -> None:
    kept = build("uniform", budget=9).select(scene(9)).indices
    assert torch.equal(
        torch.stack([kept // 6 // 2, kept % 6 // 2]), torch.stack([torch.arange(9) // 3, torch.arange(9) % 3])
    )


@pytest.mark.parametrize(("rows", "columns"), [(1, 7), (6, 6), (5, 9), (24, 24)])
def test_cells_are_as_many_as_asked_and_of_like_size(rows: int, columns: int) -> None:
    for k in range(1, rows * columns + 1):
        sizes = torch.bincount(grid_cells(rows, columns, k).flatten(), minlength=k)
        assert len(sizes) == k
        assert int(sizes.min()) >= 1
        assert int(sizes.max()) <= 4 * (rows * columns // k + 1)


def test_free_truncation_keeps_the_first_of_every_image() -> None:
    kept = build("free_truncation", budget=3).select(scene(6, images=2)).indices
    assert kept.tolist() == [0, 1, 2, 36, 37, 38]
