"""Scoring rules: a rule turns a stored answer into a row, and rows into metrics that can be resampled."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from tops.statistics.metrics import Metric, mean
from tops.statistics.resampling import Floats

Row = dict[str, Any]
Target = Mapping[str, Any]


@dataclass(frozen=True)
class Rule:
    """How one toolkit scores one kind of benchmark.

    Attributes
    ----------
    source : str
        Origin of the rule, such as a toolkit or a benchmark's script.
    row : callable or None
        ``(answer, target) -> row``. A row has ``score`` (float, of this document alone), ``valid`` (whether the answer
        could be read), ``prediction`` (what was read, or None), and what ``metrics`` needs. None where a judge gives
        the rows.
    metrics : callable
        Rows to named metrics, on the scale that papers print (percent, points).
    """

    source: str
    row: Callable[[str, Target], Row] | None
    metrics: Callable[[Sequence[Row]], dict[str, Metric]]


def column(rows: Sequence[Row], name: str) -> list[Any]:
    """One field of all rows."""
    return [row[name] for row in rows]


def accuracy(rows: Sequence[Row]) -> dict[str, Metric]:
    """Mean score in percent."""
    return {"accuracy": mean(column(rows, "score"))}


def where(metric: Metric, mask: Sequence[bool]) -> Metric:
    """The same metric on some of the documents; the others have weight 0."""
    keep = np.asarray(mask, dtype=np.float64)[:, None]
    return replace(metric, statistics=metric.statistics * keep)


def by(rows: Sequence[Row], field: str, prefix: str = "") -> dict[str, Metric]:
    """Mean score in percent for each value of a field."""
    values = column(rows, field)
    whole = mean(column(rows, "score"))
    return {f"{prefix}{v}": where(whole, [x == v for x in values]) for v in sorted({*values}, key=str)}


def ratio(top: Floats, bottom: Floats) -> Floats:
    """top / bottom, 0 where the bottom is 0 (as the toolkits define precision and recall)."""
    return np.divide(top, bottom, out=np.zeros(np.broadcast(top, bottom).shape), where=np.asarray(bottom) > 0)


@cache
def stock(path: str) -> ModuleType:
    """A pure-Python module of lmms-eval by its path in the package, without importing the package (and torch).

    Parameters
    ----------
    path : str
        Such as ``tasks/_task_utils/mcq_extract.py``.
    """
    package = importlib.util.find_spec("lmms_eval")
    assert package is not None
    assert package.submodule_search_locations is not None
    file = Path(package.submodule_search_locations[0]) / path
    spec = importlib.util.spec_from_file_location(f"_stock_{file.stem}", file)
    assert isinstance(spec, ModuleSpec)
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
