"""Titles of benchmarks, backbones and rows in tables."""

from __future__ import annotations

from tops.benchmarks.benchmark import load_benchmark
from tops.planning.plan import Row
from tops.settings.choices import backbone_config, choice_names

_BENCHMARKS = {
    "gqa": "GQA",
    "scienceqa_img": "SQA",
    "textvqa": "TextVQA",
    "pope": "POPE",
    "mme": "MME",
    "mmbench_en": "MMB-EN",
    "mmbench_cn": "MMB-CN",
    "mmvet": "MM-Vet",
    "mmstar": "MMStar",
    "ai2d": "AI2D",
    "hallusionbench": "HallBench",
    "mlvu": "MLVU",
    "longvideobench_val": "LVB val",
    "longvideobench_perception": "LVB perc.",
    "longvideobench_relation": "LVB rel.",
    "videomme": "V-MME",
    "videomme_short": "V-MME short",
    "videomme_medium": "V-MME med.",
    "videomme_long": "V-MME long",
    "mme_existence": "MME exist.",
    "acc": "Acc",
    "rel": "Rel (%)",
    "tokens": "Tokens",
    "flops_t": "TFLOPs",
    "flops_x": "Speed-up",
    "latency_ms": "Latency (ms)",
    "memory_gb": "Memory (GB)",
    "f1": "F1",
    "mme_fidelity": "MME (%)",
    "textvqa_fidelity": "TextVQA (%)",
    "gqa_turns": "GQA, first cut",
    "gqa_turns_anew": "GQA, cut anew",
    "pope_turns": "POPE, first cut",
    "pope_turns_anew": "POPE, cut anew",
}
_PROTOCOLS = {"as_printed": "schedule as printed", "kept": "tokens after the cut"}


def benchmark_title(slug: str) -> str:
    """Short title of a benchmark or derived column; a benchmark of the user's own has the title of its file."""
    if slug in _BENCHMARKS or slug not in choice_names("benchmark"):
        return _BENCHMARKS.get(slug, slug)
    return load_benchmark(slug).title


def backbone_title(name: str) -> str:
    """Title of a backbone from its configuration."""
    return backbone_config(name).title


def row_title(row: Row) -> str:
    """Method and variant, with the budget protocol where it is not the layer average."""
    more = [p for p in (row.variant, _PROTOCOLS.get(row.protocol, "")) if p]
    return f"{row.title} ({'; '.join(more)})" if more else row.title
