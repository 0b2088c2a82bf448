"""From a file or a folder to stored records."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tops.benchmarks.scorers import rule_of, score_answers, summarise
from tops.errors import ConfigurationError, DataError
from tops.importing.angelslim import is_summary, read_summary
from tops.importing.budgets import backbone_named, of_angelslim, of_lmms_eval
from tops.importing.files import EXPECTED, json_file, not_a_log
from tops.importing.lmms_eval import NAME, read_log
from tops.importing.matching import benchmark_of, matched
from tops.planning import staging
from tops.settings.choices import backbone_config
from tops.settings.schema import ProfileConfig
from tops.store.answers import Answer
from tops.store.imported import Imported, write_imported

_TEMPLATE = "the chat template and the pictures' preparation"
_WORDS = "the prompts: the model's wrapper left none in the log"


@dataclass(frozen=True)
class Asked:
    """What the user says of a log.

    Attributes
    ----------
    profile : ProfileConfig
        Whose documents it answers.
    results : str
        Root of the store.
    backbone : str
        Catalogue name of its model; empty to take what the log says.
    title : str
        Name of the row; empty to take what the log says.
    """

    profile: ProfileConfig
    results: str
    backbone: str = ""
    title: str = ""


def import_logs(path: Path, asked: Asked) -> Iterator[Imported]:
    """Import a log, or all logs below a folder.

    Raises
    ------
    ConfigurationError
        If the path or the backbone does not exist.
    DataError
        If a file is no log, or does not fit the documents; nothing of that file is stored.
    """
    if asked.backbone:
        backbone_config(asked.backbone)
    if not path.exists():
        raise ConfigurationError(f"{path} does not exist; {EXPECTED}")
    staging.prepare(asked.profile)
    for file in logs_below(path):
        for record, answers in _records(file, asked):
            write_imported(asked.results, asked.profile.name, record, answers)
            yield record


def logs_below(path: Path) -> list[Path]:
    """The file itself, or the logs of a folder.

    Raises
    ------
    DataError
        If a folder has none.
    """
    if path.is_file():
        return [path]
    found = sorted(p for p in path.rglob("*.jsonl") if NAME.match(p.name))
    # Checkpoints of AngelSlim hold the first configurations of what the summary holds whole.
    found += sorted(path.rglob("final_summary_*.json"))
    if not found:
        raise DataError(f"no log lies below {path}; {EXPECTED}")
    return found


def _records(file: Path, asked: Asked) -> Iterator[tuple[Imported, list[Answer]]]:
    if NAME.match(file.name):
        yield _of_samples(file, asked)
        return
    if file.suffix == ".jsonl":
        read_log(file)  # says that the name lacks the task
    content = json_file(file)
    if is_summary(content):
        yield from _of_summary(file, content, asked)
    elif "results" in content and "configs" in content:
        raise not_a_log(file, "it is lmms-eval's results without the answers, which stand in its *_samples_*.jsonl")
    else:
        raise not_a_log(file, "neither lmms-eval nor AngelSlim writes such a file")


def _of_samples(file: Path, asked: Asked) -> tuple[Imported, list[Answer]]:
    log = read_log(file)
    benchmark = benchmark_of(log.task)
    model = next((log.arguments[n] for n in ("checkpoint", "pretrained", "model", "path") if n in log.arguments), "")
    backbone = asked.backbone or backbone_named(model, asked.profile)
    family = backbone_config(backbone).family if backbone else ""
    root = staging.data_root(asked.profile)
    found = matched(log, benchmark, root, miniature=asked.profile.miniature, family=family)
    told = of_lmms_eval(log.model, log.arguments, backbone, asked.profile)
    unknown = [*told.unknown, _TEMPLATE if found.said else _WORDS]
    if found.said and found.prompt is None:
        unknown.append("a prompt convention here that asks in its words")
    if not backbone:
        unknown.append("the model, among the catalogue's (backbone=NAME says it)")
    answers = list(found.answers)
    if rule_of(benchmark).row is not None:  # what no rule can score is said now, and not in a report
        summarise(benchmark, None, answers, score_answers(benchmark, None, answers))
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    record = Imported(
        key=_key(digest, asked, log.task),
        program="lmms-eval",
        file=file.name,
        sha256=digest,
        title=asked.title or told.title,
        model=model or log.model,
        backbone=backbone,
        task=log.task,
        benchmark=benchmark.name,
        told=log.told,
        documents=len(found.answers),
        budget=told.budget,
        tokens_per_layer=told.tokens,
        unknown=tuple(unknown),
        data_hash=found.data_hash,
        prompt=found.prompt,
    )
    return record, answers


def _of_summary(file: Path, content: dict[str, object], asked: Asked) -> Iterator[tuple[Imported, list[Answer]]]:
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    for configuration in read_summary(file, content):
        told = of_angelslim(configuration, asked.backbone, asked.profile)
        for task, metrics in configuration.told.items():
            benchmark = benchmark_of(task)
            yield (
                Imported(
                    key=_key(digest, asked, f"{configuration.name} {task}"),
                    program="AngelSlim",
                    file=file.name,
                    sha256=digest,
                    title=asked.title or f"{told.title} ({configuration.name.removesuffix('.yaml')})",
                    model="",
                    backbone=asked.backbone,
                    task=task,
                    benchmark=benchmark.name,
                    told=metrics,
                    budget=told.budget,
                    tokens_per_layer=told.tokens,
                    unknown=told.unknown,
                ),
                [],
            )


def _key(digest: str, asked: Asked, part: str) -> str:
    return hashlib.sha256("\0".join((digest, asked.backbone, asked.title, part)).encode()).hexdigest()[:16]
