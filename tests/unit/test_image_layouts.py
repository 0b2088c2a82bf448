"""Named image layouts: the counts they promise, through each family's own processor at its published sizes."""

from __future__ import annotations

from functools import cache
from types import SimpleNamespace
from typing import Any

import pytest
import tiny_families
from lmms_eval.api.instance import Instance
from PIL import Image
from transformers import AutoProcessor

from tops.backbones import adapter_for, families, family_named
from tops.backbones.image_layouts import ImageLayout, check_view
from tops.backbones.inputs import Inputs
from tops.backbones.loading import load_backbone
from tops.errors import ConfigurationError
from tops.evaluation.asking import asker_and_reader, messages
from tops.evaluation.media import MediaReader
from tops.miniature.checkpoints import ROOT

SIZES = [(640, 480), (30, 900), (1000, 1000), (7, 5)]
MARKS = {"llava-next": "<image>", "qwen2.5-vl": "<|image_pad|>", "internvl3": "<IMG_CONTEXT>"}


def image_layout(family: str, name: str) -> ImageLayout:
    return family_named(family).image_layout_named(name)


@cache
def processor(family: str) -> Any:
    """The miniature's processor, its pictures at the published sizes."""
    out: Any = AutoProcessor.from_pretrained(ROOT / family)
    if family == "llava-next":
        out.patch_size, out.image_processor.size = 14, {"shortest_edge": 336}
        out.image_processor.crop_size = {"height": 336, "width": 336}
        out.image_processor.image_grid_pinpoints = [[336, 672], [672, 336], [672, 672], [1008, 336], [336, 1008]]
    if family == "internvl3":
        out.image_seq_length, out.image_processor.size = 256, {"height": 448, "width": 448}
    return out


def counted(family: str, layout: str, size: tuple[int, int]) -> int:
    """Placeholders of one image under a layout."""
    inputs, chosen = Inputs(image_layout=layout).laid_out(family)
    picture = Image.effect_mandelbrot(size, (-2, -1.5, 1, 1.5), 20)
    task: Any = SimpleNamespace(visuals=lambda _: [picture], documents=[None])
    (shown,) = MediaReader(task, inputs, None, layout=chosen)(0, {}).images
    options: dict[str, Any] = {}
    if chosen.pixels:
        options = {"min_pixels": inputs.min_pixels, "max_pixels": inputs.max_pixels}
    if chosen.tiles:
        options = {"crop_to_patches": True, "min_patches": inputs.min_patches, "max_patches": inputs.max_patches}
    tokenizer = processor(family).tokenizer
    ids = processor(family)(text=MARKS[family], images=[shown], **options)["input_ids"][0]
    return list(ids).count(tokenizer.convert_tokens_to_ids(MARKS[family]))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    ("family", "layout", "placeholders"),
    [
        ("llava-next", "fixed-672", 2880 + 48),
        ("qwen2.5-vl", "fixed-1008", 1296),
        ("qwen2.5-vl", "square-1008", 1296),
        ("internvl3", "fixed-5-tiles", 1280),
        ("internvl3", "fixed-896", 1280),
    ],
)
def test_fixed_layouts_give_the_papers_counts(family: str, layout: str, placeholders: int, size: Any) -> None:
    assert counted(family, layout, size) == placeholders
    assert image_layout(family, layout).tokens == placeholders - (48 if family == "llava-next" else 0)


def test_units_add_up_to_the_tokens() -> None:
    several = [layout for family in families().values() for layout in family.image_layouts.values() if layout.units]
    assert len(several) >= 6
    assert all(sum(layout.units) == layout.tokens for layout in several)


def test_native_and_dynamic_layouts_depend_on_the_image() -> None:
    assert counted("llava-next", "native", (640, 480)) == 576 + 36 * 48 + 36
    assert counted("llava-next", "native", (900, 300)) == 576 + 24 * 72 + 24
    assert counted("qwen2.5-vl", "dynamic-4-64", (10, 10)) == 4
    assert counted("qwen2.5-vl", "dynamic-4-64", (2000, 1000)) in range(48, 65)
    assert counted("qwen2.5-vl", "dynamic", (10, 10)) == 256
    assert counted("internvl3", "dynamic", (448, 448)) == 256
    assert counted("internvl3", "dynamic", (448 * 3, 448)) == 4 * 256


def test_the_model_counts_what_the_layout_says() -> None:
    """At the published sizes, from the configuration alone."""
    case = tiny_families.llava_next()
    adapter: Any = adapter_for(case.model)
    config = families()["llava-next"].real_config("7b")
    adapter.model.config.image_grid_pinpoints = config.image_grid_pinpoints
    adapter.model.config.vision_config = config.vision_config
    layout = adapter.image_layout([672, 672])
    assert int((~layout.newline).sum()) == image_layout("llava-next", "fixed-672").tokens
    assert layout.units == 5


