"""Schema of the YAML files under ``configs/``: plain dataclasses; an unknown key is refused with the nearest names."""

from __future__ import annotations

import types
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from tops.budget import Protocol
from tops.errors import ConfigurationError, nearest_names

Acc = Literal["llava", "advanced", "video"]
Layout = Literal["benchmarks", "levels", "efficiency"]
Role = Literal["reference", "method", "control"]
Dtype = Literal["float32", "bfloat16", "float16"]
Attention = Literal["sdpa", "eager", "flash_attention_2"]
SignalName = Literal[
    "saliency", "received", "cls", "encoder", "text_tower", "frames"
]  # the values of tops.signals.Signal
EngineName = Literal["library", "vllm"]
Stop = Literal["separable"]  # when a column asks no further documents
Stale = Literal["refuse", "rerun", "keep"]  # what becomes of cells that other code answered
Positive = Annotated[int, 1]  # the least that it may be
Natural = Annotated[int, 0]
T = TypeVar("T")


@dataclass(frozen=True)
class MiniatureConfig:
    """The embedded checkpoint that stands for a backbone, and the shape of its prompts.

    ``video`` replaces the backbone's own ``video`` options; None keeps them.
    """

    checkpoint: str
    visual: Positive
    depth: Positive
    frames: Positive = 1
    options: dict[str, Any] = field(default_factory=dict)
    video: dict[str, Any] | None = None
    device_map: Literal["one", "auto"] = "one"


