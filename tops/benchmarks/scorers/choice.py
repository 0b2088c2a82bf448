"""Multiple-choice benchmarks on images: ScienceQA, MMBench, MMStar, AI2D."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from tops.benchmarks.scorers.open import normalised
from tops.benchmarks.scorers.parsing import inferred, letter, mmbench_static
from tops.benchmarks.scorers.rule import Row, Rule, Target, accuracy, by, column
from tops.statistics.metrics import Metric, all_right, mean_of_groups

LETTERS = "ABCDEFGHIJ"


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
    letters = LETTERS[: len(target["choices"])]
    text = answer.replace("\n", ". ")
    phrase = re.search(r"The answer is ([A-E])", text)
    if len(text.strip()) == 1:
        said = text.strip()
    elif len(text) >= 3 and text[1:3] == ". ":
        said = text[0]
    else:
        said = phrase.group(1) if phrase else ""
    prediction = said if said and said in letters else None
    return _row(prediction, LETTERS[int(target["answer"])])


# -- MMBench ----------------------------------------------------------------

Reader = Callable[[str, Mapping[str, str]], str | None]


def _mmbench(read: Reader) -> Callable[[str, Target], Row]:
    def row(answer: str, target: Target) -> Row:
        options = {k: target[k] for k in "ABCD" if target.get(k) not in (None, "nan", "")}
        base = int(target["index"]) % 1_000_000
        return _row(read(answer, options), str(target["answer"]), question=base, category=target.get("category"))

    return row


def _circular(rows: Sequence[Row]) -> dict[str, Metric]:
    """``accuracy``: questions right in every rotation of their options; ``vanilla``: rotations by themselves."""
    scores = column(rows, "score")
    return {"accuracy": all_right(scores, column(rows, "question")), "vanilla": accuracy(rows)["accuracy"]}


# -- MMStar ----------------------------------------------------------------


def _mmstar(answer: str, target: Target) -> Row:
    return _row(letter(answer, "ABCD"), _mmstar_truth(target), **_mmstar_place(target))


def _mmstar_vlmevalkit(answer: str, target: Target) -> Row:
    found = re.findall(r"([A-D]): (.*?)(?=, [A-D]: |$)", str(target["question"]).split("Options:")[-1], re.DOTALL)
    options = dict(found) or dict.fromkeys("ABCD", "\0")
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
    options = dict(zip(LETTERS, target["options"], strict=False))
    return _row(inferred(answer.strip(), options), LETTERS[int(target["answer"])])


RULES: dict[str, Rule] = {
    "scienceqa": Rule("lmms-eval 0.7.3 scienceqa", _scienceqa, accuracy),
    "scienceqa_llava": Rule("LLaVA eval_science_qa.py", _scienceqa_llava, accuracy),
    "mmbench": Rule("lmms-eval 0.7.3 mmbench, static", _mmbench(mmbench_static), _circular),
    "mmbench_vlmevalkit": Rule("VLMEvalKit, exact matching, circular", _mmbench(inferred), _circular),
    "mmstar": Rule("lmms-eval 0.7.3 mmstar", _mmstar, _mmstar_stock_metrics),
    "mmstar_vlmevalkit": Rule(
        "VLMEvalKit, exact matching", _mmstar_vlmevalkit, lambda rows: {**accuracy(rows), **by(rows, "category")}
    ),
    "ai2d": Rule("lmms-eval 0.7.3 ai2d, flexible-extract", _ai2d, accuracy),
    "ai2d_vlmevalkit": Rule("VLMEvalKit, exact matching", _ai2d_vlmevalkit, accuracy),
}
