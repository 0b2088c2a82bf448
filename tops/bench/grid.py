"""``tops bench grid``: hours of the complete grid on 1, 8 and 64 GPUs.

Every distinct cell of the experiments is laid out by the planner and given a duration; the schedule is then simulated
with the order in which real workers look at cells, a model loaded whenever a worker changes its backbone. Durations
rest on FLOPs and on rates: those of ``tops plan``, which are no measurements, or those of a record that ``tops bench
efficiency`` wrote on a GPU (``--measured``).
"""

from __future__ import annotations

import argparse
import heapq
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tops.bench.measure import write_json
from tops.errors import ConfigurationError
from tops.planning import cost, resolve
from tops.planning.plan import plan
from tops.running.worker import order_for
from tops.settings.choices import backbone_config, choice_names, load_profile
from tops.settings.schema import ProfileConfig
from tops.store.cell import Cell

BYTES_PER_SECOND = 1e9  # of loading weights, until measured
WORKERS = (1, 8, 64)


@dataclass(frozen=True)
class Rates:
    """What durations rest on.

    Attributes
    ----------
    flops : float
        Per second, of a prefill.
    token, document : float
        Seconds of each output token after the prefill, and of a document apart from the language model.
    source : str
        Where they come from.
    """

    flops: float = cost.SUSTAINED_FLOPS
    token: float = cost.SECONDS_PER_OUTPUT_TOKEN
    document: float = cost.SECONDS_PER_DOCUMENT
    source: str = "assumed, as in `tops plan`; not measured"

    @classmethod
    def of(cls, path: Path) -> Rates:
        """From the unpruned row of an efficiency record; reading pictures from disk stays as assumed.

        Raises
        ------
        ConfigurationError
            If it was not measured on a GPU.
        """
        record = json.loads(path.read_text())
        if record.get("benchmark") != "efficiency" or record["machine"]["device"] == "cpu":
            raise ConfigurationError(f"{path}: a record of `tops bench efficiency --device cuda` is needed")
        row = next(r for r in record["rows"] if r["method"] == "none")
        language = row["phases_ms"]["language_model"] / 1e3
        around = max(0.0, row["prefill_ms"]["median"] / 1e3 - language)
        return cls(
            flops=row["decoder_flops_analytic"] / language,
            token=row["decode_ms"]["median"] / 1e3,
            document=around + cost.SECONDS_PER_DOCUMENT,
            source=f"measured on {record['machine']['device']} ({path.name})",
        )


@dataclass(frozen=True)
class Schedule:
    """What a simulation gave: seconds from start to end, seconds of all cells and loads, number of loads."""

    workers: int
    makespan: float
    work: float
    loads: int


def main(argv: list[str]) -> int:
    """Estimate, print, write the record."""
    options = _parser().parse_args(argv)
    profile, rates = load_profile("paper"), Rates() if options.measured is None else Rates.of(options.measured)
    cells = grid(options.experiments or choice_names("experiment"), profile)
    if not cells:
        raise ConfigurationError("no cell of these experiments can run; see `tops plan experiment=...`")
    durations = {cell.key: seconds(cell, profile, rates) for cell in cells}
    documents = sum(resolve.documents(cell.benchmark, profile) for cell in cells)
    print(f"{len(cells)} distinct cells, {documents:,} documents; rates {rates.source}")
    rows = []
    for workers in WORKERS:
        done = simulate(cells, workers, lambda cell: durations[cell.key], load_seconds)
        busy = done.work / (workers * done.makespan)
        rows.append({**done.__dict__, "gpu_hours": workers * done.makespan / 3600, "busy": busy})
        print(
            f"{workers:>3} GPUs: {done.makespan / 3600:8.1f} h, {workers * done.makespan / 3600:8.1f} GPU hours, "
            f"{busy:.0%} busy, {done.loads} models loaded"
        )
    if options.json:
        record = {"benchmark": "grid", "cells": len(cells), "documents": documents, "rates": rates.__dict__}
        write_json(options.json, {**record, "rows": rows})
    return 0


def grid(experiments: Sequence[str], profile: ProfileConfig) -> list[Cell]:
    """Distinct cells of several experiments; those that the planner refuses are left out."""
    found: dict[str, Cell] = {}
    for name in experiments:
        for planned in plan(name, profile, status=False).unique().values():
            if planned.cell is not None:
                found.setdefault(planned.cell.key, planned.cell)
    return list(found.values())


def seconds(cell: Cell, profile: ProfileConfig, rates: Rates) -> float:
    """Of all documents of a cell, asked one by one.

    Parameters
    ----------
    cell : Cell
        Of the plan.
    profile : ProfileConfig
        Its profile.
    rates : Rates
        What the machine does in a second.
    """
    backbone = backbone_config(cell.backbone.name)
    tokens = cost.TEXT_TOKENS + resolve.layer_average(cell, resolve.prompt_shape(backbone, profile))
    prefill = 2 * backbone.parameters * tokens / rates.flops
    per_document = rates.document + prefill + cost.OUTPUT_TOKENS * rates.token
    return resolve.documents(cell.benchmark, profile) * per_document


def load_seconds(cell: Cell) -> float:
    """Of reading the weights of a cell's backbone, two bytes a parameter."""
    return 2 * backbone_config(cell.backbone.name).parameters / BYTES_PER_SECOND


def simulate(
    cells: Sequence[Cell], workers: int, duration: Callable[[Cell], float], load: Callable[[Cell], float]
) -> Schedule:
    """Workers that look at cells in their real order and take the first that nobody has.

    Parameters
    ----------
    cells : sequence of Cell
        All of the run.
    workers : int
        One per GPU.
    duration, load : callable
        Seconds of a cell, and of loading its backbone.
    """
    orders = [iter(order_for(worker, cells)) for worker in range(workers)]
    holds: list[Any] = [None] * workers
    free = [(0.0, worker) for worker in range(workers)]
    taken: set[str] = set()
    makespan, work, loads = 0.0, 0.0, 0
    while free:
        now, worker = heapq.heappop(free)
        cell = next((c for c in orders[worker] if c.key not in taken), None)
        if cell is None:
            continue
        taken.add(cell.key)
        spent = duration(cell)
        if holds[worker] != cell.backbone:
            holds[worker], loads = cell.backbone, loads + 1
            spent += load(cell)
        work += spent
        makespan = max(makespan, now + spent)
        heapq.heappush(free, (now + spent, worker))
    return Schedule(workers, makespan, work, loads)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="tops bench grid", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("experiments", nargs="*", help="default: all")
    parser.add_argument("--measured", type=Path, help="record of `tops bench efficiency --device cuda`")
    parser.add_argument("--json", type=Path, help="write the record here")
    return parser
