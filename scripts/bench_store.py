"""How plan, status, check and report grow with a store: seconds at one and at ten times the cells, and the answers.

The stores are filled in pretence, as tests fill theirs: plausible answers, real scorers, no model. An exponent of 1 is
linear. ``python scripts/bench_store.py [--documents N] [--json FILE]``; ``make bench-store`` writes the record.
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from synthetic_store import fill

from tops.bench.measure import machine, write_json
from tops.planning.plan import plan, refreshed
from tops.reporting.build import build
from tops.reporting.data.results import collect
from tops.settings.choices import load_experiment
from tops.settings.schema import Experiment
from tops.store.check import check
from tops.store.store import Store

TIMES = 10
BACKBONE = "llava-1.5-7b"
STEPS = ("plan", "status", "check", "report")


def measure(experiment: Experiment, documents: int) -> dict[str, float]:
    """Seconds of each of ``STEPS`` on a store with every cell of an experiment; its cells and answers."""

    def timed(run: Callable[[], object]) -> float:
        start = time.perf_counter()
        run()
        return time.perf_counter() - start

    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "results"
        laid_out = plan(experiment, "miniature", results=root)
        fill(root, laid_out, documents=documents)
        done = refreshed(laid_out)
        return {
            "cells": len(done.unique()),
            "answers": len(done.unique()) * documents,
            "plan": timed(lambda: plan(experiment, "miniature", results=root, status=False)),
            "status": timed(lambda: refreshed(laid_out)),
            "check": timed(lambda: check(Store(root, "miniature"))),
            "report": timed(lambda: build(collect(done, root), Path(folder) / "reports")),
        }


def seeded(experiment: Experiment, count: int) -> Experiment:
    """The experiment on one backbone with so many seeds in every row."""
    rows = tuple(replace(block, seeds=tuple(range(count))) for block in experiment.rows)
    return replace(experiment, backbones=(BACKBONE,), rows=rows)


def main() -> int:
    """Measure, print, write the record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--experiment", default="table1")
    parser.add_argument("--documents", type=int, default=24, help="answers of a cell in the small store")
    parser.add_argument("--json", type=Path, help="also write the record here")
    options = parser.parse_args()
    experiment = load_experiment(options.experiment)
    measure(seeded(experiment, 1), 2)  # files are read and fonts are found once
    one = measure(seeded(experiment, 1), options.documents)
    larger = {
        "cells": measure(seeded(experiment, TIMES), options.documents),
        "answers": measure(seeded(experiment, 1), TIMES * options.documents),
    }
    print(f"{one['cells']} cells, {one['answers']} answers: " + _seconds(one))
    exponents: dict[str, dict[str, float]] = {}
    for axis, row in larger.items():
        growth = math.log(row[axis] / one[axis])
        exponents[axis] = {step: math.log(row[step] / one[step]) / growth for step in STEPS}
        print(f"{row['cells']} cells, {row['answers']} answers: " + _seconds(row))
        print(f"  time ~ {axis}^x: " + ", ".join(f"{step} {x:.2f}" for step, x in exponents[axis].items()))
    record = {
        "benchmark": "store",
        "machine": machine(torch.device("cpu")),
        "experiment": options.experiment,
        "rows": [one, *larger.values()],
        "exponents": exponents,
    }
    if options.json:
        write_json(options.json, record)
    return 0


def _seconds(row: dict[str, float]) -> str:
    return ", ".join(f"{step} {row[step]:.2f} s" for step in STEPS)


if __name__ == "__main__":
    sys.exit(main())
