"""``tops bench``: the table of benchmarks."""

from __future__ import annotations

import sys
from importlib import import_module

from tops.errors import nearest_names

# name -> (module with ``main(argv: list[str]) -> int``, one line of help)
BENCHMARKS: dict[str, tuple[str, str]] = {
    "selection": (
        "tops.bench.selection",
        "the greedy selections against plain statements of their authors' code, and that picks are exact",
    ),
    "methods": ("tops.bench.methods", "milliseconds per selection of every method, against random selection"),
    "efficiency": ("tops.bench.efficiency", "prefill, decode, phases, memory and FLOPs of every method (Table 4)"),
    "backbones": ("tops.bench.backbones", "every backbone at its true size: tokens per layer, memory, prefill, decode"),
    "throughput": ("tops.bench.throughput", "documents per second of the evaluation, in batches and one by one"),
    "grid": ("tops.bench.grid", "hours of an experiment on 1, 8 and 64 GPUs, its schedule simulated"),
    "serving": ("tops.bench.serving", "requests a second, first token and cache inside vLLM, unpruned and pruned"),
    "intervals": ("tops.bench.intervals", "how often the 95 % intervals of the reports hold the truth, by simulation"),
    "scaling": ("tops.bench.scaling", "time and memory of selection against the number of tokens and of picks"),
}


def main(argv: list[str]) -> int:
    """Run one benchmark; returns the exit status."""
    if not argv or argv[0] in ("-h", "--help"):
        rows = "\n".join(f"  {name:<11}  {text}" for name, (_, text) in BENCHMARKS.items())
        print(f"usage: tops bench NAME [options]\n\nbenchmarks:\n{rows}\n\n`tops bench NAME --help` tells more.")
        return 0
    if argv[0] not in BENCHMARKS:
        print(f"tops bench: unknown benchmark {argv[0]!r}. {nearest_names(argv[0], BENCHMARKS)}", file=sys.stderr)
        return 2
    return int(import_module(BENCHMARKS[argv[0]][0]).main(argv[1:]))
