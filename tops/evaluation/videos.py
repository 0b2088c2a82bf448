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
RATE_TOLERANCE = 0.01  # between the rate that a header names and that of its frames
ADVICE = "play it with another program; if it plays, report it, else fetch it again (`tops fetch` for its benchmark)"


@dataclass(frozen=True)
class Frames:
    """Frames of one video.

    Attributes
    ----------
    images : tuple of PIL images
        RGB, in order.
    indices : tuple of int
        Numbers of the frames in the video.
    total : int
        Number of frames of the video.
    fps : float
        Frames per second of the video.
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
    """Frame numbers at a fixed rate from 0 on, as lmms-eval's ``llava_vid`` has them; None for more than ``most``.

    Where the result is None, :func:`frame_numbers` spaces the frames evenly instead.

    Parameters
    ----------
    total : int
        Frames of the video.
    fps : float
        Frames per second of the video.
    most : int
        Most frames to take.
    per_second : int
        Frames wanted of every second; the step is rounded to whole frames.
    """
    chosen = list(range(0, total, max(1, round(fps / per_second))))
    return chosen if len(chosen) <= most else None


@lru_cache(maxsize=1)  # the questions of one video follow each other
def read_frames(path: str, count: int, rule: Rule = "floor", per_second: int | None = None) -> Frames:
    """Decode ``count`` evenly spaced frames, or fewer at a fixed rate where the video is short.

    How many frames there are, and when each is shown, is read from the packets and never from the header, which may
    promise more than a container that was cut short still holds, or another rate than its frames have.

    Parameters
    ----------
    path : str
        A video file.
    count : int
        Most frames to take; all frames of a video that has fewer.
    rule : {"floor", "round"}
        Rounding rule of even spacing, see :func:`frame_numbers`.
    per_second : int, optional
        Rate of :func:`frames_by_duration`; without it frames are spaced evenly whatever the length.

    Raises
    ------
    DataError
        If the file is missing, is no video, or a frame cannot be decoded.
    """
    import av

    if not Path(path).is_file():
        raise DataError(f"video {path} does not exist; run `tops fetch` for its benchmark")
    try:
        times, fps = _times(av, path)
        # Frames whose reference frames are missing (a video trimmed without re-encoding) cannot be decoded.
        # The numbering then counts decodable frames only.
        for _ in range(2):
            total = len(times)
            if total < 1:
                raise DataError(f"{path} has no frame")
            chosen = None if per_second is None else frames_by_duration(total, fps, count, per_second)
            wanted = frame_numbers(total, count, rule) if chosen is None else chosen
            far = total > SEEK_BEYOND and None not in times
            images, decoded = _seek(av, path, [times[i] for i in wanted]) if far else _scan(av, path, wanted)
            if len(images) == len(wanted):
                return Frames(tuple(images), tuple(wanted), total, fps)
            times = decoded if decoded is not None else _decoded_times(av, path)
    except (av.error.FFmpegError, OSError) as error:
        why = error.strerror or error
        raise DataError(f"{path} does not decode: {why}; {ADVICE}") from error
    raise DataError(f"{path} does not decode: {len(images)} of {len(wanted)} frames could be read; {ADVICE}")


def _times(av: Any, path: str) -> tuple[list[Any], float]:
    """When each frame is shown, in units of the stream's clock and in order, and frames a second.

    Frames that the container itself hides (an edit list) do not count. A stream whose packets carry no time gives None
    for each.
    """
    with av.open(path) as container:
        if not container.streams.video:
            raise DataError(f"{path} has no video stream")
        stream = container.streams.video[0]
        packets = [packet for packet in container.demux(stream) if packet.size and not packet.is_discard]
        times = [packet.pts for packet in packets]
        named = float(stream.average_rate or stream.guessed_rate or 0)
        base = float(stream.time_base or 0)
    if not times or None in times:
        return [None] * len(times), named or 1.0
    times.sort()
    span = (times[-1] - times[0]) * base
    measured = (len(times) - 1) / span if span > 0 else named
    told = named > 0 and abs(named - measured) <= RATE_TOLERANCE * measured
    return times, named if told else (measured or 1.0)


def _decoded_times(av: Any, path: str) -> list[Any]:
    """Presentation time of each frame that the decoder gives, in units of the stream's clock."""
    with av.open(path) as container:
        container.streams.video[0].thread_type = "AUTO"
        return [frame.pts for frame in container.decode(video=0)]


def _scan(av: Any, path: str, wanted: list[int]) -> tuple[list[Image], list[Any] | None]:
    """Decode from the start and keep the wanted frames; with the times of all decoded frames if some are missing."""
    images: list[Image] = []
    times: list[Any] = []
    with av.open(path) as container:
        container.streams.video[0].thread_type = "AUTO"
        for number, frame in enumerate(container.decode(video=0)):
            times.append(frame.pts)
            if number == wanted[len(images)]:
                images.append(_upright(frame))
            if len(images) == len(wanted):
                break
    return images, times if len(images) < len(wanted) else None


def _seek(av: Any, path: str, wanted: list[int]) -> tuple[list[Image], list[Any] | None]:
    """Jump to the key frame before each wanted time; for long videos. A time at which no frame comes ends it."""
    images: list[Image] = []
    with av.open(path) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        for target in wanted:
            container.seek(target, stream=stream, backward=True)
            frame = next((f for f in container.decode(stream) if f.pts is not None and f.pts >= target), None)
            if frame is None or frame.pts != target:
                break
            images.append(_upright(frame))
    return images, None


def _upright(frame: Any) -> Image:
    """A frame as a player shows it: turned as its container says (a telephone held upright)."""
    from PIL.Image import Transpose

    image: Image = frame.to_image()
    quarter = round(float(getattr(frame, "rotation", 0) or 0) / 90) % 4  # counter-clockwise, as Pillow turns
    turns = (Transpose.ROTATE_90, Transpose.ROTATE_180, Transpose.ROTATE_270)
    return image.transpose(turns[quarter - 1]) if quarter else image
