"""Documents of the video benchmarks: MLVU, LongVideoBench with subtitles, Video-MME with subtitles."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tops.miniature.documents import INTEGER, NUMBER, STRING, STRINGS, Part, cycle, first_found
from tops.miniature.prompts import MLVU_KINDS, lettered, mlvu_question
from tops.miniature.questions import Question, pick, with_options
from tops.miniature.video_questions import ask_video
from tops.miniature.videos import Duration, Video, make_video, write_mp4
from tops.miniature.words import ENGLISH

DURATIONS: tuple[Duration, ...] = ("short", "medium", "long")
# What LLaVA-Video answers at chance with the letter of an option is in no document, as nothing can be told from it:
# directions, incidents, what vanishes or moves, and whole orders.
# LongVideoBench question category -> question kinds; T- categories need the subtitles and are absent
LONG_KINDS = {
    "S2A": ("video colour", "video place"),
    "S2O": ("needle",),
    "E2O": ("turned",),
    "E3E": ("earlier",),
    "SOS": ("first",),
    "SSS": ("video count",),
}
# Video-MME task type -> question kinds
MME_KINDS = {
    "Temporal Perception": ("first",),
    "Temporal Reasoning": ("earlier",),
    "Spatial Perception": ("video place",),
    "Attribute Perception": ("video colour", "turned"),
    "OCR Problems": ("needle",),
    "Counting Problem": ("video count",),
}
DOMAINS = (("Knowledge", "Geography"), ("Artistic Performance", "Magic Show"), ("Life Record", "Daily Life"))


def subtitles(video: Video) -> list[tuple[float, float, str]]:
    """Start, end in seconds and text of one line per object, spoken as it appears."""
    lines = []
    for track in sorted(video.tracks, key=lambda track: track.start):
        start = track.start * video.seconds
        lines.append((start, start + 1.0, f"Here is the {ENGLISH.noun(track.item.name, track.item.colour)}."))
    return lines


def clock(seconds: float, point: str = ".") -> str:
    """Seconds as ``00:00:07.500``."""
    whole, thousandth = divmod(round(seconds * 1000), 1000)
    return f"{whole // 3600:02d}:{whole // 60 % 60:02d}:{whole % 60:02d}{point}{thousandth:03d}"


def _several(
    rng: np.random.Generator, duration: Duration, kinds: Sequence[Sequence[str]], options: int
) -> tuple[Video, list[Question]]:
    """A video that carries one question of each group of kinds."""

    def attempt() -> tuple[Video, list[Question]] | None:
        video = make_video(rng, "evaluation", duration)
        found = [ask_video(rng, video, group) for group in kinds]
        asked = [with_options(rng, question, options) for question in found if question is not None]
        return (video, asked) if len(asked) == len(kinds) else None

    return first_found(attempt, f"questions of the kinds {kinds}")


def mlvu(rng: np.random.Generator, videos: Path) -> list[Part]:
    """105 questions, fifteen of each task type, one per video."""
    videos.mkdir(parents=True)
    rows = []
    for task, kinds in MLVU_KINDS.items():
        for number, duration in enumerate(cycle(DURATIONS, 15)):
            kind = kinds[number % len(kinds)]
            video, (question,) = _several(rng, duration, [(kind,)], 4)
            name = f"{task}_{number}.mp4"
            write_mp4(videos / name, video)
            rows.append(
                {
                    "video_name": name,
                    "duration": float(video.seconds),
                    "question": mlvu_question(question),
                    "candidates": list(question.options),
                    "answer": question.letter,
                    "task_type": task,
                }
            )
    texts = dict.fromkeys(("video_name", "question", "answer", "task_type"), STRING)
    return [Part("", "test", texts | {"duration": NUMBER, "candidates": STRINGS}, rows)]


def longvideobench(rng: np.random.Generator, videos: Path) -> list[Part]:
    """60 videos with two questions each, of four or five options, and a subtitle file per video."""
    videos.mkdir(parents=True)
    spoken = videos.parent / "subtitles"
    spoken.mkdir()
    rows: list[dict[str, Any]] = []
    categories = list(LONG_KINDS)
    for number, duration in enumerate(cycle(DURATIONS, 60)):
        further = 1 + number // len(categories) % (len(categories) - 1)  # never the same category twice
        chosen = [categories[(number + step) % len(categories)] for step in (0, further)]
        options = 4 + number % 2
        video, asked = _several(rng, duration, [LONG_KINDS[category] for category in chosen], options)
        name = f"video{number:03d}"
        write_mp4(videos / f"{name}.mp4", video)
        lines = [{"start": clock(a), "end": clock(b), "line": text} for a, b, text in subtitles(video)]
        (spoken / f"{name}_en.json").write_text(json.dumps(lines, indent=1) + "\n", encoding="utf-8")
        for category, question in zip(chosen, asked, strict=True):
            choices = [*question.options, *["N/A"] * (5 - len(question.options))]
            rows.append(
                {
                    "video_id": name,
                    "question": question.text,
                    **{f"option{i}": choice for i, choice in enumerate(choices)},
                    "correct_choice": question.options.index(question.answer),
                    "question_category": category,
                    "topic_category": "KA-Knowledge-Art",
                    "id": f"{name}_{len(rows) % 2}",
                    "video_path": f"{name}.mp4",
                    "subtitle_path": f"{name}_en.json",
                    "duration_group": {"short": 15, "medium": 60, "long": 600}[video.duration],
                    "starting_timestamp_for_subtitles": 0.0,
                    "duration": float(video.seconds),
                }
            )
    texts = ("video_id", "question", "question_category", "topic_category", "id", "video_path", "subtitle_path")
    columns: dict[str, Any] = dict.fromkeys((*texts, *(f"option{i}" for i in range(5))), STRING)
    columns |= {"correct_choice": INTEGER, "duration_group": INTEGER}
    columns |= {"starting_timestamp_for_subtitles": NUMBER, "duration": NUMBER}
    return [Part("", "validation", columns, rows)]


def videomme(rng: np.random.Generator, videos: Path) -> list[Part]:
    """48 videos, sixteen of each duration, with three questions each and a subtitle file per video."""
    videos.mkdir(parents=True)
    spoken = videos.parent / "subtitle"
    spoken.mkdir()
    rows: list[dict[str, Any]] = []
    for number, duration in enumerate(sorted(cycle(DURATIONS, 48), key=DURATIONS.index)):
        tasks = [list(MME_KINDS)[(number + offset) % len(MME_KINDS)] for offset in (0, 2, 4)]
        video, asked = _several(rng, duration, [MME_KINDS[task] for task in tasks], 4)
        name = f"scene{number + 1:03d}"
        write_mp4(videos / f"{name}.mp4", video)
        lines = [
            f'{i}\n{clock(a, ",")} --> {clock(b, ",")}\n<font color="white" size=".72c">{text}</font>\n'
            for i, (a, b, text) in enumerate(subtitles(video), start=1)
        ]
        (spoken / f"{name}.srt").write_text("\n".join(lines), encoding="utf-8")
        domain, sub_category = pick(rng, DOMAINS)
        for task, question in zip(tasks, asked, strict=True):
            rows.append(
                {
                    "video_id": f"{number + 1:03d}",
                    "duration": video.duration,
                    "domain": domain,
                    "sub_category": sub_category,
                    "url": "",
                    "videoID": name,
                    "question_id": f"{number + 1:03d}-{len(rows) % 3 + 1}",
                    "task_type": task,
                    "question": question.text,
                    "options": lettered(question.options).split("\n"),
                    "answer": question.letter,
                }
            )
    texts = ("video_id", "duration", "domain", "sub_category", "url", "videoID", "question_id", "task_type")
    columns: dict[str, Any] = dict.fromkeys((*texts, "question", "answer"), STRING) | {"options": STRINGS}
    return [Part("videomme", "test", columns, rows)]
