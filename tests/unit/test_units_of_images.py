"""What a method reads for an image is what it reads when the image is alone, whatever stands beside it."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
import tiny_families
import torch
from oracles.reference import pad_left
from probes import Given
from tiny import IMAGE, VIDEO, Case, llava, noise, prompt, words

from tops import prune
from tops.signals import PruningPoint
from tops.tokens import Selection

START, END = tiny_families.START, tiny_families.END
# Height and width: ordinary ones, and ratios whose unpadding leaves nothing of some tiles, or of all.
SIZES = [[28, 28], [40, 56], [56, 28], [30, 4000], [4000, 30], [1, 900], [900, 1], [1, 1], [2000, 28], [9, 700], [3, 5]]


def read(case: Case) -> list[list[dict[str, torch.Tensor]]]:
    """Per sample and image: saliency, attention received and places of its tokens."""
    out: list[list[dict[str, torch.Tensor]]] = []

    def look(point: PruningPoint) -> Selection:
        tokens, vision = point.tokens, point.vision
        told = {
            "saliency": vision.saliency(), "received": vision.attention_received(), "features": tokens.features,
            "row": tokens.row, "col": tokens.col,
        }  # fmt: skip
        out.append([{k: v[tokens.image == i] for k, v in told.items()} for i in tokens.image.unique()])
        return Selection(torch.arange(len(tokens)))

    with torch.no_grad(), prune(case.model, Given({0: look})):
        case.model(**case.inputs)
    return out


def next_prompt(model: Any, sizes: list[list[int]], seed: int) -> dict[str, torch.Tensor]:
    pixels, shapes = noise(len(sizes), 5, 3, 28, 28, seed=seed), torch.tensor(sizes)
    features = model.model.get_image_features(pixels, shapes, return_dict=True).pooler_output
    ids = prompt(words(3), *([IMAGE] * len(f) + words(2) for f in features), words(3))
    return ids | {"pixel_values": pixels, "image_sizes": shapes}


def onevision_prompt(model: Any, sizes: list[list[int]], seed: int) -> dict[str, torch.Tensor]:
    """One image a prompt: the first of the list."""
    pixels, shapes = noise(1, 10, 3, 35, 35, seed=seed), torch.tensor(sizes[:1])
    features = model.model.get_image_features(
        pixels, shapes, vision_feature_layer=-1, vision_feature_select_strategy="full",
        vision_aspect_ratio="anyres_max_3", batch_num_images=torch.tensor([1]), return_dict=True,
    ).pooler_output  # fmt: skip
    ids = prompt(words(3), [IMAGE] * len(features[0]), words(3))
    return ids | {"pixel_values": pixels, "image_sizes": shapes, "batch_num_images": torch.tensor([1])}


def llava_prompt(model: Any, sizes: list[list[int]], seed: int) -> dict[str, torch.Tensor]:
    ids = prompt(words(3), *([IMAGE] * 16 + words(2) for _ in sizes), words(3))
    return ids | {"pixel_values": noise(len(sizes), 3, 28, 28, seed=seed)}


def internvl_prompt(model: Any, sizes: list[list[int]], seed: int) -> dict[str, torch.Tensor]:
    tiles = [1 + (height + width) % 4 for height, width in sizes]
    ids = prompt(words(3), *([START] + [IMAGE] * (16 * n) + [END] for n in tiles), words(3))
    return ids | {"pixel_values": noise(sum(tiles), 3, 32, 32, seed=seed)}


def qwen_prompt(model: Any, sizes: list[list[int]], seed: int) -> dict[str, torch.Tensor]:
    grid = torch.tensor([[1, 2 * (1 + height % 11), 2 * (1 + width % 7)] for height, width in sizes])
    ids = prompt(words(3), *([START] + [IMAGE] * (int(g.prod()) // 4) + [END] for g in grid), words(3))
    kinds = (ids["input_ids"] == IMAGE).int()
    pixels = noise(int(grid.prod(-1).sum()), 96, seed=seed)
    return ids | {"pixel_values": pixels, "image_grid_thw": grid, "mm_token_type_ids": kinds}


def video_prompt(model: Any, sizes: list[list[int]], seed: int) -> dict[str, torch.Tensor]:
    ids = prompt(words(3 + seed % 3), [VIDEO] * 18, words(3))
    return ids | {"pixel_values_videos": noise(1, 3, 3, 35, 35, seed=seed)}


FAMILIES: dict[str, tuple[Callable[..., Case], Callable[..., Any], Any]] = {
    # model, prompt of a list of sizes, and how pixels and grids of one image are cut out of a prompt of several
    "llava": (llava, llava_prompt, lambda model, sizes: [1] * len(sizes)),
    "llava-next": (tiny_families.llava_next, next_prompt, lambda model, sizes: [1] * len(sizes)),
    "llava-onevision": (tiny_families.llava_onevision, onevision_prompt, None),
    "llava-video": (tiny_families.llava_video, video_prompt, None),
    "internvl3": (
        tiny_families.internvl3, internvl_prompt, lambda model, sizes: [1 + (h + w) % 4 for h, w in sizes],
    ),
    "qwen2.5-vl": (
        tiny_families.qwen25vl, qwen_prompt, lambda model, sizes: [4 * (1 + h % 11) * (1 + w % 7) for h, w in sizes],
    ),
}  # fmt: skip


def same(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> None:
    for name, values in left.items():
        torch.testing.assert_close(values, right[name], atol=1e-5, rtol=0, msg=lambda m, n=name: f"{n}: {m}")


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", FAMILIES)
def test_images_of_a_prompt_and_prompts_of_a_batch(name: str, seed: int) -> None:
    build, make, rows = FAMILIES[name]
    model, chance = build().model, random.Random(seed)
    lists = [[[4000, 30], [30, 4000], [40, 56]]] if not seed else [chance.choices(SIZES, k=chance.randint(1, 4))]
    lists += [chance.choices(SIZES, k=chance.randint(1, 3)) for _ in range(2)]
    prompts = [make(model, sizes, seed + 10 * number) for number, sizes in enumerate(lists)]
    together = read(Case(model, pad_left(prompts)))
    for sizes, inputs, sample in zip(lists, prompts, together, strict=True):
        ((*alone,),) = read(Case(model, inputs))
        for left, right in zip(sample, alone, strict=True):
            same(left, right)
        if rows is None:
            continue
        pixels = torch.split(inputs["pixel_values"], rows(model, sizes))
        for image, size in enumerate(sizes):
            single = make(model, [size], 0) | {"pixel_values": pixels[image]}
            same(sample[image], read(Case(model, single))[0][0])
