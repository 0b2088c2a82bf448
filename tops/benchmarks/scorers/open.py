"""Short open answers (GQA, TextVQA) and judged ones (MM-Vet)."""

from __future__ import annotations

import string
from collections.abc import Sequence
from functools import cache
from typing import Any

from tops.benchmarks.scorers.rule import Row, Rule, Target, accuracy, column, stock, where
from tops.statistics.metrics import Metric, mean

_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)
CAPABILITIES = ("rec", "ocr", "know", "gen", "spat", "math")


def normalised(text: str) -> str:
    """Lower case without punctuation, as lmms-eval's exact match compares."""
    return text.lower().translate(_NO_PUNCTUATION)


def _open_row(score: float, prediction: str) -> Row:
    return {"score": score, "valid": bool(prediction), "prediction": prediction}


def _exact_match(answer: str, target: Target) -> Row:
    prediction = normalised(answer.strip())
    return _open_row(float(prediction == normalised(str(target["answer"]))), prediction)


def _exact_match_llava(answer: str, target: Target) -> Row:
    prediction = answer.rstrip(".").lower()
    return _open_row(float(prediction == str(target["answer"])), prediction)


@cache
def _eval_ai() -> Any:
    return stock("tasks/_task_utils/vqa_eval_metric.py").EvalAIAnswerProcessor()


def _vqa_accuracy(answer: str, target: Target) -> Row:
    """Mean over the ten annotators of min(1, agreement of the other nine / 3)."""
    prediction = _eval_ai()(answer.strip())
    answers = [_eval_ai()(a) for a in target["answers"]]
    others = [sum(b == prediction for j, b in enumerate(answers) if j != i) for i in range(len(answers))]
    return _open_row(sum(min(1.0, n / 3) for n in others) / len(others), prediction)


def judged_row(score: float, target: Target) -> Row:
    """Row of a document that a judge scored, between 0 and 1."""
    return {"score": score, "valid": True, "prediction": None, "capability": str(target["capability"])}


def _mmvet_metrics(rows: Sequence[Row]) -> dict[str, Metric]:
    whole = mean(column(rows, "score"))
    parts = {c: [c in row["capability"].split(",") for row in rows] for c in CAPABILITIES}
    return {"score": whole, **{c: where(whole, mask) for c, mask in parts.items() if any(mask)}}


RULES: dict[str, Rule] = {
    "exact_match": Rule("lmms-eval 0.7.3 exact_match", _exact_match, accuracy),
    "exact_match_llava": Rule("LLaVA GQA evaluation", _exact_match_llava, accuracy),
    "vqa_accuracy": Rule("lmms-eval 0.7.3 textvqa, equal to LLaVA's", _vqa_accuracy, accuracy),
    "mmvet": Rule("MM-Vet prompt, judge model", None, _mmvet_metrics),
}
