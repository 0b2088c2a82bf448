"""Logs of lmms-eval: ``<date>_samples_<task>.jsonl`` of ``--log_samples``, with ``<date>_results.json`` beside it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tops.errors import DataError
from tops.importing.files import json_file, json_lines, not_a_log

NAME = re.compile(r"^(?P<date>.*)_samples_(?P<task>.+)\.jsonl$")
_SECRET = re.compile(r"(?i)(key|token|secret|password)=[^,]*")


@dataclass(frozen=True)
class Sample:
    """One answered document.

    Attributes
    ----------
    number : int
        In the task's split.
    target, answer : str
        As lmms-eval writes them.
    words : str
        Text of the prompt without its template; empty where the model's wrapper does not leave it in the log.
    output_tokens : int
        0 where it is not told.
    """

    number: int
    target: str
    answer: str
    words: str
    output_tokens: int


@dataclass(frozen=True)
class Log:
    """One task of one run.

    Attributes
    ----------
    path : Path
        Of the samples.
    task : str
        lmms-eval's name.
    samples : dict of int to Sample
        By document.
    model : str
        Name of the wrapper; empty without results beside the samples.
    arguments : dict of str to str
        Of the model, as they were given.
    told : dict of str to float
        Metrics of the results.
    version : str
        Of lmms-eval, as it says.
    """

    path: Path
    task: str
    samples: dict[int, Sample]
    model: str = ""
    arguments: dict[str, str] = field(default_factory=dict)
    told: dict[str, float] = field(default_factory=dict)
    version: str = ""


def read_log(path: Path) -> Log:
    """Samples and the results beside them.

    Raises
    ------
    DataError
        If it is no such log, a line is damaged, or a document stands twice.
    """
    named = NAME.match(path.name)
    if named is None:
        raise not_a_log(path, "its name is not DATE_samples_TASK.jsonl, and the task stands nowhere else")
    samples: dict[int, Sample] = {}
    lines: dict[int, int] = {}
    for line, row in json_lines(path):
        sample = _sample(path, line, row)
        if sample.number in samples:
            raise DataError(
                f"{path}: document {sample.number} stands in lines {lines[sample.number]} and {line}; lmms-eval adds "
                "to a file that is there, so keep the lines of one run alone"
            )
        samples[sample.number], lines[sample.number] = sample, line
    if not samples:
        raise not_a_log(path, "it is empty")
    beside = path.with_name(f"{named['date']}_results.json")
    if not beside.is_file():
        return Log(path, named["task"], samples)
    results = json_file(beside)
    config = results.get("config")
    config = config if isinstance(config, dict) else {}
    return Log(
        path,
        named["task"],
        samples,
        model=str(config.get("model") or ""),
        arguments=_arguments(config.get("model_args")),
        told=told_metrics(_of(results.get("results"), named["task"])),
        version=str(results.get("lmms_eval_version") or ""),
    )


def told_metrics(content: Mapping[str, Any]) -> dict[str, float]:
    """Metrics of one task's results, without their errors: ``exact_match,none`` is ``exact_match``."""
    found = {}
    for name, value in content.items():
        metric = name.partition(",")[0]
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if number and "stderr" not in metric and metric not in ("samples", "alias"):
            found[metric] = float(value)
    return found


def _of(content: object, name: str) -> Mapping[str, Any]:
    found = content.get(name) if isinstance(content, dict) else None
    return found if isinstance(found, dict) else {}


def _sample(path: Path, line: int, row: Mapping[str, Any]) -> Sample:
    missing = [name for name in ("doc_id", "target", "filtered_resps") if name not in row]
    if missing:
        raise not_a_log(path, f"line {line} has no {', '.join(missing)}")
    number, answer = row["doc_id"], row["filtered_resps"]
    if not isinstance(number, int) or isinstance(number, bool) or number < 0:
        raise not_a_log(path, f"line {line} has doc_id {number!r}")
    while isinstance(answer, list) and len(answer) == 1:
        answer = answer[0]
    if not isinstance(answer, str):
        raise DataError(
            f"{path}: line {line} holds {len(answer) if isinstance(answer, list) else 'no'} answers to document "
            f"{number}; one generated text a document can be scored, so log a run without repeats or choices"
        )
    counts = row.get("token_counts")
    first = counts[0] if isinstance(counts, list) and counts else None
    tokens = first.get("output_tokens") if isinstance(first, dict) else None
    words = row.get("input")
    return Sample(
        number,
        str(row["target"]),
        answer.strip(),
        words if isinstance(words, str) else "",
        int(tokens) if isinstance(tokens, int) and tokens >= 0 else 0,
    )


def _arguments(given: object) -> dict[str, str]:
    """``checkpoint=x,budget=64`` as a mapping, secrets left out."""
    if isinstance(given, dict):
        pairs = [f"{name}={value}" for name, value in given.items()]
    else:
        pairs = str(given or "").split(",")
    clean = [_SECRET.sub("", pair) for pair in pairs]
    return dict(pair.split("=", 1) for pair in clean if "=" in pair)
