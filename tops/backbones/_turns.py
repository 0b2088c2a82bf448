"""The user's words in a decoded prompt, found by the marks of its chat template."""

from __future__ import annotations

import re
from collections.abc import Sequence

from tops.errors import ConfigurationError

_SPECIAL = re.compile(r"<[^<>\s]+>\s*$")
_TELL = "pass prune(..., question=...) or set run.question"


def last_question(prompt: str, turns: Sequence[tuple[str, str]], family: str) -> str:
    """The words of the last user turn, without the template's marks.

    A turn begins at the first mark of its kind, or at one behind the end of another turn: the mark after the words
    where that is a special token, else ``</s>``. What cannot be told apart from words that hold a mark themselves is
    refused.

    Parameters
    ----------
    prompt : str
        Decoded, special tokens included, visual placeholders left out.
    turns : sequence of (str, str)
        Text before and after the words, for each template that the family knows.
    family : str
        For the messages.

    Raises
    ------
    ConfigurationError
        If the prompt is in none of the templates, or its words hold their marks.
    """
    for before, after in turns:
        starts = [found.end() for found in re.finditer(re.escape(before), prompt)]
        if not starts:
            continue
        last = after if _SPECIAL.match(after) else "</s>"
        behind = [prompt[: end - len(before)].rstrip().endswith(last) for end in starts]
        real = [end for end, is_behind in zip(starts, behind, strict=True) if end == starts[0] or is_behind]
        words = prompt[real[-1] :]
        ends = [found.start() for found in re.finditer(re.escape(after), words)]
        closed = words.rstrip().endswith(after) and not _SPECIAL.match(after)
        if real[-1] != starts[-1] or (len(ends) > 1 and not closed):
            raise ConfigurationError(
                f"the prompt holds {before.strip()!r} {len(starts)} and {after!r} {prompt.count(after)} time(s): the "
                f"question cannot be told from words that hold the template's marks; {_TELL}"
            )
        return (words[: ends[-1]] if ends else words).strip()
    known = " or ".join(repr(before.strip()) for before, _ in turns) or "nothing that is known"
    raise ConfigurationError(
        f"the prompt is not in the chat template of {family}, whose user turns begin with {known}; {_TELL}"
    )
