"""Questions about a scene, with answers read from its graph.

Every maker takes a generator, a scene and the words of a language, and answers None where the scene cannot
carry the question without ambiguity.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeVar

import numpy as np

from tops.miniature.scenes import BACKGROUNDS, COLOURS, DIGITS, NAMES, SHAPE_WEIGHTS, SHAPES, THEMES, Scene
from tops.miniature.words import CHINESE, ENGLISH, Language, Words, article

T = TypeVar("T")
Negative = Literal["random", "popular", "adversarial"]
NEGATIVES: tuple[Negative, ...] = ("random", "popular", "adversarial")
LETTERS = "ABCDE"
ROUND = ("circle", "ring")
COLOUR_NAMES = tuple(COLOURS)
SIDES = (("left", "left of"), ("right", "right of"), ("above", "above"), ("below", "below"))


@dataclass(frozen=True)
class Question:
    """A question and its answer.

    Attributes
    ----------
    kind : str
        A key of `MAKERS`, or one of the video kinds.
    text : str
    answer : str
        "Yes", "No", a word, a number or a sentence.
    pool : tuple of str
        What else an answer of this kind could be; wrong options are drawn from it.
    options : tuple of str
        Answers to choose from, the right one among them; empty for an open question.
    objects : tuple of int
        Indices of the scene objects that the question is about.
    language : {"en", "zh"}
    hint : str
        A statement that the question rests on, or "".
    tokens : tuple of str
        What an imperfect text recogniser reads in the image.
    """

    kind: str
    text: str
    answer: str
    pool: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    objects: tuple[int, ...] = ()
    language: Language = "en"
    hint: str = ""
    tokens: tuple[str, ...] = ()

    @property
    def letter(self) -> str:
        """The letter of the right option."""
        return LETTERS[self.options.index(self.answer)]


Maker = Callable[[np.random.Generator, Scene, Words], "Question | None"]


def pick(rng: np.random.Generator, items: Sequence[T]) -> T:
    """A random item."""
    return items[int(rng.integers(len(items)))]


def _yes_no(words: Words, yes: bool) -> tuple[str, tuple[str, ...]]:
    return words.word("Yes" if yes else "No"), (words.word("Yes"), words.word("No"))


def refer(rng: np.random.Generator, scene: Scene, index: int, words: Words) -> str | None:
    """A phrase that names one object and no other, or None; sometimes with its colour where the name would do."""
    item = scene.objects[index]
    same = [other for other in scene.objects if other.name == item.name]
    if len(same) == 1 and rng.random() < 0.7:
        return words.noun(item.name)
    if sum(other.colour == item.colour for other in same) == 1:
        return words.noun(item.name, item.colour)
    return None


def existence(
    rng: np.random.Generator,
    scene: Scene,
    words: Words = ENGLISH,
    negative: Negative | None = None,
    present: bool | None = None,
    coloured: bool | None = None,
) -> Question:
    """Whether an object is there: half yes, half no.

    Parameters
    ----------
    rng : numpy.random.Generator
        The only source of randomness.
    scene : Scene
        What the question is about.
    words : Words
        Its language.
    negative : {"random", "popular", "adversarial"}, optional
        How an absent object is drawn: from all; from the most frequent names; from what usually goes along with
        the objects that are there (for a coloured object: a colour and a name that are there, but not together).
    present, coloured : bool, optional
        Force the answer, and whether the object is named with its colour.
    """
    negative = negative or pick(rng, NEGATIVES)
    present = bool(rng.random() < 0.5) if present is None else present
    coloured = bool(rng.random() < 0.4) if coloured is None else coloured
    there = {(item.name, item.colour) for item in scene.objects}
    names, colours = {name for name, _ in there}, sorted({colour for _, colour in there})
    found: tuple[int, ...] = ()
    if present:
        index = int(rng.integers(len(scene.objects)))
        name, colour = scene.objects[index].name, scene.objects[index].colour
        found = (index,)
    else:
        pairs = [(n, c) for n in NAMES for c in COLOURS if (n, c) not in there and (coloured or n not in names)]
        if negative == "popular":
            likely = {n for n, w in zip(SHAPES, SHAPE_WEIGHTS, strict=True) if w >= 0.17}
        elif coloured:
            likely = names
        else:
            likely = {n for theme in THEMES if names & set(theme) for n in theme}
        if negative != "random":
            near = [(n, c) for n, c in pairs if n in likely and (not coloured or c in colours)]
            pairs = near or [(n, c) for n, c in pairs if n in likely] or pairs
        name, colour = pick(rng, pairs)
        if coloured:
            found = tuple(i for i, item in enumerate(scene.objects) if name == item.name or colour == item.colour)
    thing = words.noun(name, colour if coloured else None)
    answer, pool = _yes_no(words, present)
    text = words.say("existence", thing=thing, article=article(thing))
    return Question("existence", text, answer, pool, objects=found, language=words.language)


def _colour(rng: np.random.Generator, scene: Scene, words: Words) -> Question | None:
    names = [item.name for item in scene.objects]
    unique = [i for i, name in enumerate(names) if names.count(name) == 1]
    if not unique:
        return None
    index = pick(rng, unique)
    item = scene.objects[index]
    pool = tuple(words.word(c) for c in COLOUR_NAMES)
    text = words.say("colour", thing=words.noun(item.name))
    return Question("colour", text, words.word(item.colour), pool, objects=(index,), language=words.language)


def ocr_tokens(rng: np.random.Generator, scene: Scene) -> tuple[str, ...]:
    """Readings of a recogniser that misses some digits and reads some that are not there; in random order."""
    tokens = {item.name for item in scene.objects if item.kind == "digit" and rng.random() < 0.8}
    tokens |= {pick(rng, DIGITS) for _ in range(3)}
    ordered = sorted(tokens)
    return tuple(ordered[i] for i in rng.permutation(len(ordered)))


def _of_colour(kind: Literal["digit", "shape"]) -> Maker:
    def maker(rng: np.random.Generator, scene: Scene, words: Words) -> Question | None:
        all_of_kind = [i for i, item in enumerate(scene.objects) if item.kind == kind]
        colours = [scene.objects[i].colour for i in all_of_kind]
        unique = [i for i in all_of_kind if colours.count(scene.objects[i].colour) == 1]
        if not unique:
            return None
        index = pick(rng, unique)
        item = scene.objects[index]
        if kind == "digit" and len(all_of_kind) == 1 and rng.random() < 0.5:
            text = words.say("only digit")
        else:
            text = words.say(kind, colour=words.word(item.colour))
        pool = tuple(words.word(n) for n in (DIGITS if kind == "digit" else SHAPES))
        tokens = ocr_tokens(rng, scene) if kind == "digit" else ()
        return Question(kind, text, words.word(item.name), pool, (), (index,), words.language, tokens=tokens)

    return maker


def counted(rng: np.random.Generator, scene: Scene, words: Words) -> tuple[str, tuple[int, ...]]:
    """A phrase for a group of objects and their indices; large groups as often as small ones."""
    everything = range(len(scene.objects))
    groups = [("objects" if words.language == "en" else "物体", tuple(everything))]
    for name in SHAPES:
        groups.append((words.noun(name, plural=True), tuple(i for i in everything if scene.objects[i].name == name)))
    for colour in COLOUR_NAMES:
        phrase = f"{colour} objects" if words.language == "en" else f"{words.word(colour)}物体"
        groups.append((phrase, tuple(i for i in everything if scene.objects[i].colour == colour)))
    size = pick(rng, sorted({len(members) for _, members in groups}))
    return pick(rng, [group for group in groups if len(group[1]) == size])


def _count(rng: np.random.Generator, scene: Scene, words: Words) -> Question:
    things, members = counted(rng, scene, words)
    top = max(len(members) + 1, 4)
    pool = tuple(str(n) for n in range(top + 1))
    text = words.say("count", things=things)
    return Question("count", text, str(len(members)), pool, objects=members, language=words.language)


def apart(scene: Scene) -> list[tuple[int, int, str, str]]:
    """Ordered pairs (one, other, side, opposite) that lie in different columns or rows."""
    pairs = []
    for one, a in enumerate(scene.objects):
        for other, b in enumerate(scene.objects):
            if a.col != b.col:
                pairs.append((one, other, *(("left", "right") if a.col < b.col else ("right", "left"))))
            if a.row != b.row:
                pairs.append((one, other, *(("above", "below") if a.row < b.row else ("below", "above"))))
    return pairs


def _relation(rng: np.random.Generator, scene: Scene, words: Words) -> Question | None:
    pairs = apart(scene)
    if not pairs:
        return None
    one, other, side, opposite = pick(rng, pairs)
    first, second = refer(rng, scene, one, words), refer(rng, scene, other, words)
    if first is None or second is None:
        return None
    pattern = "horizontal" if side in ("left", "right") else "vertical"
    text = words.say(pattern, one=first, other=second)
    pool = tuple(words.word(s) for s in sorted((side, opposite)))
    return Question("relation", text, words.word(side), pool, objects=(one, other), language=words.language)


def _neighbour(rng: np.random.Generator, scene: Scene, words: Words) -> Question | None:
    found: dict[tuple[int, str], list[int]] = {}
    for one, other, side, _ in apart(scene):
        found.setdefault((other, side), []).append(one)
    single = [(other, side, ones[0]) for (other, side), ones in found.items() if len(ones) == 1]
    if not single:
        return None
    other, side, one = pick(rng, single)
    thing = refer(rng, scene, other, words)
    if thing is None:
        return None
    item = scene.objects[one]
    phrase = dict(SIDES)[side] if words.language == "en" else words.word(side)
    answer = words.noun(item.name, item.colour)
    present = dict.fromkeys(words.noun(o.name, o.colour) for i, o in enumerate(scene.objects) if i != other)
    text = words.say("neighbour", side=phrase, thing=thing)
    pool = _phrases(rng, present, words)
    return Question("neighbour", text, answer, pool, objects=(one, other), language=words.language)


def _phrases(rng: np.random.Generator, first: Iterable[str], words: Words) -> tuple[str, ...]:
    """Object phrases: those in ``first``, and random ones to make up four."""
    phrases = list(first)
    while len(phrases) < 4:
        phrase = words.noun(pick(rng, NAMES), pick(rng, COLOUR_NAMES))
        if phrase not in phrases:
            phrases.append(phrase)
    return tuple(phrases)


def _location(rng: np.random.Generator, scene: Scene, words: Words) -> Question | None:
    index = int(rng.integers(len(scene.objects)))
    item, thing = scene.objects[index], refer(rng, scene, index, words)
    if thing is None:
        return None
    pool = tuple(words.location(row, col) for row in range(3) for col in range(3))
    text = words.say("location", thing=thing)
    answer = words.location(item.row, item.col)
    return Question("location", text, answer, pool, objects=(index,), language=words.language)


def _place(rng: np.random.Generator, scene: Scene, words: Words) -> Question:
    index = int(rng.integers(len(scene.objects)))
    item = scene.objects[index]
    present = dict.fromkeys(words.noun(o.name, o.colour) for o in scene.objects)
    text = words.say("place", place=words.location(item.row, item.col))
    pool = _phrases(rng, present, words)
    return Question("place", text, words.noun(item.name, item.colour), pool, objects=(index,), language=words.language)


def _background(rng: np.random.Generator, scene: Scene, words: Words) -> Question:
    pool = tuple(words.word(b) for b in BACKGROUNDS)
    return Question("background", words.say("background"), words.word(scene.background), pool, language=words.language)


def _largest(rng: np.random.Generator, scene: Scene, words: Words) -> Question | None:
    large = [i for i, item in enumerate(scene.objects) if item.size == "large"]
    if len(large) != 1:
        return None
    pool = tuple(words.word(c) for c in COLOUR_NAMES)
    answer = words.word(scene.objects[large[0]].colour)
    return Question("largest", words.say("largest"), answer, pool, objects=(large[0],), language=words.language)


def _sum(rng: np.random.Generator, scene: Scene, words: Words) -> Question | None:
    digits = tuple(i for i, item in enumerate(scene.objects) if item.kind == "digit")
    if len(digits) != 2:
        return None
    total = sum(int(scene.objects[i].name) for i in digits)
    pool = tuple(str(n) for n in range(max(0, total - 3), total + 4))
    return Question("sum", words.say("sum"), str(total), pool, objects=digits, language=words.language)


def _rule(rng: np.random.Generator, scene: Scene, words: Words) -> Question | None:
    numbers = [(i, int(item.name) % 2) for i, item in enumerate(scene.objects) if item.kind == "digit"]
    rules = {
        "rule round": ("Round shapes roll.", [i for i, item in enumerate(scene.objects) if item.name in ROUND]),
        "rule even": ("0, 2, 4, 6, 8 are even.", [i for i, odd in numbers if not odd]),
        "rule odd": ("1, 3, 5, 7, 9 are odd.", [i for i, odd in numbers if odd]),
    }
    single = [(key, hint, found[0]) for key, (hint, found) in rules.items() if len(found) == 1]
    if not single:
        return None
    key, hint, index = pick(rng, single)
    return Question("rule", words.say(key), scene.objects[index].colour, COLOUR_NAMES, objects=(index,), hint=hint)


def _contents(rng: np.random.Generator, scene: Scene, words: Words) -> Question:
    index = int(rng.integers(len(scene.objects)))
    item = scene.objects[index]
    there = {(o.name, o.colour) for o in scene.objects}
    # Any absent object: near misses of the answer would single it out as the option that the others resemble.
    absent = [(n, c) for n in NAMES for c in COLOUR_NAMES if (n, c) not in there]
    pool = tuple(words.noun(n, c) for n, c in [(item.name, item.colour), *absent])
    return Question("contents", words.say("contents"), pool[0], pool, objects=(index,), language=words.language)


def _list(kind: Literal["colours", "numbers"]) -> Maker:
    def maker(rng: np.random.Generator, scene: Scene, words: Words) -> Question | None:
        found = tuple(i for i, item in enumerate(scene.objects) if kind == "colours" or item.kind == "digit")
        items = [scene.objects[i].colour if kind == "colours" else scene.objects[i].name for i in found]
        answer = ", ".join(dict.fromkeys(items))
        return Question(kind, words.say(kind), answer, objects=found) if len(set(items)) > 1 else None

    return maker


def caption(rng: np.random.Generator, scene: Scene, words: Words = ENGLISH) -> Question:
    """The list of all objects in reading order, each with its place."""
    parts = [(words.noun(item.name, item.colour), words.location(item.row, item.col)) for item in scene.objects]
    if words.language == "en":
        answer = ", ".join(f"{thing} at the {place}" for thing, place in parts)
    else:
        answer = "，".join(f"{place}{thing}" for thing, place in parts)
    everything = tuple(range(len(scene.objects)))
    return Question("caption", words.say("caption"), answer, objects=everything, language=words.language)


MAKERS: dict[str, Maker] = {
    "existence": existence,
    "colour": _colour,
    "digit": _of_colour("digit"),
    "shape": _of_colour("shape"),
    "count": _count,
    "relation": _relation,
    "neighbour": _neighbour,
    "location": _location,
    "place": _place,
    "background": _background,
    "largest": _largest,
    "sum": _sum,
    "rule": _rule,
    "contents": _contents,
    "colours": _list("colours"),
    "numbers": _list("numbers"),
    "caption": caption,
}
CHINESE_KINDS = tuple(kind for kind in MAKERS if kind in CHINESE.patterns or kind == "relation")


def ask(rng: np.random.Generator, scene: Scene, kinds: Sequence[str], words: Words = ENGLISH) -> Question | None:
    """A question of a random kind among ``kinds``; kinds that the scene cannot carry are passed over.

    Returns
    -------
    Question or None
        None when no kind fits.
    """
    for kind in (kinds[i] for i in rng.permutation(len(kinds))):
        question = MAKERS[kind](rng, scene, words)
        if question is not None:
            return question
    return None


def with_options(rng: np.random.Generator, question: Question, count: int = 4) -> Question:
    """The question with up to ``count`` options in random order, the wrong ones drawn from its pool."""
    wrong = [item for item in dict.fromkeys(question.pool) if item != question.answer]
    chosen = [wrong[i] for i in rng.permutation(len(wrong))[: count - 1]]
    options = [*chosen, question.answer]
    return replace(question, options=tuple(options[i] for i in rng.permutation(len(options))))
