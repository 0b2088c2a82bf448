"""What of a prompt is the question."""

from __future__ import annotations

import re

_INSTRUCTION = re.compile(
    r"(answer the question (using|with) a single word or phrase|answer (the question )?with the option'?s? letter|"
    r"answer with the option's letter from the given choices directly|"
    r"please answer yes or no|please select the correct answer from the options above|"
    r"please directly give the answer|please respond with only the letter)[^\n]*\Z",
    re.IGNORECASE,
)


def without_instruction(question: str) -> str:
    """The question without the benchmark's trailing line on the form of the answer, and without image placeholders.

    Reference OCR tokens and options stay. A text that is nothing but an instruction stays whole.

    Parameters
    ----------
    question : str
        The user's words.
    """
    text = question.replace("<image>", "").strip()
    return _INSTRUCTION.sub("", text).strip() or text
