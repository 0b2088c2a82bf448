"""``tops fetch``: stage data sets and checkpoints, for this machine or for one without network."""

from __future__ import annotations

import argparse
import sys

from tops.benchmarks.benchmark import benchmark_names, load_suite, suite_names
from tops.benchmarks.data import default_data_folder
from tops.errors import ConfigurationError, nearest_names


def main(argv: list[str]) -> int:
    """Exit status 0 when everything asked for is staged."""
    parser = argparse.ArgumentParser(prog="tops fetch", description=__doc__, allow_abbrev=False)
    parser.add_argument("names", nargs="+", help="suites, benchmarks, backbones (with their CLIP text tower)")
    parser.add_argument("--data", default=str(default_data_folder()), help="data folder ($TOPS_DATA)")
    parser.add_argument("--update", action="store_true", help="newest revisions instead of those fetched before")
    parser.add_argument("--dry-run", action="store_true", help="only show what it would fetch")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    options = parser.parse_args(argv)
    benchmarks, models = _sorted(options.names)

    from pathlib import Path

    from tops.benchmarks.fetch import Fetcher, items_for, size_text

    fetcher = Fetcher(Path(options.data).expanduser(), update=options.update)
    items = items_for(benchmarks, fetcher) + [fetcher.model(m) for m in models]
    total = 0
    for item in items:
        need = sum(fetcher.missing(item).values())
        total += need
        print(f"{item.repository} @ {item.commit[:12]}: {size_text(need)} of {size_text(item.bytes)}")
    print(f"to fetch: {size_text(total)}")
    if options.dry_run:
        return 0
    if total and not options.yes and sys.stdin.isatty() and input("fetch? [y/N] ").strip().lower() not in ("y", "yes"):
        return 1
    try:
        for item in items:
            for step in fetcher.stage(item):
                print(step)
    except KeyboardInterrupt:
        print("\nstopped; the same command goes on where it stopped.", file=sys.stderr)
        return 130
    return 0


def _sorted(names: list[str]) -> tuple[list[str], list[str]]:
    """Benchmarks, and repositories of models."""
    from tops.settings.choices import backbone_config, choice_names

    backbones = choice_names("backbone")
    benchmarks: list[str] = []
    models: list[str] = []
    for name in names:
        if name in backbones:
            choice = backbone_config(name)
            models += [m for m in (choice.checkpoint, choice.text_tower) if m]
        elif name in suite_names() or name in benchmark_names():
            benchmarks += load_suite(name)
        else:
            known = [*suite_names(), *benchmark_names(), *backbones]
            raise ConfigurationError(f"nothing to fetch is called {name!r}. {nearest_names(name, known)}")
    return list(dict.fromkeys(benchmarks)), list(dict.fromkeys(models))
