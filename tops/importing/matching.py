"""The answers of a log against the staged documents of its task: the same targets, and the same words or not."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tops.benchmarks.benchmark import Benchmark, benchmark_names, load_benchmark
from tops.benchmarks.data import DataRoot, data_hash, dataset_folder, missing
from tops.benchmarks.documents import cluster_of, question_of, target_of
from tops.errors import DataError, nearest_names
from tops.evaluation.media import upright
from tops.importing.lmms_eval import Log, Sample
from tops.store.answers import Answer

if TYPE_CHECKING:
    from PIL.Image import Image

    from tops.benchmarks.tasks import Task


@dataclass(frozen=True)
class Matched:
    """Answers with what the rules need of their documents.

    Attributes
    ----------
    answers : tuple of Answer
        By rising document number.
    data_hash : str
        Of the staged documents.
    prompt : dict or None
        Prompt settings here under which every text is the log's own; None where no settings are, or none is told.
    said : bool
        Whether the log tells the texts at all.
    """

    answers: tuple[Answer, ...]
    data_hash: str
    prompt: dict[str, Any] | None
    said: bool


def benchmark_of(task: str) -> Benchmark:
    """The benchmark that asks a task of lmms-eval.

    Raises
    ------
    DataError
        If there is none, with the nearest names.
    """
    known = {load_benchmark(name).task: name for name in reversed(benchmark_names())}
    if task not in known:
        raise DataError(
            f"no benchmark here asks lmms-eval's task {task!r}. {nearest_names(task, known)} A YAML of your own under "
            "configs/benchmark/ adds one"
        )
    return load_benchmark(known[task])


def matched(log: Log, benchmark: Benchmark, root: DataRoot, *, miniature: bool, family: str) -> Matched:
    """Check a log against the staged documents.

    Raises
    ------
    DataError
        If the documents are not staged, or are not those that the log answers.
    """
    from tops.benchmarks.tasks import load_task

    lack = missing(benchmark, root)
    if lack is not None:
        raise DataError(f"{log.path} answers {benchmark.title}, and its documents are needed to score it: {lack}")
    found = data_hash(benchmark, root)
    profile = "miniature" if miniature else "paper"
    conventions = [None, *benchmark.conventions]
    specs = [benchmark.spec(found, profile=profile, convention=name, family=family) for name in conventions]
    task = load_task(benchmark, specs[0], root)
    answers = []
    for number in sorted(log.samples):
        answers.append(_answer(task, log, log.samples[number], str(dataset_folder(benchmark, root))))
    said = all(sample.words for sample in log.samples.values())
    prompt = None
    if said:
        fits = (spec.prompt for spec in specs if _same_words(log.samples, load_task(benchmark, spec, root)))
        prompt = next(fits, None)
    return Matched(tuple(answers), found, prompt, said)


def _answer(task: Task, log: Log, sample: Sample, folder: str) -> Answer:
    benchmark, number = task.benchmark, sample.number
    advice = "stage the data that the log was made on, or give the log of this task"
    if number >= len(task.documents):
        raise DataError(
            f"{log.path} answers document {number} of {log.task}, and {folder} has {len(task.documents)}; {advice}"
        )
    plain = task.documents.plain(number)
    target = str(task.stock.doc_to_target(plain))
    if target != sample.target:
        raise DataError(
            f"{log.path}: the target of document {number} is {sample.target!r}, and {folder} has {target!r}; {advice}"
        )
    pictures: tuple[Image, ...] = ()
    if "image" in benchmark.cluster:
        pictures = tuple(upright(image, squared=True) for image in task.visuals(task.documents[number]))
    return Answer(
        doc_id=number,
        cluster=cluster_of(benchmark, plain, number, pictures),
        prompt=sample.words,
        prompt_hash=hashlib.sha256(sample.words.encode()).hexdigest() if sample.words else "",
        question=question_of(benchmark, plain),
        answer=sample.answer,
        target=target_of(benchmark, plain),
        output_tokens=sample.output_tokens,
    )


def _same_words(samples: Mapping[int, Sample], task: Task) -> bool:
    return all(sample.words == task.text(task.documents.plain(number)) for number, sample in samples.items())
