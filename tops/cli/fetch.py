"""``tops fetch``: stage data sets and checkpoints, for this machine or for one without network."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from tops.cli.grammar import Command, Key, keys_text, names, values
from tops.errors import ConfigurationError


def _keys() -> dict[str, Key]:
    from tops.benchmarks.benchmark import benchmark_names, suite_names
    from tops.benchmarks.data import default_data_folder
    from tops.settings.choices import choice_names

    return {
        "experiment": Key("all checkpoints and data of an experiment", partial(choice_names, "experiment")),
        "backbone": Key("checkpoints, with their CLIP text tower", partial(choice_names, "backbone")),
        "suite": Key("data of every benchmark of a suite", suite_names),
        "benchmark": Key("data of single benchmarks", benchmark_names),
        "data": Key("data folder (default: that of TOPS_DATA)", default=str(default_data_folder())),
    }


def _help() -> str:
    return f"""usage: tops fetch KEY=VALUE ... [--update] [--dry-run] [--yes]

  tops fetch experiment=table1                       everything that the experiment reads
  tops fetch backbone=llava-1.5-7b suite=llava       one model, eight benchmarks
  tops fetch benchmark=pope,gqa --dry-run            what it would fetch, and how much that is

{keys_text(_keys())}
  --update    newest revisions instead of those fetched before
  --dry-run   only show what it would fetch
  --yes       do not ask

Several names of one key are separated by commas. Several files come at once; the same command goes on with the files
that are not whole yet."""


def _run(words: tuple[str, ...], update: bool, dry_run: bool, yes: bool) -> int:
    example = "tops fetch experiment=table1"
    options = values(words, _keys(), example)
    benchmarks, models = _wanted(options)
    if not benchmarks and not models:
        raise ConfigurationError(f"what is to be fetched? for example: {example}, or backbone=llava-1.5-7b suite=llava")

    from tops.benchmarks.fetch import Fetcher, items_for, size_text

    fetcher = Fetcher(Path(options["data"]).expanduser(), update=update)
    items = items_for(benchmarks, fetcher) + [fetcher.model(m) for m in models]
    total = 0
    for item in items:
        need = sum(fetcher.missing(item).values())
        total += need
        print(f"{item.repository} @ {item.commit[:12]}: {size_text(need)} of {size_text(item.bytes)}")
    print(f"to fetch: {size_text(total)}")
    if dry_run:
        return 0
    for line in fetcher.check_room(items):
        print(line)
    if total and not yes and sys.stdin.isatty() and input("fetch? [y/N] ").strip().lower() not in ("y", "yes"):
        return 1
    try:
        for item in items:
            for step in fetcher.stage(item):
                print(step)
    except KeyboardInterrupt:
        print("\nstopped; the same command goes on where it stopped.", file=sys.stderr)
        return 130
    return 0


def _wanted(options: Mapping[str, str]) -> tuple[list[str], list[str]]:
    """Benchmarks, and repositories of models."""
    from tops.benchmarks.benchmark import load_benchmark, load_suite
    from tops.settings.choices import backbone_config, load_experiment

    backbones = names(options["backbone"])
    benchmarks = [load_benchmark(b).source for b in names(options["benchmark"])]
    benchmarks += [b for suite in names(options["suite"]) for b in load_suite(suite)]
    for experiment in map(load_experiment, names(options["experiment"])):
        backbones += experiment.backbones
        benchmarks += [load_benchmark(column.benchmark).source for column in experiment.benchmarks]
    models = [m for b in map(backbone_config, backbones) for m in (b.checkpoint, b.text_tower) if m]
    return list(dict.fromkeys(benchmarks)), list(dict.fromkeys(models))


command = Command(
    "fetch",
    _run,
    text=_help,
    keys=_keys,
    switches={"--update": "newest revisions", "--dry-run": "only show", "--yes": "do not ask"},
)
