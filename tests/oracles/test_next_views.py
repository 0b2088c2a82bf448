"""LLaVA-NeXT under ``cdpruner-672`` against a plain writing-out of what CDPruner's code does to a picture."""

from __future__ import annotations

import math
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tiny_families
import torch
from PIL import Image
from probes import Fixed, keep_all
from transformers import AutoProcessor

from tops.backbones import adapter_for
from tops.backbones.image_layouts import NATIVE
from tops.backbones.llava_next import LlavaNext, two_by_two
from tops.backbones.loading import load_backbone
from tops.engine import prune
from tops.engine.vision_memory import VisionMemory
from tops.evaluation.asking import asker_and_reader, messages, tokens_unpruned
from tops.methods import build
from tops.miniature.checkpoints import ROOT

MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
SIZES = [
    (640, 480), (480, 640), (672, 672), (336, 336), (100, 100), (1000, 1000), (1, 1), (2, 3), (672, 671), (671, 672),
    (673, 672), (1344, 336), (336, 1344), (1920, 1080), (1080, 1920), (30, 900), (900, 30), (7, 5), (5, 7), (500, 375),
    (375, 500), (640, 427), (427, 640), (333, 500), (612, 612), (1023, 769), (51, 50), (800, 3), (3, 800), (2048, 1536),
]  # fmt: skip


def picture(size: tuple[int, int]) -> Image.Image:
    values = np.random.default_rng(size[0] * 10007 + size[1]).integers(0, 256, (size[1], size[0], 3), np.uint8)
    return Image.fromarray(values)


def plain_views(image: Image.Image, view: int) -> list[np.ndarray]:
    """Arrays of the base view and of the four tiles, row by row."""
    width, height, side = *image.size, 2 * view
    if side / width < side / height:
        new = (side, min(math.ceil(height * (side / width)), side))
    else:
        new = (min(math.ceil(width * (side / height)), side), side)
    canvas = np.zeros((side, side, 3), np.uint8)
    left, top = (side - new[0]) // 2, (side - new[1]) // 2
    canvas[top : top + new[1], left : left + new[0]] = np.asarray(image.resize(new, Image.Resampling.BICUBIC))
    base = np.asarray(image.resize((view, view), Image.Resampling.BICUBIC))
    return [base, *(canvas[r : r + view, c : c + view] for r in (0, view) for c in (0, view))]


def normalised(view: np.ndarray, mean: Any, std: Any) -> torch.Tensor:
    return ((torch.from_numpy(view.copy()).double() / 255 - torch.tensor(mean)) / torch.tensor(std)).permute(2, 0, 1)


@pytest.fixture(scope="module")
def next_672() -> Any:
    """The miniature's processor and a tiny model, at the tower's published input size."""
    processor: Any = AutoProcessor.from_pretrained(ROOT / "llava-next")
    processor.patch_size = 14
    processor.image_processor.size = {"shortest_edge": 336}
    processor.image_processor.crop_size = {"height": 336, "width": 336}
    processor.image_processor.image_mean, processor.image_processor.image_std = list(MEAN), list(STD)
    vision = SimpleNamespace(image_size=336, patch_size=14)
    grids = [[336, 672], [672, 336], [672, 672], [1008, 336], [336, 1008]]
    adapter: Any = adapter_for(tiny_families.llava_next().model)
    adapter.model = SimpleNamespace(config=SimpleNamespace(vision_config=vision, image_grid_pinpoints=grids))
    return adapter, processor


@pytest.mark.parametrize("size", SIZES, ids=lambda size: "x".join(map(str, size)))
def test_pixels_and_placeholders(next_672: Any, size: tuple[int, int]) -> None:
    adapter, processor = next_672
    image, layout = picture(size), LlavaNext.image_layouts["cdpruner-672"]
    out = adapter.process(processor, layout, text="<image> What?", images=[image], return_tensors="pt")
    wanted = torch.stack([normalised(view, MEAN, STD) for view in plain_views(image, 336)])
    assert out["pixel_values"].shape == (1, 5, 3, 336, 336)
    assert (out["pixel_values"][0].double() - wanted).abs().max() < 1e-5
    assert out["image_sizes"].tolist() == [[672, 672]]
    mark = processor.tokenizer.convert_tokens_to_ids("<image>")
    assert int((out["input_ids"] == mark).sum()) == layout.tokens == 2880
    without = processor.tokenizer("What?", return_tensors="pt")["input_ids"][0, -1]
    assert out["input_ids"][0, -1] == without


def views_prompt(images: int) -> tuple[Any, Any, dict[str, torch.Tensor]]:
    """A tiny model whose views are of 28 pixels, the layout for it, and a prompt of random pictures."""
    case = tiny_families.llava_next(images)
    layout = replace(NATIVE, name="cdpruner-56", views=lambda image: two_by_two(image, 28))
    pictures = [picture((40 + 30 * i, 30)) for i in range(images)]
    pixels = torch.stack([torch.stack([normalised(v, MEAN, STD) for v in plain_views(p, 28)]) for p in pictures])
    ids = torch.tensor([[5, 6, *([90] * 80 + [7]) * images, 8]])
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "pixel_values": pixels.float(),
              "image_sizes": torch.tensor([[56, 56]] * images)}  # fmt: skip
    return case.model, layout, inputs


