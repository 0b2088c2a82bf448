"""Frames by PyAV: the same ones by scanning and by seeking, and videos that will not decode."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from tops.errors import DataError
from tops.evaluation import videos
from tops.evaluation.videos import frame_numbers, frames_by_duration, read_frames


@pytest.fixture
def clip(tmp_path):
    """40 frames, each of its own grey."""
    import av

    path = tmp_path / "clip.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=8, options={"g": "6"})
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        for i in range(40):
            frame = av.VideoFrame.from_ndarray(np.full((32, 32, 3), 5 + 6 * i, np.uint8), format="rgb24")
            for packet in stream.encode(frame):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    return str(path)


def greys(frames):
    return [round((np.asarray(image).mean() - 5) / 6) for image in frames.images]


def test_evenly_spaced():
    assert frame_numbers(10, 4) == [0, 3, 6, 9]
    assert frame_numbers(11, 4) == [0, 3, 6, 10]
    assert frame_numbers(11, 4, "round") == [0, 3, 7, 10]
    assert frame_numbers(3, 64) == [0, 1, 2]
    assert frame_numbers(1, 8) == [0]


def test_frames_are_the_ones_asked_for(clip):
    frames = read_frames(clip, 5)
    assert frames.indices == (0, 9, 19, 29, 39)
    assert greys(frames) == [0, 9, 19, 29, 39]
    assert (frames.total, frames.fps) == (40, 8.0)


def test_frames_by_duration(clip):
    """Stock ``llava_vid`` without forced sampling: ``range(0, n, round(fps))``, evenly spaced beyond the most."""
    assert frames_by_duration(40, 8.0, 64, 1) == [0, 8, 16, 24, 32]
    assert frames_by_duration(600, 29.97, 64, 1) == list(range(0, 600, 30))
    assert frames_by_duration(64 * 25, 25.0, 64, 1) == list(range(0, 1600, 25))
    assert frames_by_duration(64 * 25 + 1, 25.0, 64, 1) is None
    assert frames_by_duration(3, 0.2, 64, 1) == [0, 1, 2]
    assert read_frames(clip, 64, "floor", 1).indices == (0, 8, 16, 24, 32)
    assert read_frames(clip, 64, "floor", 2).indices == tuple(range(0, 40, 4))
    assert read_frames(clip, 4, "floor", 1).indices == (0, 13, 26, 39)


def test_seeking_finds_the_same_frames(clip, monkeypatch):
    scanned = greys(read_frames(clip, 7))
    monkeypatch.setattr(videos, "SEEK_BEYOND", 0)
    read_frames.cache_clear()
    assert greys(read_frames(clip, 7)) == scanned
    read_frames.cache_clear()


def test_what_will_not_decode(tmp_path, clip):
    with pytest.raises(DataError, match="does not exist"):
        read_frames(str(tmp_path / "none.mp4"), 4)
    text = tmp_path / "text.mp4"
    text.write_text("not a video")
    with pytest.raises(DataError, match="does not decode"):
        read_frames(str(text), 4)
    cut = tmp_path / "cut.mp4"
    content = Path(clip).read_bytes()
    cut.write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError):
        read_frames(str(cut), 4)


def written(path, times, *, group=6, drop=0):
    """A video whose frames are shown at these times, in quarters of a second; without its first packets."""
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=4, options={"g": str(group)})
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 4)
        packets = []
        for i, time in enumerate(times):
            frame = av.VideoFrame.from_ndarray(np.full((32, 32, 3), 5 + 6 * i, np.uint8), format="rgb24")
            frame.pts, frame.time_base = time, Fraction(1, 4)
            packets += stream.encode(frame)
        for packet in [*packets, *stream.encode()][drop:]:
            container.mux(packet)
    return str(path)


@pytest.mark.parametrize("seeking", [False, True])
def test_frames_of_an_uneven_rate_are_those_that_are_named(tmp_path, monkeypatch, seeking):
    """Half of the frames stand for a second, half for a quarter: time and number are not proportional."""
    times = [*range(0, 80, 4), *range(80, 100)]
    path = written(tmp_path / "uneven.mkv", times)
    monkeypatch.setattr(videos, "SEEK_BEYOND", 0 if seeking else 2000)
    read_frames.cache_clear()
    frames = read_frames(path, 5)
    assert frames.total == 40
    assert frames.indices == (0, 9, 19, 29, 39)
    assert greys(frames) == [0, 9, 19, 29, 39]
    assert frames.fps == pytest.approx(39 / (99 / 4), rel=0.02)


def test_a_video_trimmed_without_encoding_is_read_from_where_it_can_be(tmp_path):
    path = written(tmp_path / "trimmed.mkv", range(40), drop=3)
    read_frames.cache_clear()
    frames = read_frames(path, 4)
    assert len(frames.images) == 4
    assert greys(frames)[-1] == 39
    assert frames.total <= 37


@pytest.mark.parametrize("seeking", [False, True])
@pytest.mark.parametrize(
    ("matrix", "bright"), [((0, 1, -1, 0), "right"), ((-1, 0, 0, -1), "bottom"), ((0, -1, 1, 0), "left")]
)
def test_frames_are_turned_as_the_container_says(tmp_path, monkeypatch, matrix, bright, seeking):
    """A telephone held upright stores sideways pictures and a matrix; the bright edge is at the top as stored."""
    import av

    path = tmp_path / "turned.mp4"
    picture = np.zeros((32, 48, 3), np.uint8)
    picture[:8] = 255
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=8)
        stream.width, stream.height, stream.pix_fmt = 48, 32, "yuv420p"
        for _ in range(4):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    content = bytearray(path.read_bytes())
    place = content.index(b"tkhd") + 4 + 40  # version and flags, times, number, duration, layer, volume
    for slot, value in zip((0, 1, 3, 4), matrix, strict=True):
        content[place + 4 * slot : place + 4 * slot + 4] = (value << 16).to_bytes(4, "big", signed=True)
    path.write_bytes(content)
    monkeypatch.setattr(videos, "SEEK_BEYOND", 0 if seeking else 2000)
    read_frames.cache_clear()
    image = np.asarray(read_frames(str(path), 2).images[-1]).mean(axis=2)
    assert image.shape == ((32, 48) if bright == "bottom" else (48, 32))
    edge = {"right": image[:, -4:], "left": image[:, :4], "bottom": image[-4:]}[bright]
    assert edge.mean() > 200
    assert image.mean() < 80
