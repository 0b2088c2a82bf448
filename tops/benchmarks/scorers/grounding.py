"""Boxes that a model names in text: RefCOCO."""

from __future__ import annotations

import re
from collections.abc import Sequence

from tops.benchmarks.scorers.rule import Row, Rule, Target, accuracy, by, column
from tops.statistics.metrics import Metric, mean

Box = tuple[float, float, float, float]  # left, top, right, bottom, as shares of the picture's width and height
THRESHOLDS = (0.1, 0.3, 0.5, 0.7, 0.9)
_NUMBER = r"(-?\d+(?:\.\d+)?)"
_BOX = re.compile(r"\[\s*" + r",\s*".join([_NUMBER] * 4) + r"\s*\]")


def named_box(text: str) -> Box | None:
    """The first four numbers in square brackets; None where there are none."""
    found = _BOX.search(text)
    return None if found is None else (float(found[1]), float(found[2]), float(found[3]), float(found[4]))


def overlap(one: Box, other: Box) -> float:
    """Intersection over union of two boxes; 0 where they have no area."""
    width = max(0.0, min(one[2], other[2]) - max(one[0], other[0]))
    height = max(0.0, min(one[3], other[3]) - max(one[1], other[1]))
    union = _area(one) + _area(other) - width * height
    return width * height / union if union else 0.0


def _area(box: Box) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def _refcoco(answer: str, target: Target) -> Row:
    """Right if the IoU is at least one half. As in lmms-eval, numbers are 0 to 1; pixels or thousandths are invalid."""
    left, top, width, height = target["bbox"]
    across, down = target["image_width"], target["image_height"]
    truth = (left / across, top / down, (left + width) / across, (top + height) / down)
    box = named_box(answer)
    said = box or (0.0, 0.0, 0.0, 0.0)
    iou = overlap(truth, said)
    middle = (said[0] + said[2]) / 2, (said[1] + said[3]) / 2
    return {
        "score": float(iou >= 0.5),
        "valid": box is not None and all(0 <= number <= 1 for number in box),
        "prediction": None if box is None else list(box),
        "iou": iou,
        "centre": float(truth[0] <= middle[0] <= truth[2] and truth[1] <= middle[1] <= truth[3]),
        "part": target["part"],
    }


def _metrics(rows: Sequence[Row]) -> dict[str, Metric]:
    """In percent: accuracy at an IoU of one half and at other thresholds, mean IoU, centres in the true box."""
    ious = column(rows, "iou")
    at = {f"accuracy_{least}": mean([float(iou >= least) for iou in ious]) for least in THRESHOLDS}
    return {
        **accuracy(rows),
        **by(rows, "part"),
        **at,
        "iou": mean(ious),
        "centre": mean(column(rows, "centre")),
    }


RULES: dict[str, Rule] = {"refcoco": Rule("lmms-eval 0.7.3 refcoco_bbox_rec, IoU of 0.5", _refcoco, _metrics)}
