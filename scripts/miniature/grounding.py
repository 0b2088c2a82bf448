"""Where the words of a question point: to objects of the image, and to one of the options.

Training directs the attention of a decoder head to these places, as phrase grounding does with human labels (Plummer et
al., "Flickr30k Entities", 2015). A model that finds the named object can compare, relate and choose.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tops.miniature.scenes import COLOURS, SHAPES
from tops.miniature.words import CHINESE, ENGLISH, Words

if TYPE_CHECKING:
    from tops.miniature.prompts import Turn
    from tops.miniature.scenes import SceneObject

# Kinds whose answer is read off two objects; of "neighbour" the first object is the answer, the second is named.
COMPARED = ("relation", "relation check", "size check")
# Kinds whose answer is how many objects there are of a group.
COUNTED = ("count", "count check", "video count", "order")
# Kinds whose answer is on the patches of no object.
BACKGROUND = ("background", "background check")


@dataclass(frozen=True)
class _Language:
    """Words of one language to English ones, and the pattern of an object phrase."""

    colours: dict[str, str]
    names: dict[str, str]
    phrase: re.Pattern[str]

    @classmethod
    def of(cls, words: Words, digit: str, between: str) -> _Language:
        colours, names = ({words.word(word): word for word in group} for group in (COLOURS, SHAPES))
        phrase = f"(?:({'|'.join(colours)}){between})?({'|'.join(names)}|{digit}[0-9])"
        return cls(colours, names, re.compile(phrase))


_LANGUAGES = (_Language.of(ENGLISH, "digit ", " "), _Language.of(CHINESE, "数字", ""))


def mentions(text: str, objects: Sequence[SceneObject]) -> list[tuple[int, int]]:
    """Phrases of a text that name exactly one of these objects.

    Returns
    -------
    list of (int, int)
        Place of the phrase's last character, index of the object.
    """
    found = []
    for language in _LANGUAGES:
        for match in language.phrase.finditer(text):
            colour, name = language.colours.get(match[1] or ""), language.names.get(match[2], match[2][-1])
            there = [i for i, item in enumerate(objects) if item.name == name and colour in (None, item.colour)]
            if len(there) == 1:
                found.append((match.end() - 1, there[0]))
    return found


def option_span(turn: Turn) -> tuple[int, int] | None:
    """First and last character of the right option's words in the prompt; None for an open question."""
    if not turn.question.options:
        return None
    for mark in (". ", ": ", ") "):
        start = turn.prompt.rfind(f"{turn.question.letter}{mark}{turn.question.answer}")
        if start >= 0:
            first = start + 1 + len(mark)
            return first, first + len(turn.question.answer) - 1
    return None


def asked_objects(turn: Turn) -> tuple[int, ...]:
    """Objects to look at when the reply begins, -1 for the background; none where the whole image is asked for."""
    question = turn.question
    if turn.benchmark == "caption":
        return ()
    if question.kind in BACKGROUND:
        return (-1,)
    if question.kind == "neighbour":
        return question.objects[:1]
    several = (*COMPARED, *COUNTED)
    return question.objects if len(question.objects) == 1 or question.kind in several else ()


def answered_objects(turn: Turn) -> list[tuple[int, tuple[int, ...]]]:
    """Where the reply's phrases begin, counted in characters, and the objects to look at just before each.

    All but one reply are one phrase; an order in words is one for each object.
    """
    if turn.question.kind == "order" and not turn.question.options:
        starts = [0]
        for phrase in turn.reply.split(", ")[:-1]:
            starts.append(starts[-1] + len(phrase) + 2)
        return list(zip(starts, ((item,) for item in turn.question.objects), strict=True))
    return [(0, asked_objects(turn))]
