"""``tops score``: score stored answers again, without a model; with a judge also those that wait for one."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from tops.cli.grammar import Command, Key, keys_text, names, values
from tops.errors import ConfigurationError, TopsError

if TYPE_CHECKING:
    from tops.store.store import Record, Store


def _keys() -> dict[str, Key]:
    from tops.benchmarks.benchmark import benchmark_names
    from tops.settings.choices import choice_names

    return {
        "cells": Key("cells by the beginning of their keys, separated by commas; all by default"),
        "benchmark": Key("only cells of this benchmark", benchmark_names),
        "scorer": Key("only this one; all that need no judge by default"),
        "profile": Key("paper (default) or miniature", partial(choice_names, "profile"), "paper"),
        "results": Key("root of the result store (default: results)", default="results"),
        "judge": Key("address of an OpenAI-compatible judge, for judged benchmarks"),
        "judge_model": Key("its model; needed where it lists several"),
    }


def _help() -> str:
    return (
        "usage: tops score [KEY=VALUE ...]\n\n  tops score benchmark=pope scorer=llava\n"
        f"  tops score benchmark=mmvet judge=http://localhost:8000/v1\n\n{keys_text(_keys())}\n\n"
        "Exit status 1 when a cell could not be scored."
    )


def _run(words: tuple[str, ...]) -> int:
    from tops.benchmarks.benchmark import load_benchmark
    from tops.store.store import Store

    options = values(words, _keys(), "tops score benchmark=pope scorer=llava")
    if options["benchmark"]:
        load_benchmark(options["benchmark"])
    store = Store(options["results"], options["profile"])
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


def _wanted(record: Record, options: Mapping[str, str]) -> bool:
    if options["benchmark"] and record.spec.benchmark.name != options["benchmark"]:
        return False
    return not options["cells"] or record.key.startswith(tuple(names(options["cells"])))


def _score(store: Store, record: Record, options: Mapping[str, str]) -> list[str]:
    from tops.benchmarks.benchmark import load_benchmark
    from tops.benchmarks.scorers import rule_of
    from tops.evaluation.rescoring import score_again

    benchmark = load_benchmark(record.spec.benchmark.name)
    scorers = [options["scorer"]] if options["scorer"] else list(benchmark.scorers)
    found: dict[str, dict[str, Any]] = {}
    lines = []
    for name in scorers:
        if rule_of(benchmark, name).row is not None:
            found |= score_again(store, record, [name])
        elif not options["judge"]:
            lines.append(f"{name}: answered, not judged; name one with judge=URL")
        else:
            from tops.evaluation.judge import Judge, judge_record

            found[name] = judge_record(store, record.key, benchmark, Judge(options["judge"], options["judge_model"]))
    for name, entry in found.items():
        value = entry["metrics"][entry["metric"]]
        lines.append(f"{name}: {entry['metric']} {value:.4f}, {entry['invalid_rate']:.1%} invalid")
    return lines


command = Command("score", _run, text=_help, keys=_keys)
