"""A question and its pictures as one user turn in lmms-eval's form."""

from __future__ import annotations

from typing import Any

from tops.benchmarks.documents import PICTURE
from tops.errors import DataError
from tops.evaluation.media import Media


def messages(text: str, media: Media, *, interleaved: bool = False) -> list[dict[str, Any]]:
    """One user turn in lmms-eval's form: pictures first, as its own tasks put them, or where the text names them."""
    if media.video:
        shown: list[dict[str, Any]] = [{"type": "video", "url": list(media.images)}]
    else:
        shown = [{"type": "image", "url": image} for image in media.images]
    if interleaved:
        return [{"role": "user", "content": _among(text, shown)}]
    return [{"role": "user", "content": [*shown, {"type": "text", "text": text}]}]


def _among(text: str, shown: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Text with its pictures where ``<image 1>`` stands; named again, a picture is not shown again.

    lmms-eval orders the pictures by number whatever the text says, and drops the words between two mentions of one
    picture. Where each picture is named once and in order, the result is the same.

    Raises
    ------
    DataError
        If the text does not name as many pictures as there are. Without pictures (a control) the marks are removed.
    """
    pieces = PICTURE.split(text)  # words, number, words, number, ..., words
    numbers = sorted(set(pieces[1::2]))
    if shown and len(shown) != len(numbers):
        raise DataError(f"the question names {len(numbers)} picture(s) and shows {len(shown)}; fetch the data again")
    left = dict(zip(numbers, shown, strict=True)) if shown else {}
    content: list[dict[str, Any]] = []
    words = pieces[0]
    for number, following in zip(pieces[1::2], pieces[2::2], strict=True):
        picture = left.pop(number, None)
        if picture is None:
            words += (f"<image {number}>" if shown else "") + following
            continue
        content += [{"type": "text", "text": words.strip()}] if words.strip() else []
        content.append(picture)
        words = following
    return [*content, {"type": "text", "text": words.strip()}]
