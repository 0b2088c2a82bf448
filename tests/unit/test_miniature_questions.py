"""Questions against a second reader, which knows the sentences only and answers them from the objects."""

import re
from collections import Counter

import numpy as np
import pytest

from tops.miniature.claims import CONTRASTS, contrast
from tops.miniature.edited_documents import EDITS, make_twins
from tops.miniature.prompts import FORMATS, IMAGE_FORMATS, VIDEO_FORMATS, make_turn, make_turns, make_video_turn
from tops.miniature.questions import MAKERS, NEGATIVES, ask, existence, with_options
from tops.miniature.scenes import COLOURS, SHAPES, Scene, SceneObject, make_scene
from tops.miniature.video_questions import ask_video
from tops.miniature.videos import make_video
from tops.miniature.words import CHINESE, ENGLISH

RANK = {"small": 0, "medium": 1, "large": 2}
CELLS = {ENGLISH.location(r, c): (r, c) for r in range(3) for c in range(3)}


def select(scene: Scene, phrase: str) -> list[SceneObject]:
    """Objects that a phrase such as "red digit 3", "crosses" or "blue objects" describes."""
    words = phrase.split()
    found = list(scene.objects)
    if words[0] in COLOURS:
        colour = words.pop(0)
        found = [item for item in found if item.colour == colour]
    if words and words[0] == "digit":
        found = [item for item in found if item.name == words[1]]
    elif words and words[0] not in ("object", "objects"):
        (shape,) = (s for s in SHAPES if words[0].startswith(s))
        found = [item for item in found if item.name == shape]
    return found


def one(scene: Scene, phrase: str) -> SceneObject:
    (item,) = select(scene, phrase)
    return item


def beside(first: SceneObject, side: str, second: SceneObject) -> bool:
    return {
        "left of": first.col < second.col,
        "right of": first.col > second.col,
        "above": first.row < second.row,
        "below": first.row > second.row,
    }[side]


def numbers(scene: Scene) -> list[SceneObject]:
    return [item for item in scene.objects if item.kind == "digit"]


def second_reader(scene: Scene, text: str) -> str:
    def found(pattern: str) -> tuple[str, ...] | None:
        match = re.fullmatch(pattern, text)
        return (match.groups() or (text,)) if match else None

    def yes(truth: bool) -> str:
        return "Yes" if truth else "No"

    if g := found(r"Is there an? (.+) in the image\?"):
        return yes(bool(select(scene, g[0])))
    if g := found(r"What color is the largest object\?"):
        return next(item.colour for item in scene.objects if item.size == "large")
    if g := found(r"What color is the (even|odd) number\?"):
        return next(item.colour for item in numbers(scene) if int(item.name) % 2 == (g[0] == "odd"))
    if g := found(r"What color is the shape that rolls\?"):
        return next(item.colour for item in scene.objects if item.name in ("circle", "ring"))
    if g := found(r"What color is the (.+)\?"):
        return one(scene, g[0]).colour
    if g := found(r"What number is written\?"):
        (item,) = numbers(scene)
        return item.name
    if g := found(r"What number is (\w+)\?"):
        return next(item.name for item in numbers(scene) if item.colour == g[0])
    if g := found(r"What shape is (\w+)\?"):
        return next(item.name for item in scene.objects if item.colour == g[0] and item.kind == "shape")
    if g := found(r"How many (.+) are there\?"):
        return str(len(select(scene, g[0])))
    if g := found(r"Is the number of (.+) (\d+)\?"):
        return yes(len(select(scene, g[0])) == int(g[1]))
    if g := found(r"Is the (.+) (left|right) or (?:left|right) of the (.+)\?"):
        return "left" if one(scene, g[0]).col < one(scene, g[2]).col else "right"
    if g := found(r"Is the (.+) above or below the (.+)\?"):
        return "above" if one(scene, g[0]).row < one(scene, g[1]).row else "below"
    if g := found(r"Is the (.+) (left of|right of|above|below) the (.+)\?"):
        return yes(beside(one(scene, g[0]), g[1], one(scene, g[2])))
    if g := found(r"What is (left of|right of|above|below) the (.+)\?"):
        (item,) = (o for o in scene.objects if beside(o, g[0], one(scene, g[1])))
        return ENGLISH.noun(item.name, item.colour)
    if g := found(r"Where is the (.+)\?"):
        return ENGLISH.location(one(scene, g[0]).row, one(scene, g[0]).col)
    if g := found(r"What is at the (.+)\?"):
        (item,) = (o for o in scene.objects if (o.row, o.col) == CELLS[g[0]])
        return ENGLISH.noun(item.name, item.colour)
    if found(r"What is the background pattern\?"):
        return scene.background
    if g := found(r"Is the background (\w+)\?"):
        return yes(scene.background == g[0])
    if g := found(r"Is the (.+) larger than the (.+)\?"):
        return yes(RANK[one(scene, g[0]).size] > RANK[one(scene, g[1]).size])
    if g := found(r"Are there more (.+) than (.+)\?"):
        return yes(len(select(scene, g[0])) > len(select(scene, g[1])))
    if found(r"What is the sum of the numbers\?"):
        return str(sum(int(item.name) for item in numbers(scene)))
    if g := found(r"Is the sum of the numbers (\d+)\?"):
        return yes(sum(int(item.name) for item in numbers(scene)) == int(g[0]))
    if g := found(r"Is the (\w+) number (\d)\?"):
        return yes(any(item.name == g[1] for item in numbers(scene) if item.colour == g[0]))
    if g := found(r"Is (\w+) the color of the (.+)\?"):
        return yes(CHINESE.word(one(scene, g[1]).colour) == g[0])
    if g := found(r"Can the (\w+) shape roll\?"):
        (item,) = (o for o in scene.objects if o.kind == "shape" and o.colour == g[0])
        return yes(item.name in ("circle", "ring"))
    if found(r"What colors are the objects\?"):
        return ", ".join(dict.fromkeys(item.colour for item in scene.objects))
    if found(r"What numbers are written\?"):
        return ", ".join(dict.fromkeys(item.name for item in numbers(scene)))
    if found(r"Describe the image\."):
        return ", ".join(
            f"{ENGLISH.noun(o.name, o.colour)} at the {ENGLISH.location(o.row, o.col)}" for o in scene.objects
        )
    if g := found(r"Is the (.+) (\w+)\?"):
        return yes(one(scene, g[0]).colour == g[1])
    raise AssertionError(f"no rule for {text!r}")


