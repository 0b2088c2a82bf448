"""Vision signals of every family against the weights that eager attention itself returns."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import torch
from oracles.reference import entering
from tiny import IMAGE, Case, llava
from tiny_families import FAMILIES, NEXT_SIZES, internvl3, llava_next, llava_video, qwen25vl, qwen25vl_video
from torch.nn import functional
from transformers import vision_utils

from tops import prune
from tops.backbones import adapter_for
from tops.backbones.llava_next import LlavaNext
from tops.budget import Budget, Cut, PromptShape, Schedule
from tops.errors import MissingSignalError, UnsupportedModelError
from tops.tokens import Selection


@dataclass
class Spy:
    """Keeps all tokens and writes down what it was shown."""

    name = "spy"
    title = "Spy"
    signals = frozenset()
    budget = Budget(1.0)
    positions = None
    points: list[Any] = field(default_factory=list)

    def schedule(self, shape: PromptShape) -> Schedule:
        return Schedule(shape.visual, shape.depth, (Cut(0, shape.visual),))

    def select(self, point: Any) -> Selection:
        self.points.append((point.tokens, point.vision.saliency(), point.vision))
        return Selection(torch.arange(len(point.tokens)))


def look(case: Any) -> list[Any]:
    """What a method sees before the language model, per sample."""
    spy = Spy()
    with torch.no_grad(), prune(case.model, spy):
        case.model(**case.inputs)
    return spy.points


def eager_weights(module: torch.nn.Module, case: Any) -> list[torch.Tensor]:
    """Attention probabilities of one vision module in eager mode, one tensor per softmax."""
    seen: list[torch.Tensor] = []
    plain, inside = functional.softmax, [False]

    def softmax(*args: Any, **kwargs: Any) -> torch.Tensor:
        out = plain(*args, **kwargs)
        if inside[0]:
            seen.append(out.float())
        return out

    hooks = [
        module.register_forward_pre_hook(lambda *_: inside.__setitem__(0, True)),
        module.register_forward_hook(lambda *_: inside.__setitem__(0, False)),
    ]
    case.model.set_attn_implementation("eager")
    functional.softmax = softmax
    try:
        with torch.no_grad():
            case.model(**case.inputs)
    finally:
        functional.softmax = plain
        for hook in hooks:
            hook.remove()
        case.model.set_attn_implementation("sdpa")
    assert seen
    return seen


def expected(name: str, case: Any, layer: int | None = None, *, received: bool = False) -> torch.Tensor:
    """Saliency in prompt order, from eager weights and an arrangement written out by hand.

    Of another layer than the feature layer, or attention received on towers with a CLS token, if so asked."""
    adapter: Any = adapter_for(case.model)
    weights = eager_weights(adapter.tower_attention[adapter.feature_layer if layer is None else layer], case)
    queries = slice(None) if received else slice(0, 1)
    if name == "llava":
        return torch.cat(weights).mean(1)[:, queries, 1:].mean(1).flatten()
    if name.startswith("llava-next"):
        rows = weights[0].mean(1)[:, queries, 1:].mean(1)
        model = case.model.model
        sizes = case.inputs["image_sizes"]
        tiles = [5 if h > 28 and w > 28 else 3 for h, w in sizes.tolist()]
        packed, _ = model.pack_image_features(
            torch.split(rows[..., None], tiles), sizes, "default", image_newline=torch.tensor([-1.0])
        )
        flat = torch.cat(packed)[:, 0]
        return flat[flat >= 0]
    if name == "llava-video":
        received = torch.cat(weights).mean((1, 2)).view(-1, 5, 5)
        return torch.stack(
            [received[:, y : y + 2, x : x + 2].mean((1, 2)) for y in (0, 2) for x in (0, 2)], 1
        ).flatten()
    if name.startswith("llava-onevision"):
        received = torch.cat(weights).mean((1, 2))
        if "video" in name:
            grid = received.view(-1, 1, 5, 5)
            return functional.interpolate(grid, [3, 3], mode="bilinear").flatten()
        sizes, newline = case.inputs["image_sizes"], torch.tensor([-1.0])
        pieces = torch.split(received[..., None], [len(received) // len(sizes)] * len(sizes))
        packed, _ = case.model.model.pack_image_features(pieces, sizes, newline, "anyres_max_3")
        flat = torch.cat(packed)[:, 0]
        return flat[flat >= 0]
    if name.startswith("internvl3"):
        rows = torch.cat(weights).mean(1)[:, queries, 1:].mean(1).view(-1, 4, 2, 4, 2)
        return rows.mean((2, 4)).flatten()
    if name == "smolvlm":
        return torch.cat(weights).mean((1, 2)).view(-1, 2, 3, 2, 3).mean((2, 4)).flatten()
    # Qwen: eager runs one softmax per segment, on tokens in window order.
    received = torch.cat([w[0].mean((0, 1)) for w in weights]).view(-1, 4).mean(1)
    if name.startswith(("qwen2-vl", "qwen3-vl")):
        return received
    from transformers.vision_utils import get_vision_window_index

    grid = case.inputs.get("image_grid_thw", case.inputs.get("video_grid_thw"))
    window, _ = get_vision_window_index(grid, spatial_merge_size=2, window_size=16, patch_size=4)
    out = torch.empty_like(received)
    out[window] = received
    return out


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("name", FAMILIES)
def test_saliency_equals_eager_attention(name: str, count: int) -> None:
    case = FAMILIES[name](count)
    ((tokens, saliency, _),) = look(case)
    want = expected(name, case)
    assert len(tokens) == len(want)
    torch.testing.assert_close(saliency, want, atol=1e-6, rtol=0)
    assert saliency.std() > 1e-4


@pytest.mark.parametrize("name", FAMILIES)
def test_features_are_the_merged_embeddings_without_newlines(name: str) -> None:
    case = FAMILIES[name](2)
    ((tokens, _, vision),) = look(case)
    assert torch.equal(tokens.features, vision.embeddings())
    places = set(zip(tokens.unit.tolist(), tokens.row.tolist(), tokens.col.tolist(), strict=True))
    assert len(places) == len(tokens)
    assert not tokens.newline.any()
    if "video" in name:
        assert tokens.image.max() + 1 == tokens.unit.max() + 1 == 2
    if name.startswith("qwen"):  # mRoPE numbers rows and columns from the model's own grid
        _, ids = entering(case.model, case.inputs)
        assert ids is not None
        visual = torch.isin(case.inputs["input_ids"][0], torch.tensor(adapter_for(case.model).placeholder_ids))
        for unit in tokens.unit.unique():
            here = tokens.unit == unit
            for axis, cells in ((-2, tokens.row), (-1, tokens.col)):
                places = ids[axis, 0][visual][here]
                assert torch.equal(places - places.min(), cells[here])


def test_the_comparison_sees_a_wrong_tile_order(monkeypatch: pytest.MonkeyPatch) -> None:
    case, real = llava_next(), LlavaNext.image_layout
    want = expected("llava-next", case)

    def swapped(self: Any, size: Any) -> Any:
        layout = real(self, size)
        return replace(layout, unit=torch.tensor([0, 2, 1, 3, 4])[layout.unit])

    monkeypatch.setattr(LlavaNext, "image_layout", swapped)
    ((_, saliency, _),) = look(case)
    assert (saliency - want).abs().max() > 1e-2


def test_the_comparison_sees_a_wrong_window_order(monkeypatch: pytest.MonkeyPatch) -> None:
    case = qwen25vl()
    want = expected("qwen2.5-vl", case)
    monkeypatch.setattr(vision_utils, "get_vision_window_index", lambda grid, **_: (torch.arange(len(want)), None))
    ((_, saliency, _),) = look(case)
    assert (saliency - want).abs().max() > 1e-3


@pytest.mark.parametrize("build", [llava_next, llava_video, qwen25vl, internvl3, llava])
def test_a_prompt_without_its_pixels_is_refused(build: Any) -> None:
    case = build()
    case.inputs = {k: v for k, v in case.inputs.items() if not k.startswith("pixel_values")}
    with pytest.raises(UnsupportedModelError, match=r"placeholder|has 0 patches"):
        look(case)


def test_videos_that_do_not_fit_are_refused() -> None:
    for change, words in (
        ({"pixel_values_videos": torch.zeros(1, 0, 3, 35, 35)}, "a video of 0 frames gives 0"),
        ({"pixel_values_videos": torch.zeros(1, 4, 3, 35, 35)}, "a video of 4 frames gives 24"),
        ({"pixel_values_videos": torch.zeros(1, 3, 3, 35, 42)}, "35 x 42 pixels were given"),
        ({"pixel_values_videos": torch.zeros(2, 3, 3, 35, 35)}, r"2 video\(s\) were given.* for 1"),
        ({"pixel_values": torch.zeros(1, 3, 3, 35, 35)}, "for videos only"),
    ):
        case = llava_video(3)
        case.inputs |= change
        with pytest.raises(UnsupportedModelError, match=words):
            look(case)
    case = qwen25vl_video(3)
    case.inputs["video_grid_thw"] = torch.tensor([[2, 8, 12]])
    with pytest.raises(UnsupportedModelError, match="patches, and the grids"):
        look(case)


@pytest.mark.parametrize("size", [*NEXT_SIZES, [28, 400], [400, 28], [1, 4000]])
def test_next_layout_counts_what_the_model_packs(size: list[int]) -> None:
    case = llava_next()
    adapter: Any = adapter_for(case.model)
    layout = adapter.image_layout(size)
    features = case.model.model.get_image_features(torch.randn(1, 5, 3, 28, 28), torch.tensor([size]), return_dict=True)
    newline = case.model.model.image_newline
    (packed,) = features.pooler_output
    assert len(layout) == len(packed)
    assert torch.equal((packed == newline).all(-1), layout.newline)


def test_a_batch_gives_each_sample_its_own_saliency() -> None:
    one, two = internvl3(1, seed=0), internvl3(1, seed=1)
    width = max(len(c.inputs["input_ids"][0]) for c in (one, two))
    padded = {
        key: torch.cat([functional.pad(c.inputs[key], (width - c.inputs[key].shape[1], 0)) for c in (one, two)])
        for key in ("input_ids", "attention_mask")
    }
    pixels = torch.cat([one.inputs["pixel_values"], two.inputs["pixel_values"]])
    batch = Case(one.model, padded | {"pixel_values": pixels})
    two.model = one.model
    for (_, together, _), case in zip(look(batch), (one, two), strict=True):
        ((_, alone, _),) = look(case)
        torch.testing.assert_close(together, alone, atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("build", "drop"),
    [(llava_next, IMAGE), (internvl3, IMAGE), (qwen25vl, IMAGE), (llava, IMAGE)],
)
def test_missing_placeholder_is_refused(build: Any, drop: int) -> None:
    case = build(1)
    ids = case.inputs["input_ids"]
    first = int((ids[0] == drop).nonzero()[0])
    case.inputs["input_ids"] = torch.cat([ids[:, :first], ids[:, first + 1 :]], 1)
    case.inputs["attention_mask"] = torch.ones_like(case.inputs["input_ids"])
    with pytest.raises(UnsupportedModelError, match="placeholders"):
        look(case)


@pytest.mark.parametrize("build", [llava_next, internvl3, qwen25vl, llava])
def test_more_images_than_placeholders_are_refused(build: Any) -> None:
    case, two = build(1), build(2)
    for key in ("pixel_values", "image_sizes", "image_grid_thw"):
        if key in two.inputs:
            case.inputs[key] = two.inputs[key]
    with pytest.raises(UnsupportedModelError, match="placeholders for"):
        look(case)


@pytest.mark.parametrize("build", [llava_video, qwen25vl, qwen25vl_video, internvl3])
def test_absent_signals_are_refused_by_name(build: Any) -> None:
    ((_, _, vision),) = look(build())
    with pytest.raises(MissingSignalError, match="encoder"):
        vision.encoder_features()
    with pytest.raises(MissingSignalError, match="text_tower"):
        vision.joint_embeddings()
