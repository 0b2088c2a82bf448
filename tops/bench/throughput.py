"""``tops bench throughput``: documents per second of the evaluation, in batches and one by one, and the model's part.

Some cells of an experiment are evaluated into a folder that is thrown away: with one prompt per call of the model, with
several, and with several and the vision features of an image shared between cells. Answers, kept tokens and prompts are
compared with those of the first, and what differs is counted.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch
from weakref import WeakKeyDictionary

from tops.bench.clocks import Clock
from tops.bench.measure import machine, write_json
from tops.errors import ConfigurationError
from tops.store.cell import Cell
from tops.store.store import Store

if TYPE_CHECKING:
    from tops.evaluation.batches import BatchSize


def main(argv: list[str]) -> int:
    """Measure, print, write the record; status 1 when float32 answers differ."""
    options = _parser().parse_args(argv)
    import torch

    from tops.planning.plan import plan
    from tops.planning.staging import prepare
    from tops.running.execute import load_evaluator
    from tops.settings.choices import load_profile

    if options.threads:
        torch.set_num_threads(options.threads)
    profile = load_profile(options.profile)
    if profile.miniature:
        prepare(profile)
    backbones = None if options.backbone is None else [options.backbone]
    planned = plan(options.experiment, profile, limit=options.limit, backbones=backbones, status=False)
    cells = [p.cell for p in planned.unique().values() if p.cell is not None]
    if not cells:
        raise ConfigurationError(f"{options.experiment}: no cell can run; see `tops plan experiment=...`")
    cells = spread([c for c in cells if c.backbone == cells[0].backbone], options.cells)
    started = time.perf_counter()
    evaluator = load_evaluator(cells[0].backbone, profile)
    load_seconds = time.perf_counter() - started
    device = evaluator.backbone.model.device
    measure(
        evaluator, [replace_limit(cell, 2) for cell in cells], options.batch_size
    )  # tasks are built, kernels chosen
    rows, answers = [], []
    for size, shared in ((1, False), (options.batch_size, False), (options.batch_size, True)):
        row, given = measure(evaluator, cells, size, profile.vision_memory_gb if shared else 0.0)
        rows.append(row)
        answers.append(given)
        row["ratio"] = row["documents_per_second"] / rows[0]["documents_per_second"]
        row["differing_documents"] = sum(answers[0][key] != given.get(key) for key in answers[0])
        found = f", {row['features_found']} of {row['features_asked']} vision passes found" if shared else ""
        print(
            f"batch {size:>3}: {row['documents_per_second']:7.1f} documents/s, model {row['model_share']:.0%} of "
            f"{row['seconds']:.1f} s, {row['cells']} cells of {options.limit} documents, "
            f"{row['ratio']:.2f} times batch 1, {row['differing_documents']} of {row['documents']} differ{found}"
        )
    differ = sum(row["differing_documents"] for row in rows)
    record: dict[str, object] = {
        "benchmark": "throughput",
        "machine": machine(device),
        "experiment": options.experiment,
        "backbone": cells[0].backbone.name,
        "dtype": cells[0].backbone.dtype,
        "load_seconds": load_seconds,
        "rows": rows,
        "labels": [cell.label for cell in cells],
    }
    print(f"{cells[0].backbone.name} in {cells[0].backbone.dtype}, {record['machine']}")
    if options.json:
        write_json(options.json, record)
    return int(differ > 0 and cells[0].backbone.dtype == "float32")


def measure(
    evaluator: Any, cells: Sequence[Cell], batch_size: BatchSize, memory_gb: float = 0.0
) -> tuple[dict[str, Any], dict[Any, Any]]:
    """Wall time of the cells, the model's part of it, and what was answered by cell and document.

    Parameters
    ----------
    evaluator : LoadedEvaluator
        Of the cells' backbone.
    cells : sequence of Cell
        Evaluated anew.
    batch_size : int or "auto"
        Most prompts in one call; ``auto`` by the free memory.
    memory_gb : float
        Memory for vision features that cells share, empty at the start.
    """
    from tops.engine.vision_memory import VisionMemory
    from tops.evaluation import asking
    from tops.evaluation.models import generate

    clock = Clock(evaluator.backbone.model.device)
    memory = VisionMemory(int(memory_gb * 1e9)) if memory_gb else None
    backbone = replace(evaluator.backbone, memory=memory)
    sized = replace(evaluator, profile=replace(evaluator.profile, batch_size=batch_size), backbone=backbone)

    def timed(*arguments: Any) -> Any:
        with clock.block():
            return generate(*arguments)

    given: dict[Any, Any] = {}
    unshared: Any = patch.object(asking, "QUESTIONS", WeakKeyDictionary())  # nothing left over from the other size
    with tempfile.TemporaryDirectory() as folder, patch.object(asking, "generate", timed), unshared:
        store = Store(folder, evaluator.profile.name)
        started = time.perf_counter()
        for cell in cells:
            sized(cell, store, record_kept=False, let_through=())
        seconds = time.perf_counter() - started
        for cell in cells:
            for answer in store.read(cell.key).answers():
                given[cell.key, answer.doc_id] = replace(answer, seconds=0.0)
    return {
        "batch_size": batch_size,
        "cells": len(cells),
        "documents": len(given),
        "seconds": seconds,
        "model_seconds": clock.seconds,
        "model_share": clock.seconds / seconds,
        "documents_per_second": len(given) / seconds,
        "memory_gb": memory_gb,
        "features_asked": 0 if memory is None else memory.calls,
        "features_found": 0 if memory is None else memory.found,
    }, given


def spread(cells: Sequence[Cell], count: int) -> list[Cell]:
    """At most ``count`` cells, evenly over the list."""
    step = max(1, len(cells) // count)
    return list(cells[::step][:count])


def replace_limit(cell: Cell, limit: int) -> Cell:
    """The cell on fewer documents."""
    return replace(cell, benchmark=replace(cell.benchmark, limit=limit))


def _size(word: str) -> BatchSize:
    return "auto" if word == "auto" else int(word)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="tops bench throughput", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--experiment", default="table1")
    parser.add_argument("--profile", default="miniature")
    parser.add_argument("--backbone", help="default: the experiment's first")
    parser.add_argument("--cells", type=int, default=15, help="cells measured, spread over the experiment")
    parser.add_argument("--limit", type=int, default=24, help="documents per cell")
    parser.add_argument("--batch-size", type=_size, default=8, metavar="N", help="prompts per call, or auto")
    parser.add_argument("--threads", type=int, default=0, help="torch threads (default: as torch finds them)")
    parser.add_argument("--json", type=Path, help="write the record here")
    return parser