def scenes(seed: int, count: int) -> list[Scene]:
    rng = np.random.default_rng(seed)
    return [make_scene(rng, "evaluation") for _ in range(count)]


@pytest.mark.parametrize("kind", [kind for kind in MAKERS if kind != "contents"])
def test_answers_agree_with_a_second_reader(kind: str) -> None:
    rng, asked = np.random.default_rng(1), 0
    for scene in scenes(2, 120):
        question = MAKERS[kind](rng, scene, ENGLISH)
        if question is not None:
            asked += 1
            assert second_reader(scene, question.text) == question.answer, (question.text, scene.objects)
    assert asked >= 15


@pytest.mark.parametrize("kind", ["existence", *CONTRASTS])
def test_claims_come_as_one_yes_and_one_no(kind: str) -> None:
    rng, asked = np.random.default_rng(1), 0
    for scene in scenes(3, 120):
        pair = contrast(rng, scene, kind)
        if pair is not None:
            asked += 1
            assert [second_reader(scene, question.text) for question in pair] == ["Yes", "No"]
    assert asked >= 10


@pytest.mark.parametrize("edit", EDITS.values(), ids=["/".join(key) for key in EDITS])
def test_an_edit_turns_both_answers_round(edit) -> None:  # type: ignore[no-untyped-def]
    rng = np.random.default_rng(4)
    for _ in range(8):
        twins = make_twins(rng, edit)
        questions = (twins.turns_false, twins.turns_true)
        assert [second_reader(twins.original, text) for text in questions] == ["Yes", "No"]
        assert [second_reader(twins.edited, text) for text in questions] == ["No", "Yes"]


@pytest.mark.parametrize("negative", NEGATIVES)
@pytest.mark.parametrize("coloured", [False, True])
def test_absent_objects_are_absent_and_as_near_as_their_split_says(negative, coloured) -> None:  # type: ignore[no-untyped-def]
    rng = np.random.default_rng(5)
    near = Counter()  # type: ignore[var-annotated]
    for scene in scenes(6, 100):
        question = existence(rng, scene, negative=negative, present=False, coloured=coloured)
        assert second_reader(scene, question.text) == "No"
        phrase = re.fullmatch(r"Is there an? (.+) in the image\?", question.text).group(1)  # type: ignore[union-attr]
        near["name there"] += bool(select(scene, phrase.split(maxsplit=1)[-1] if coloured else phrase))
    if coloured and negative == "adversarial":
        assert near["name there"] > 90
    if not coloured:
        assert near["name there"] == 0


def test_yes_and_no_are_equally_frequent() -> None:
    rng = np.random.default_rng(7)
    found = Counter(existence(rng, scene).answer for scene in scenes(8, 600))
    assert 240 < found["Yes"] < 360


