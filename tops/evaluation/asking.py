"""The small pieces between a document and a stock chat model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tops.backbones.image_layouts import check_view
from tops.errors import UnsupportedModelError
from tops.evaluation.media import Inputs, Media, MediaReader
from tops.evaluation.models import Asker, QwenAsker, asker_for

if TYPE_CHECKING:
    from tops.backbones.loading import Backbone
    from tops.evaluation.tasks import Task


def asker_and_reader(
    backbone: Backbone, options: dict[str, Any], task: Task, method: object
) -> tuple[Asker, MediaReader]:
    """The chat model for a backbone, and the reader of its media."""
    inputs, layout = Inputs.of(options).laid_out(backbone.adapter.family)
    check_view(layout, view(backbone))
    video = getattr(backbone.processor, "video_processor", None)
    if task.benchmark.modality == "video" and video is None and not inputs.frames_as_images:
        raise UnsupportedModelError(
            f"{backbone.name} takes no videos ({type(backbone.processor).__name__} has no video processor); choose "
            "another backbone, or its option frames_as_images=true with a number of frames"
        )
    asker = asker_for(backbone, inputs)
    images: Any = getattr(backbone.processor, "image_processor", None)
    qwen = isinstance(asker, QwenAsker)
    reader = MediaReader(
        task,
        inputs,
        method,
        mean=getattr(images, "image_mean", None) or (0.5, 0.5, 0.5),
        token_pixels=token_pixels(backbone),
        rule="round" if qwen else "floor",
        even=qwen,
        layout=layout,
    )
    return asker, reader


def view(backbone: Backbone) -> int | None:
    """Side in pixels of the vision tower's input; None where it is not fixed."""
    side: Any = getattr(backbone.model.config.vision_config, "image_size", None)
    return None if side is None else int(side[0] if isinstance(side, list | tuple) else side)


def token_pixels(backbone: Backbone) -> int:
    """Side, in pixels of the processed image, of the square that one visual token covers."""
    config: Any = backbone.model.config
    vision: Any = config.vision_config
    patch = vision.patch_size
    side = int(patch[0] if isinstance(patch, list | tuple) else patch)
    merge = getattr(vision, "spatial_merge_size", None)
    shuffle = getattr(config, "downsample_ratio", None)
    if merge:
        return side * int(merge)
    return round(side / float(shuffle)) if shuffle else side


def messages(text: str, media: Media) -> list[dict[str, Any]]:
    """One user turn in lmms-eval's form: pictures first, as its own tasks put them."""
    if media.video:
        shown: list[dict[str, Any]] = [{"type": "video", "url": list(media.images)}]
    else:
        shown = [{"type": "image", "url": image} for image in media.images]
    return [{"role": "user", "content": [*shown, {"type": "text", "text": text}]}]


def tokens_unpruned(backbone: Backbone, inputs: Mapping[str, Any]) -> tuple[int, ...]:
    """Visual tokens that each decoder layer of the unpruned model sees, newlines not counted.

    Parameters
    ----------
    backbone : Backbone
        The loaded model.
    inputs : mapping
        Arguments of ``generate`` for one prompt.
    """
    adapter = backbone.adapter
    ids = inputs["input_ids"]
    count = int(sum((ids == token).sum() for token in adapter.placeholder_ids))
    seen = 0
    if count:
        layout = adapter.layout(inputs, [count])[0]
        seen = int((~layout.newline).sum())
    return (seen,) * len(adapter.layers)
