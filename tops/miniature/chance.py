"""What each miniature benchmark scores without looking, in the unit of its reported metric."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from statistics import fmean
from typing import Any

from tops.miniature.choice_documents import CIRCULAR_STEP

Rows = Sequence[Mapping[str, Any]]
MME_PERCEPTION = ("existence", "count", "position", "color", "scene", "OCR")


def _options(column: str) -> Callable[[Rows], float]:
    return lambda rows: 100 * fmean(1 / len(row[column]) for row in rows)


def _circular(rows: Rows) -> float:
    turns = Counter(row["index"] % CIRCULAR_STEP for row in rows)
    return 100 * fmean((1 / count) ** count for count in turns.values())


def _mme(rows: Rows) -> float:
    # per category: half of the questions right, both of a pair right in a quarter of the images
    return sum(100 * (0.5 + 0.25) for category in MME_PERCEPTION if any(row["category"] == category for row in rows))


def _long(rows: Rows) -> float:
    return 100 * fmean(1 / sum(row[f"option{i}"] != "N/A" for i in range(5)) for row in rows)


def _most_frequent(answer: Callable[[Mapping[str, Any]], str]) -> Callable[[Rows], float]:
    return lambda rows: 100 * Counter(map(answer, rows)).most_common(1)[0][1] / len(rows)


_CHANCE: Mapping[str, Callable[[Rows], float]] = {
    "gqa": _most_frequent(lambda row: str(row["answer"])),
    "textvqa": _most_frequent(lambda row: str(row["answers"][0])),
    "pope": lambda rows: 50.0,
    "mme": _mme,
    "hallusionbench": lambda rows: 100 * (0.5 + 0.25 + 0.25) / 3,
    "mmvet": _most_frequent(lambda row: str(row["answer"])),
    "mmbench_en": _circular,
    "mmbench_cn": _circular,
    "scienceqa_img": _options("choices"),
    "mmstar": lambda rows: 100 * fmean(1 / (row["question"].rsplit("Options: ", 1)[1].count(": ")) for row in rows),
    "ai2d": _options("options"),
    "mlvu": _options("candidates"),
    "longvideobench": _long,
    "videomme": _options("options"),
    "ocrbench": lambda rows: 10 * _most_frequent(lambda row: str(row["answer"][0]))(rows),
    "chartqa": _most_frequent(lambda row: str(row["answer"])),
    "refcoco": lambda rows: 0.0,
}


def chance_of(benchmark: str, rows: Rows) -> float:
    """Expected score of a guess that is uniform over the options, or over yes and no.

    For open questions, which have no options, the score of always giving the most frequent answer; for boxes that of
    the whole picture.

    Parameters
    ----------
    benchmark : str
        Key of `tops.miniature.benchmarks.BENCHMARKS`.
    rows : sequence of mapping
        Its documents.

    Returns
    -------
    float
        Points of perception for MME, of 1000 for OCRBench, else percent: F1 for POPE, circular accuracy for MMBench,
        the mean of the three accuracies for HallusionBench, accuracy for the others.
    """
    return round(_CHANCE[benchmark](rows), 2)
