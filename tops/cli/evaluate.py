"""``tops evaluate``: benchmarks on one backbone and one method, here, on one loaded model, with a progress bar."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from tops.benchmarks.benchmark import load_suite
from tops.errors import ConfigurationError, TopsError
from tops.store.cell import Cell


def parser() -> argparse.ArgumentParser:
    """Options of the command."""
    out = argparse.ArgumentParser(prog="tops evaluate", description=__doc__, allow_abbrev=False)
    out.add_argument("specification", nargs="*", help="spec.json of stored cells, to evaluate exactly these again")
    out.add_argument("--backbone", default="llava-1.5-7b", help="catalogue name")
    out.add_argument("--method", default="none", help="method name; none for the unpruned model")
    out.add_argument("--budget", help="tokens per image (64) or keep ratio (0.25)")
    out.add_argument("--protocol", default="layer_average", help="what the budget counts")
    out.add_argument("--suite", default="pope", help="suite or benchmark, or several with commas")
    out.add_argument("--profile", default="paper", help="paper or miniature")
    out.add_argument("--convention", help="prompt convention of the benchmarks")
    out.add_argument("--option", action="append", default=[], metavar="NAME=VALUE", help="option of the method")
    out.add_argument(
        "--input", action="append", default=[], metavar="NAME=VALUE", help="option of the backbone's inputs"
    )
    out.add_argument("--limit", type=int, help="documents per benchmark, drawn over all of them")
    out.add_argument("--allow-empty", action="store_true", help="count empty answers as wrong, not as failed documents")
    out.add_argument("--seed", type=int, default=0)
    out.add_argument("--results", default="results", help="root of the result store")
    out.add_argument("--judge", help="address of an OpenAI-compatible judge")
    out.add_argument("--judge-model", default="", help="its model; the first it lists by default")
    out.add_argument("--record-kept", action="store_true", help="store which tokens each cut kept, and the pictures")
    return out


def main(argv: list[str]) -> int:
    """Exit status 0 when all cells are complete, 1 when some are not, 130 after Ctrl-C."""
    options = parser().parse_args(argv)
    cells = [_stored(Path(path)) for path in options.specification] or _cells(options)
    try:
        return _evaluate(cells, options)
    except KeyboardInterrupt:
        print("\nstopped; every answer so far is stored. The same command goes on where it stopped.", file=sys.stderr)
        return 130


def _stored(path: Path) -> Cell:
    try:
        return Cell.from_dict(json.loads(path.read_bytes()))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigurationError(f"{path} is no specification of a cell: {error}") from None


def _cells(options: argparse.Namespace) -> list[Cell]:
    from dataclasses import replace

    from tops.planning import resolve, staging
    from tops.settings.choices import backbone_config, load_profile

    profile = load_profile(options.profile)
    profile = replace(profile, allow_empty=options.allow_empty or profile.allow_empty)
    staging.prepare(profile)
    budget = None if options.budget is None else _number(options.budget)
    names = [b for suite in options.suite.split(",") for b in load_suite(suite)]
    inputs = dict(_pair(o) for o in options.input)
    backbone = backbone_config(options.backbone)
    if inputs.get("frames_as_images"):
        backbone = replace(backbone, video={**(backbone.video or {}), **inputs})
    cells = []
    for name in dict.fromkeys(names):
        planned = resolve.cell(
            backbone,
            options.method,
            dict(_pair(o) for o in options.option),
            budget,
            options.protocol,
            name,
            profile,
            options.limit,
            options.seed,
            convention=options.convention,
        )
        if not isinstance(planned, Cell):
            raise ConfigurationError(f"{options.backbone} / {options.method} / {name}: {planned.reason}")
        if inputs:
            planned = replace(
                planned, backbone=replace(planned.backbone, options={**planned.backbone.options, **inputs})
            )
        cells.append(planned)
    return cells


def _evaluate(cells: list[Cell], options: argparse.Namespace) -> int:
    from tops.benchmarks.benchmark import load_benchmark
    from tops.evaluation import evaluate_cell
    from tops.evaluation.judge import Judge
    from tops.planning import staging
    from tops.planning.resolve import as_meant
    from tops.running.bar import Bar
    from tops.running.execute import load_evaluator
    from tops.settings.choices import load_profile
    from tops.settings.methods import build_method
    from tops.store.store import Store

    judge = Judge(options.judge, options.judge_model) if options.judge else None
    bar = Bar()
    loaded: tuple[Any, Any] | None = None
    missing = 0
    for cell in cells:
        store = Store(options.results, cell.profile)
        status = store.status(cell.key)
        if status.done:
            print(f"{cell.label}: {status}, stored")
            continue
        profile = load_profile(cell.profile)
        if loaded is None or loaded[0] != cell.backbone:
            loaded = (cell.backbone, load_evaluator(cell.backbone, profile).backbone)
        try:
            status = evaluate_cell(
                cell,
                store=store,
                backbone=loaded[1],
                method=build_method(as_meant(cell), cell.budget, seed=cell.seed),
                benchmark=load_benchmark(cell.benchmark.name),
                data_root=staging.data_root(profile),
                judge=judge,
                progress=bar,
                record_kept=options.record_kept,
            )
        except TopsError as error:
            print(f"{cell.label}: {error}", file=sys.stderr)
        missing += not status.done
        print(_line(store, cell))
    return 1 if missing else 0


def _line(store: Any, cell: Cell) -> str:
    """One cell in one line: its number with all that qualifies it, or why there is none."""
    record = store.read(cell.key) if store.status(cell.key) != "missing" else None
    if record is None:
        return f"{cell.label}: not begun"
    if record.default_scorer is None:
        why = record.failure["error"] if record.failure else str(record.status)
        return f"{cell.label}: {record.status}: {why}" if record.failure else f"{cell.label}: {why}"
    entry = record.scores[record.default_scorer]
    value = entry["metrics"][entry["metric"]]
    unit = "%" if entry["scale"] == "percent" else " points"
    invalid = f", {entry['invalid_rate']:.1%} invalid" if entry["invalid_rate"] else ""
    source = f"{record.default_scorer}, {entry['documents']} documents{invalid}"
    return f"{cell.label}: {entry['metric']} {value:.2f}{unit} ({source})"


def _pair(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals:
        raise ConfigurationError(f"{text!r}: write NAME=VALUE")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def _number(text: str) -> int | float:
    try:
        return float(text) if "." in text or "e" in text.lower() else int(text)
    except ValueError:
        raise ConfigurationError(f"budget {text!r} is neither a count (64) nor a keep ratio (0.25)") from None
