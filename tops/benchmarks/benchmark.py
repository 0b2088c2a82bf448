"""Definition of a benchmark: one YAML file under ``configs/benchmark/``, read into a plain dataclass."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

from tops.benchmarks.source import DataSource, Turns
from tops.benchmarks.wording import check_wording, is_wording
from tops.errors import ConfigurationError, nearest_names
from tops.fingerprint import of_file
from tops.references import is_reference, locate
from tops.settings.choices import choice_file, choice_names, raw_choice
from tops.settings.folders import is_built_in
from tops.settings.schema import parse
from tops.store.cell import BenchmarkSpec
from tops.store.hashes import remember_earlier

Group = Literal["yes/no", "mcq", "open", "judged", "video"]


@dataclass(frozen=True)
class Benchmark:
    """One benchmark and how it is asked and scored.

    Attributes
    ----------
    task : str
        Stock lmms-eval task whose prompts and documents are used, or the file of one of your own (``./my_task.yaml``).
    metric : str
        Metric of the default scorer that tables print; its unit is ``scale``.
    scale : str
        ``percent`` (0 to 100) or ``points``.
    maximum : float
        Best value of ``metric``.
    chance : float or None
        Value of ``metric`` for answers drawn at random; None for open questions.
    cluster : tuple of str
        Fields that define the clusters: documents that agree in them are resampled together. ``image`` stands for the
        picture itself; empty makes each document a cluster. ``cluster_modulo`` is applied to a numeric field.
    whole_groups : bool
        Whether documents of a cluster are scored together, so that a limited run must not split a cluster.
    strata : tuple of str
        Fields whose values take turns in a limited run, where the metric is put together from parts.
    question : str
        Field with the user's plain words, given to methods that read the question.
    target : tuple of str
        Fields of the document that are stored with the answer; the scorers need no others.
    prompt : dict
        Overrides of the stock prompt settings (``pre_prompt``, ``post_prompt``, ``ocr``).
    hint, choices : str
        Fields with a document's hint and options, for conventions with a wording of their own
        (:func:`tops.benchmarks.wording.parts_of`).
    conventions : dict
        Named alternatives to ``prompt``, chosen with ``benchmark.convention=...`` or by a column of an experiment:
        settings of the stock prompt, or the words of another toolkit (``text``, ``option``, ...;
        ``wording: NAME`` takes those of ``configs/wording/NAME.yaml``). ``generation`` overrides answer lengths,
        ``families`` any of these for one family of models.
    generation : dict
        ``max_new_tokens`` and ``allow_empty`` (an empty answer counts as wrong instead of as a failed document).
    scorers : dict
        Public scorer name to the rule that implements it (``tops.benchmarks.scorers``).
    scorer : str
        Name of the scorer to report. A judged benchmark has no scores until the judge has scored it.
    reported : str
        Description of the number that papers print for this benchmark.
    miniature : dict
        Overrides of the miniature profile: ``generation``.
    extends : str
        Benchmark whose documents and settings are used where this file does not give its own.
    parts : tuple of str
        Names of parts, each of which is a stock task, asked together as one benchmark: ``{part}`` in ``task``,
        ``data.config`` and ``data.split`` stands for each, and a document has the field ``part``.
    interleaved : bool
        Whether pictures are put into the question at ``<image 1>`` instead of before it.
    measure : str
        ``answers``: generated and scored; ``fidelity``: how far the model moves from the unpruned one
        (:mod:`tops.evaluation.fidelity`); ``turns``: generated in conversations and scored by turn.
    turns : Turns or None
        Settings of ``measure: turns``; None for other measures.
    """

    name: str
    title: str
    group: Group
    modality: Literal["image", "video"]
    task: str
    data: DataSource
    metric: str
    scale: Literal["percent", "points"]
    scorer: str
    scorers: dict[str, str]
    target: tuple[str, ...]
    generation: dict[str, Any]
    reported: str
    question: str = "question"
    maximum: float = 100.0
    chance: float | None = None
    cluster: tuple[str, ...] = ()
    cluster_modulo: int | None = None
    whole_groups: bool = False
    strata: tuple[str, ...] = ()
    prompt: dict[str, Any] = field(default_factory=dict)
    hint: str = ""
    choices: str = ""
    conventions: dict[str, dict[str, Any]] = field(default_factory=dict)
    miniature: dict[str, Any] = field(default_factory=dict)
    extends: str = ""
    parts: tuple[str, ...] = ()
    interleaved: bool = False
    measure: Literal["answers", "fidelity", "turns"] = "answers"
    turns: Turns | None = None

    def __post_init__(self) -> None:
        where = f"benchmark {self.name!r}"
        if self.scorer not in self.scorers:
            raise ConfigurationError(f"{where}: scorer {self.scorer!r}. {nearest_names(self.scorer, self.scorers)}")
        _check_generation(self.generation, where)
        if self.parts and "{part}" not in self.task:
            raise ConfigurationError(f"{where} has parts, but its task {self.task!r} has no {{part}} to put them in")
        if (self.measure == "turns") != (self.turns is not None):
            raise ConfigurationError(f"{where}: `measure: turns` and `turns: {{questions: 4, cut: first}}` go together")
        if self.turns is not None and self.interleaved:
            raise ConfigurationError(
                f"{where}: turns need pictures before the words, and `interleaved` puts them among"
            )
        if self.turns is not None and (self.judged or not self.cluster or "image" in self.cluster):
            raise ConfigurationError(
                f"{where}: turns need a rule that scores each answer, and fields in `cluster` that tell questions of "
                f"one picture; this one has group {self.group!r} and cluster {list(self.cluster)}"
            )
        for name in self.conventions:
            for family in ("", *self._named(name).get("families", {})):
                spot = f"{where}, convention {name!r}" + (f" for {family}" if family else "")
                check_wording(self.prompt_settings(name, family), spot)
                _check_generation(self.answer_settings(name, family), spot)

    @property
    def source(self) -> str:
        """Name under which the documents are staged."""
        return self.extends or self.name

    @property
    def judged(self) -> bool:
        """Whether scoring needs a judge model."""
        return self.group == "judged"

    def check_convention(self, convention: str | None) -> None:
        """Refuse a convention that this benchmark does not have.

        Raises
        ------
        ConfigurationError
            With the known names.
        """
        if convention not in (None, "", "default") and convention not in self.conventions:
            known = ["default", *self.conventions]
            raise ConfigurationError(
                f"benchmark {self.name!r} has no prompt convention {convention!r}; it has {', '.join(known)}. "
                f"{nearest_names(str(convention), known)}"
            )

    def check_scorer(self, scorer: str) -> None:
        """Refuse a scorer that this benchmark does not have; an empty name means the default scorer.

        Raises
        ------
        ConfigurationError
            With the known names.
        """
        if scorer and scorer not in self.scorers:
            raise ConfigurationError(
                f"benchmark {self.name!r} has no scorer {scorer!r}; it has {', '.join(self.scorers)}. "
                f"{nearest_names(scorer, self.scorers)}"
            )

    def prompt_settings(self, convention: str | None = None, family: str = "") -> dict[str, Any]:
        """Prompt settings of a named convention for a family of models; the default ones for None.

        Raises
        ------
        ConfigurationError
            For an unknown convention, with the nearest names.
        """
        asked = {k: v for k, v in self._convention(convention, family).items() if k != "generation"}
        return asked if is_wording(asked) else {**self.prompt, **asked}

    def answer_settings(self, convention: str | None = None, family: str = "") -> dict[str, Any]:
        """``max_new_tokens`` and ``allow_empty`` of a named convention for a family of models."""
        return {**self.generation, **self._convention(convention, family).get("generation", {})}

    def _convention(self, convention: str | None, family: str) -> dict[str, Any]:
        """Settings that a convention changes, with those for the family merged in."""
        self.check_convention(convention)
        found = self._named(convention or "")
        own = found.pop("families", {})
        return {**found, **own.get(family, {})}

    def _named(self, convention: str) -> dict[str, Any]:
        found = dict(self.conventions.get(convention, {}))
        name = found.pop("wording", None)
        return {**raw_choice("wording", name), **found} if name else found

    def spec(
        self,
        data_hash: str,
        *,
        profile: str = "paper",
        convention: str | None = None,
        family: str = "",
        limit: int | None = None,
    ) -> BenchmarkSpec:
        """The part of a cell's specification that this benchmark fills.

        Parameters
        ----------
        data_hash : str
            From :func:`tops.benchmarks.data.data_hash`.
        profile : str
            ``miniature`` applies the miniature overrides.
        convention : str, optional
            Named prompt convention; it appears in the specification.
        family : str
            Family of models that is asked; a toolkit may have its own wording for it.
        limit : int, optional
            Most documents to ask, drawn over the whole split; None for all.
        """
        if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 1):
            raise ConfigurationError(f"limit is {limit!r}; give a whole number of documents, at least 1")
        small = self.miniature if profile == "miniature" else {}
        return BenchmarkSpec(
            name=self.name,
            task=self.task,
            split=self.data.split,
            data_hash=data_hash,
            prompt={"convention": convention or "default", **self.prompt_settings(convention, family)},
            generation={
                "allow_empty": False,
                **self.answer_settings(convention, family),
                **small.get("generation", {}),
            },
            limit=limit,
            turns={} if self.turns is None else asdict(self.turns),
        )


def _check_generation(settings: dict[str, Any], where: str) -> None:
    tokens = settings.get("max_new_tokens")
    if not isinstance(tokens, int) or isinstance(tokens, bool) or tokens < 1:
        raise ConfigurationError(
            f"{where}: generation.max_new_tokens is {tokens!r}; it must be pinned to a positive int"
        )
    known = ("max_new_tokens", "allow_empty")
    for key in settings:
        if key not in known:
            raise ConfigurationError(f"{where}: generation.{key}: decoding is greedy. {nearest_names(key, known)}")


@cache
def _load(name: str, file: Path, changed: int) -> Benchmark:
    content = {"name": name, **raw_choice("benchmark", name, inherit=True)}
    data = content.get("data")
    if isinstance(data, dict) and str(data.get("path", "")).startswith(("./", "../", "~")):  # of the user's own
        content["data"] = {**data, "path": str((file.parent / Path(data["path"]).expanduser()).resolve())}
    return parse(Benchmark, content, str(file))


def benchmark_names() -> list[str]:
    """Names of all benchmarks, sorted; those that only measure something else on another's documents are left out."""
    return [name for name in choice_names("benchmark") if not load_benchmark(name).extends]


