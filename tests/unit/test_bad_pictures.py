"""Pictures and videos that are not what one hopes for, through the processors and models of every family."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tops.backbones.inputs import Inputs
from tops.backbones.loading import Backbone, load_backbone
from tops.benchmarks.benchmark import load_benchmark
from tops.benchmarks.tasks import Documents, Task
from tops.errors import DataError, UnsupportedModelError
from tops.evaluation.media import Media, MediaReader, upright
from tops.evaluation.models import asker_for, check_placeholders
from tops.evaluation.videos import read_frames
from tops.methods import build
from tops.miniature.checkpoints import ROOT

FAMILIES = ["llava-1.5", "llava-next", "qwen2.5-vl", "internvl3"]
RED = (250, 10, 10)


@cache
def backbone(family: str) -> Backbone:
    return load_backbone(ROOT / family)


def prompt(family: str, kind: str = "image", count: int = 1) -> str:
    content = [*[{"type": kind}] * count, {"type": "text", "text": "What colour is it?"}]
    text: str = backbone(family).processor.apply_chat_template(
        [{"role": "user", "content": content}], add_generation_prompt=True
    )
    return text


@torch.no_grad()
def logits(family: str, picture: Image.Image) -> torch.Tensor:
    """Of one picture under pruning; the processor gets it as it is."""
    model = backbone(family)
    inputs = model.processor(text=prompt(family), images=[picture], return_tensors="pt")
    with model.prune(build("tops", budget=0.25)) as run:
        out: torch.Tensor = model.model(**inputs).logits
    assert run.last[0].visual_tokens_per_layer[-1] >= 1
    return out[0, -1]


def plain(size: tuple[int, int] = (60, 40)) -> Image.Image:
    picture = Image.new("RGB", size, RED)
    picture.paste((10, 10, 250), (0, 0, size[0] // 2, size[1] // 2))
    return picture


def shown(picture: Image.Image, inputs: Inputs | None = None) -> Image.Image:
    """What the evaluation gives to a processor."""
    task: Any = SimpleNamespace(visuals=lambda _: [picture], documents=[None])
    (out,) = MediaReader(task, inputs or Inputs(), None)(0, {}).images
    return out


def test_every_mode_is_read_as_its_colours() -> None:
    for odd in (plain().quantize(8), plain().convert("CMYK"), plain().convert("RGBA")):
        got = shown(odd)
        assert got.mode == "RGB"
        assert np.abs(np.asarray(got, int) - np.asarray(plain(), int)).max() <= 4


def test_transparent_parts_show_white_paper() -> None:
    """A black drawing on transparent ground is not a black square."""
    palette = Image.new("P", (2, 2), 0)
    palette.putpalette([0, 0, 0] * 256)
    palette.info["transparency"] = 0
    colour = Image.new("RGB", (2, 2), (0, 0, 0))
    colour.info["transparency"] = (0, 0, 0)
    for empty in (Image.new("RGBA", (2, 2), (0, 0, 0, 0)), Image.new("LA", (2, 2), (0, 0)), palette, colour):
        assert shown(empty).getpixel((0, 0)) == (255, 255, 255)
    assert shown(Image.new("RGBA", (2, 2), (0, 0, 0, 128))).getpixel((0, 0)) == (127, 127, 127)
    assert shown(Image.new("RGBA", (2, 2), (9, 8, 7, 255))).getpixel((0, 0)) == (9, 8, 7)


@pytest.mark.parametrize(
    ("kind", "levels"), [(np.uint16, (0, 32768, 65535)), (np.int32, (0, 32768, 65535)), (np.float32, (0, 0.5, 1))]
)
def test_deep_grey_is_scaled_and_not_cut_off(kind, levels) -> None:
    picture = Image.fromarray(np.array([levels], dtype=kind))
    assert [shown(picture).getpixel((x, 0))[0] for x in range(3)] == [0, 128, 255]


def test_exif_rotation_is_applied(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # a viewer turns it a quarter clockwise
    plain().save(tmp_path / "turned.png", exif=exif)
    with Image.open(tmp_path / "turned.png") as picture:
        got = shown(picture)
    assert got.size == (40, 60)
    assert got.getpixel((39, 0)) == (10, 10, 250)


def test_an_animation_is_its_first_frame(tmp_path: Path) -> None:
    plain().save(tmp_path / "moving.gif", save_all=True, append_images=[Image.new("RGB", (60, 40), (0, 255, 0))])
    with Image.open(tmp_path / "moving.gif") as picture:
        got = shown(picture)
    assert np.abs(np.asarray(got, int) - np.asarray(plain(), int)).max() <= 4


@pytest.mark.parametrize("family", FAMILIES)
def test_small_and_odd_pictures_run(family: str) -> None:
    for picture in (plain((3, 2)), plain((1, 1)), plain((7, 300)), plain().convert("L"), plain().convert("RGBA")):
        assert logits(family, picture).isfinite().all()


@pytest.mark.parametrize("family", FAMILIES)
def test_a_thread_of_a_picture_is_refused_or_padded(family: str) -> None:
    with pytest.raises(DataError, match=r"4000 x 1 pixels.*image_padding=square"):
        shown(plain((4000, 1)))
    padded = shown(plain((4000, 1)), Inputs(image_padding="square"))
    assert padded.size == (4000, 4000)
    assert logits(family, padded.resize((200, 200))).isfinite().all()


def test_an_empty_picture_is_refused() -> None:
    with pytest.raises(DataError, match="0 x 5 pixels"):
        upright(Image.new("RGB", (0, 5)), squared=False)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("marks", [0, 1, 3])
def test_placeholders_must_match_pictures(family: str, marks: int) -> None:
    with pytest.raises(DataError, match=f"{marks} image placeholder.* and 2 image"):
        check_placeholders(backbone(family).processor, [prompt(family, count=marks)], [plain()] * 2, None)
    check_placeholders(backbone(family).processor, [prompt(family, count=2)], [plain()] * 2, None)
    check_placeholders(backbone(family).processor, [prompt(family)] * 2, [[plain()]] * 2, None)


@torch.no_grad()
def run_pruned(family: str, **changes: Any) -> None:
    """One picture; its inputs changed by functions."""
    model = backbone(family)
    inputs = model.processor(text=prompt(family), images=[plain()], return_tensors="pt")
    for name, change in changes.items():
        inputs[name] = change(inputs[name])
    with model.prune(build("tops", budget=0.25)):
        model.model(**inputs)


@pytest.mark.parametrize("family", FAMILIES)
def test_inputs_that_do_not_fit_are_refused_before_any_kernel(family: str) -> None:
    rows = ["input_ids", "attention_mask"] + ["mm_token_type_ids"] * (family == "qwen2.5-vl")
    with pytest.raises(UnsupportedModelError, match="placeholder"):
        run_pruned(family, **dict.fromkeys(rows, lambda ids: ids[:, 40:]))
    with pytest.raises(UnsupportedModelError, match=r"pixels were given|patches, and the grids"):
        run_pruned(family, pixel_values=lambda pixels: pixels[:-4] if family == "qwen2.5-vl" else pixels[..., :-8])


def video(path: Path, frames: int) -> str:
    """An MP4 of so many frames."""
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=4)
        stream.width, stream.height = 64, 48
        stream.pix_fmt = "yuv420p"
        for number in range(frames):
            picture = av.VideoFrame.from_image(Image.new("RGB", (64, 48), (40 * number, 0, 0)))
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    return str(path)


@torch.no_grad()
@pytest.mark.parametrize("family", ["llava-video", "qwen2.5-vl"])
def test_a_video_of_one_frame_runs(family: str, tmp_path: Path) -> None:
    task: Any = SimpleNamespace(visuals=lambda _: [video(tmp_path / "one.mp4", 1)], documents=[None])
    media = MediaReader(task, Inputs(frames=8), None, even=family == "qwen2.5-vl")(0, {})
    assert media.video
    assert len(media.images) == (2 if family == "qwen2.5-vl" else 1)
    model, frames = backbone(family), np.stack([np.asarray(image) for image in media.images])
    options: dict[str, Any] = {"do_sample_frames": False, "return_tensors": "pt"}
    inputs = model.processor(text=prompt(family, "video"), videos=[frames], **options)
    with model.prune(build("tops", budget=0.5)) as run:
        assert model.model(**inputs).logits.isfinite().all()
    assert run.last[0].visual_tokens_per_layer[-1] >= 1


def test_a_video_without_a_frame_is_refused(tmp_path: Path) -> None:
    whole = Path(video(tmp_path / "whole.mp4", 6)).read_bytes()
    (tmp_path / "cut.mp4").write_bytes(whole[: len(whole) // 3])
    (tmp_path / "noise.mp4").write_bytes(b"no video" * 100)
    (tmp_path / "empty.mp4").write_bytes(b"")
    for name in ("cut", "noise", "empty"):
        with pytest.raises(DataError, match=r"does not decode|no frame|no video stream"):
            read_frames(str(tmp_path / f"{name}.mp4"), 4)


def test_frames_that_do_not_reach_the_model_are_no_blind_answer() -> None:
    """A wrapper that drops the video would answer from the words alone."""
    task = Task(load_benchmark("mlvu"), SimpleNamespace(config=SimpleNamespace(task="mlvu_dev")), Documents([], []))
    words = [{"role": "user", "content": [{"type": "text", "text": "How many?"}]}]
    asker = asker_for(backbone("llava-video"), Inputs())
    asker.task_dict = {"mlvu_dev": {"test": {0: {}}}}
    request = task.request(0, lambda _: words, {"max_new_tokens": 1})
    with asker.quiet(), pytest.raises(UnsupportedModelError, match="frames of the video did not reach"):
        asker.prepare_prompt(request, Media((plain(),), True))
