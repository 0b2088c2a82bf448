"""Seeded short videos with a known script: objects appear, move, change colour and vanish."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tops.miniature.scenes import (
    BACKGROUNDS,
    CELL,
    COLOURS,
    DIGITS,
    GRID,
    IMAGE_SIDE,
    SHAPES,
    SceneObject,
    Split,
    make_background,
    make_object,
    paint,
)

FRAMES_PER_SECOND = 2
SECONDS = {"short": 8, "medium": 16, "long": 24}
INCIDENTS = ("nothing", "color change", "object vanishes", "object moves")
_QUANTISER = 2  # of 31; smaller is finer
DIRECTIONS = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}

Duration = Literal["short", "medium", "long"]


@dataclass(frozen=True)
class Track:
    """One object through time; times are fractions of the video, from 0 to 1.

    Attributes
    ----------
    item : SceneObject
        The object as it first appears.
    start, end : float
        When it appears, and when it is gone; an ``end`` above 1 means that it stays.
    direction : str
        A key of `DIRECTIONS`, or "" for an object at rest.
    colour_after : str
        Its colour in the second half of its life; equal to ``item.colour`` when it does not change.
    """

    item: SceneObject
    start: float
    end: float
    direction: str
    colour_after: str

    @property
    def vanishes(self) -> bool:
        """Whether it is gone before the video ends."""
        return self.end < 1.0

    def at(self, time: float) -> SceneObject | None:
        """The object at a time, or None while it is not there."""
        if not self.start <= time < self.end:
            return None
        progress = (time - self.start) / (min(self.end, 1.0) - self.start)
        item = self.item if progress < 0.5 else replace(self.item, colour=self.colour_after)
        if self.direction:
            dx, dy = (round(step * progress * (GRID - 1) * CELL) for step in DIRECTIONS[self.direction])
            left, top, right, bottom = item.box
            item = replace(item, box=(left + dx, top + dy, right + dx, bottom + dy))
        return item


@dataclass(frozen=True)
class Video:
    """A video and its script.

    Attributes
    ----------
    tracks : tuple of Track
        By time of appearance; the needle, when there is one, comes last.
    needle : bool
        Whether the last track is a digit that shows only briefly.
    incident : str
        One of `INCIDENTS`; the needle does not count.
    background : str
        One of `BACKGROUNDS`.
    duration : {"short", "medium", "long"}
    canvas : ndarray of float64, shape (IMAGE_SIDE, IMAGE_SIDE, 3)
    """

    tracks: tuple[Track, ...]
    needle: bool
    incident: str
    background: str
    duration: Duration
    canvas: NDArray[np.float64]

    @property
    def seconds(self) -> int:
        """Length in seconds."""
        return SECONDS[self.duration]

    @property
    def frame_count(self) -> int:
        """Length in frames."""
        return self.seconds * FRAMES_PER_SECOND

    def objects(self, index: int) -> tuple[SceneObject, ...]:
        """What a frame shows, in the order of `tracks`."""
        there = (track.at(index / self.frame_count) for track in self.tracks)
        return tuple(item for item in there if item is not None)

    def frame(self, index: int) -> NDArray[np.uint8]:
        """One frame, uint8 of shape (IMAGE_SIDE, IMAGE_SIDE, 3)."""
        return paint(self.canvas, self.objects(index))[0]

    def sample(self, count: int) -> NDArray[np.uint8]:
        """``count`` frames at equal distances, the first and the last among them: (count, side, side, 3), uint8."""
        return np.stack([self.frame(int(i)) for i in np.linspace(0, self.frame_count - 1, count).astype(int)])


def make_video(
    rng: np.random.Generator, split: Split = "train", duration: Duration = "short", incident: str | None = None
) -> Video:
    """One random video.

    Parameters
    ----------
    rng : numpy.random.Generator
        The only source of randomness.
    split : {"train", "evaluation"}
        Which handwritten digits may appear.
    duration : {"short", "medium", "long"}
        Key of `SECONDS`.
    incident : str, optional
        One of `INCIDENTS`; random when absent.

    Returns
    -------
    Video
        Two to four objects of different names and colours, and in half of the videos a digit for a fifth of the
        time. Whatever appears stays for at least a fifth of the video, so eight equidistant frames show it.
    """
    incident = incident or INCIDENTS[rng.integers(len(INCIDENTS))]
    needle = bool(rng.random() < 0.5)
    count = int(rng.integers(2, 5))
    names = (*SHAPES, *DIGITS) if not needle and rng.random() < 0.6 else SHAPES
    if names != SHAPES and rng.random() < 0.3:
        names = DIGITS
    chosen = [names[i] for i in rng.choice(len(names), count, replace=False)]
    colours = [list(COLOURS)[i] for i in rng.choice(len(COLOURS), count + 2, replace=False)]
    starts = [0.6 * i / (count - 1) for i in range(count)] if rng.random() < 0.7 else [0.0] * count
    actor = int(rng.integers(count))

    direction = ""
    cells = [divmod(int(c), GRID) for c in rng.permutation(GRID * GRID)]
    actor_cell = cells[0]
    if incident == "object moves":
        direction = list(DIRECTIONS)[rng.integers(len(DIRECTIONS))]
        lane, first = int(rng.integers(GRID)), 0 if direction in ("right", "down") else GRID - 1
        across = direction in ("left", "right")
        actor_cell = (lane, first) if across else (first, lane)
        free = [cell for cell in cells if cell[0 if across else 1] != lane]
    else:
        free = cells[1:]

    tracks = []
    for index, (name, colour, start) in enumerate(zip(chosen, colours, starts, strict=False)):
        acts = index == actor
        item = make_object(rng, name, colour, actor_cell if acts else free.pop(), split)
        end = start + 0.3 if acts and incident == "object vanishes" else 2.0
        after = colours[count] if acts and incident == "color change" else colour
        tracks.append(Track(item, start, end, direction if acts else "", after))
    if needle:
        start = 0.2 + 0.1 * int(rng.integers(6))
        item = make_object(rng, DIGITS[rng.integers(10)], colours[count + 1], free.pop(), split, "large")
        tracks.append(Track(item, start, start + 0.2, "", item.colour))
    background = BACKGROUNDS[rng.integers(len(BACKGROUNDS))]
    return Video(tuple(tracks), needle, incident, background, duration, make_background(rng, background))


def _yuv(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """An RGB image as planar 4:2:0 in BT.601 studio range: shape (1.5 x side, side), in whole-number arithmetic."""
    side = image.shape[0]
    red, green, blue = (image[:, :, channel].astype(np.int64) for channel in range(3))
    luma = ((66 * red + 129 * green + 25 * blue + 128) >> 8) + 16
    differences = (-38 * red - 74 * green + 112 * blue, 112 * red - 94 * green - 18 * blue)
    chroma = [((plane.reshape(side // 2, 2, side // 2, 2).sum(axis=(1, 3)) + 512) >> 10) + 128 for plane in differences]
    return np.concatenate([luma.ravel(), *(plane.ravel() for plane in chroma)]).astype(np.uint8).reshape(-1, side)


def write_mp4(path: Path, video: Video) -> None:
    """Encode a video as MPEG-4 in mp4, with the same bytes each time.

    FFmpeg's own encoder in its bit-exact mode is used, on frames converted here: with libx264, and with the
    library's colour conversion, one file in some hundred differed between two runs.

    Parameters
    ----------
    path : Path
        Where to write; its folder exists.
    video : Video
        What to write, all its frames.
    """
    import av

    with av.open(str(path), "w", options={"fflags": "+bitexact"}) as container:
        stream = container.add_stream("mpeg4", rate=FRAMES_PER_SECOND)
        stream.width = stream.height = IMAGE_SIDE
        stream.pix_fmt = "yuv420p"
        stream.thread_count = 1
        stream.options = {"flags": "+bitexact+qscale", "global_quality": str(_QUANTISER * 118)}
        shown: tuple[SceneObject, ...] | None = None
        for index in range(video.frame_count):
            if video.objects(index) != shown:
                shown, planes = video.objects(index), _yuv(video.frame(index))
            container.mux(stream.encode(av.VideoFrame.from_ndarray(planes, format="yuv420p")))
        container.mux(stream.encode())
