"""Scenes and videos: seeded, consistent with their graph, and of separate digits for training and evaluation."""

import numpy as np
import pytest

from tops.miniature.scenes import COLOURS, DIGITS, IMAGE_SIDE, NAMES, Scene, glyphs, make_scene, patch_labels
from tops.miniature.videos import INCIDENTS, make_video, write_mp4


def scenes(count: int) -> list[Scene]:
    rng = np.random.default_rng(11)
    return [make_scene(rng, "evaluation") for _ in range(count)]


def test_a_seed_fixes_every_pixel() -> None:
    one, two = scenes(20), scenes(20)
    assert all(np.array_equal(a.image, b.image) and a.objects == b.objects for a, b in zip(one, two, strict=True))


def test_training_and_evaluation_share_no_digit() -> None:
    for digit in DIGITS:
        train, evaluation = set(glyphs(digit, "train")), set(glyphs(digit, "evaluation"))
        assert train
        assert evaluation
        assert not train & evaluation


def test_objects_lie_apart_inside_the_image_and_can_be_seen() -> None:
    for scene in scenes(100):
        assert 2 <= len(scene.objects) <= 5
        assert len({(item.row, item.col) for item in scene.objects}) == len(scene.objects)
        for index, item in enumerate(scene.objects):
            left, top, right, bottom = item.box
            assert 0 <= left < right <= IMAGE_SIDE
            assert 0 <= top < bottom <= IMAGE_SIDE
            own = scene.instance == index
            assert own.sum() >= 20
            far = np.abs(scene.image[own].astype(int) - COLOURS[item.colour]).max(axis=1)
            assert np.median(far) < 60
            outside = own.copy()
            outside[top:bottom, left:right] = False
            assert not outside.any()


def test_wanted_objects_are_there() -> None:
    wanted = [("circle", "red"), ("7", "blue")]
    rng = np.random.default_rng(3)
    for _ in range(10):
        scene = make_scene(rng, contents=wanted, count=4)
        assert {(item.name, item.colour) for item in scene.objects} >= set(wanted)
        assert len(scene.objects) == 4


def test_patch_labels_name_the_object_of_each_patch() -> None:
    for scene in scenes(30):
        labels = patch_labels(scene)
        assert labels.owner.shape == labels.colour.shape == labels.name.shape == (12, 12)
        assert set(np.unique(labels.owner)) - {-1} == set(range(len(scene.objects)))
        for index, item in enumerate(scene.objects):
            own = labels.owner == index
            assert set(labels.colour[own]) == {1 + list(COLOURS).index(item.colour)}
            assert set(labels.name[own]) == {1 + NAMES.index(item.name)}
        assert not labels.colour[labels.owner == -1].any()


def test_every_video_object_shows_in_eight_frames() -> None:
    rng = np.random.default_rng(5)
    for number in range(40):
        video = make_video(rng, "evaluation", ("short", "medium", "long")[number % 3])  # type: ignore[arg-type]
        times = np.linspace(0, video.frame_count - 1, 8).astype(int) / video.frame_count
        for track in video.tracks:
            assert any(track.at(time) for time in times)
        assert len({track.item.name for track in video.tracks}) == len(video.tracks)


@pytest.mark.parametrize("incident", INCIDENTS)
def test_an_incident_happens_once(incident: str) -> None:
    rng = np.random.default_rng(6)
    for _ in range(20):
        video = make_video(rng, incident=incident)
        lasting = video.tracks[:-1] if video.needle else video.tracks
        happened = {
            "color change": sum(track.colour_after != track.item.colour for track in lasting),
            "object vanishes": sum(track.vanishes for track in lasting),
            "object moves": sum(bool(track.direction) for track in lasting),
        }
        assert happened == {name: int(name == incident) for name in happened}


def test_a_moving_object_stays_in_the_image_and_goes_its_way() -> None:
    rng = np.random.default_rng(7)
    for _ in range(20):
        video = make_video(rng, incident="object moves")
        (mover,) = (track for track in video.tracks if track.direction)
        places = [item.centre for item in (mover.at(t) for t in np.linspace(mover.start, 0.99, 9)) if item]
        assert all(0 < x < IMAGE_SIDE and 0 < y < IMAGE_SIDE for x, y in places)
        dx, dy = places[-1][0] - places[0][0], places[-1][1] - places[0][1]
        assert {"left": dx < -40, "right": dx > 40, "up": dy < -40, "down": dy > 40}[mover.direction]


def test_mp4_decodes_to_its_frames_and_has_the_same_bytes_twice(tmp_path) -> None:  # type: ignore[no-untyped-def]
    import av

    video = make_video(np.random.default_rng(8))
    for name in ("a.mp4", "b.mp4"):
        write_mp4(tmp_path / name, video)
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()
    with av.open(str(tmp_path / "a.mp4")) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(frames) == video.frame_count
    for index, frame in enumerate(frames):
        assert np.abs(frame.astype(int) - video.frame(index)).mean() < 5
