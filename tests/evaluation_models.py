"""A loaded random-weight miniature LLaVA-1.5 and cells for it, for tests of the evaluation."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

from tops.benchmarks.benchmark import load_benchmark
from tops.benchmarks.data import data_hash
from tops.budget import Budget
from tops.methods import build
from tops.store.cell import BackboneSpec, Cell, MethodSpec

TEXTS = ["Is there a red circle in the image? Answer the question using a single word or phrase.", "yes no Yes No A B"]


@cache
def data() -> Any:
    from tops.miniature.data import ensure

    return ensure()


@cache
def backbone() -> Any:
    import torch

    from tops.backbones import adapter_for
    from tops.backbones.loading import Backbone
    from tops.miniature.families import llava_15
    from tops.miniature.tokenizer import train_bpe

    with torch.random.fork_rng():
        torch.manual_seed(0)
        model, processor = llava_15(train_bpe(TEXTS * 20))
    return Backbone("llava-1.5-7b", model.eval().requires_grad_(False), processor, adapter_for(model))


def cell(benchmark: str = "pope", method: Any = None, *, limit: int = 3, tokens: int = 2, **changes: Any) -> Cell:
    """A cell of the model above; empty answers are allowed, for random weights may end at once."""
    bench = load_benchmark(benchmark)
    spec = bench.spec(data_hash(bench, data()), profile="miniature", limit=limit)
    spec = replace(spec, generation={**spec.generation, "max_new_tokens": tokens, "allow_empty": True})
    name = method.name if method else "none"
    made = Cell(
        "miniature",
        BackboneSpec("llava-1.5-7b", "llava", "miniature/llava", "random", trained=False, dtype="float32"),
        MethodSpec(name),
        method.budget if method else None,
        spec,
    )
    return replace(made, **changes)


def pruned(budget: int = 36) -> Any:
    return build("random", budget=Budget(budget))


def evaluate(store: Any, of: Cell, method: Any = None, **options: Any) -> Any:
    from tops.evaluation import evaluate_cell

    return evaluate_cell(
        of,
        store=store,
        backbone=options.pop("backbone", None) or backbone(),
        method=method,
        benchmark=load_benchmark(of.benchmark.name),
        data_root=options.pop("data_root", None) or data(),
        **options,
    )
