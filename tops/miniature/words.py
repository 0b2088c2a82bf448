"""The English and Chinese words of the miniature questions."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from tops.miniature.scenes import DIGITS

Language = Literal["en", "zh"]

_CHINESE = {
    "red": "红色", "green": "绿色", "blue": "蓝色", "yellow": "黄色",
    "purple": "紫色", "orange": "橙色", "white": "白色", "black": "黑色",
    "circle": "圆形", "square": "正方形", "triangle": "三角形", "cross": "十字", "ring": "圆环",
    "plain": "纯色", "noisy": "噪点", "striped": "条纹", "checked": "方格",
    "left": "左边", "right": "右边", "above": "上面", "below": "下面", "Yes": "是", "No": "否", "object": "物体",
    "top left": "左上", "top": "上方", "top right": "右上", "center": "中间",
    "bottom left": "左下", "bottom": "下方", "bottom right": "右下",
}  # fmt: skip

LOCATIONS = (
    ("top left", "top", "top right"),
    ("left", "center", "right"),
    ("bottom left", "bottom", "bottom right"),
)
_CHINESE_MIDDLE = {"left": "左侧", "right": "右侧"}


@dataclass(frozen=True)
class Words:
    """Sentence patterns of one language; every field is a `str.format` pattern.

    Attributes
    ----------
    language : {"en", "zh"}
    patterns : dict
        Pattern by question kind.
    """

    language: Language
    patterns: dict[str, str] = field(repr=False)

    def word(self, english: str) -> str:
        """A colour, shape, background, side, "Yes" or "No" in this language; digits and unknown words unchanged."""
        return _CHINESE.get(english, english) if self.language == "zh" else english

    def noun(self, name: str, colour: str | None = None, plural: bool = False) -> str:
        """An object phrase: "red circle", "digits 3", "红色圆形"."""
        if self.language == "zh":
            return self.word(colour or "") + ("数字" + name if name in DIGITS else self.word(name))
        digit = " " + name if name in DIGITS else ""
        stem = "digit" if digit else name
        ending = ("es" if stem == "cross" else "s") if plural else ""
        return f"{colour + ' ' if colour else ''}{stem}{ending}{digit}"

    def location(self, row: int, col: int) -> str:
        """The name of a grid cell."""
        place = LOCATIONS[row][col]
        return _CHINESE_MIDDLE.get(place, _CHINESE[place]) if self.language == "zh" else place

    def say(self, sentence: str, /, **parts: str) -> str:
        """The sentence of this name in `patterns` with its parts filled in."""
        return self.patterns[sentence].format(**parts)


ENGLISH = Words(
    "en",
    {
        "existence": "Is there {article} {thing} in the image?",
        "colour": "What color is the {thing}?",
        "digit": "What number is {colour}?",
        "only digit": "What number is written?",
        "shape": "What shape is {colour}?",
        "count": "How many {things} are there?",
        "relation": "Is the {one} {side} the {other}?",
        "horizontal": "Is the {one} left or right of the {other}?",
        "vertical": "Is the {one} above or below the {other}?",
        "neighbour": "What is {side} the {thing}?",
        "location": "Where is the {thing}?",
        "place": "What is at the {place}?",
        "background": "What is the background pattern?",
        "size": "Is the {one} larger than the {other}?",
        "largest": "What color is the largest object?",
        "more": "Are there more {one} than {other}?",
        "sum": "What is the sum of the numbers?",
        "sum check": "Is the sum of the numbers {number}?",
        "count check": "Is the number of {things} {number}?",
        "colour check": "Is the {thing} {colour}?",
        "digit check": "Is the {colour} number {number}?",
        "translation": "Is {colour} the color of the {thing}?",
        "roll": "Can the {colour} shape roll?",
        "background check": "Is the background {pattern}?",
        "rule round": "What color is the shape that rolls?",
        "rule even": "What color is the even number?",
        "rule odd": "What color is the odd number?",
        "contents": "Which object is in the image?",
        "colours": "What colors are the objects?",
        "numbers": "What numbers are written?",
        "caption": "Describe the image.",
    },
)

CHINESE = Words(
    "zh",
    {
        "existence": "图中有{thing}吗？",
        "colour": "{thing}是什么颜色？",
        "digit": "{colour}的数字是几？",
        "only digit": "图中的数字是几？",
        "shape": "{colour}的是什么形状？",
        "count": "图中有几个{things}？",
        "horizontal": "{one}在{other}的左边还是右边？",
        "vertical": "{one}在{other}的上面还是下面？",
        "neighbour": "{thing}的{side}是什么？",
        "location": "{thing}在哪里？",
        "place": "{place}是什么？",
        "background": "背景是什么图案？",
        "largest": "最大的物体是什么颜色？",
        "sum": "图中数字之和是几？",
        "contents": "图中有哪个物体？",
        "caption": "描述图片。",
    },
)


def article(thing: str) -> str:
    """The English indefinite article of a phrase."""
    return "an" if thing[0] in "aeiou" else "a"
