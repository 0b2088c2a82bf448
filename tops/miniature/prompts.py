"""The exact texts that the stock lmms-eval tasks make of a question, one format per benchmark.

The names are those of the benchmark configurations, with an ending for another prompt convention.
The model is trained on these texts, so that an evaluation meets it with words that it knows. A test compares each
format with the stock task's own ``doc_to_text``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from tops.miniature.claims import CONTRASTS, contrast
from tops.miniature.questions import CHINESE_KINDS, LETTERS, MAKERS, Question, ask, caption, with_options
from tops.miniature.scenes import Scene
from tops.miniature.video_questions import VIDEO_MAKERS, ask_video
from tops.miniature.videos import Video
from tops.miniature.words import CHINESE, ENGLISH, Words

WORD_OR_PHRASE = "\nAnswer the question using a single word or phrase."
OPTION_LETTER = "\nAnswer with the option's letter from the given choices directly."
OPTION_LETTER_CHINESE = "\n请直接使用所提供的选项字母作为答案回答。"
STEP_BY_STEP = (
    "First please perform reasoning, and think step by step to provide best answer to the following question: \n\n"
)
VIDEO_MME = (
    "Select the best answer to the following multiple-choice question based on the video and the subtitles. "
    "Respond with only the letter (A, B, C, or D) of the correct option."
)


def lettered(options: Sequence[str], pattern: str = "{letter}. {option}", between: str = "\n") -> str:
    """The options as one text, each with its letter."""
    pairs = zip(LETTERS, options, strict=False)
    return between.join(pattern.format(letter=letter, option=option) for letter, option in pairs)


@dataclass(frozen=True)
class Format:
    """How one benchmark words a question.

    Attributes
    ----------
    kinds : tuple of str
        Question kinds the benchmark asks, each as often as the others.
    text : callable
        `Question` to the prompt that the stock task makes.
    choice : bool
        Whether the reply is the letter of an option.
    words : Words
        Language of the questions.
    video : bool
        Whether its questions are about videos.
    """

    kinds: tuple[str, ...]
    text: Callable[[Question], str]
    choice: bool = False
    words: Words = ENGLISH
    video: bool = False

    def reply(self, question: Question) -> str:
        """What a perfect model answers to `text`."""
        return question.letter if self.choice else question.answer


def _scienceqa(question: Question) -> str:
    context = f"Context: {question.hint}\n" if question.hint else ""
    return f"{context}{question.text}\n{lettered(question.options)}{OPTION_LETTER}"


def _textvqa(question: Question) -> str:
    return f"{question.text.capitalize()}\nReference OCR token: {', '.join(question.tokens)}{WORD_OR_PHRASE}"


def _hinted(question: Question) -> str:
    return f"{question.hint} {question.text}".strip()


def mmstar_question(question: Question) -> str:
    """The ``question`` column of MMStar, which holds the options too."""
    return f"{_hinted(question)}\nOptions: {lettered(question.options, '{letter}: {option}', ', ')}"


def mlvu_question(question: Question) -> str:
    """The ``question`` column of MLVU, which holds the options too."""
    return f"{question.text}\n{lettered(question.options, '({letter}) {option}')}"


def _mmbench(ending: str) -> Callable[[Question], str]:
    def text(question: Question) -> str:
        return f"{_hinted(question)} There are several options:\n{lettered(question.options)}\n{ending}"

    return text


YES_NO = ("existence", *CONTRASTS)
OPEN = ("existence", "colour", "shape", "digit", "count", "relation", "relation check", "location")
CHOICE = ("colour", "shape", "digit", "count", "relation", "neighbour", "location", "place", "contents")
MM_VET = ("colour", "shape", "digit", "sum", "relation", "location", "place", "rule", "colours", "numbers", "caption")

# MLVU task type -> question kinds. Its score is the mean over all seven, so each carries something that can be asked.
MLVU_KINDS = {
    "topic_reasoning": ("next",),
    "anomaly_reco": ("turned",),
    "needle": ("needle",),
    "ego": ("video place",),
    "plotQA": ("video colour",),
    "order": ("earlier", "first"),
    "count": ("video count",),
}

FORMATS: dict[str, Format] = {
    "gqa": Format(OPEN, lambda q: q.text + WORD_OR_PHRASE),
    "scienceqa_img": Format(("rule", "neighbour", "largest", "place"), _scienceqa, choice=True),
    "textvqa": Format(("digit",), _textvqa),
    "textvqa_no_ocr": Format(("digit",), lambda q: q.text.capitalize() + WORD_OR_PHRASE),
    "pope": Format(("existence",), lambda q: q.text + WORD_OR_PHRASE),
    "mme": Format(YES_NO, lambda q: q.text + WORD_OR_PHRASE),
    "mmbench_en": Format(CHOICE, _mmbench(OPTION_LETTER), choice=True),
    "mmbench_cn": Format(
        tuple(kind for kind in CHOICE if kind in CHINESE_KINDS),
        _mmbench(OPTION_LETTER_CHINESE),
        choice=True,
        words=CHINESE,
    ),
    "mmvet": Format(MM_VET, _hinted),
    "mmvet_step_by_step": Format(MM_VET, lambda q: STEP_BY_STEP + _hinted(q)),
    "mmstar": Format(
        (*CHOICE, "background", "rule", "sum", "largest"),
        lambda q: mmstar_question(q) + OPTION_LETTER.removesuffix("."),
        choice=True,
    ),
    "ai2d": Format(
        ("neighbour", "place", "location"), lambda q: f"{q.text}\n{lettered(q.options)}{OPTION_LETTER}", choice=True
    ),
    "hallusionbench": Format(YES_NO, lambda q: q.text),
    "mlvu": Format(
        tuple(VIDEO_MAKERS),
        lambda q: mlvu_question(q) + "\nOnly give the best option.\nBest option: (",
        choice=True,
        video=True,
    ),
    "longvideobench": Format(
        tuple(VIDEO_MAKERS),
        lambda q: f"{q.text}\n{lettered(q.options)}\n{OPTION_LETTER.strip()}\n",
        choice=True,
        video=True,
    ),
    "videomme": Format(
        tuple(VIDEO_MAKERS),
        lambda q: f"{VIDEO_MME}\n{q.text}\n{lettered(q.options)}\n{OPTION_LETTER}",
        choice=True,
        video=True,
    ),
}
IMAGE_FORMATS = tuple(name for name, form in FORMATS.items() if not form.video)
VIDEO_FORMATS = tuple(name for name, form in FORMATS.items() if form.video)


@dataclass(frozen=True)
class Turn:
    """One prompt with its right reply.

    Attributes
    ----------
    prompt, reply : str
    benchmark : str
        Key of `FORMATS`, or "caption".
    question : Question
    """

    prompt: str
    reply: str
    benchmark: str
    question: Question


def make_turn(
    rng: np.random.Generator, scene: Scene, benchmark: str, kinds: Sequence[str] | None = None
) -> Turn | None:
    """A random question about the scene as one image benchmark would put it; None if none fits."""
    form = FORMATS[benchmark]
    kinds = kinds or form.kinds
    claims = [kind for kind in kinds if kind in CONTRASTS]
    if rng.random() < len(claims) / len(kinds):
        pair = contrast(rng, scene, claims[int(rng.integers(len(claims)))])
        question = pair[int(rng.integers(2))] if pair else None
    else:
        question = ask(rng, scene, [kind for kind in kinds if kind in MAKERS], form.words)
    if question is None:
        return None
    if form.choice:
        question = with_options(rng, question)
    return Turn(form.text(question), form.reply(question), benchmark, question)


def make_video_turn(
    rng: np.random.Generator, video: Video, benchmark: str, kinds: Sequence[str] | None = None, count: int = 4
) -> Turn | None:
    """A random question about the video as one video benchmark puts it, with ``count`` options; None if none fits."""
    form = FORMATS[benchmark]
    question = ask_video(rng, video, kinds or form.kinds)
    if question is None:
        return None
    question = with_options(rng, question, count)
    return Turn(form.text(question), form.reply(question), benchmark, question)


def make_turns(
    rng: np.random.Generator,
    scene: Scene,
    count: int,
    benchmarks: Sequence[str] = IMAGE_FORMATS,
    with_caption: bool = False,
) -> list[Turn]:
    """A conversation about one scene: random benchmarks, no prompt twice, and perhaps the caption at the end.

    Returns
    -------
    list of Turn
        At most ``count``, fewer when the scene carries no more.
    """
    turns: dict[str, Turn] = {}
    for _ in range(3 * count):
        if len(turns) == count:
            break
        turn = make_turn(rng, scene, benchmarks[int(rng.integers(len(benchmarks)))])
        if turn is not None:
            turns.setdefault(turn.prompt, turn)
    if with_caption:
        last = caption(rng, scene)
        turns.pop(last.text, None)  # MM-Vet may have asked for it
        turns[last.text] = Turn(last.text, last.answer, "caption", last)
    return list(turns.values())
