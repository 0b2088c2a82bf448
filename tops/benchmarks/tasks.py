"""A stock lmms-eval task, built from its own YAML with explicit overrides, on staged data only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from tops.benchmarks.benchmark import Benchmark, own_task
from tops.benchmarks.built import note_built, verified
from tops.benchmarks.data import DataRoot, data_hash, dataset_folder, document_files, missing
from tops.benchmarks.documents import limited
from tops.benchmarks.quiet import environment, import_lmms_eval, without_dataset_bars
from tops.benchmarks.split import Documents, Joined
from tops.benchmarks.turns import conversations
from tops.benchmarks.view import as_staged
from tops.benchmarks.wording import is_wording, parts_of, worded
from tops.errors import ConfigurationError, DataError, TopsError
from tops.fingerprint import cache_folder
from tops.store.cell import BenchmarkSpec
from tops.store.hashes import same_content

GREEDY: Mapping[str, Any] = {"do_sample": False, "temperature": 0, "num_beams": 1}
TASKS_HELD = 32  # enough for all benchmarks of an experiment, which come back row after row
NEUTRAL = "tops"  # no task has settings for a model of this name: prompts come from its ``default``


class Task:
    """One benchmark, ready to be asked.

    Attributes
    ----------
    stock : ConfigurableMessagesTask
        The lmms-eval task, which gives prompts and pictures; of a benchmark with parts, the first one.
    documents : Documents or Joined
        Documents of the benchmark's split.
    key : str
        Identifies specification and data; two tasks with the same key ask the same questions.
    """

    def __init__(
        self,
        benchmark: Benchmark,
        stock: Any,
        documents: Documents | Joined,
        wording: Mapping[str, str] | None = None,
        parts: Mapping[str, Any] | None = None,
    ) -> None:
        self.benchmark, self.stock, self.documents, self._wording = benchmark, stock, documents, wording
        self._parts = parts or {}
        self.key = ""
        self._numbers: dict[int | None, list[int]] = {}
        self._conversations: dict[int | None, list[tuple[int, ...]]] = {}

    def numbers(self, limit: int | None) -> list[int]:
        """Numbers of the documents that a limited run asks (:func:`tops.benchmarks.documents.limited`)."""
        if self.benchmark.turns is not None:
            return sorted(number for group in self.conversations(limit) for number in group)
        if limit is None:
            return list(range(len(self.documents)))
        if limit not in self._numbers:
            self._numbers[limit] = limited(self.benchmark, self._plain(), limit)
        return list(self._numbers[limit])

    def conversations(self, limit: int | None) -> list[tuple[int, ...]]:
        """Numbers of the documents that a limited run asks, grouped by conversation, for a benchmark asked in turns."""
        if limit not in self._conversations:
            self._conversations[limit] = conversations(self.benchmark, self._plain(), limit)
        return self._conversations[limit]

    def _plain(self) -> list[dict[str, Any]]:
        return [self.documents.plain(i) for i in range(len(self.documents))]

    def text(self, document: Mapping[str, Any]) -> str:
        """The prompt text of a document: the stock one, or in the words of the convention."""
        if self._wording is not None:
            asked = self.benchmark
            parts = parts_of(document, question=asked.question, hint=asked.hint, choices=asked.choices)
            return worded(self._wording, parts)
        return str(self._stock(document).doc_to_text(document))

    def visuals(self, document: Mapping[str, Any]) -> list[Any]:
        """Pictures (PIL) or video paths of a document.

        Raises
        ------
        DataError
            If a video is not staged; stock code would leave the whole process.
        """
        try:
            found = list(self._stock(document).doc_to_visual(document) or [])
        except SystemExit as error:
            raise DataError(f"{error}; run `tops fetch benchmark={self.benchmark.name}`") from None
        absent = next((v for v in found if isinstance(v, str) and not Path(v).exists()), None)
        if absent is not None:
            raise DataError(f"there is no {absent}; run `tops fetch benchmark={self.benchmark.name}`")
        return found

    def _stock(self, document: Mapping[str, Any]) -> Any:
        return self._parts[document["part"]] if self._parts else self.stock

    def request(self, number: int, messages: Any, generation: Mapping[str, Any]) -> Any:
        """A stock request for one document whose messages are ``messages(document)``."""
        from lmms_eval.api.instance import Instance

        split = self.benchmark.data.split
        settings = {**GREEDY, "max_new_tokens": generation["max_new_tokens"]}
        arguments = ("", messages, settings, number, self.stock.config.task, split)
        metadata = {"task": self.stock.config.task, "doc_id": number, "repeats": 1}
        return Instance(
            request_type="generate_until",
            arguments=arguments,
            idx=0,
            task_name=self.stock.config.task,
            doc_id=number,
            metadata=metadata,
        )


_built: dict[str, Task] = {}


def stock_yaml(name: str) -> Path:
    """The YAML of a stock task, by its name; no user folder can shadow it.

    Raises
    ------
    ConfigurationError
        If lmms-eval has no such task.
    """
    import lmms_eval

    tasks = Path(lmms_eval.__file__).parent / "tasks"
    found = sorted(tasks.glob(f"*/{name}.yaml")) or sorted(tasks.rglob(f"{name}.yaml"))
    if not found:
        raise ConfigurationError(f"lmms-eval has no task {name!r}; correct `task:` in the benchmark's YAML")
    return found[0]


def load_task(benchmark: Benchmark, spec: BenchmarkSpec, root: DataRoot) -> Task:
    """Build a task as a cell specifies it, or give the one built before for the same specification and data.

    Raises
    ------
    DataError
        If the data is not staged, is not what the cell was planned on, or cannot be read.
    """
    lack = missing(benchmark, root)
    if lack is not None:
        raise DataError(lack)
    found = data_hash(benchmark, root)
    if spec.data_hash and not same_content(found, spec.data_hash):
        raise DataError(
            f"{benchmark.name}: the data in {dataset_folder(benchmark, root)} has the hash {found[:12]}, but the cell "
            f"was planned on {spec.data_hash[:12]}; plan again, or stage the data it names"
        )
    key = repr((benchmark, replace(spec, limit=None), root, found))
    if key in _built:
        return _built[key]
    import_lmms_eval()
    from tenacity import RetryError  # stock tries a table five times

    with environment(root.hf_home), without_dataset_bars():
        try:
            task = _build(benchmark, spec, root, found)
        except TopsError:
            raise
        except (OSError, ValueError, KeyError, RetryError) as error:
            why = error.last_attempt.exception() if isinstance(error, RetryError) else error
            raise DataError(f"{benchmark.name} in {dataset_folder(benchmark, root)}: {why}") from error
    if len(_built) >= TASKS_HELD:
        del _built[next(iter(_built))]
    _built[key], task.key = task, key
    return task


def _build(benchmark: Benchmark, spec: BenchmarkSpec, root: DataRoot, found: str) -> Task:
    overrides = {k: v for k, v in spec.prompt.items() if k != "convention"}
    wording = overrides if is_wording(overrides) else None
    settings = {} if wording else overrides
    cache = verified(cache_folder() / "datasets" / found[:16])
    folder = as_staged(dataset_folder(benchmark, root), document_files(benchmark, root), cache / "view")
    built = {part: _part(benchmark, part, spec, settings, folder, cache) for part in benchmark.parts or ("",)}
    note_built(cache)
    stocks = {part: stock for part, (stock, _) in built.items()}
    documents = {part: documents for part, (_, documents) in built.items()}
    if benchmark.parts:
        return Task(benchmark, next(iter(stocks.values())), Joined(documents), wording, stocks)
    return Task(benchmark, stocks[""], documents[""], wording)


def _part(
    benchmark: Benchmark, part: str, spec: BenchmarkSpec, overrides: dict[str, Any], folder: Path, cache: Path
) -> tuple[Any, Documents]:
    """One stock task and its documents."""
    from lmms_eval.api.task import ConfigurableMessagesTask
    from lmms_eval.utils import load_yaml_config

    name, data = benchmark.task.replace("{part}", part), benchmark.data
    split, config_name = data.split.replace("{part}", part), data.config and data.config.replace("{part}", part)
    task = own_task(benchmark) if name.endswith(".yaml") else stock_yaml(name)
    config = load_yaml_config(str(task), mode="full")
    settings = {**config.get("lmms_eval_specific_kwargs", {}).get("default", {})}
    unknown = sorted(set(overrides) - {"pre_prompt", "post_prompt", *settings})
    if unknown:
        raise ConfigurationError(f"task {name} has no prompt setting {', '.join(unknown)}")
    config.update(
        dataset_path=str(folder),
        dataset_name=config_name,
        dataset_kwargs={"cache_dir": str(cache)},  # stock asks for a login, or downloads videos
        process_docs=None,
        lmms_eval_specific_kwargs={"default": {**settings, **overrides}} if settings or overrides else None,
        model_specific_generation_kwargs=None,
        generation_kwargs={**GREEDY, "max_new_tokens": spec.generation["max_new_tokens"]},
        metric_list=[{"metric": "bypass", "aggregation": "bypass", "higher_is_better": True}],
        test_split=split,
    )

    class Unopened(ConfigurableMessagesTask):  # type: ignore[misc]
        """Documents without pictures: the task's constructor makes the prompt of document 0, which needs none."""

        def test_docs(self) -> Any:
            import datasets

            rows = self.dataset_no_image[self.config.test_split]
            if not data.explode:
                return rows
            first = rows[0]
            return datasets.Dataset.from_list([{**first, data.explode: first[data.explode][0]}])

    stock = Unopened(config=config, model_name=NEUTRAL)
    with_media = stock.dataset[split]
    plain = with_media.remove_columns([n for n, kind in with_media.features.items() if _holds_pictures(kind)])
    if not data.also:
        return stock, Documents(with_media, plain, only=data.only, explode=data.explode)
    images = _load(str(folder), data.also[0], split, str(cache))
    row_of = {name: row for row, name in enumerate(images["id"])}
    return stock, Documents(with_media, plain, images, [row_of[i] for i in plain["imageId"]])


def _holds_pictures(kind: Any) -> bool:
    """Whether a column holds pictures or lists of them, which are decoded when they are looked at."""
    import datasets

    return isinstance(kind, datasets.Image) or isinstance(getattr(kind, "feature", None), datasets.Image)


def _load(folder: str, config: str, split: str, cache: str) -> Any:
    import datasets

    return datasets.load_dataset(folder, config, split=split, cache_dir=cache)