@dataclass(frozen=True)
class BackboneConfig:
    """``configs/backbone/<name>.yaml``: one model of the catalogue.

    Attributes
    ----------
    visual : int
        Visual tokens per image (per frame of a video) at the paper's input size.
    frames : int
        Images the paper feeds at once: 1, or the frames of a video.
    parameters : float
        Number of parameters of the whole model; downloads and memory are estimated from it.
    signals : tuple of str or None
        Names of ``tops.signals.Signal`` that this checkpoint has; None for all that its family has.
    text_tower : str or None
        CLIP checkpoint whose text tower belongs to the vision tower, for methods that compare patches with words.
    options : dict
        How prompts and pictures are prepared (:class:`tops.backbones.inputs.Inputs`).
    video : dict or None
        How videos are shown, in place of the same ``options``, for video benchmarks; None where they cannot be.
    methods : dict
        Method to its default options on this backbone: the paper's condition, where this differs from the method's own
        default. They are written out in every cell.
    width, feed_forward : int
        Hidden and intermediate size of the language model, for FLOPs.
    device_map : str
        ``auto`` spreads the layers over all GPUs that a worker has (``launcher.gpus_per_worker``).
    miniature : MiniatureConfig or None
        The embedded checkpoint that stands for this backbone in the miniature profile; None where there is none.
    """

    name: str
    title: str
    family: str
    checkpoint: str
    visual: Positive
    depth: Positive
    width: Positive
    feed_forward: Positive
    parameters: Annotated[float, 1]
    signals: tuple[SignalName, ...] | None = None
    text_tower: str | None = None
    miniature: MiniatureConfig | None = None
    frames: Positive = 1
    dtype: Dtype = "bfloat16"
    attention: Attention = "sdpa"
    options: dict[str, Any] = field(default_factory=dict)
    video: dict[str, Any] | None = None
    device_map: Literal["one", "auto"] = "one"
    methods: dict[str, dict[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class ProfileConfig:
    """``configs/profile/<name>.yaml``: which weights and data an experiment runs on.

    Attributes
    ----------
    checkpoints : str or None
        Folder of weights kept outside the hub cache, with one folder each, called by catalogue name
        (``llava-1.5-7b``) or by the last part of the hub id (``llava-1.5-7b-hf``).
    data : str or None
        Folder of the staged benchmarks; None for the place ``tops fetch`` uses.
    device : str
        ``cuda``, ``cpu`` or ``auto``: the GPU where there is one.
    miniature : bool
        Whether backbones are the embedded miniature checkpoints and benchmarks the generated ones.
    batch_size : int or "auto"
        Most prompts in one call of the model; 1 is what papers run, and ``auto`` as many as the free memory holds.
        Answers in float32 do not depend on it; in half precision some do, and there a size other than 1 is part of the
        cell.
    vision_memory_gb : float
        Main memory of each worker, in GB of 10**9 bytes, for vision features. Every method and budget of a backbone
        asks the same images; images whose features are held are not encoded again. Answers do not depend on it.
    allow_empty : bool
        Whether an empty answer counts as a wrong one that no rule could read. Otherwise its document has failed, and
        the cell has no score. Part of the cell.
    stock_words : tuple of str
        Benchmarks that are asked in lmms-eval's own words even if the experiment names another toolkit, because the
        models of the profile were not trained on that toolkit's words.
    judge : str or None
        Address of the judge model of judged benchmarks, OpenAI-compatible; None for that of ``TOPS_JUDGE_URL``, if any.
    device_map : str
        ``auto`` spreads the layers of every backbone over all GPUs of a worker, as the key of the same name does for
        one.
    judge_model : str
        Name the judge's server knows the model by; empty takes the only one that it lists.
    engine : {"library", "vllm"}
        What runs the models: this package with transformers, or vLLM with the plugin of :mod:`tops.serving`, which has
        continuous batching, for methods that look at the image alone and cut before the language model. Part of the
        cell.
    """

    name: str
    title: str
    device: Literal["auto", "cuda", "cpu"] = "auto"
    dtype: Dtype | None = None
    miniature: bool = False
    checkpoints: str | None = None
    data: str | None = None
    batch_size: Literal["auto"] | Positive = 1
    vision_memory_gb: Annotated[float, 0] = 0.0
    allow_empty: bool = False
    stock_words: tuple[str, ...] = ()
    judge: str | None = None
    judge_model: str = ""
    device_map: Literal["one", "auto"] = "one"
    engine: EngineName = "library"


@dataclass(frozen=True)
class LauncherConfig:
    """``configs/launcher/<name>.yaml``: where workers run.

    Attributes
    ----------
    kind : str
        ``local`` (processes of this machine), ``slurm`` (submitit) or ``ray``.
    workers : int
        Most workers at a time. 0, for ``local`` only, means one per GPU; on a CPU one per core, four at most.
    gpus_per_worker : int
        GPUs of a worker; with more than one a model's layers are spread over them.
    threads : int
        CPU threads of a worker; 0 leaves the libraries' own default.
    attempts : int
        How often a cell may end in failure before later runs set it aside.
    options : dict
        Passed to the executor: partition, timeout_min, ... for Slurm; address, ... for Ray.
    detach : bool
        Submit and return (``--detach``), for Slurm only.
    """

    kind: Literal["local", "slurm", "ray"]
    workers: Natural = 0
    gpus_per_worker: Positive = 1
    threads: Natural = 0
    attempts: Positive = 3
    options: dict[str, Any] = field(default_factory=dict)
    detach: bool = False


@dataclass(frozen=True)
class TrackingConfig:
    """``configs/tracking/<name>.yaml``: whether and how finished cells are published to Weights & Biases."""

    mode: Literal["disabled", "offline", "online"] = "disabled"
    project: str = "tops"
    entity: str | None = None
    directory: str = "results/wandb"


@dataclass(frozen=True)
class SuiteConfig:
    """``configs/suite/<name>.yaml``: benchmarks that are asked together."""

    name: str
    title: str
    benchmarks: tuple[str, ...]


@dataclass(frozen=True)
class PaperReference:
    """Where the paper shows this experiment."""

    tables: tuple[int, ...] = ()
    figures: tuple[int, ...] = ()


@dataclass(frozen=True)
class ColumnConfig:
    """A benchmark of an experiment.

    Attributes
    ----------
    slug, metric : str
        Name and metric of a part of the benchmark, as ``videomme_short``; both are empty for the whole benchmark and
        the metric that papers report.
    convention : str
        The prompt convention, one of the benchmark's ``conventions``; empty for its default.
    scorer : str
        The scorer that reads the answers, one of the benchmark's ``scorers``; empty for its default.
    backbones : tuple of str or None
        Backbones that are asked this benchmark; None for all backbones of the experiment.
    """

    benchmark: str
    slug: str = ""
    metric: str = ""
    convention: str = ""
    scorer: str = ""
    backbones: tuple[str, ...] | None = None


@dataclass(frozen=True)
class RowConfig:
    """A block of rows: the same rule for several methods.

    Attributes
    ----------
    methods : tuple of str
        Registry names; ``none`` is the unpruned model.
    variants : dict
        Label as in the published tables (``criteria=R+D``) to method options; empty for the method as it is.
    levels : tuple of str or None
        Labels of ``Experiment.levels``; None for all of them, empty for methods without a budget.
    backbones : tuple of str or None
        Backbones that have these rows; None for all backbones of the experiment.
    """

    methods: tuple[str, ...]
    role: Role = "method"
    options: dict[str, Any] = field(default_factory=dict)
    variants: dict[str, dict[str, Any]] = field(default_factory=dict)
    levels: tuple[str, ...] | None = None
    protocol: Protocol = "layer_average"
    seeds: tuple[int, ...] = (0,)
    backbones: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Experiment:
    """``configs/experiment/<name>.yaml``: the rows and columns of one table or figure.

    Attributes
    ----------
    levels : dict
        Label of a level (``77.8``) to its budget as printed in the paper: a count per image or frame for each backbone,
        or one keep ratio for all of them.
    acc : {"llava", "advanced", "video"}
        How scores become Acc (``tops.paper.aggregation``); over the benchmarks shown where the rule knows none of them.
    layout : {"benchmarks", "levels", "efficiency"}
        The main table: a column per benchmark; methods by models and budgets, Rel alone; or costs and a score.
    toolkit : str
        Default convention and scorer: a column that names none takes those of this name, if its benchmark has them.
    limit : dict
        Profile to the number of documents per benchmark: one number for all, or a mapping by benchmark name, since a
        noisier benchmark needs more. A profile or benchmark that is not named runs all documents.
    record_kept : bool or dict
        Store which tokens each cut kept, for figures and overlays: of all documents, or profile to a number of them.
    subject : str
        The method that the experiment is about: reports set it against each of the others. Where it does not run,
        reports use the leading method instead.
    """

    name: str
    title: str
    backbones: tuple[str, ...]
    benchmarks: tuple[ColumnConfig, ...]
    rows: tuple[RowConfig, ...]
    levels: dict[str, dict[str, int | float]] = field(default_factory=dict)
    paper: PaperReference = field(default_factory=PaperReference)
    toolkit: str = ""
    acc: Acc = "llava"
    layout: Layout = "benchmarks"
    limit: dict[str, int | dict[str, int]] = field(default_factory=dict)
    record_kept: bool | dict[str, int] = False
    subject: str = "tops"


@dataclass(frozen=True)
class Stopping:
    """``stop=separable``: a column asks no further documents once its methods are told apart.

    Attributes
    ----------
    margin : float
        Smallest difference of the mean score that matters, in points of 100. Two methods that are shown to differ by
        less count as decided. With 0 every difference matters.
    """

    margin: float = 2.0


def recorded(experiment: Experiment, profile: str) -> bool | int:
    """How many documents of each cell have their kept tokens stored; True for all, False for none."""
    if isinstance(experiment.record_kept, bool):
        return experiment.record_kept
    return experiment.record_kept.get(profile, False)


def parse(cls: type[T], values: Any, where: str) -> T:
    """Make a dataclass of this module from plain YAML values.

    Raises
    ------
    ConfigurationError
        For an unknown key (with the nearest names), a missing one, or a value of another type; the message names
        ``where``.
    """
    if not isinstance(values, dict):
        raise ConfigurationError(f"{where}: expected a mapping for {cls.__name__}, not {values!r}")
    known = {f.name: f for f in fields(cls) if f.init}  # type: ignore[arg-type]
    for key in values:
        if key not in known:
            raise ConfigurationError(f"{where}: unknown key {key!r}. {nearest_names(str(key), known)}")
    missing = [n for n, f in known.items() if n not in values and f.default is MISSING and f.default_factory is MISSING]
    if missing:
        raise ConfigurationError(f"{where}: {', '.join(missing)} must be given")
    hints = get_type_hints(cls, include_extras=True)
    return cls(**{key: typed(hints[key], value, f"{where}: {key}") for key, value in values.items()})


def typed(hint: Any, value: Any, where: str) -> Any:
    """``value`` as the type ``hint``; lists become tuples, mappings become dataclasses.

    Raises
    ------
    ConfigurationError
        If ``value`` is not of that type; the message names ``where``.
    """
    origin, args = get_origin(hint), get_args(hint)
    if hint is Any:
        return value
    if origin is Annotated:
        number = typed(args[0], value, where)
        if number < args[1]:
            raise ConfigurationError(f"{where} is {value!r}; it must be at least {args[1]}")
        return number
    if origin is Literal:
        if value not in args:
            raise ConfigurationError(f"{where} is {value!r}. {nearest_names(str(value), map(str, args))}")
        return value
    if origin in (Union, types.UnionType):
        if value is None and type(None) in args:
            return None
        for arg in (a for a in args if a is not type(None)):
            try:
                return typed(arg, value, where)
            except ConfigurationError as error:
                last = error
        raise last
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise ConfigurationError(f"{where} must be a list, not {value!r}")
        return tuple(typed(args[0], item, f"{where}[{i}]") for i, item in enumerate(value))
    if origin is dict:
        if not isinstance(value, dict):
            raise ConfigurationError(f"{where} must be a mapping, not {value!r}")
        return {typed(args[0], k, where): typed(args[1], v, f"{where}.{k}") for k, v in value.items()}
    if hint is ColumnConfig and isinstance(value, str):
        return ColumnConfig(value, value)
    if is_dataclass(hint) and isinstance(hint, type):
        return parse(hint, value, where)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool):
        raise ConfigurationError(f"{where} is {value!r}, which is not {hint.__name__}")
    return value