def test_options_hold_the_answer_once_and_its_letter_is_spread() -> None:
    rng, letters = np.random.default_rng(9), Counter()  # type: ignore[var-annotated]
    for scene in scenes(10, 300):
        question = ask(rng, scene, ("colour", "digit", "shape", "location", "place", "contents", "neighbour"))
        if question is None:
            continue
        question = with_options(rng, question)
        assert len(question.options) == len(set(question.options)) == 4
        assert question.options["ABCD".index(question.letter)] == question.answer
        letters[question.letter] += 1
    assert min(letters.values()) > 45


def test_only_one_of_the_contents_is_in_the_image() -> None:
    rng = np.random.default_rng(11)
    for scene in scenes(12, 80):
        question = with_options(rng, MAKERS["contents"](rng, scene, ENGLISH))  # type: ignore[arg-type]
        there = [option for option in question.options if select(scene, option)]
        assert there == [question.answer]


def test_neighbours_have_no_second_right_option() -> None:
    rng = np.random.default_rng(13)
    for scene in scenes(14, 80):
        question = MAKERS["neighbour"](rng, scene, ENGLISH)
        if question is not None:
            reference = re.fullmatch(r"What is .+ the (.+)\?", question.text).group(1)  # type: ignore[union-attr]
            item = one(scene, reference)
            assert ENGLISH.noun(item.name, item.colour) not in question.pool


def test_one_seed_asks_the_same_in_both_languages() -> None:
    for number, scene in enumerate(scenes(15, 120)):
        kinds = FORMATS["mmbench_cn"].kinds
        english = ask(np.random.default_rng(number), scene, kinds, ENGLISH)
        chinese = ask(np.random.default_rng(number), scene, kinds, CHINESE)
        assert english is not None
        assert chinese is not None
        assert (english.kind, english.objects) == (chinese.kind, chinese.objects)
        assert not re.search("[a-z]", chinese.text + chinese.answer)


@pytest.mark.parametrize("benchmark", IMAGE_FORMATS)
def test_every_image_format_asks_what_its_reply_answers(benchmark: str) -> None:
    rng = np.random.default_rng(16)
    turns = [make_turn(rng, scene, benchmark) for scene in scenes(17, 40)]
    asked = [turn for turn in turns if turn is not None]
    assert len(asked) > 20
    for turn in asked:
        if FORMATS[benchmark].choice:
            assert turn.question.options["ABCDE".index(turn.reply)] == turn.question.answer
        assert turn.question.text.lower() in turn.prompt.lower()


def test_a_conversation_repeats_no_prompt() -> None:
    rng = np.random.default_rng(18)
    for scene in scenes(19, 10):
        turns = make_turns(rng, scene, 8, with_caption=True)
        assert len({turn.prompt for turn in turns}) == len(turns)
        assert 5 <= len(turns) <= 9
        assert turns[-1].benchmark == "caption"


@pytest.mark.parametrize("benchmark", VIDEO_FORMATS)
def test_video_answers_follow_the_script(benchmark: str) -> None:
    rng = np.random.default_rng(20)
    for _ in range(60):
        video = make_video(rng, "evaluation")
        turn = make_video_turn(rng, video, benchmark)
        assert turn is not None
        question = turn.question
        assert question.answer in question.options
        if question.kind == "video count":
            assert int(question.answer) == len(video.tracks)
        if question.kind == "order":
            shown = sorted(video.tracks[: 3 if not video.needle else len(video.tracks) - 1], key=lambda t: t.start)
            assert question.answer == ", ".join(ENGLISH.noun(t.item.name) for t in shown[:3])
        if question.kind == "needle" and question.text.startswith("What number"):
            assert [t.item.name for t in video.tracks if t.item.kind == "digit"] == [question.answer]


@pytest.mark.parametrize("kind", ["first", "earlier", "next"])
def test_what_came_when_is_told_by_the_script(kind: str) -> None:
    rng = np.random.default_rng(21)
    asked = 0
    for _ in range(150):
        video = make_video(rng, "evaluation")
        question = ask_video(rng, video, (kind,))
        if question is None:
            continue
        asked += 1
        start = {ENGLISH.noun(track.item.name): track.start for track in video.tracks}
        named = [thing for thing in start if f"the {thing}" in question.text]
        if kind == "first":
            late = "last" in question.text
            assert start[question.answer] == (max if late else min)(start.values())
            assert sum(abs(s - start[question.answer]) < 0.05 for s in start.values()) == 1
        elif kind == "earlier":
            assert question.answer == (max if "last" in question.text else min)(named, key=start.__getitem__)
            assert len(named) == 2
        else:
            order = sorted(start, key=start.__getitem__)
            step = -1 if "before" in question.text else 1
            assert question.answer == order[order.index(named[0]) + step]
            assert named[0] not in question.pool
    assert asked > 20
