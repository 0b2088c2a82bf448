"""Yes/no benchmarks: POPE, MME, HallusionBench."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from tops.benchmarks.scorers.parsing import llava_yes_or_no, mme_yes_or_no, yes_or_no
from tops.benchmarks.scorers.rule import Row, Rule, Target, accuracy, column, ratio, where
from tops.statistics.metrics import Metric, all_right, combined, f1, mean, mme
from tops.statistics.resampling import Floats

PERCEPTION = frozenset(
    ("existence", "count", "position", "color", "posters", "celebrity", "scene", "landmark", "artwork", "OCR")
)


def _row(prediction: str | None, truth: str, valid: bool, **more: object) -> Row:
    return {"score": float(prediction == truth), "valid": valid, "prediction": prediction, "truth": truth, **more}


def _truth(target: Target) -> str:
    truth = str(target["answer"]).lower().strip().replace(".", "")
    if truth not in ("yes", "no"):
        raise ValueError(f"the ground truth of a yes/no question is {target['answer']!r}")
    return truth


# -- POPE ----------------------------------------------------------------


def _pope_llava(answer: str, target: Target) -> Row:
    prediction, said = llava_yes_or_no(answer)
    return _row(prediction, _truth(target), said, split=target["category"])


def _pope_vlmevalkit(answer: str, target: Target) -> Row:
    prediction = yes_or_no(answer)
    return _row(prediction, _truth(target), prediction is not None, split=target["category"])


def _pope_lmms_eval(answer: str, target: Target) -> Row:
    prediction = answer.lower().strip()
    return _row(prediction, _truth(target), prediction in ("yes", "no"), split=target["category"])


def _pope_metrics(rows: Sequence[Row]) -> dict[str, Metric]:
    """``f1``: mean of the splits, as papers print it; ``f1_pooled``: all questions as one. An unread answer is a no."""
    truth = [row["truth"] == "yes" for row in rows]
    predicted = [row["prediction"] == "yes" for row in rows]
    pooled = f1(truth, predicted)
    splits = column(rows, "split")
    return {
        "f1": f1(truth, predicted, splits),
        "f1_pooled": pooled,
        **accuracy(rows),
        **{f"f1_{s}": where(pooled, [x == s for x in splits]) for s in sorted(set(splits))},
        **_precision_recall(rows),
    }


def _pope_stock_metrics(rows: Sequence[Row]) -> dict[str, Metric]:
    """lmms-eval's keys, in percent. An answer that is not exactly yes or no is left out of precision, recall and F1."""
    parts = _precision_recall(rows)
    both = parts["precision"].statistics, parts["recall"].statistics

    def value(sums: Floats) -> Floats:
        precision, recall = parts["precision"].value(sums[..., :2]), parts["recall"].value(sums[..., 2:])
        return 2 * ratio(precision * recall, precision + recall)

    return {
        "pope_f1_score": Metric(np.concatenate(both, axis=1), value, top=100.0),
        "pope_accuracy": mean(column(rows, "score")),
        "pope_precision": parts["precision"],
        "pope_recall": parts["recall"],
    }


def _precision_recall(rows: Sequence[Row]) -> dict[str, Metric]:
    truth = np.array([row["truth"] == "yes" for row in rows])
    yes = np.array([row["prediction"] == "yes" for row in rows])
    no = np.array([row["prediction"] == "no" for row in rows])

    def share(hit: np.ndarray, miss: np.ndarray) -> Metric:
        table = np.stack([hit, hit | miss], axis=1).astype(np.float64)
        return Metric(table, lambda s: 100 * ratio(s[..., 0], s[..., 1]), top=100.0)

    return {"precision": share(truth & yes, ~truth & yes), "recall": share(truth & yes, truth & no)}


# -- MME ----------------------------------------------------------------


def _mme_row(prediction: str | None, target: Target) -> Row:
    return _row(
        prediction,
        _truth(target),
        prediction is not None,
        category=target["category"],
        question_id=target["question_id"],
    )


def _mme_metrics(rows: Sequence[Row]) -> dict[str, Metric]:
    """Points: ``perception`` (at most 2000), ``cognition`` (800), ``total``, and each category (200)."""
    pairs: dict[tuple[str, str], int] = {}
    for row in rows:
        key = row["category"], row["question_id"]
        pairs[key] = pairs.get(key, 0) + 1
    odd = next((pair for pair, count in pairs.items() if count != 2), None)
    if odd is not None:
        raise ValueError(f"MME scores pairs of questions, but image {odd[1]!r} of {odd[0]!r} has {pairs[odd]}")
    out: dict[str, Metric] = {}
    for name, wanted in (("perception", True), ("cognition", False)):
        mask = [(row["category"] in PERCEPTION) is wanted for row in rows]
        if any(mask):
            out[name] = _only(mask, rows)
    if len(out) == 2:
        out["total"] = combined(list(out.values()), [1.0, 1.0])
    categories = column(rows, "category")
    return out | {name: _only([c == name for c in categories], rows) for name in sorted({*categories})}


def _only(mask: Sequence[bool], rows: Sequence[Row]) -> Metric:
    """MME points of the rows under a mask, as a metric over all rows."""
    picked = [i for i, keep in enumerate(mask) if keep]
    part = mme(
        [rows[i]["score"] for i in picked],
        [rows[i]["category"] for i in picked],
        [rows[i]["question_id"] for i in picked],
    )
    table = np.zeros((len(rows), part.statistics.shape[1]))
    table[picked] = part.statistics
    return replace(part, statistics=table, nested=([(r["category"], r["question_id"]) for r in rows],))


# -- HallusionBench ----------------------------------------------------------------


def _hallusion(answer: str, target: Target) -> Row:
    prediction = yes_or_no(answer)
    truth = "yes" if str(target["gt_answer"]) == "1" else "no"
    place = f"{target['category']}_{target['subcategory']}_{target['set_id']}"
    figure, question = f"{place}_{target['figure_id']}", f"{place}_{target['question_id']}"
    return _row(prediction, truth, prediction is not None, figure=figure, question=question)


def _hallusion_metrics(rows: Sequence[Row]) -> dict[str, Metric]:
    scores = column(rows, "score")
    parts = {
        "aAcc": mean(scores),
        "fAcc": all_right(scores, column(rows, "figure")),
        "qAcc": all_right(scores, column(rows, "question")),
    }
    return {"mean": combined(list(parts.values())), **parts}


RULES: dict[str, Rule] = {
    "pope_llava": Rule("LLaVA eval_pope.py; mean of the splits", _pope_llava, _pope_metrics),
    "pope_vlmevalkit": Rule("VLMEvalKit POPE_rating", _pope_vlmevalkit, _pope_metrics),
    "pope": Rule("lmms-eval 0.7.3 pope", _pope_lmms_eval, _pope_stock_metrics),
    "mme": Rule("lmms-eval 0.7.3 mme", lambda a, t: _mme_row(mme_yes_or_no(a), t), _mme_metrics),
    "mme_vlmevalkit": Rule("VLMEvalKit MME_rating", lambda a, t: _mme_row(yes_or_no(a), t), _mme_metrics),
    "hallusionbench": Rule("VLMEvalKit Hallusion_rating", _hallusion, _hallusion_metrics),
}
