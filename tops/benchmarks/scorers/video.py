"""Multiple-choice benchmarks on videos: Video-MME, MLVU, LongVideoBench."""

from __future__ import annotations

import re
from collections.abc import Sequence

from tops.benchmarks.scorers.parsing import letter
from tops.benchmarks.scorers.rule import Row, Rule, Target, accuracy, by, column, where
from tops.statistics.metrics import Metric, mean_of_groups

PERCEPTION = ("S2E", "S2O", "S2A", "E2O", "O2E", "T2E", "T2O", "T2A")
_PREFIXES = (
    "The best answer is",
    "The correct answer is",
    "The answer is",
    "The answer",
    "The best option is",
    "The correct option is",
    "Best answer:",
    "Best option:",
)


def _row(prediction: str | None, truth: str, **more: object) -> Row:
    return {"score": float(prediction == truth), "valid": prediction is not None, "prediction": prediction, **more}


def _videomme(answer: str, target: Target) -> Row:
    return _row(letter(answer, "ABCD"), str(target["answer"]), duration=target["duration"], domain=target["domain"])


def _videomme_metrics(rows: Sequence[Row]) -> dict[str, Metric]:
    return {**accuracy(rows), **by(rows, "duration"), **by(rows, "domain")}


def _mlvu(answer: str, target: Target) -> Row:
    return _row(letter(answer, "ABCD"), str(target["answer"]), task=target["task_type"])


def _mlvu_metrics(rows: Sequence[Row]) -> dict[str, Metric]:
    """``m_avg``: mean over the tasks that were asked (stock counts a task without documents as 0)."""
    return {"m_avg": mean_of_groups(column(rows, "score"), column(rows, "task")), **accuracy(rows), **by(rows, "task")}


def _longvideobench(answer: str, target: Target) -> Row:
    """Reads the first of A to E after the usual phrases; where lmms-eval guesses at random, the answer is wrong."""
    text = answer.strip()
    for prefix in _PREFIXES:
        text = text.replace(prefix, "")
    found = re.search("[ABCDE]", text)
    return _row(
        found[0] if found else None,
        "ABCDE"[int(target["correct_choice"])],
        duration=target["duration_group"],
        perception=target["question_category"] in PERCEPTION,
    )


def _longvideobench_metrics(rows: Sequence[Row]) -> dict[str, Metric]:
    """``perception`` and ``relation`` are the benchmark's two levels of question categories."""
    whole = accuracy(rows)["accuracy"]
    perception = [bool(row["perception"]) for row in rows]
    levels = {"perception": perception, "relation": [not p for p in perception]}
    parts = {name: where(whole, mask) for name, mask in levels.items() if any(mask)}
    return {"accuracy": whole, **parts, **by(rows, "duration", "duration_")}


RULES: dict[str, Rule] = {
    "videomme": Rule("lmms-eval 0.7.3 videomme", _videomme, _videomme_metrics),
    "mlvu": Rule("lmms-eval 0.7.3 mlvu_dev", _mlvu, _mlvu_metrics),
    "longvideobench": Rule("lmms-eval 0.7.3 longvideobench, no guessing", _longvideobench, _longvideobench_metrics),
}
