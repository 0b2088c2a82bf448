"""Make one plan of a composed configuration, with or without a sweep."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

from tops.backbones.inputs import Inputs
from tops.errors import ConfigurationError
from tops.planning import resolve
from tops.planning.plan import Column, Plan, PlannedCell, PlanStatus, Row, assemble, plan
from tops.settings.choices import GROUPS
from tops.settings.compose import Composed, composed, parse_overrides
from tops.settings.methods import changed_options, method_role, method_title
from tops.settings.own import named_words
from tops.settings.schema import ColumnConfig, Experiment
from tops.settings.uses import refuse_unused
from tops.store.cell import Cell


def _refuse_ignored(config: Composed, given: Sequence[str]) -> None:
    """Refuse keys that have no effect because of another key."""
    if config.experiment is None and "backbones" in given:
        raise ConfigurationError("backbones= chooses among those of an experiment; name one with backbone=NAME")
    if config.full and config.limit is not None:
        raise ConfigurationError(f"full=true asks all documents and limit={config.limit} only some; leave one out")
    if config.record_kept and config.profile.engine != "library":
        raise ConfigurationError(
            f"record_kept=true: engine={config.profile.engine} does not tell which tokens stayed; leave one of them out"
        )
    if config.experiment is None and config.method["name"] == "none" and config.budget is not None:
        raise ConfigurationError("the unpruned model has no budget; leave budget out, or name a method")
    if config.experiment is None and config.stop is not None:
        raise ConfigurationError("stop= tells methods of an experiment apart; name one, or use `tops compare`")
    if config.experiment is None and config.budget is None and "protocol" in given:
        raise ConfigurationError("protocol= says what a budget counts; give one (budget=64), or leave it out")


ONE_PER_RUN = (
    "launcher", "tracking", "profile", "results", "limit", "full", "stale", "record_kept", "stop", "margin",
)  # fmt: skip


@dataclass(frozen=True)
class Request:
    """A user's request: the plan, and the configuration with launcher and tracking."""

    plan: Plan
    config: Composed


def request(words: Sequence[str], *, multirun: bool = False) -> Request:
    """Make the plan for command-line words: an experiment, one cell, the cells of a sweep, or stored specifications.

    Raises
    ------
    ConfigurationError
        For anything in the overrides that is unknown or contradictory.
    """
    stored = [word for word in words if word.endswith(".json") and "=" not in word]
    if stored:
        return _stored(stored, [word for word in words if word not in stored])
    words = named_words(words)
    _PARTS.clear()
    overrides = parse_overrides(words)
    given = [override.key_or_group for override in overrides]
    if not multirun:
        config = composed(words)
        refuse_unused(given, config.profile, config.launcher, config.tracking)
        _refuse_ignored(config, given)
        found = _experiment(config, words) if config.experiment is not None else _cells([config], words)
        return Request(with_recording(found, config), config)
    for override in overrides:
        if override.is_sweep_override() and (head := override.key_or_group.split(".")[0]) in ONE_PER_RUN:
            raise ConfigurationError(f"{head} takes one value per run; sweep the axes of a cell")
    configs = [composed_by_axis(job) for job in _expand(words)]
    if configs[0].stop is not None:
        raise ConfigurationError("stop= tells methods of an experiment apart, not cells of a sweep; leave it out")
    refuse_unused(given, configs[0].profile, configs[0].launcher, configs[0].tracking)
    if any(c.experiment for c in configs):
        raise ConfigurationError("an experiment is already a sweep; leave -m out, or the experiment")
    return Request(with_recording(_cells(configs, words), configs[0]), configs[0])


def with_recording(plan: Plan, config: Composed) -> Plan:
    """The plan with the ``record_kept`` of the configuration."""
    if config.record_kept is None:
        return plan
    return replace(plan, experiment=replace(plan.experiment, record_kept=config.record_kept))