def load_benchmark(name: str) -> Benchmark:
    """A benchmark by name.

    Raises
    ------
    ConfigurationError
        For an unknown name, with the nearest ones.
    """
    file = choice_file("benchmark", name)
    return _load(name, file, file.stat().st_mtime_ns)


_LATER = ("parts", "interleaved", "only", "explode", "turns")  # settings that cells of earlier versions do not know


def benchmark_source(name: str) -> str:
    """Digest of a benchmark that is not part of the package: its settings, and the user's own task and rule files.

    Empty for the built-in ones, whose settings are in every cell and whose code is the package's.
    """
    file = choice_file("benchmark", name)
    if is_built_in(file):
        return ""
    benchmark = load_benchmark(name)
    settings = {k: v for k, v in asdict(benchmark).items() if k != "title" and (v or k not in _LATER)}
    data = settings["data"]  # its path is a folder of this machine, maybe
    settings["data"] = {k: v for k, v in data.items() if k != "path" and (v or k not in _LATER)}
    total = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    earlier = total.copy()  # of the version that hashed the bytes of Python files
    for rule in benchmark.scorers.values():
        if is_reference(rule):
            source = locate(rule, file.parent, Path())
            total.update(source.digest.encode())
            earlier.update(source.earlier.encode())
    if benchmark.task.endswith(".yaml"):
        task = own_task(benchmark)
        for path in sorted([task, *task.parent.glob("*.py")]):
            total.update(of_file(path).encode() if path.suffix == ".py" else path.read_bytes())
            earlier.update(path.read_bytes())
    remember_earlier(total.hexdigest(), earlier.hexdigest())
    return total.hexdigest()


def own_task(benchmark: Benchmark) -> Path:
    """The file of a task of the user's own, ``task: ./my_task.yaml``, beside the benchmark's or in the working folder.

    Raises
    ------
    ConfigurationError
        If there is no such file.
    """
    near = choice_file("benchmark", benchmark.name).parent
    places = [folder / benchmark.task for folder in (near, Path())]
    for place in places:
        if place.is_file():
            return place.resolve()
    raise ConfigurationError(
        f"benchmark {benchmark.name!r}: there is no task {' or '.join(map(str, places))}; correct `task:`"
    )


def suite_names() -> list[str]:
    """Names of all suites, sorted."""
    return choice_names("suite")


def load_suite(name: str) -> tuple[str, ...]:
    """Benchmarks of a suite; for the name of a benchmark, that one alone.

    Raises
    ------
    ConfigurationError
        For an unknown name, with the nearest ones.
    """
    if name in choice_names("benchmark"):
        return (name,)
    if name not in suite_names():
        raise ConfigurationError(f"unknown suite {name!r}. {nearest_names(name, [*suite_names(), *benchmark_names()])}")
    return tuple(load_benchmark(b).name for b in raw_choice("suite", name)["benchmarks"])
