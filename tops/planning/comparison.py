"""``tops compare``: one method against others, as an experiment that no file names."""

from __future__ import annotations

from collections.abc import Sequence

from tops.benchmarks.benchmark import load_suite
from tops.errors import ConfigurationError
from tops.planning.plan import plan
from tops.planning.request import Request, with_recording
from tops.settings.choices import backbone_config
from tops.settings.compose import Composed, composed
from tops.settings.methods import changed_options, method_title
from tops.settings.own import named_words
from tops.settings.schema import ColumnConfig, Experiment, RowConfig

AXES = ("method", "against", "backbone", "benchmark", "suite", "budget")
SEEDS = (0, 1, 2, 3, 4)
LIMIT: dict[str, int | dict[str, int]] = {"miniature": 24}  # as the tables of the paper


def comparison(words: Sequence[str]) -> Request:
    """Plan ``method`` against every method of ``against``, on each budget, benchmark and backbone, with the controls.

    Budgets are written for the real model, as counts or keep ratios. The miniature profile converts a count to the same
    keep ratio, as in the paper's experiments.

    Raises
    ------
    ConfigurationError
        If the method, its opponents or the budgets are missing, and for unknown names.
    """
    given: dict[str, list[str]] = {axis: [] for axis in AXES}
    rest: list[str] = []
    options: list[str] = []
    for word in words:
        key, _, value = word.partition("=")
        if key in given:
            if given[key]:
                raise ConfigurationError(f"{key} is given twice; give its values once, separated by commas")
            given[key] = _listed("method" if key == "against" else key, value)
        else:
            (options if key.startswith("method.") else rest).append(word)
    subject = _one(given["method"])
    if not given["against"] or not given["budget"]:
        lacking = "opponents (against=tops,divprune)" if not given["against"] else "budgets (budget=128,64,32)"
        raise ConfigurationError(f"tops compare needs {lacking}")
    if given["suite"] and given["benchmark"]:
        raise ConfigurationError("suite brings its own benchmarks; give suite or benchmark, not both")
    config = composed([*rest, f"method={subject}", *options])
    experiment = _experiment(given, subject, config)
    prepared = plan(
        experiment,
        config.profile,
        results=config.results,
        limit=config.limit,
        full=config.full,
        stale=config.stale,
        stop=config.stop,
    )
    return Request(with_recording(prepared, config), config)


def _listed(key: str, value: str) -> list[str]:
    """The comma-separated values of a key; references to a user's own classes or files are replaced by names."""
    named = named_words([f"{key}={value}"])[0].partition("=")[2]
    return list(dict.fromkeys(part for part in (p.strip() for p in named.strip("[]").split(",")) if part))


def _one(methods: list[str]) -> str:
    if len(methods) != 1 or methods == ["none"]:
        raise ConfigurationError(
            f"method={','.join(methods) or '...'}: name the one method to compare, as in method=./mine.py:Mine; the "
            "others stand in against=..."
        )
    return methods[0]


def _experiment(given: dict[str, list[str]], subject: str, config: Composed) -> Experiment:
    against = [name for name in given["against"] if name != subject and name != "none"]
    backbones = given["backbone"] or [config.backbone.name]
    benchmarks = [b for name in (given["suite"] or given["benchmark"] or ["pope"]) for b in load_suite(name)]
    for backbone in backbones:
        backbone_config(backbone)
    levels = {text: dict.fromkeys(backbones, _budget(text)) for text in given["budget"]}
    options = changed_options(subject, {k: v for k, v in config.method.items() if k != "name"})
    *opponents, last = [method_title(name) for name in against] or ["the controls"]
    return Experiment(
        name=f"compare-{subject}",
        title=f"{method_title(subject)} against {', '.join(opponents)}{' and ' if opponents else ''}{last}",
        backbones=tuple(backbones),
        benchmarks=tuple(ColumnConfig(b, b) for b in dict.fromkeys(benchmarks)),
        rows=(
            RowConfig(("none",), role="reference", levels=()),
            RowConfig((subject,), options=options, protocol=config.protocol),
            *([RowConfig(tuple(against), protocol=config.protocol)] if against else []),
            RowConfig(("random",), role="control", seeds=SEEDS),
            RowConfig(("uniform", "pooling", "downsampling"), role="control"),
            RowConfig(("text_only",), role="control", levels=()),
        ),
        levels=levels,
        limit=LIMIT,
        subject=subject,
    )


def _budget(text: str) -> int | float:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    raise ConfigurationError(f"budget={text!r} is neither a token count (64) nor a keep ratio (0.25)")
