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
_ANSWER_IS = re.compile(r"answer\s+is\s+\**([ABCD])", re.IGNORECASE)


def words_of(text: str) -> list[str]:
    """Lower-case words after VLMEvalKit's (VQA's) treatment of punctuation."""
    out = lowered = text.lower()
    glued = re.search(r"\d,\d", lowered) is not None
    for mark in _SPACED:
        touching_space = mark + " " in lowered or " " + mark in lowered
        out = out.replace(mark, "" if touching_space or glued else " ")
    # The original passes a flag where ``sub`` takes a count, so that only the first 32 periods go.
    return re.sub(r"(?<!\d)\.(?!\d)", "", out, count=32).split()


def yes_or_no(text: str) -> str | None:
    """VLMEvalKit's rule: "yes" or "no", whichever is a word of the answer; None for neither or both."""
    words = words_of(text)
    if ("yes" in words) == ("no" in words):
        return None
    return "yes" if "yes" in words else "no"


def llava_yes_or_no(text: str) -> tuple[str, bool]:
    """LLaVA's POPE script: "no" when the first sentence has the word No, no or not; "yes" for any other text.

    Returns
    -------
    str
        "yes" or "no".
    bool
        Whether the answer says so itself; False where it counts as yes only because it has no "no".
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
    """VLMEvalKit's exact matching: the option that an answer names; None for no option, which counts as wrong.

    It takes a lone option letter among the last four words; else the letter of "answer is B"; else the one option whose
    text occurs in an answer that is not much longer than all options together.

    Parameters
    ----------
    text : str
        The answer.
    options : mapping
        Letter to the option's text.
    """
    if "Failed to obtain answer via API" in text:
        return _contained(text, options)
    if any(refusal in text for refusal in _REFUSALS):
        return None
    words = re.sub(r"[.()\[\],:;!*#{}]", " ", text).split()
    standing = [key for key in options if key in words]
    if len(standing) == 1 and words.index(standing[0]) > len(words) - 5:
        return standing[0]
    if not standing and "Z" in words:
        return None
    said = _ANSWER_IS.search(text)
    if said and said[1].upper() in options:
        return said[1].upper()
    return _contained(text, options)


def _contained(text: str, options: Mapping[str, str]) -> str | None:
    """The one option whose text occurs; None for none, several, or an answer longer than twice all options."""
    lowered = text.lower()
    if len(lowered) > 2 * sum(len(str(v)) for v in options.values()):
        return None
    found = [key for key, value in options.items() if str(value).lower() in lowered]
    return found[0] if len(found) == 1 else None


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
