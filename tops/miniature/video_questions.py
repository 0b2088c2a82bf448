"""Questions about a video, with answers read from its script. Always with options, as the video benchmarks have."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import permutations

import numpy as np

from tops.miniature.questions import COLOUR_NAMES, Question, pick
from tops.miniature.scenes import DIGITS, NAMES
from tops.miniature.videos import DIRECTIONS, INCIDENTS, Track, Video
from tops.miniature.words import ENGLISH

TOPICS = ("only digits", "only shapes", "digits and shapes", "nothing")
VideoMaker = Callable[[np.random.Generator, Video], "Question | None"]


def _thing(track: Track) -> str:
    return ENGLISH.noun(track.item.name)


def _places(video: Video, track: Track) -> tuple[int, ...]:
    return (video.tracks.index(track),)


def _lasting(video: Video) -> tuple[Track, ...]:
    return video.tracks[:-1] if video.needle else video.tracks


def _staggered(video: Video) -> bool:
    starts = [track.start for track in _lasting(video)]
    return len(set(starts)) == len(starts)


def _others(rng: np.random.Generator, first: Sequence[str], named: str = "") -> tuple[str, ...]:
    """The phrases in ``first`` and names that the video lacks, at least four, the one ``named`` in the question not."""
    phrases = list(first)
    absent = [ENGLISH.noun(name) for name in NAMES if ENGLISH.noun(name) not in (*phrases, named)]
    while len(phrases) < 4:
        phrases.append(absent.pop(int(rng.integers(len(absent)))))
    return tuple(phrases)


def _order(rng: np.random.Generator, video: Video) -> Question | None:
    tracks = _lasting(video)
    if not _staggered(video) or len(tracks) < 3:
        return None
    things = [_thing(track) for track in tracks[:3]]
    orders = tuple(", ".join(order) for order in permutations(things))
    text = "In which order do they appear?" if len(tracks) == 3 else "In which order do the first three appear?"
    return Question("order", text, ", ".join(things), orders, objects=(0, 1, 2))


def _first_or_last(rng: np.random.Generator, video: Video) -> Question | None:
    if not _staggered(video):
        return None
    tracks = _lasting(video)
    last = bool(rng.random() < 0.5)
    chosen = tracks[-1] if last else tracks[0]
    if last and video.needle:
        later = video.tracks[-1].start - chosen.start
        if abs(later) < 0.05:
            return None
        chosen = video.tracks[-1] if later > 0 else chosen
    pool = _others(rng, [_thing(track) for track in video.tracks])
    text = f"Which object appears {'last' if last else 'first'}?"
    return Question("first", text, _thing(chosen), pool, objects=_places(video, chosen))


def _earlier(rng: np.random.Generator, video: Video) -> Question | None:
    if not _staggered(video):
        return None
    tracks = _lasting(video)
    one, other = (tracks[i] for i in rng.choice(len(tracks), 2, replace=False))
    last = bool(rng.random() < 0.5)
    chosen = one if (one.start > other.start) == last else other
    text = f"Which appears {'last' if last else 'first'}, the {_thing(one)} or the {_thing(other)}?"
    pool = _others(rng, [_thing(one), _thing(other)])
    return Question("earlier", text, _thing(chosen), pool, objects=_places(video, chosen))


def _next(rng: np.random.Generator, video: Video) -> Question | None:
    tracks = _lasting(video)
    if not _staggered(video) or video.needle or len(tracks) < 3:
        return None
    before = bool(rng.random() < 0.5)
    known = int(rng.integers(len(tracks) - 1)) + before
    chosen = tracks[known - 1 if before else known + 1]
    named = _thing(tracks[known])
    text = f"Which object appears right {'before' if before else 'after'} the {named}?"
    pool = _others(rng, [_thing(track) for track in tracks if track is not tracks[known]], named)
    return Question("next", text, _thing(chosen), pool, objects=_places(video, chosen))


def _count(rng: np.random.Generator, video: Video) -> Question:
    everything = tuple(range(len(video.tracks)))
    text = "How many objects appear in the video?"
    return Question("video count", text, str(len(everything)), tuple("123456"), objects=everything)


def _needle(rng: np.random.Generator, video: Video) -> Question | None:
    digits = [track for track in video.tracks if track.item.kind == "digit"]
    if len(digits) != 1:
        return None
    found = _places(video, digits[0])
    if rng.random() < 0.3:
        return Question("needle", "What color is the number?", digits[0].item.colour, COLOUR_NAMES, objects=found)
    return Question("needle", "What number appears in the video?", digits[0].item.name, DIGITS, objects=found)


def _direction(rng: np.random.Generator, video: Video) -> Question | None:
    moving = [track for track in video.tracks if track.direction]
    if not moving:
        return None
    text = f"Which way does the {_thing(moving[0])} move?"
    return Question("direction", text, moving[0].direction, tuple(DIRECTIONS), objects=_places(video, moving[0]))


def _moving(rng: np.random.Generator, video: Video) -> Question | None:
    moving = [track for track in video.tracks if track.direction]
    if not moving:
        return None
    pool = _others(rng, [_thing(track) for track in video.tracks])
    return Question("moving", "Which object moves?", _thing(moving[0]), pool, objects=_places(video, moving[0]))


def _vanishing(rng: np.random.Generator, video: Video) -> Question | None:
    gone = [track for track in _lasting(video) if track.vanishes]
    if not gone or video.needle:
        return None
    pool = _others(rng, [_thing(track) for track in video.tracks])
    return Question("vanishing", "Which object vanishes?", _thing(gone[0]), pool, objects=_places(video, gone[0]))


def _incident(rng: np.random.Generator, video: Video) -> Question | None:
    if video.needle:
        return None
    acting = tuple(
        number
        for number, track in enumerate(video.tracks)
        if track.direction or track.vanishes or track.colour_after != track.item.colour
    )
    return Question("incident", "What unusual thing happens?", video.incident, INCIDENTS, objects=acting)


def _turned(rng: np.random.Generator, video: Video) -> Question | None:
    changed = [track for track in video.tracks if track.colour_after != track.item.colour]
    if not changed:
        return None
    track = changed[0]
    text = f"What color does the {_thing(track)} turn?"
    return Question("turned", text, track.colour_after, COLOUR_NAMES, objects=_places(video, track))


def _video_colour(rng: np.random.Generator, video: Video) -> Question | None:
    steady = [track for track in video.tracks if track.colour_after == track.item.colour]
    if not steady:
        return None
    track = pick(rng, steady)
    text = f"What color is the {_thing(track)}?"
    return Question("video colour", text, track.item.colour, COLOUR_NAMES, objects=_places(video, track))


def _video_place(rng: np.random.Generator, video: Video) -> Question | None:
    resting = [track for track in video.tracks if not track.direction]
    if not resting:
        return None
    track = pick(rng, resting)
    pool = tuple(ENGLISH.location(row, col) for row in range(3) for col in range(3))
    answer = ENGLISH.location(track.item.row, track.item.col)
    text = f"Where is the {_thing(track)}?"
    return Question("video place", text, answer, pool, objects=_places(video, track))


def _topic(rng: np.random.Generator, video: Video) -> Question:
    kinds = {track.item.kind for track in video.tracks}
    answer = "digits and shapes" if len(kinds) == 2 else f"only {next(iter(kinds))}s"
    return Question("topic", "What does the video show?", answer, TOPICS)


VIDEO_MAKERS: dict[str, VideoMaker] = {
    "order": _order,
    "first": _first_or_last,
    "earlier": _earlier,
    "next": _next,
    "video count": _count,
    "needle": _needle,
    "direction": _direction,
    "moving": _moving,
    "vanishing": _vanishing,
    "incident": _incident,
    "turned": _turned,
    "video colour": _video_colour,
    "video place": _video_place,
    "topic": _topic,
}


def ask_video(rng: np.random.Generator, video: Video, kinds: Sequence[str]) -> Question | None:
    """A question of a random kind among ``kinds`` that this video can carry, or None.

    Parameters
    ----------
    rng : numpy.random.Generator
        The only source of randomness.
    video : Video
        What the question is about.
    kinds : sequence of str
        Keys of `VIDEO_MAKERS`.
    """
    for kind in (kinds[i] for i in rng.permutation(len(kinds))):
        question = VIDEO_MAKERS[kind](rng, video)
        if question is not None:
            return question
    return None
