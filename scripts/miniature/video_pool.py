"""Training material of the video family: short videos, what their frames show, and conversations about them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from scripts.miniature.packing import Picture
from tops.miniature.prompts import VIDEO_FORMATS, Turn, make_video_turn
from tops.miniature.scenes import NAMES, Scene, Split, paint, patch_labels
from tops.miniature.video_questions import VIDEO_MAKERS, ask_video
from tops.miniature.videos import Duration, Video, make_video

FRAMES = 8
MOST = 5  # objects of a video
DURATIONS: tuple[Duration, ...] = ("short", "medium", "long")


@dataclass(frozen=True)
class VideoLesson:
    """Settings of the conversations about videos.

    Attributes
    ----------
    direct : tuple of str
        Kinds of the direct questions, answered in words; one may stand there repeatedly.
    formats : tuple of str
        Keys of `tops.miniature.prompts.FORMATS` for the other conversations.
    """

    direct: tuple[str, ...] = (
        *VIDEO_MAKERS,
        *("order", "order", "first", "first", "earlier", "earlier", "next", "next"),
        *("video count", "video count", "video count", "needle", "video colour", "video place"),
    )
    formats: tuple[str, ...] = VIDEO_FORMATS

    def turns(self, rng: np.random.Generator, video: Video, plain: bool, length: int) -> list[Turn]:
        """A conversation about one video, direct questions or not, for about ``length`` tokens; no prompt twice."""
        found: dict[str, Turn] = {}
        for _ in range(3 * length // 24):
            if plain:
                question = ask_video(rng, video, [self.direct[int(rng.integers(len(self.direct)))]])
                turn = Turn(question.text, question.answer, "plain", question) if question else None
            else:
                name = self.formats[int(rng.integers(len(self.formats)))]
                options = 4 + int(name == "longvideobench" and rng.random() < 0.5)
                kind = self.direct[int(rng.integers(len(self.direct)))]
                turn = make_video_turn(rng, video, name, (kind,), options)
            if turn is not None:
                found.setdefault(turn.prompt, turn)
        return list(found.values())


@dataclass(frozen=True)
class VideoPool:
    """Videos, their frames as a model sees them, and which track each patch shows.

    Attributes
    ----------
    videos : list of Video
        Without their canvases.
    frames : ndarray of uint8, shape (S, FRAMES, side, side, 3)
    owner : ndarray of int8, shape (S, FRAMES * patches)
        Index of the track that a patch shows, -1 for none.
    digest : str
        sha256 of the frames.
    """

    videos: list[Video]
    frames: NDArray[np.uint8] = field(repr=False)
    owner: NDArray[np.int8] = field(repr=False)
    digest: str

    def __len__(self) -> int:
        return len(self.videos)

    def picture(self, rng: np.random.Generator, number: int, plain: float, lesson: VideoLesson, length: int) -> Picture:
        """A conversation about one video, of direct questions for a ``plain`` share, for about ``length`` tokens."""
        video = self.videos[number]
        turns = lesson.turns(rng, video, bool(rng.random() < plain), length)
        objects = [track.item for track in video.tracks]
        return Picture(turns, objects, self.owner[number].astype(np.int64))


def frames_and_owner(video: Video) -> tuple[NDArray[np.uint8], NDArray[np.int8]]:
    """Frames that a model sees, (FRAMES, side, side, 3), and the track of each of their patches, (FRAMES * n,)."""
    frames, owners = [], []
    for index in np.linspace(0, video.frame_count - 1, FRAMES).astype(int):
        time = index / video.frame_count
        there = [(number, item) for number, track in enumerate(video.tracks) if (item := track.at(time)) is not None]
        image, instance = paint(video.canvas, [item for _, item in there])
        frames.append(image)
        scene = Scene(image, tuple(item for _, item in there), video.background, instance)
        own = patch_labels(scene).owner.reshape(-1) if there else np.full(144, -1)
        tracks = np.array([-1, *(number for number, _ in there)])
        owners.append(tracks[own + 1])
    return np.stack(frames), np.concatenate(owners).astype(np.int8)


def make_video_pool(videos: int, seed: int, split: Split = "train") -> VideoPool:
    """Draw videos of all durations."""
    rng = np.random.default_rng((seed, 9))
    made, frames, owners = [], [], []
    for number in range(videos):
        video = make_video(rng, split, DURATIONS[number % len(DURATIONS)])
        seen, owner = frames_and_owner(video)
        made.append(replace(video, canvas=np.zeros((0, 0, 3))))
        frames.append(seen)
        owners.append(owner)
    stacked = np.stack(frames)
    return VideoPool(made, stacked, np.stack(owners), hashlib.sha256(stacked.tobytes()).hexdigest())


class Script(nn.Module):
    """Linear heads, only for training, that read facts of a video's script from the states of its tokens.

    From every token, entering the layer `NAMING`: its frame. From a token that shows an object, entering the layer
    `LOOKING`: the frame in which the object appeared. From the last token of a frame, a newline, entering the layer
    `CHOOSING`: the names seen so far, and their number.

    Parameters
    ----------
    pool : VideoPool
        The videos.
    shows : Tensor of float32, shape (n, FRAMES * patches)
        Share of each patch in what each visual token shows.
    width : int
        Width of the states.
    weight : float
        Weight of each loss.
    """

    def __init__(self, pool: VideoPool, shows: Tensor, width: int, weight: float = 0.3) -> None:
        super().__init__()
        self._videos, self._owner, self._shows = pool.videos, torch.from_numpy(pool.owner), shows
        self._frame = torch.arange(FRAMES).repeat_interleave(len(shows) // FRAMES)
        self._weight = weight
        self.frame, self.birth = nn.Linear(width, FRAMES), nn.Linear(width, FRAMES)
        self.names, self.number = nn.Linear(width, len(NAMES)), nn.Linear(width, MOST + 1)

    def births(self, number: int) -> tuple[Tensor, Tensor]:
        """The first frame that shows each track, and the object that most of a token shows: (tracks,), (n,) int64.

        The latter is the frame too; -1 where a track does not show, or a token shows none.
        """
        owner = self._owner[number].long()
        there = owner.view(FRAMES, 1, -1) == torch.arange(len(self._videos[number].tracks))[:, None]
        seen = there.any(-1)
        first = torch.where(seen.any(0), seen.long().argmax(0), -1)
        share = self._shows * (owner >= 0)
        return first, torch.where(share.sum(1) >= 0.25, first[owner[share.argmax(1)]], -1)

    def seen(self, number: int) -> Tensor:
        """Whether a name was seen until the end of each frame, (FRAMES, names) float32."""
        first = self.births(number)[0]
        found = torch.zeros(FRAMES, len(NAMES))
        for track, frame in zip(self._videos[number].tracks, first.tolist(), strict=True):
            if frame >= 0:
                found[frame:, NAMES.index(track.item.name)] = 1.0
        return found

    def losses(self, states: tuple[Tensor, Tensor, Tensor], chosen: list[int]) -> Tensor:
        """Losses of frame, birth, names and number, (4,), from the ``states`` (B, n, d) of the videos ``chosen``."""
        naming, looking, choosing = (nn.functional.layer_norm(part, part.shape[-1:]) for part in states)
        births = torch.stack([self.births(number)[1] for number in chosen])
        seen = torch.stack([self.seen(number) for number in chosen])
        ends = choosing.view(len(chosen), FRAMES, -1, choosing.shape[-1])[:, :, -1]
        cross = nn.functional.cross_entropy
        return self._weight * torch.stack(
            [
                cross(self.frame(naming).flatten(0, 1), self._frame.repeat(len(chosen))),
                cross(self.birth(looking).flatten(0, 1), births.flatten(), ignore_index=-1),
                len(NAMES) * nn.functional.binary_cross_entropy_with_logits(self.names(ends), seen) / 4,
                cross(self.number(ends).flatten(0, 1), seen.sum(-1).long().flatten()),
            ]
        )
