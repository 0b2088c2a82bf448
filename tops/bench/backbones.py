"""``tops bench backbones``: every backbone of the paper with TOPS and two baselines, prefill and decode steps.

On a GPU each is built at its true size with random weights (26.7 GB in bfloat16 for the largest) and given the paper's
input: 576, 2,880, 64 x 169, 1,296 or 1,280 visual tokens, a ninth of them kept on layer average. On a CPU the
miniatures stand for them. Per method: visual tokens of every layer, peak memory, milliseconds.
"""

from __future__ import annotations

import argparse
import gc
from itertools import groupby
from pathlib import Path
from typing import Any

import torch

from tops.bench.efficiency import LIMIT, Bench, summary
from tops.bench.measure import machine, write_json
from tops.errors import ConfigurationError
from tops.settings.choices import backbone_config, check_name, choice_names

METHODS = ("tops", "fastv", "divprune")


def main(argv: list[str]) -> int:
    """Measure, print a table per backbone as it is done, write the record."""
    options = _parser().parse_args(argv)
    device = torch.device(options.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ConfigurationError(f"--device {options.device}: torch sees no CUDA device here; use --device cpu")
    for name in options.backbones:
        check_name("backbone", name)
    names = options.backbones or [
        name
        for name in choice_names("backbone")
        if device.type == "cuda" or backbone_config(name).miniature is not None
    ]
    record: dict[str, Any] = {
        "benchmark": "backbones",
        "machine": machine(device),
        "repeats": options.repeats,
        "backbones": [],
    }
    for name in names:
        measured = measure(name, device, options.tokens, options.repeats)
        record["backbones"].append(measured)
        print(table(name, measured), flush=True)
        gc.collect()
        if device.type == "cuda":
            torch.cuda.empty_cache()
        if options.json:
            write_json(options.json, record)
    print(record["machine"])
    return 0


def measure(name: str, device: torch.device, tokens: int, repeats: int) -> dict[str, Any]:
    """Setting and rows of one backbone, as ``tops bench efficiency`` records them."""
    bench = Bench(device, tokens, name)
    rows, left_out = bench.rows(["none", *METHODS, LIMIT], repeats)
    return {
        "name": name,
        "parameters": sum(p.numel() for p in bench.model.parameters()),
        "setting": bench.setting,
        "rows": [summary(row, rows[LIMIT], tokens) for row in rows.values()],
        "left_out": left_out,
    }


def table(name: str, measured: dict[str, Any]) -> str:
    """One backbone for people: runs of layers that saw the same number of tokens, memory, times."""
    setting = measured["setting"]
    lines = [
        f"{name}: {measured['parameters'] / 1e9:.2f}e9 parameters, {setting['weights']} weights, {setting['dtype']}, "
        f"{setting['visual_tokens']} visual tokens, budget {setting['budget']} of {setting['images']} image(s)"
    ]
    for row in measured["rows"]:
        memory = "-" if row["peak_memory_bytes"] is None else f"{row['peak_memory_bytes'] / 1e9:.2f} GB"
        lines.append(
            f"  {row['method']:<16}{memory:>10}  prefill {row['prefill_ms']['median']:>8.1f} ms  decode "
            f"{row['decode_ms']['median']:>7.2f} ms/token  visual tokens {_runs(row['visual_tokens_per_layer'])}"
        )
    return "\n".join(lines)


def _runs(tokens: list[int]) -> str:
    """``640 x 12, 160 x 12``: tokens and number of layers."""
    return ", ".join(f"{count} x {len(list(layers))}" for count, layers in groupby(tokens))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="tops bench backbones", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("backbones", nargs="*", help="default: all (on a CPU those with a miniature)")
    parser.add_argument("--device", help="default: cuda where there is one, else cpu (the miniatures)")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=17, help="generated tokens: the prefill's and 16 decode steps")
    parser.add_argument("--json", type=Path, help="write the record here, anew after each backbone")
    return parser
