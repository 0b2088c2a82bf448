"""Frames of a video, decoded by PyAV (FFmpeg). One decoder for all backbones, so that they see the same pictures."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from tops.errors import DataError

if TYPE_CHECKING:
    from PIL.Image import Image

Rule = Literal["floor", "round"]
SEEK_BEYOND = 2000  # frames; below that decoding everything is faster than seeking


@dataclass(frozen=True)
class Frames:
    """Frames of one video.

    Attributes
    ----------
    images : tuple of PIL images
        RGB, in order.
    indices : tuple of int
        Their numbers in the video.
    total : int
        Frames of the video.
    fps : float
        Of the video.
    """

    images: tuple[Image, ...]
    indices: tuple[int, ...]
    total: int
    fps: float


def frame_numbers(total: int, count: int, rule: Rule = "floor") -> list[int]:
    """Evenly spaced frame numbers, first and last included; all of them when there are no more than ``count``.

    ``floor`` is LLaVA-Video's rule (``np.linspace(..., dtype=int)``), ``round`` that of Qwen's utilities.
    """
    if count < 1:
        raise ValueError(f"{count} frames asked for; at least 1 is needed")
    spaced = np.linspace(0, total - 1, min(count, total))
    return [int(i) for i in (spaced.round() if rule == "round" else np.floor(spaced))]


def frames_by_duration(total: int, fps: float, most: int, per_second: int) -> list[int] | None:
    """Every so many-th frame from the first on, as stock lmms-eval's ``llava_vid`` takes them; None where these exceed
    ``most``, and even spacing takes over.

    Parameters
    ----------
    total : int
        Frames of the video.
    fps : float
        Its frames a second.
    most : int
        Frames at most.
    per_second : int
        Frames wanted of every second; the step is rounded to whole frames.
    """
    chosen = list(range(0, total, max(1, round(fps / per_second))))
    return chosen if len(chosen) <= most else None


@lru_cache(maxsize=1)  # the questions of one video follow each other
def read_frames(path: str, count: int, rule: Rule = "floor", per_second: int | None = None) -> Frames:
    """Decode ``count`` evenly spaced frames, or fewer at a fixed rate where the video is short.

    Parameters
    ----------
    path : str
        A video file.
    count : int
        Frames at most; all of a video that has fewer.
    rule : {"floor", "round"}
        Of even spacing, see :func:`frame_numbers`.
    per_second : int, optional
        Rate of :func:`frames_by_duration`; without it the length of the video does not count.

    Raises
    ------
    DataError
        If the file is missing, is no video, or a frame cannot be decoded.
    """
    import av

    if not Path(path).is_file():
        raise DataError(f"video {path} does not exist; run `tops fetch` for its benchmark")
    try:
        with av.open(path) as container:
            if not container.streams.video:
                raise DataError(f"{path} has no video stream")
            stream = container.streams.video[0]
            fps = float(stream.average_rate or stream.guessed_rate or 0) or 1.0
            total = stream.frames or sum(1 for packet in container.demux(stream) if packet.size)
        if total < 1:
            raise DataError(f"{path} has no frame")
        wanted = None if per_second is None else frames_by_duration(total, fps, count, per_second)
        wanted = frame_numbers(total, count, rule) if wanted is None else wanted
        images = _seek(av, path, wanted, fps) if total > SEEK_BEYOND else _scan(av, path, wanted)
    except (av.error.FFmpegError, OSError) as error:
        why = error.strerror or error
        raise DataError(f"{path} does not decode: {why}; delete it and run `tops fetch` for its benchmark") from error
    if len(images) != len(wanted):
        raise DataError(f"{path} does not decode: {len(images)} of {len(wanted)} frames could be read")
    return Frames(tuple(images), tuple(wanted), total, fps)


def _scan(av: Any, path: str, wanted: list[int]) -> list[Image]:
    """Decode from the start, keep what is wanted."""
    images: list[Image] = []
    with av.open(path) as container:
        container.streams.video[0].thread_type = "AUTO"
        for number, frame in enumerate(container.decode(video=0)):
            if number == wanted[len(images)]:
                images.append(frame.to_image())
            if len(images) == len(wanted):
                break
    return images


def _seek(av: Any, path: str, wanted: list[int], fps: float) -> list[Image]:
    """Jump to the key frame before each wanted frame; for long videos."""
    images: list[Image] = []
    with av.open(path) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        start, base = stream.start_time or 0, stream.time_base
        for number in wanted:
            target = start + round(number / fps / base)
            container.seek(target, stream=stream, backward=True)
            half = 0.5 / fps / base
            last = None
            for frame in container.decode(stream):
                last = frame
                if frame.pts is not None and frame.pts >= target - half:
                    break
            if last is not None:
                images.append(last.to_image())
    return images