@torch.no_grad()
@pytest.mark.parametrize("images", [1, 2])
def test_tokens_are_the_base_view_then_one_grid_row_by_row(images: int) -> None:
    model, layout, inputs = views_prompt(images)
    adapter: Any = adapter_for(model)
    with adapter.shown(layout):
        packed = model.model.get_image_features(inputs["pixel_values"], inputs["image_sizes"], return_dict=True)
        (found,) = adapter.layout(inputs, [80 * images])
    for image, tokens in enumerate(packed.pooler_output):
        hidden = model.model.vision_tower(inputs["pixel_values"][image], output_hidden_states=True).hidden_states[-2]
        grids = model.model.multi_modal_projector(hidden[:, 1:]).view(5, 4, 4, -1)
        wanted = [grids[0, row, col] for row in range(4) for col in range(4)]
        wanted += [grids[1 + 2 * (y // 4) + x // 4, y % 4, x % 4] for y in range(8) for x in range(8)]
        assert torch.allclose(tokens, torch.stack(wanted), atol=1e-6)
        mine = slice(80 * image, 80 * (image + 1))
        places = list(zip(*(t[mine].tolist() for t in (found.unit, found.row, found.col, found.image)), strict=True))
        assert places[:16] == [(5 * image, n // 4, n % 4, image) for n in range(16)]
        assert places[16:] == [
            (5 * image + 1 + 2 * (y // 4) + x // 4, y % 4, x % 4, image) for y in range(8) for x in range(8)
        ]
    assert not found.newline.any()
    assert (found.units, found.images) == (5 * images, images)


@torch.no_grad()
@pytest.mark.parametrize("images", [1, 2])
def test_pruning_and_memory_follow_the_layout(images: int) -> None:
    """Keep-all is the unpruned model, signals are in the order of tokens, and the stock packing comes back."""
    model, layout, inputs = views_prompt(images)
    adapter: Any = adapter_for(model)
    newline = model.model.image_newline
    memory, got = VisionMemory(1 << 20), {}

    def look(point: Any) -> None:
        rows = point.vision.cls_attention()[:, :, 1:].mean(1).view(images, 5, 4, 4)
        tiles = rows[:, 1:].view(images, 2, 2, 4, 4).permute(0, 1, 3, 2, 4).reshape(images, 64)
        got["wanted"] = torch.cat([rows[:, 0].reshape(images, 16), tiles], 1).flatten()
        got["saliency"] = point.vision.saliency()

    with adapter.shown(layout):
        full = model(**inputs).logits
        for _ in range(2):
            with prune(model, keep_all("contiguous"), memory=memory):
                assert torch.equal(model(**inputs).logits, full)
        with prune(model, Fixed((0,), look=look), memory=memory):
            model(**inputs)
    assert memory.found == 2
    assert torch.allclose(got["saliency"], got["wanted"], atol=1e-6)
    assert model.model.image_newline is newline
    with_newlines = {**inputs, "input_ids": torch.tensor([[5, 6, *([90] * 88 + [7]) * images, 8]])}
    with_newlines["attention_mask"] = torch.ones_like(with_newlines["input_ids"])
    with prune(model, keep_all("contiguous"), memory=memory):
        assert torch.equal(model(**with_newlines).logits, model(**with_newlines).logits)
    assert memory.found == 3, "features with newlines are others"


@pytest.mark.parametrize("size", [(200, 90), (50, 400)])
def test_a_document_through_the_stock_chat_model(size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """The miniature at its own size: every token is seen, pruned or not."""
    layout = replace(NATIVE, name="cdpruner-192", tokens=720, view=96, views=lambda image: two_by_two(image, 96))
    monkeypatch.setitem(LlavaNext.image_layouts, layout.name, layout)
    backbone = load_backbone(ROOT / "llava-next")
    benchmark: Any = SimpleNamespace(modality="image")
    task: Any = SimpleNamespace(visuals=lambda _: [picture(size)], documents=[None], benchmark=benchmark)
    asker, reader = asker_and_reader(backbone, {"image_layout": layout.name}, task, None)
    from lmms_eval.api.instance import Instance

    media = reader(0, {})
    asker.task_dict = {"task": {"split": {0: {}}}}
    arguments = ("", lambda _: messages("What is it?", media), {"max_new_tokens": 2}, 0, "task", "split")
    request = Instance("generate_until", arguments, 0, {"task": "task", "doc_id": 0, "repeats": 1})
    prepared = asker.prepare_prompt(request, media)
    with backbone.adapter.shown(reader.layout):
        assert tokens_unpruned(backbone, prepared.options) == ((720,) * 8, (0,) * 8)
        assert asker.ask(request, media).output_tokens >= 1
        with backbone.prune(build("random", budget=144)) as run:
            asker.ask(request, media)
    assert run.last[0].visual_tokens_per_layer == (144,) * 8
