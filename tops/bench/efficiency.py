"""``tops bench efficiency``: latency, memory and FLOPs of every method at the paper's setting (Table 4).

One image of 2,880 tokens on LLaVA-NeXT-7B with random weights at 320 kept, on a GPU; the miniature LLaVA-NeXT at the
same keep ratio on a CPU. Prefill is ``generate`` of one token, from pixels; decode is what each further token adds. The
repeats go round robin over the methods, so that a change of the machine's load meets all of them. Phases come from
passes of their own, for their clocks synchronise the device.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from tops.bench.clocks import Clock, ClockedMethod
from tops.bench.measure import machine, synchronise, write_json
from tops.bench.prompts import TEXT, prompt
from tops.budget import Budget, PromptShape, Protocol
from tops.errors import BudgetError, ConfigurationError, MissingSignalError, nearest_names

LIMIT = "free_truncation"
PHASES = ("vision", "signals", "selection", "language_model")


@dataclass
class Row:
    """One method's measurements: seconds of each repeat, and what one prefill took."""

    name: str
    protocol: str = ""
    prefill: list[float] = field(default_factory=list)
    total: list[float] = field(default_factory=list)
    phases: dict[str, list[float]] = field(default_factory=lambda: {phase: [] for phase in PHASES})
    memory_bytes: int | None = None
    visual_tokens: float = 0.0
    tokens_per_layer: tuple[int, ...] = ()
    analytic: int = 0
    measured: int = 0
    measured_all: int = 0


