"""Summaries of AngelSlim's evaluation of token compressors: ``final_summary_*.json``, ``results_checkpoint_*.json``.

It runs lmms-eval and keeps its aggregated scores and the compressor's settings for each configuration; neither the
answers nor the model's name are in them. A compressor at stage ``global`` runs before the first decoder layer, one at
stage k behind layer k; ``ratio`` is the share that it drops.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tops.errors import DataError
from tops.importing.files import not_a_log
from tops.importing.lmms_eval import told_metrics

KEEPS_ALL = "baseline"  # whatever its ratio says
_LONGEST = 20_000  # characters of printed settings; real ones have some hundreds
NAMES = {
    "special_token_based_attention": "FastV",
    "dart": "DART",
    "divprune": "DivPrune",
    "hiprune": "HiPrune",
    "idpruner": "IDPruner",
    "random": "Random",
    "scope": "SCOPE",
    "vision_selector": "VisionSelector",
    "visionzip": "VisionZip",
    "vispruner": "VisPruner",
    KEEPS_ALL: "Unpruned",
}
_FIELDS = ("config_path", "results", "strategies")


@dataclass(frozen=True)
class Stage:
    """One compressor: behind which layer (-1 for before the first), its name, the share that it keeps."""

    behind: int
    strategy: str
    keeps: float


@dataclass(frozen=True)
class Configuration:
    """One configuration of a summary.

    Attributes
    ----------
    name : str
        File name of its YAML.
    stages : tuple of Stage
        In the order in which they run; empty where they cannot be read.
    told : dict of str to dict
        Task to metrics.
    """

    name: str
    stages: tuple[Stage, ...]
    told: dict[str, dict[str, float]]

    @property
    def title(self) -> str:
        """Of its row."""
        names = dict.fromkeys(NAMES.get(stage.strategy, stage.strategy) for stage in self.stages)
        return " and ".join(names) or self.name.removesuffix(".yaml")

    def kept(self, layers: int) -> list[float]:
        """Share of the visual tokens that each of ``layers`` decoder layers sees."""
        shares, share = [], 1.0
        left = {stage.behind: stage.keeps for stage in self.stages}
        share *= left.get(-1, 1.0)
        for layer in range(layers):
            shares.append(share)
            share *= left.get(layer, 1.0)
        return shares

    @property
    def budget(self) -> str:
        """In words."""
        if not self.stages:
            return ""
        said = []
        for stage in self.stages:
            where = "before the first layer" if stage.behind < 0 else f"behind layer {stage.behind}"
            said.append(f"{100 * stage.keeps:.4g} % of the visual tokens kept {where}")
        return ", then ".join(said)


def is_summary(content: Mapping[str, Any]) -> bool:
    """Whether a JSON object is such a summary."""
    values = list(content.values())
    return bool(values) and all(isinstance(v, dict) and all(name in v for name in _FIELDS) for v in values)


def read_summary(path: Path, content: Mapping[str, Any]) -> list[Configuration]:
    """Configurations of a summary.

    Raises
    ------
    DataError
        If it is none, or has no scores.
    """
    if not is_summary(content):
        raise not_a_log(path, f"its entries do not have {', '.join(_FIELDS)}")
    found = []
    for name, entry in content.items():
        results = entry["results"]
        told = {}
        for task, metrics in results.items() if isinstance(results, dict) else ():
            if isinstance(metrics, dict) and (values := told_metrics(metrics)):
                told[task] = values
        if not told:
            raise DataError(f"{path}: {name} has no scores; its run failed, so take the entry out or run it again")
        found.append(Configuration(name, stages_of(str(entry["strategies"])), told))
    return found


def stages_of(text: str) -> tuple[Stage, ...]:
    """The printed settings of the compressors, read as text: nothing of it is evaluated.

    Parameters
    ----------
    text : str
        Such as ``{'global': StrategyConfig(strategy='visionzip', params={'ratio': 0.9}, ...)}``.

    Returns
    -------
    tuple of Stage
        Empty where it says anything else, or a share that is none.
    """
    try:
        tree = ast.parse(text[:_LONGEST], mode="eval").body
        if not isinstance(tree, ast.Dict):
            return ()
        stages = [_stage(key, value) for key, value in zip(tree.keys, tree.values, strict=True)]
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError):
        return ()
    # With a global compressor, AngelSlim estimates the cost by it alone, but runs the others too.
    return tuple(sorted(stages, key=lambda stage: stage.behind))


def _stage(key: ast.expr | None, value: ast.expr) -> Stage:
    if key is None or not isinstance(value, ast.Call):
        raise ValueError("not a stage with its settings")
    where = ast.literal_eval(key)
    given = {word.arg: word.value for word in value.keywords if word.arg is not None}
    strategy, params = ast.literal_eval(given["strategy"]), ast.literal_eval(given["params"])
    ratio = 0.0 if strategy == KEEPS_ALL else params["ratio"]
    known = where == "global" or (isinstance(where, int) and not isinstance(where, bool) and where >= 0)
    if not known or not isinstance(ratio, int | float) or isinstance(ratio, bool) or not 0 <= ratio <= 1:
        raise ValueError("no stage, or no share")
    return Stage(-1 if where == "global" else where, str(strategy), 1.0 - ratio)
