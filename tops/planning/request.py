"""From a composed configuration, swept or not, to one plan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper

from tops.errors import ConfigurationError, nearest_names
from tops.evaluation.media import Inputs
from tops.planning import resolve
from tops.planning.plan import Column, Plan, PlannedCell, PlanStatus, Row, assemble, plan
from tops.settings.compose import GROUPS, Composed, composed, parse_overrides
from tops.settings.methods import changed_options, method_title
from tops.settings.own import named_words
from tops.settings.schema import ColumnConfig, Experiment
from tops.store.cell import Cell


def split_words(argv: Sequence[str], flags: Sequence[str]) -> tuple[list[str], set[str]]:
    """Overrides, and the flags among them.

    Raises
    ------
    ConfigurationError
        For a flag that is none of ``flags`` (and not ``-h`` or ``--help``).
    """
    words = [word for word in argv if not word.startswith("-")]
    given = {word for word in argv if word.startswith("-")}
    for flag in sorted(given - {*flags, "-h", "--help"}):
        raise ConfigurationError(f"unknown option {flag!r}. {nearest_names(flag, flags)}")
    return words, given


ONE_PER_RUN = ("launcher", "tracking", "profile", "results", "limit", "full")


@dataclass(frozen=True)
class Request:
    """What the user asked for: the plan, and the configuration with launcher and tracking."""

    plan: Plan
    config: Composed


def request(words: Sequence[str], *, multirun: bool = False) -> Request:
    """Plan what the overrides ask for: an experiment, one cell, or the cells of a sweep.

    Raises
    ------
    ConfigurationError
        For anything in the overrides that is unknown or contradictory.
    """
    words = named_words(words)
    _PARTS.clear()
    overrides = parse_overrides(words)
    if not multirun:
        config = composed(words)
        if config.experiment is not None:
            return Request(_experiment(config, words), config)
        return Request(_cells([config], words), config)
    for override in overrides:
        if override.is_sweep_override() and (head := override.key_or_group.split(".")[0]) in ONE_PER_RUN:
            raise ConfigurationError(f"{head} takes one value per run; sweep the axes of a cell")
    configs = [composed_by_axis(job) for job in _expand(words)]
    if any(c.experiment for c in configs):
        raise ConfigurationError("an experiment is already a sweep; leave -m out, or the experiment")
    return Request(_cells(configs, words), configs[0])


def _experiment(config: Composed, words: Sequence[str]) -> Plan:
    axes = ("backbone", "method", "benchmark", "suite", "budget", "protocol", "seed")
    for word in words:
        head = word.lstrip("+~").split("=")[0].split(".")[0]
        if head in axes:
            raise ConfigurationError(
                f"experiment={config.experiment} brings its own {head}; leave {word!r} out, use backbones=[...] or "
                "limit=N to run a part, or leave the experiment out to run a sweep of your own with -m"
            )
    assert config.experiment is not None
    return plan(
        config.experiment,
        config.profile,
        results=config.results,
        limit=config.limit,
        full=config.full,
        backbones=config.backbones,
    )


def _expand(words: Sequence[str]) -> list[list[str]]:
    """Every combination of a sweep, in Hydra's own order and grammar."""
    batches = BasicSweeper.split_arguments(parse_overrides(words), None)
    return [list(job) for batch in batches for job in batch]


_PARTS: dict[tuple[str, tuple[str, ...]], Composed] = {}


def composed_by_axis(words: Sequence[str]) -> Composed:
    """The same as composing all words at once, for axes that never refer to each other.

    A composition costs about 0.1 s and a sweep is a product: so each group is composed once for each distinct set of
    its own overrides, and the products are put together from these.
    """
    by_group: dict[str, list[str]] = {group: [] for group in (*GROUPS, "")}
    for word in words:
        head = word.lstrip("+~").split("=")[0].split(".")[0].split("@")[0]
        by_group[head if head in GROUPS else ""].append(word)
    out: Composed | None = None
    for group in ("", *GROUPS):
        part = tuple(by_group[group])
        if (group, part) not in _PARTS:
            _PARTS[group, part] = composed(part)
        value = _PARTS[group, part]
        out = value if out is None else replace(out, **{group: getattr(value, group)})
    assert out is not None
    return out


def _each_benchmark(config: Composed, words: Sequence[str]) -> list[Composed]:
    """A configuration for each benchmark of the suite; itself without one."""
    if config.suite is None:
        return [config]
    for word in words:
        if word.lstrip("+").split("=")[0].split(".")[0] == "benchmark":
            raise ConfigurationError(f"suite={config.suite.name} brings its own benchmarks; leave {word!r} out")
    return [replace(config, benchmark={"name": b, "convention": None}) for b in config.suite.benchmarks]


def _cells(composed_configs: Sequence[Composed], words: Sequence[str]) -> Plan:
    """A plan of cells that no experiment file names."""
    configs = [each for config in composed_configs for each in _each_benchmark(config, words)]
    for backbone in (config.backbone for config in composed_configs):
        Inputs.of(backbone.options).laid_out(backbone.family)  # refuses what the evaluation would not carry out
    rows: dict[Row, None] = {}
    columns: dict[Column, None] = {}
    cells: list[PlannedCell] = []
    for config in configs:
        row, column = _row(config), Column(config.backbone.name, config.benchmark["name"], config.benchmark["name"])
        rows[row] = columns[column] = None
        cells.append(_cell(config, row, column))
    profile = configs[0].profile
    experiment = Experiment(
        name="run" if len(configs) == 1 else "sweep",
        title="One cell" if len(configs) == 1 else f"Sweep of {len(configs)} cells",
        backbones=tuple(dict.fromkeys(c.backbone for c in columns)),
        benchmarks=tuple(ColumnConfig(b, b) for b in dict.fromkeys(c.benchmark for c in columns)),
        rows=(),
    )
    limit = None if configs[0].full else configs[0].limit
    return assemble(experiment, profile, tuple(rows), tuple(columns), cells, limit, results=configs[0].results)


def _row(config: Composed) -> Row:
    name = config.method["name"]
    changed = changed_options(name, {k: v for k, v in config.method.items() if k != "name"})
    variant = ";".join(f"{k}={v}" for k, v in sorted(changed.items()))
    level = "" if config.budget is None else str(config.budget)
    return Row(name, method_title(name), "method", level, config.protocol if level else "", variant)


def _cell(config: Composed, row: Row, column: Column) -> PlannedCell:
    options = {k: v for k, v in config.method.items() if k != "name"}
    limit = None if config.full else config.limit
    result = resolve.cell(
        config.backbone,
        row.method,
        options,
        config.budget,
        config.protocol,
        column.benchmark,
        config.profile,
        limit,
        config.seed,
        convention=config.benchmark.get("convention"),
    )
    if isinstance(result, Cell):
        return PlannedCell(result, row, column, config.budget, PlanStatus.MISSING)
    return PlannedCell(result.cell, row, column, config.budget, PlanStatus.REFUSED, result.reason)