def main(argv: list[str]) -> int:
    """Measure, print the table, write the record."""
    options = _parser().parse_args(argv)
    device = torch.device(options.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ConfigurationError(f"--device {options.device}: torch sees no CUDA device here; use --device cpu")
    if options.threads:
        torch.set_num_threads(options.threads)
    bench = Bench(device, options.tokens)
    names = options.methods or _names()
    for name in names:
        if name not in _names():
            raise ConfigurationError(f"unknown method {name!r}. {nearest_names(name, _names())}")
    rows, left_out = bench.rows([*names, *({"none", LIMIT} - set(names))], options.repeats)
    report = [summary(row, rows[LIMIT], options.tokens) for row in rows.values()]
    print(table(report))
    for name, reason in left_out.items():
        print(f"{name}: not measured: {reason}")
    record: dict[str, object] = {
        "benchmark": "efficiency",
        "machine": machine(device),
        "setting": bench.setting,
        "repeats": options.repeats,
        "rows": report,
        "left_out": left_out,
    }
    print(f"{bench.setting}\n{record['machine']}")
    print("over limit: prefill beyond free truncation, whose only work is the cut; ms: median (p95)")
    if options.json:
        write_json(options.json, record)
    return 0


class Bench:
    """The model, the prompt, and what is done with them.

    Parameters
    ----------
    device : torch.device
        CUDA: the true size with random weights, bfloat16; CPU: the miniature.
    tokens : int
        Generated tokens of the end-to-end time.
    backbone : str
        Name of a ``configs/backbone`` file.

    Raises
    ------
    ConfigurationError
        On a CPU, if the backbone has no miniature.
    """

    def __init__(self, device: torch.device, tokens: int, backbone: str = "llava-next-7b") -> None:
        from tops.backbones.loading import load_backbone
        from tops.planning import staging
        from tops.settings.choices import backbone_config, load_profile

        choice = backbone_config(backbone)
        profile = load_profile("paper" if device.type == "cuda" else "miniature")
        if profile.miniature:
            staged = staging.checkpoint(choice, profile)
            if staged is None or choice.miniature is None:
                raise ConfigurationError(f"{backbone} has no miniature; use --device cuda, or another backbone")
            self.backbone = load_backbone(
                staged.path, family=choice.family, dtype="float32", device_map="cpu", name=choice.name
            )
        else:
            self.backbone = load_backbone(
                choice.checkpoint, family=choice.family, weights="random", device_map=str(device), name=choice.name
            )
        self.device, self.tokens, self.model = device, tokens, self.backbone.model
        shape = choice.miniature if profile.miniature and choice.miniature is not None else choice
        made = prompt(self.backbone.adapter, shape.visual, shape.frames, device)
        self.inputs, visual, self.images = made.inputs, made.visual, made.images
        self.budget = round(visual / self.images * 320 / 2880)  # Table 4's share, per image or frame
        config: Any = self.model.config
        self.setting: dict[str, Any] = {
            "model": choice.title if not profile.miniature else f"miniature of {choice.title}",
            "weights": "random" if not profile.miniature else "embedded",
            "dtype": str(self.model.dtype),
            "attention": config._attn_implementation,
            "visual_tokens": visual,
            "images": self.images,
            "text_tokens": TEXT,
            "budget": self.budget,
            "generated_tokens": tokens,
        }

    def rows(self, names: list[str], repeats: int) -> tuple[dict[str, Row], dict[str, str]]:
        """All methods round robin, one round for warm-up; and the methods that this model cannot serve, with why."""
        rows: dict[str, Row] = {}
        left_out: dict[str, str] = {}
        for name in names:
            try:
                row = Row(name, self.protocol(name))
                self.count(row)
                rows[name] = row
            except MissingSignalError as error:
                left_out[name] = str(error)
        for repeat in range(repeats + 1):
            for row in rows.values():
                prefill, total = self.time(row.name, 1), self.time(row.name, self.tokens)
                phases = self.phases(row.name)
                if repeat:
                    row.prefill.append(prefill)
                    row.total.append(total)
                    for phase, seconds in phases.items():
                        row.phases[phase].append(seconds)
        return rows, left_out

    def protocol(self, name: str) -> Any:
        """``layer_average``, or ``kept`` where so few layers cannot average it; empty without a budget."""
        if name == "none":
            return ""
        tokens, depth = self.setting["visual_tokens"], len(self.backbone.adapter.layers)
        try:
            self.method(name, "layer_average").schedule(PromptShape(tokens, depth, self.images, self.backbone.name))
        except BudgetError:
            return "kept"
        return "layer_average"

    def method(self, name: str, protocol: Protocol) -> Any:
        """A method at the budget."""
        from tops.methods import build

        return build(name, budget=Budget(self.budget, protocol))

    @contextmanager
    def pruned(self, name: str, wrap: Callable[[Any], Any] = lambda method: method) -> Iterator[Any]:
        """The model under a method; None is yielded for ``none``."""
        if name == "none":
            yield None
            return
        method = self.method(name, self.protocol(name))
        with self.backbone.prune(wrap(method), question="What is in the image?") as run:
            run.sample = "efficiency/0"
            yield run

    def generate(self, tokens: int) -> None:
        """Exactly so many tokens."""
        with torch.inference_mode():
            model: Any = self.model
            model.generate(**self.inputs, do_sample=False, max_new_tokens=tokens, min_new_tokens=tokens)

    def time(self, name: str, tokens: int) -> float:
        """Seconds from pixels to the last of so many tokens."""
        with self.pruned(name):
            synchronise(self.device)
            start = time.perf_counter()
            self.generate(tokens)
            synchronise(self.device)
            return time.perf_counter() - start

    def phases(self, name: str) -> dict[str, float]:
        """Seconds of each phase of one forward of the prompt.

        ``vision``: tower, projector, merging with the text. ``signals``: what a method asks of tower, attention and
        states. ``selection``: the rest of its work. ``language_model``: all layers, the cuts' gathers included.
        """
        marks: dict[str, float] = {}
        signals, selection = Clock(self.device), Clock(self.device)

        def mark(key: str) -> Callable[..., None]:
            def hook(*_: object, **__: object) -> None:
                synchronise(self.device)
                marks[key] = time.perf_counter()

            return hook

        adapter = self.backbone.adapter
        handles = [
            adapter.outer.register_forward_pre_hook(mark("begin"), with_kwargs=True),
            adapter.text_model.register_forward_pre_hook(mark("text"), with_kwargs=True),
        ]
        try:
            with (
                self.pruned(name, lambda method: ClockedMethod(method, selection, signals)),
                torch.inference_mode(),
            ):
                self.model(**self.inputs, use_cache=True, logits_to_keep=1)
                mark("end")()
        finally:
            for handle in handles:
                handle.remove()
        return {
            "vision": marks["text"] - marks["begin"],
            "signals": signals.seconds,
            "selection": selection.seconds - signals.seconds,
            "language_model": marks["end"] - marks["text"] - selection.seconds,
        }

    def count(self, row: Row) -> None:
        """FLOPs and peak memory of one prefill."""
        from torch.utils.flop_counter import FlopCounterMode

        from tops.accounting import DecoderSize, decoder_flops

        adapter = self.backbone.adapter
        self.generate(1)
        with self.pruned(row.name) as run:
            reset = _reset_peak(self.device)
            self.generate(self.tokens)
            row.memory_bytes = _peak(self.device) if reset else None
            with (
                FlopCounterMode(display=False, custom_mapping=attention_flops()) as counter,
                torch.inference_mode(),
            ):
                self.model(**self.inputs, use_cache=True, logits_to_keep=1)
            length = int(self.inputs["input_ids"].shape[1])
            tokens = (length,) * len(adapter.layers) if run is None else run.last[0].tokens_per_layer
            seen = (
                (self.setting["visual_tokens"],) * len(tokens) if run is None else run.last[0].visual_tokens_per_layer
            )
            row.visual_tokens, row.tokens_per_layer = sum(seen) / len(seen), seen
        counts = counter.get_flop_counts()
        decoder = [n for n, m in self.model.named_modules() if m is adapter.text_model]
        name = f"{type(self.model).__name__}.{decoder[0]}"
        row.analytic = decoder_flops(DecoderSize.of(adapter.text_config), tokens)
        row.measured, row.measured_all = sum(counts[name].values()), counter.get_total_flops()


def attention_flops() -> dict[Any, Any]:
    """Count of the CPU's fused attention, which torch's counter leaves out."""
    from torch.utils import flop_counter

    counted: Any = flop_counter.sdpa_flop_count

    def count(query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
        return int(counted(query, key, value))

    return {torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: count}


def summary(row: Row, limit: Row, tokens: int) -> dict[str, Any]:
    """What is printed and kept of a row; milliseconds, bytes, FLOPs."""
    decode = [(total - prefill) / (tokens - 1) for total, prefill in zip(row.total, row.prefill, strict=True)]
    prefill = statistics.median(row.prefill)
    return {
        "method": row.name,
        "protocol": row.protocol,
        "visual_tokens": row.visual_tokens,
        "visual_tokens_per_layer": list(row.tokens_per_layer),
        "prefill_ms": _spread(row.prefill),
        "decode_ms": _spread(decode),
        "total_ms": _spread(row.total),
        "over_limit": prefill / statistics.median(limit.prefill) - 1,
        "phases_ms": {phase: 1e3 * statistics.median(seconds) for phase, seconds in row.phases.items()},
        "peak_memory_bytes": row.memory_bytes,
        "decoder_flops_analytic": row.analytic,
        "decoder_flops_measured": row.measured,
        "prefill_flops_measured": row.measured_all,
    }


def table(report: list[dict[str, Any]]) -> str:
    """The rows for people, fastest prefill first."""
    lines = [
        f"{'method':<22}{'tokens':>8}{'prefill ms':>18}{'over limit':>12}{'decode ms':>16}{'total ms':>18}"
        f"{'vision':>8}{'signals':>9}{'select':>8}{'LM':>8}{'MB':>8}{'GFLOPs':>9}{'measured':>9}"
    ]
    for row in sorted(report, key=lambda r: r["prefill_ms"]["median"]):
        times = [f"{row[k]['median']:.1f} ({row[k]['p95']:.1f})" for k in ("prefill_ms", "decode_ms", "total_ms")]
        name = row["method"] + (" (kept)" if row["protocol"] == "kept" else "")
        memory = "-" if row["peak_memory_bytes"] is None else f"{row['peak_memory_bytes'] / 1e6:.0f}"
        vision, signals, selection, language = (row["phases_ms"][phase] for phase in PHASES)
        lines.append(
            f"{name:<22}{row['visual_tokens']:>8.1f}{times[0]:>18}{row['over_limit']:>+12.1%}{times[1]:>16}"
            f"{times[2]:>18}{vision:>8.1f}{signals:>9.2f}{selection:>8.2f}{language:>8.1f}{memory:>8}"
            f"{row['decoder_flops_analytic'] / 1e9:>9.3f}{row['decoder_flops_measured'] / 1e9:>9.3f}"
        )
    return "\n".join(lines)


def _spread(seconds: list[float]) -> dict[str, float]:
    ordered = sorted(seconds)
    return {
        "median": 1e3 * statistics.median(ordered),
        "p95": 1e3 * ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))],
    }


def _names() -> list[str]:
    """Methods that prune inside the model; controls that change the image are another input, not another speed."""
    from tops.methods import build, method_names
    from tops.methods.base import InputControl

    return ["none", *(n for n in method_names() if not isinstance(build(n), InputControl))]


def _reset_peak(device: torch.device) -> bool:
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return True
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


def _peak(device: torch.device) -> int:
    """Bytes: allocated on a GPU; resident on a CPU, weights and libraries included."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    status = Path("/proc/self/status").read_text().splitlines()
    found = [line.split()[1] for line in status if line.startswith("VmHWM")]
    return 1024 * (int(found[0]) if found else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="tops bench efficiency", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("methods", nargs="*", help="default: all that prune inside the model, and none")
    parser.add_argument("--device", help="default: cuda where there is one, else cpu (the miniature)")
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--tokens", type=int, default=16, help="generated tokens of the end-to-end time (default 16)")
    parser.add_argument("--threads", type=int, default=0, help="torch threads (default: as torch finds them)")
    parser.add_argument("--json", type=Path, help="write the record here")
    return parser
