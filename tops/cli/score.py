"""``tops score``: score stored answers again, without a model; with ``--judge`` also those that wait for one."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from tops.benchmarks.benchmark import load_benchmark
from tops.benchmarks.scorers import rule_of
from tops.errors import ConfigurationError, TopsError
from tops.evaluation.rescoring import score_again
from tops.store.store import Record, Store


def parser() -> argparse.ArgumentParser:
    """Options of the command."""
    out = argparse.ArgumentParser(prog="tops score", description=__doc__, allow_abbrev=False)
    out.add_argument("keys", nargs="*", help="cells by the beginning of their keys; all by default")
    out.add_argument("--scorer", help="only this one; all that need no judge by default")
    out.add_argument("--benchmark", help="only cells of this benchmark")
    out.add_argument("--profile", default="paper")
    out.add_argument("--results", default="results")
    out.add_argument("--judge", help="address of an OpenAI-compatible judge, for judged benchmarks")
    out.add_argument("--judge-model", default="", help="its model; the first it lists by default")
    return out


def main(argv: list[str]) -> int:
    """Exit status 1 when a cell could not be scored."""
    options = parser().parse_args(argv)
    if options.benchmark:
        load_benchmark(options.benchmark)
    store = Store(options.results, options.profile)
    faults: list[str] = []
    chosen = [r for r in store.records(faults=faults) if _wanted(r, options)]
    for fault in faults:
        print(fault, file=sys.stderr)
    if not chosen and not faults:
        raise ConfigurationError(f"no complete cell in {store.cells} fits; `tops status` tells what is there")
    failed = len(faults)
    for record in chosen:
        try:
            for line in _score(store, record, options):
                print(f"{record.spec.label}: {line}")
        except TopsError as error:
            failed += 1
            print(f"{record.spec.label}: {error}", file=sys.stderr)
    return 1 if failed else 0


def _wanted(record: Record, options: argparse.Namespace) -> bool:
    if options.benchmark and record.spec.benchmark.name != options.benchmark:
        return False
    return not options.keys or any(record.key.startswith(key) for key in options.keys)


def _score(store: Store, record: Record, options: argparse.Namespace) -> list[str]:
    benchmark = load_benchmark(record.spec.benchmark.name)
    names = [options.scorer] if options.scorer else list(benchmark.scorers)
    found: dict[str, dict[str, Any]] = {}
    lines = []
    for name in names:
        if rule_of(benchmark, name).row is not None:
            found |= score_again(store, record, [name])
        elif options.judge is None:
            lines.append(f"{name}: answered, not judged; pass --judge URL")
        else:
            from tops.evaluation.judge import Judge, judge_record

            found[name] = judge_record(store, record.key, benchmark, Judge(options.judge, options.judge_model))
    for name, entry in found.items():
        value = entry["metrics"][entry["metric"]]
        lines.append(f"{name}: {entry['metric']} {value:.4f}, {entry['invalid_rate']:.1%} invalid")
    return lines
