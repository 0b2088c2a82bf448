"""Option letters of SEED-Image, RealWorldQA and MVBench, each as lmms-eval reads them."""

from __future__ import annotations

from collections.abc import Sequence
from string import ascii_uppercase

from tops.benchmarks.scorers.parsing import letter
from tops.benchmarks.scorers.rule import Row, Rule, Target, accuracy, by, column, stock
from tops.statistics.metrics import Metric, mean_of_groups

LETTERS = "ABCDE"


def _row(prediction: str | None, truth: str, **more: object) -> Row:
    return {
        "score": float(prediction is not None and prediction == truth),
        "valid": prediction is not None,
        "prediction": prediction,
        **more,
    }


def _seedbench(answer: str, target: Target) -> Row:
    """Reads the first character of the answer, whatever follows it."""
    first = answer.strip()[:1].upper()
    kind = f"question_type_{target['question_type_id']}"
    return _row(first if first and first in "ABCD" else None, str(target["answer"]).strip().upper(), kind=kind)


def _realworldqa(answer: str, target: Target) -> Row:
    """Reads a letter where the truth is a letter; else compares words without case and full stop."""
    truth = str(target["answer"]).strip()
    if truth.upper() in ("A", "B", "C", "D"):
        return _row(letter(answer, "ABCD"), truth.upper(), kind="options")
    return _row(answer.lower().strip().rstrip(".") or None, truth.lower(), kind="open")


def _mvbench(answer: str, target: Target) -> Row:
    """Reads the letter that lmms-eval's comparison finds. An empty answer counts as wrong; lmms-eval leaves it out."""
    same = stock("tasks/mvbench/utils.py").mcq_acc
    truth = ascii_uppercase[list(target["candidates"]).index(target["answer"])]
    said = next((c for c in LETTERS if same(c, answer)), None)
    return _row(said, truth, task=target["part"])


def _by_kind(rows: Sequence[Row]) -> dict[str, Metric]:
    return {**accuracy(rows), **by(rows, "kind")}


def _mvbench_metrics(rows: Sequence[Row]) -> dict[str, Metric]:
    """``m_avg``: mean of the twenty tasks' accuracies, over those that were asked."""
    return {"m_avg": mean_of_groups(column(rows, "score"), column(rows, "task")), **accuracy(rows), **by(rows, "task")}


RULES: dict[str, Rule] = {
    "seedbench": Rule("lmms-eval 0.7.3 seedbench", _seedbench, _by_kind),
    "realworldqa": Rule("lmms-eval 0.7.3 realworldqa", _realworldqa, _by_kind),
    "mvbench": Rule("lmms-eval 0.7.3 mvbench", _mvbench, _mvbench_metrics),
}