def test_padding_keeps_the_picture_and_stretching_does_not() -> None:
    picture = Image.new("RGB", (100, 50), (255, 0, 0))
    padded = image_layout("llava-next", "fixed-672").prepare(picture, (1, 2, 3))
    assert padded.getpixel((336, 10)) == (1, 2, 3)
    assert padded.getpixel((336, 336)) == (255, 0, 0)
    assert image_layout("qwen2.5-vl", "fixed-1008").prepare(picture, (1, 2, 3)).getpixel((0, 0)) == (255, 0, 0)
    squared = image_layout("qwen2.5-vl", "square-1008").prepare(picture, (1, 2, 3))
    assert (squared.size, squared.getpixel((0, 100)), squared.getpixel((0, 504))) == (
        (1008, 1008),
        (1, 2, 3),
        (255, 0, 0),
    )


@pytest.mark.parametrize("size", [(100, 50), (50, 100), (3000, 40)])
def test_internvl_sees_two_by_two_tiles_of_every_picture(size: tuple[int, int]) -> None:
    """Not four in a row, which ``fixed-5-tiles`` makes of a wide picture."""
    picture = image_layout("internvl3", "fixed-896").prepare(Image.new("RGB", size), (0, 0, 0))
    quarter = Image.new("RGB", (448, 448), (255, 255, 255))
    picture.paste(quarter, (448, 0))
    pixels = processor("internvl3").image_processor(
        [picture], crop_to_patches=True, min_patches=4, max_patches=4, return_tensors="pt"
    )["pixel_values"]
    bright = [bool(tile.mean() > 0) for tile in pixels[:4]]
    assert bright == [False, True, False, False]


def test_what_a_layout_refuses() -> None:
    with pytest.raises(ConfigurationError, match="Did you mean 'fixed-672'"):
        Inputs(image_layout="fixed-762").laid_out("llava-next")
    with pytest.raises(ConfigurationError, match="llava has no image_layout 'fixed-672'"):
        Inputs(image_layout="fixed-672").laid_out("llava")
    with pytest.raises(ConfigurationError, match="1 <= least <= most"):
        image_layout("qwen2.5-vl", "dynamic-64-4")
    with pytest.raises(ConfigurationError, match="min_pixels=1016064, not 3136; leave min_pixels out"):
        Inputs(image_layout="fixed-1008", min_pixels=3136).laid_out("qwen2.5-vl")
    with pytest.raises(ConfigurationError, match="leave image_padding out"):
        Inputs(image_layout="fixed-672", image_padding="square").laid_out("llava-next")
    with pytest.raises(ConfigurationError, match="leave image_padding out"):
        Inputs(image_layout="cdpruner-672", image_padding="square").laid_out("llava-next")
    with pytest.raises(ConfigurationError, match="frames_per_second=0 must be a whole number of at least 1"):
        Inputs(frames_per_second=0)
    with pytest.raises(ConfigurationError, match="views of 336 pixels; those of this checkpoint are 96"):
        check_view(image_layout("llava-next", "fixed-672"), 96)
    assert Inputs(max_patches=4, min_patches=4).laid_out("internvl3")[0].max_patches == 4


@pytest.mark.parametrize(
    ("family", "options", "placeholders"),
    [
        ("qwen2.5-vl", {"image_layout": "fixed-1008"}, 1296),
        ("qwen2.5-vl", {"image_layout": "dynamic-12-16"}, 12),
        ("internvl3", {"image_layout": "dynamic", "min_patches": 1}, 180),
        ("llava-next", {"image_layout": "native"}, 144 + 18 * 24 + 18),
    ],
)
def test_the_evaluation_gives_the_model_what_the_layout_says(
    family: str, options: dict[str, Any], placeholders: int
) -> None:
    """Through the stock chat model, which prepares pictures in its own way first."""
    backbone = load_backbone(ROOT / family)
    picture = Image.effect_mandelbrot((640, 480) if family != "internvl3" else (200, 200), (-2, -1.5, 1, 1.5), 20)
    task: Any = SimpleNamespace(
        visuals=lambda _: [picture], documents=[None], benchmark=SimpleNamespace(modality="image")
    )
    asker, reader = asker_and_reader(backbone, options, task, None)
    media = reader(0, {})
    asker.task_dict = {"task": {"split": {0: {}}}}
    arguments = ("", lambda _: messages("What is it?", media), {"max_new_tokens": 1}, 0, "task", "split")
    prepared = asker.prepare_prompt(
        Instance("generate_until", arguments, 0, {"task": "task", "doc_id": 0, "repeats": 1}), media
    )
    ids = prepared.options["input_ids"]
    assert sum(int((ids == mark).sum()) for mark in backbone.adapter.placeholder_ids) == placeholders


def test_the_evaluation_refuses_a_layout_for_other_views() -> None:
    task: Any = SimpleNamespace(benchmark=SimpleNamespace(modality="image"))
    with pytest.raises(ConfigurationError, match="those of this checkpoint are 96"):
        asker_and_reader(load_backbone(ROOT / "internvl3"), {"image_layout": "fixed-5-tiles"}, task, None)