def _stored(paths: Sequence[str], words: Sequence[str]) -> Request:
    """Plan exactly the cells of some ``spec.json`` files, on the weights and data of this machine."""
    cells = [_specification(Path(path)) for path in paths]
    profiles = sorted({cell.profile for cell in cells})
    if len(profiles) > 1:
        raise ConfigurationError(
            f"the specifications are of profiles {', '.join(profiles)}; run those of one at a time"
        )
    for word in words:
        head = word.lstrip("+").split("=")[0].split(".")[0]
        allowed = ("profile", "launcher", "tracking", "results", "stale", "record_kept")
        if head not in allowed or word.startswith("profile="):
            raise ConfigurationError(
                f"a specification says all that may change an answer; leave {word!r} out. Settings of the profile "
                "(profile.device=cpu), launcher, tracking, results and stale may be given"
            )
    config = composed([f"profile={profiles[0]}", *words])
    given = [override.key_or_group for override in parse_overrides(words)]
    refuse_unused(given, config.profile, config.launcher, config.tracking)
    rows: dict[Row, None] = {}
    columns: dict[Column, None] = {}
    planned = []
    for cell in cells:
        row = _row_of(cell)
        column = Column(cell.backbone.name, cell.benchmark.name, cell.benchmark.name)
        rows[row] = columns[column] = None
        printed = None if cell.budget is None else cell.budget.value
        planned.append(PlannedCell(cell, row, column, printed, PlanStatus.MISSING))
    experiment = _unnamed(rows, columns, cells)
    limit = cells[0].benchmark.limit if len({cell.benchmark.limit for cell in cells}) == 1 else None
    parts = (experiment, config.profile, tuple(rows), tuple(columns), planned, limit)
    return Request(with_recording(assemble(*parts, results=config.results, stale=config.stale), config), config)


def _specification(path: Path) -> Cell:
    try:
        return Cell.from_dict(json.loads(path.read_bytes()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigurationError(
            f"{path} is no specification of a cell ({type(error).__name__}: {error}); give a stored cell's spec.json"
        ) from None


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
        stale=config.stale,
        stop=config.stop,
    )


def _expand(words: Sequence[str]) -> list[list[str]]:
    """Every combination of a sweep, in Hydra's own order and grammar."""
    choices = [
        [f"{o.get_key_element()}={value}" for value in o.sweep_string_iterator()]
        if o.is_sweep_override()
        else [o.input_line or ""]
        for o in parse_overrides(words)
    ]
    return [list(job) for job in product(*choices)]


_PARTS: dict[tuple[str, tuple[str, ...]], Composed] = {}


def composed_by_axis(words: Sequence[str]) -> Composed:
    """The configuration that composing all words at once would give, for axes that never refer to each other.

    A composition takes about 0.1 s, and a sweep multiplies its axes. Each group is therefore composed once for each
    distinct set of its own overrides, and every configuration of the sweep is put together from these parts.
    """
    by_group: dict[str, list[str]] = {group: [] for group in (*GROUPS, "")}
    for word in words:
        head = word.lstrip("+~").split("=")[0].split(".")[0].split("@")[0]
        by_group[head if head in GROUPS else "profile" if head == "engine" else ""].append(
            word
        )  # a part of the profile
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
    """A configuration for each benchmark of the suite; the given one alone where there is no suite."""
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
    experiment = _unnamed(rows, columns, [planned.cell for planned in cells if planned.cell is not None])
    limit = None if configs[0].full else configs[0].limit
    first = configs[0]
    return assemble(
        experiment, profile, tuple(rows), tuple(columns), cells, limit, results=first.results, stale=first.stale
    )


def _unnamed(rows: Iterable[Row], columns: Iterable[Column], cells: Sequence[Cell]) -> Experiment:
    """A made-up experiment for cells that no experiment file names; a digest in its name tells sweeps apart."""
    digest = hashlib.sha256("".join(sorted(cell.key for cell in cells)).encode()).hexdigest()[:8]
    return Experiment(
        name="run" if len(cells) <= 1 else f"sweep-{digest}",
        title="One cell" if len(cells) <= 1 else f"Sweep of {len(cells)} cells",
        levels={row.level: {} for row in rows if row.level},
        backbones=tuple(dict.fromkeys(c.backbone for c in columns)),
        benchmarks=tuple(ColumnConfig(b, b) for b in dict.fromkeys(c.benchmark for c in columns)),
        rows=(),
    )


def _row(config: Composed) -> Row:
    options = {k: v for k, v in config.method.items() if k != "name"}
    return _row_named(config.method["name"], options, config.budget, config.protocol)


def _row_of(cell: Cell) -> Row:
    budget = None if cell.budget is None else cell.budget.value
    return _row_named(cell.method.name, cell.method.options, budget, cell.budget.protocol if cell.budget else "")


def _row_named(name: str, options: dict[str, Any], budget: int | float | None, protocol: str) -> Row:
    """The row of a cell, with the options that differ from the method's defaults."""
    variant = ";".join(f"{k}={v}" for k, v in sorted(changed_options(name, options).items()))
    level = "" if budget is None or name == "none" else str(budget)
    return Row(name, method_title(name), method_role(name), level, protocol if level else "", variant)


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
