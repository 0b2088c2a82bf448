"""Answers in a few words about text, charts, documents and photographs: OCRBench, ChartQA, ANLS, VizWiz, VQAv2."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from tops.benchmarks.scorers import open as open_answers
from tops.benchmarks.scorers.rule import Row, Rule, Target, accuracy, by, column, stock
from tops.statistics.metrics import Metric, mean

OCRBENCH_QUESTIONS = 1000
ANLS_FROM = 0.5  # an answer below it counts as a different one, not as misspelt
_FULL_WIDTH = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)} | {0x3000: 0x20}


def _row(score: float, answer: str, **more: object) -> Row:
    return {"score": float(score), "valid": bool(answer.strip()), "prediction": answer, **more}


def _by(field: str, name: str) -> Any:
    """A function from rows to metrics: accuracy, and the accuracy for each value of a field."""

    def metrics(rows: Sequence[Row]) -> dict[str, Metric]:
        return {**accuracy(rows), **by(rows, field, name)}

    return metrics


# -- OCRBench ----------------------------------------------------------------


def _ocrbench(answer: str, target: Target) -> Row:
    """Right if one of the true texts occurs in the answer; formulas are compared without spaces and with case."""
    texts = target["answer"]
    read = _formula if target["dataset"] == "HME100k" else _plain
    given = read(answer)
    found = any(read(text) in given for text in ([texts] if isinstance(texts, str) else texts))
    return _row(found, answer, question_type=target["question_type"])


def _formula(text: str) -> str:
    return text.strip().replace("\n", " ").replace(" ", "")


def _plain(text: str) -> str:
    return text.translate(_FULL_WIDTH).lower().strip().replace("\n", " ")


def _ocrbench_metrics(rows: Sequence[Row]) -> dict[str, Metric]:
    """``score``: right answers out of 1000, scaled up where fewer were asked; percent beside it."""
    score = mean(column(rows, "score"), float(OCRBENCH_QUESTIONS))
    return {"score": score, **accuracy(rows), **by(rows, "question_type")}


# -- ChartQA ----------------------------------------------------------------


def _chartqa(answer: str, target: Target) -> Row:
    """Right if a number is within 5 %; any other answer must equal the text, without regard to case."""
    right = stock("tasks/chartqa/utils.py").relaxed_correctness(answer, str(target["answer"]))
    return _row(right, answer, split=str(target["type"]).removesuffix("_test"))


# -- DocVQA, InfoVQA ----------------------------------------------------------------


def _anls(answer: str, target: Target) -> Row:
    """One minus the edit distance to the nearest answer, as a share of the longer text; 0 below one half."""
    given = " ".join(answer.strip().lower().split())
    best = 0.0
    for text in target["answers"]:
        length = max(len(text), len(answer))
        distance = edit_distance(" ".join(text.strip().lower().split()), given)
        best = max(best, 1.0 - (distance / length if length else 0.0))
    return _row(best if best >= ANLS_FROM else 0.0, answer)


def edit_distance(one: str, other: str) -> int:
    """Levenshtein's distance: insertions, deletions and exchanges of single characters."""
    before = list(range(len(other) + 1))
    for i, a in enumerate(one, 1):
        row = [i]
        for j, b in enumerate(other, 1):
            row.append(min(before[j] + 1, row[-1] + 1, before[j - 1] + (a != b)))
        before = row
    return before[-1]


def _anls_metrics(rows: Sequence[Row]) -> dict[str, Metric]:
    """Mean ANLS in percent, as papers print it."""
    return {"anls": mean(column(rows, "score"))}


# -- VizWiz, VQAv2 ----------------------------------------------------------------


def _vizwiz(answer: str, target: Target) -> Row:
    row = open_answers.RULES["vqa_accuracy"].row
    assert row is not None
    return {**row(answer, target), "category": target["category"]}


@cache
def _eval_ai() -> Any:
    return stock("tasks/_task_utils/vqa_eval_metric.py").EvalAIAnswerProcessor()


def _vqa(text: str) -> str:
    text = text.replace("\n", " ").replace("\t", " ").strip()
    return str(_eval_ai().process_digit_article(_eval_ai().process_punctuation(text)))


def _vqav2(answer: str, target: Target) -> Row:
    """Mean over the ten annotators of min(1, agreement of the other nine / 3)."""
    prediction = _vqa(answer)
    same = [_vqa(said["answer"]) == prediction for said in target["answers"]]
    shares = [min(1.0, (sum(same) - own) / 3) for own in same]
    row = _row(sum(shares) / len(shares), prediction, answer_type=target["answer_type"])
    return {**row, "valid": bool(answer.strip())}


RULES: dict[str, Rule] = {
    "ocrbench": Rule("lmms-eval 0.7.3 ocrbench", _ocrbench, _ocrbench_metrics),
    "chartqa": Rule("lmms-eval 0.7.3 chartqa, relaxed correctness", _chartqa, _by("split", "")),
    "anls": Rule("lmms-eval 0.7.3 anls, threshold 0.5", _anls, _anls_metrics),
    "vizwiz": Rule("lmms-eval 0.7.3 vizwiz_vqa", _vizwiz, _by("category", "")),
    "vqav2": Rule("lmms-eval 0.7.3 vqav2", _vqav2, _by("answer_type", "")),
}
