"""Multiple-choice benchmarks on images: ScienceQA, MMBench, MMStar, AI2D."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from tops.benchmarks.scorers.open import normalised
from tops.benchmarks.scorers.parsing import inferred, letter, mmbench_static
from tops.benchmarks.scorers.rule import Row, Rule, Target, accuracy, by, column
from tops.benchmarks.wording import inline_options
from tops.statistics.metrics import Metric, all_right, mean_of_groups

LETTERS = "ABCDEFGHIJ"
_LLAVA_LETTERS = tuple("ABCDE")


def _row(prediction: str | None, truth: str, **more: object) -> Row:
    return {
        "score": float(prediction == truth),
        "valid": prediction is not None,
        "prediction": prediction,
        "truth": truth,
        **more,
    }


# -- ScienceQA ----------------------------------------------------------------


def _scienceqa(answer: str, target: Target) -> Row:
    letters = LETTERS[: len(target["choices"])]
    text = answer.strip()
    prediction = None
    if text.upper() in letters and len(text) == 1:
        prediction = text.upper()
    elif len(text) >= 2 and text[0] in letters and text[1] == ".":
        prediction = text[0]
    return _row(prediction, LETTERS[int(target["answer"])])


def _scienceqa_llava(answer: str, target: Target) -> Row:
    """Reads a lone letter, a letter before ". ", or the only "The answer is B." (any letter, then any character)."""
    said = re.findall(r"The answer is ([A-Z]).", answer)
    if answer in _LLAVA_LETTERS:
        letter_said = answer
    elif len(answer) >= 3 and answer[0] in _LLAVA_LETTERS and answer[1:3] == ". ":
        letter_said = answer[0]
    else:
        letter_said = said[0] if len(said) == 1 else ""
    exists = letter_said in _LLAVA_LETTERS[: len(target["choices"])]
    return _row(letter_said if exists else None, LETTERS[int(target["answer"])])


def _scienceqa_vlmevalkit(answer: str, target: Target) -> Row:
    return _row(inferred(answer, _lettered(target["choices"])), LETTERS[int(target["answer"])])


def _lettered(choices: Sequence[str]) -> dict[str, str]:
    return dict(zip(LETTERS, choices, strict=False))


# -- MMBench ----------------------------------------------------------------

Reader = Callable[[str, Mapping[str, str]], str | None]


def _mmbench(read: Reader) -> Callable[[str, Target], Row]:
    def row(answer: str, target: Target) -> Row:
        options = {k: target[k] for k in "ABCD" if target.get(k) not in (None, "nan", "")}
        base = int(target["index"]) % 1_000_000
        return _row(read(answer, options), str(target["answer"]), question=base, category=target.get("category"))

    return row


def _circular(rows: Sequence[Row]) -> dict[str, Metric]:
    """``accuracy``: questions right in every rotation of their options; ``vanilla``: each rotation by itself."""
    scores = column(rows, "score")
    return {"accuracy": all_right(scores, column(rows, "question")), "vanilla": accuracy(rows)["accuracy"]}


# -- MMStar ----------------------------------------------------------------


def _mmstar(answer: str, target: Target) -> Row:
    return _row(letter(answer, "ABCD"), _mmstar_truth(target), **_mmstar_place(target))


def _mmstar_vlmevalkit(answer: str, target: Target) -> Row:
    options = inline_options(str(target["question"]))[1] or dict.fromkeys("ABCD", "\0")
    return _row(inferred(answer, options), _mmstar_truth(target), **_mmstar_place(target))


def _mmstar_truth(target: Target) -> str:
    return str(target["answer"]).strip().upper()


def _mmstar_place(target: Target) -> dict[str, str]:
    return {"category": target["category"], "l2_category": target["l2_category"]}


def _mmstar_stock_metrics(rows: Sequence[Row]) -> dict[str, Metric]:
    """``average``: mean over the fine categories, as lmms-eval; ``accuracy``: over questions."""
    return {
        "average": mean_of_groups(column(rows, "score"), column(rows, "l2_category")),
        **accuracy(rows),
        **by(rows, "category"),
    }


# -- AI2D ----------------------------------------------------------------


def _ai2d(answer: str, target: Target) -> Row:
    started = re.match(r"\s*([A-Z])\.", answer)
    truth = LETTERS[int(target["answer"])]
    text = normalised(started.group(1) if started else answer.strip())
    prediction = text.upper() if len(text) == 1 and text.upper() in LETTERS[: len(target["options"])] else None
    return _row(prediction, truth)


def _ai2d_vlmevalkit(answer: str, target: Target) -> Row:
    return _row(inferred(answer, _lettered(target["options"])), LETTERS[int(target["answer"])])


_VLMEVALKIT = "VLMEvalKit, exact matching"

RULES: dict[str, Rule] = {
    "scienceqa": Rule("lmms-eval 0.7.3 scienceqa", _scienceqa, accuracy),
    "scienceqa_llava": Rule("LLaVA eval_science_qa.py", _scienceqa_llava, accuracy),
    "scienceqa_vlmevalkit": Rule(_VLMEVALKIT, _scienceqa_vlmevalkit, accuracy),
    "mmbench": Rule("lmms-eval 0.7.3 mmbench, static", _mmbench(mmbench_static), _circular),
    "mmbench_vlmevalkit": Rule(f"{_VLMEVALKIT}, circular", _mmbench(inferred), _circular),
    "mmstar": Rule("lmms-eval 0.7.3 mmstar", _mmstar, _mmstar_stock_metrics),
    "mmstar_vlmevalkit": Rule(_VLMEVALKIT, _mmstar_vlmevalkit, lambda rows: {**accuracy(rows), **by(rows, "category")}),
    "ai2d": Rule("lmms-eval 0.7.3 ai2d, flexible-extract", _ai2d, accuracy),
    "ai2d_vlmevalkit": Rule(_VLMEVALKIT, _ai2d_vlmevalkit, accuracy),
}
