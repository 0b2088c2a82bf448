"""MMMU: options and open questions, read as the benchmark's own script reads them."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping, Sequence

from tops.benchmarks.scorers.rule import Row, Rule, Target, accuracy, by
from tops.statistics.metrics import Metric

DISCIPLINES: Mapping[str, tuple[str, ...]] = {
    "art_and_design": ("Art", "Art_Theory", "Design", "Music"),
    "business": ("Accounting", "Economics", "Finance", "Manage", "Marketing"),
    "science": ("Biology", "Chemistry", "Geography", "Math", "Physics"),
    "health_and_medicine": (
        "Basic_Medical_Science",
        "Clinical_Medicine",
        "Diagnostics_and_Laboratory_Medicine",
        "Pharmacy",
        "Public_Health",
    ),
    "humanities_and_social_science": ("History", "Literature", "Sociology", "Psychology"),
    "tech_and_engineering": (
        "Agriculture",
        "Architecture_and_Engineering",
        "Computer_Science",
        "Electronics",
        "Energy_and_Power",
        "Materials",
        "Mechanical_Engineering",
    ),
}
_DISCIPLINE = {subject: name for name, subjects in DISCIPLINES.items() for subject in subjects}
_SIGNS = ("could be ", "so ", "is ", "thus ", "therefore ", "final ", "answer ", "result ")
_TRIVIAL = frozenset(":,.!?;'")
_NUMBERS = (
    r"-?\b\d{1,3}(?:,\d{3})+\b",
    r"-?\d+(?:\.\d+)?[eE][+-]?\d+",
    r"-?(?:\d+\.\d+|\.\d+|\d+\b)(?![eE][+-]?\d+)(?![,\d])",
)
Value = str | float


def chosen(answer: str, options: Sequence[str]) -> str | None:
    """Letter of the option that an answer names last; None where lmms-eval would draw one at random."""
    for mark in ",.!?;:'":
        answer = answer.strip(mark)
    text = f" {answer} "
    letters = {chr(ord("A") + i): option for i, option in enumerate(options)}
    for pattern, last in (("({})", "({})"), ("{} ", " {} "), ("{}.", " {} ")):
        found = [c for c in letters if pattern.format(c) in text]
        if found:
            return max(found, key=lambda c: (text.rfind(last.format(c)), -ord(c)))
    if len(text.split()) <= 5:
        return None
    said = {c: text.lower().rfind(option.lower()) for c, option in letters.items()}
    found = [c for c in said if said[c] >= 0]
    return max(found, key=lambda c: (said[c], -ord(c))) if found else None


def values(answer: str) -> set[Value]:
    """Candidate values of an open answer: the ends of its sentences after words like "is", and the numbers in these."""
    text = answer.strip().strip(".").lower()
    sentences = re.split(r"\.\s(?=[A-Z])|\n", text)
    keys = []
    for place, sentence in enumerate(sentences):
        signs = (*_SIGNS, "=") if place == len(sentences) - 1 else _SIGNS
        ends = [sentence.split(sign)[-1].strip() for sign in signs if sign in sentence]
        end = _shortest(ends)
        if end and end.strip() not in _TRIVIAL:
            keys.append(end)
    keys = keys or [text]
    numbers = [number for key in keys for pattern in _NUMBERS for number in re.findall(pattern, key)]
    return {value for key in (*keys, *numbers) for value in _normal(key)}


def _shortest(ends: Sequence[str]) -> str:
    """The first of the shortest ends; an empty end counts only until another one comes."""
    best = ""
    for end in ends:
        if not best or len(end) < len(best):
            best = end
    return best


def _normal(text: str) -> list[Value]:
    """A number rounded to two places, else lower-case text; a single letter gets a space, to match no longer word."""
    text = text.strip()
    try:
        return [round(float(text.replace(",", "")), 2)]
    except ValueError:
        lowered = text.lower()
        return [f" {lowered}", f"{lowered} "] if len(lowered) == 1 else [lowered]


def _open(answer: str, truth: str | Sequence[str]) -> bool:
    """Whether a candidate value equals the true number, or contains a true text."""
    wanted = [v for text in ([truth] if isinstance(truth, str) else truth) for v in _normal(text)]
    for value in values(answer):
        if isinstance(value, str):
            if any(isinstance(text, str) and text in value for text in wanted):
                return True
        elif value in wanted:
            return True
    return False


def _row(answer: str, target: Target) -> Row:
    truth, kind = target["answer"], str(target["question_type"])
    if kind == "multiple-choice":
        prediction = chosen(answer, ast.literal_eval(target["options"]))
        right, valid = prediction == truth, prediction is not None
    else:
        prediction, right, valid = answer, _open(answer, truth), bool(answer.strip())
    subject = "_".join(str(target["id"]).split("_")[1:-1])
    return {
        "score": float(right),
        "valid": valid,
        "prediction": prediction,
        "kind": kind,
        "discipline": _DISCIPLINE.get(subject, subject),
    }


def _metrics(rows: Sequence[Row]) -> dict[str, Metric]:
    """``accuracy`` over questions, that of the six disciplines, and of each kind of question."""
    return {**accuracy(rows), **by(rows, "discipline"), **by(rows, "kind")}


RULES: dict[str, Rule] = {"mmmu": Rule("lmms-eval 0.7.3 mmmu_val, no guessing", _row, _metrics)}
