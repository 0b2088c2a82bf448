"""Reading a yes, a no or an option letter out of free text, by the rules of the toolkits that papers use."""

from __future__ import annotations

import re
from collections.abc import Mapping

from tops.benchmarks.scorers.rule import stock

_SPACED = ';/[]"{}()=+\\_-><@`,?!'
_REFUSALS = (
    "Sorry, I can't help with images of people yet.",
    "I can't process this file.",
    "I'm sorry, but without the image provided",
    "Cannot determine the answer",
)


def words_of(text: str) -> list[str]:
    """Lower-case words after VLMEvalKit's (VQA's) treatment of punctuation."""
    lowered = text.lower()
    out = lowered
    glued = re.search(r"\d,\d", lowered) is not None
    for mark in _SPACED:
        touching_space = mark + " " in lowered or " " + mark in lowered
        out = out.replace(mark, "" if touching_space or glued else " ")
    return re.sub(r"\.(?!\d)", "", out).split()


def yes_or_no(text: str) -> str | None:
    """VLMEvalKit: the one of "yes" and "no" that is a word of the answer; None for neither or both."""
    words = words_of(text)
    if ("yes" in words) == ("no" in words):
        return None
    return "yes" if "yes" in words else "no"


def llava_yes_or_no(text: str) -> tuple[str, bool]:
    """LLaVA's POPE script: "no" when the first sentence has the word No, no or not, else "yes", whatever it says.

    Returns
    -------
    str
        "yes" or "no".
    bool
        Whether the answer said so, or was counted as yes for want of a no.
    """
    words = text.split(".")[0].replace(",", "").split(" ")
    if "No" in words or "not" in words or "no" in words:
        return "no", True
    return "yes", any(w.strip().lower() == "yes" for w in words)


def mme_yes_or_no(text: str) -> str | None:
    """MME's own script: "yes" or "no" among the first four characters; None for anything else."""
    answer = text.lower().strip().replace(".", "")
    if len(answer) == 1:
        return {"y": "yes", "n": "no"}.get(answer)
    start = answer[:4]
    return "yes" if "yes" in start else "no" if "no" in start else None


def letter(text: str, letters: str) -> str | None:
    """lmms-eval's extraction of an option letter; None when there is none."""
    found: str = stock("tasks/_task_utils/mcq_extract.py").extract_mcq_answer(text, choices=list(letters))
    return found or None


def inferred(text: str, options: Mapping[str, str]) -> str | None:
    """VLMEvalKit without a judge: a lone option letter, else the one option whose text occurs; None otherwise.

    The later rule that a letter must stand among the last words is not applied: short answers are asked for.
    """
    if any(refusal in text for refusal in _REFUSALS):
        return None
    words = re.sub(r"[.()\[\],:;!*#{}]", " ", text).split()
    standing = [key for key in options if key in words]
    if len(standing) == 1:
        return standing[0]
    if len(text) > 2 * sum(len(str(v)) for v in options.values()):
        return None
    lowered = text.lower()
    contained = [key for key, value in options.items() if str(value).lower() in lowered]
    return contained[0] if len(contained) == 1 else None


def mmbench_static(text: str, options: Mapping[str, str]) -> str | None:
    """lmms-eval's MMBench without its judge: a lone marked letter, else an option's text, else any letter.

    ``options`` are those that exist among A to D.
    """
    standing = _marked_letter(text)
    if standing:
        return standing
    lowered = text.lower()
    contained = [key for key, value in options.items() if str(value).lower() in lowered]
    return contained[0] if len(contained) == 1 else letter(text, "".join(sorted(options)))


_MARKS = (("", "."), ("", ","), ("", ":"), ("", ")"), ("", ")."), ("(", ")"), ("(", ")."), (":", ""), (":", ","))
_MORE_MARKS = ((":", "."), (":", ")"), (":", ")."))


def _marked_letter(text: str) -> str | None:
    """The option letter that is a word of its own, or the only one that carries one of the marks."""
    if "Failed to obtain answer via API" in text:
        return None
    words = text.split()
    plain = [c for c in "ABCDE" if c in words]
    if len(plain) == 1 and not ("A" in words and len(words) > 3):  # "A" may be an article
        return plain[0]
    for before, after in _MARKS + _MORE_MARKS:
        marked = [c for c in "ABCDE" if before + c + after in words]
        if len(marked) == 1:
            return marked[0]
    return None
