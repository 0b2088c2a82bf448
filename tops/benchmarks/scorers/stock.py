"""A stock task's own scoring function as a rule, so that a benchmark without a rule here needs only a YAML file."""

from __future__ import annotations

from copy import deepcopy
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from tops.benchmarks.scorers.rule import Row, Rule, Target, accuracy, stock
from tops.errors import ConfigurationError, nearest_names

STOCK = "stock:"


def _source(file: str) -> str:
    package = find_spec("lmms_eval")
    folders = package.submodule_search_locations if package else None
    path = Path(folders[0]) / "tasks" / file if folders else Path(file)
    return path.read_text(encoding="utf-8") if path.is_file() else ""


@cache
def stock_rule(text: str, where: str) -> Rule:
    """The rule that ``stock:chartqa/utils.py:chartqa_process_results:relaxed_overall`` names in a benchmark's YAML.

    The function gets the stored target as its document, so ``target`` must hold the fields that it reads. Its metric
    must be a number from 0 to 1 that the task aggregates by the mean; the benchmark's ``metric`` is ``accuracy``.

    Parameters
    ----------
    text : str
        File below lmms-eval's ``tasks``, function, metric.
    where : str
        Name of the benchmark or file that names the rule, for messages.

    Raises
    ------
    ConfigurationError
        If there is no such file or function.
    """
    parts = text.split(":")
    if len(parts) != 3:
        raise ConfigurationError(f"{where}: {STOCK}{text} is not {STOCK}FILE:FUNCTION:METRIC")
    file, function, metric = parts
    if "lmms_eval" in _source(file):
        # It would change this process if the file imported it by itself. By name, since reports score too, and need it
        # only for such a rule.
        import_module("tops.benchmarks.quiet").import_lmms_eval()
    try:
        module = stock(f"tasks/{file}")
    except OSError as error:
        raise ConfigurationError(f"{where}: lmms-eval has no tasks/{file} ({error})") from None
    process = getattr(module, function, None)
    if process is None:
        known = [name for name in vars(module) if name.endswith("process_results")]
        raise ConfigurationError(f"{where}: tasks/{file} has no {function!r}. {nearest_names(function, known)}")

    def row(answer: str, target: Target) -> Row:
        results = process(deepcopy(dict(target)), [answer])  # stock code rewrites its document's answers in place
        if metric not in results:
            raise KeyError(f"{function} gives no {metric!r}, but {', '.join(results)}")
        score = results[metric]
        if not isinstance(score, int | float) or not 0 <= score <= 1:
            raise ValueError(f"{metric} is {score!r}, not a number from 0 to 1")
        return {"score": float(score), "valid": bool(answer), "prediction": answer}

    return Rule(f"lmms-eval 0.7.3 {function}, mean of {metric}", row, accuracy)
