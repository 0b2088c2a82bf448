"""``tops bench serving``: requests a second, time to first token and cache use inside vLLM, unpruned against budgets.

One engine serves all rows, since a request brings its own pruning. At every concurrency as many requests are in flight
as it says; one that ends makes room for the next. Pictures are random and each is asked once, so that no cache helps.
The library answers the same prompts in the same process, in batches, and its tokens are compared.
"""

from __future__ import annotations

import argparse
import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from tops.bench.measure import machine, write_json
from tops.errors import ConfigurationError
from tops.miniature.checkpoints import path as miniature_checkpoint
from tops.serving.offline import OfflineEngine, Request, installed
from tops.serving.pruning import Pruning

USAGE = "vllm:kv_cache_usage_perc"


@dataclass(frozen=True)
class Load:
    """Prompts of one row.

    Attributes
    ----------
    requests : list of Request
    tokens : int
        Of every answer, neither more nor fewer.
    """

    requests: list[Request]
    tokens: int


def main(argv: list[str]) -> int:
    """Measure, print, write the record; status 1 when float32 answers differ from the library's."""
    options = _parser().parse_args(argv)
    installed()
    from transformers import AutoProcessor

    folder = options.checkpoint or str(miniature_checkpoint("llava-1.5"))
    processor: Any = AutoProcessor.from_pretrained(folder)  # type: ignore[no-untyped-call]
    prunings = [Pruning(), *(Pruning.read(_written(options.method, budget)) for budget in options.budgets)]
    extra: dict[str, Any] = {"load_format": "dummy"} if options.random_weights else {}
    cpu = not torch.cuda.is_available()
    engine = OfflineEngine(
        folder,
        dtype=options.dtype,
        enforce_eager=cpu,
        max_model_len=options.max_model_len,
        max_num_seqs=max(options.concurrency),
        disable_log_stats=False,
        **extra,
    )
    rows: list[dict[str, Any]] = []
    try:
        closed_loop(engine, load(processor, prunings[-1], 4, options, seed=0), 4)  # kernels are chosen, memory is warm
        for pruning in prunings:
            for number, concurrency in enumerate(options.concurrency):
                asked = load(processor, pruning, options.requests, options, seed=1 + number)
                row = closed_loop(engine, asked, concurrency)
                rows.append({"engine": "vllm", **pruning.as_dict(), "concurrency": concurrency, **row})
                print(_line(rows[-1]), flush=True)
    finally:
        engine.close()
    differing = 0
    if not options.random_weights:
        for pruning in prunings:
            asked = load(processor, pruning, options.requests, options, seed=len(options.concurrency))
            wanted = next(
                r["ids"] for r in rows if r["concurrency"] == options.concurrency[-1] and r["method"] == pruning.method
                and r.get("budget") == pruning.budget
            )  # fmt: skip
            row = by_the_library(folder, asked, pruning, options)
            row["differing_tokens"] = sum(
                a != b for x, y in zip(row["ids"], wanted, strict=True) for a, b in zip(x, y, strict=True)
            )
            differing += row["differing_tokens"]
            rows.append({"engine": "library", **pruning.as_dict(), "concurrency": options.batch_size, **row})
            print(_line(rows[-1]), flush=True)
    for row in rows:
        del row["ids"]
    record: dict[str, object] = {
        "benchmark": "serving",
        "machine": {**machine(torch.device("cpu" if cpu else "cuda")), "vllm": installed()},
        "checkpoint": Path(folder).name,
        "weights": "random" if options.random_weights else "of the checkpoint",
        "dtype": options.dtype,
        "requests": options.requests,
        "tokens": options.tokens,
        "image": options.image,
        "rows": rows,
    }
    if options.json:
        write_json(options.json, record)
    return int(differing > 0 and options.dtype == "float32")


def closed_loop(engine: OfflineEngine, asked: Load, concurrency: int) -> dict[str, Any]:
    """Keep so many requests in flight until all are answered.

    Parameters
    ----------
    engine : OfflineEngine
        Its prefix cache is emptied first.
    asked : Load
        What is asked.
    concurrency : int
        Requests in flight.

    Returns
    -------
    dict
        Requests and tokens a second, time to the first token (median and the slowest of 20, milliseconds), prompt
        tokens of a request, and the largest share of the key-value cache in use.
    """
    from vllm import SamplingParams

    inner, waiting = engine.llm.llm_engine, list(enumerate(asked.requests))[::-1]
    greedy = SamplingParams(temperature=0.0, max_tokens=asked.tokens, min_tokens=asked.tokens, ignore_eos=True)
    engine.llm.reset_prefix_cache()
    began: dict[str, float] = {}
    first: dict[str, float] = {}
    prompt_tokens: list[int] = []
    ids: dict[str, list[int]] = {}
    usage, started = 0.0, time.perf_counter()
    while waiting or len(ids) < len(asked.requests):
        while waiting and len(began) - len(ids) < concurrency:
            number, request = waiting.pop()
            began[str(number)] = time.perf_counter()
            inner.add_request(str(number), request.as_prompt(), greedy)
        for out in inner.step():
            now = time.perf_counter()
            if out.outputs[0].token_ids:
                first.setdefault(out.request_id, now - began[out.request_id])
            if out.finished:
                ids[out.request_id] = list(out.outputs[0].token_ids)
                prompt_tokens.append(len(out.prompt_token_ids))
        usage = max(usage, *(float(m.value) for m in engine.llm.get_metrics() if m.name == USAGE), 0.0)
    seconds = time.perf_counter() - started
    times = sorted(1000 * value for value in first.values())
    return {
        "requests_per_second": len(ids) / seconds,
        "tokens_per_second": len(ids) * asked.tokens / seconds,
        "first_token_ms": statistics.median(times),
        "first_token_ms_95": times[int(0.95 * (len(times) - 1))],
        "prompt_tokens": statistics.mean(prompt_tokens),
        "cache_used": usage,
        "ids": [ids[str(number)] for number in range(len(asked.requests))],
    }


def by_the_library(folder: str, asked: Load, pruning: Pruning, options: argparse.Namespace) -> dict[str, Any]:
    """The same prompts through ``prune()`` and ``generate``, in batches of one size."""
    from tops.backbones.loading import load_backbone

    device = "cuda" if torch.cuda.is_available() else None
    backbone = load_backbone(folder, dtype=options.dtype, device_map=device)
    backbone.processor.tokenizer.padding_side = "left"
    ids: list[list[int]] = []
    prompt_tokens: list[int] = []
    method, size = pruning.build(), options.batch_size
    started = time.perf_counter()
    for first in range(0, len(asked.requests), size):
        batch = asked.requests[first : first + size]
        inputs = backbone.processor(
            text=[one.text for one in batch],
            images=[list(one.images) for one in batch],
            return_tensors="pt",
            padding=True,
        ).to(backbone.model.device)
        kinds = {"max_new_tokens": asked.tokens, "min_new_tokens": asked.tokens, "do_sample": False}
        model: Any = backbone.model
        with torch.inference_mode():
            if method is None:
                out = model.generate(**inputs, **kinds)
                prompt_tokens += inputs["attention_mask"].sum(1).tolist()
            else:
                with backbone.prune(method) as run:
                    out = model.generate(**inputs, **kinds)
                prompt_tokens += [record.tokens_per_layer[0] for record in run.last]
        ids += out[:, inputs["input_ids"].shape[1] :].tolist()
    seconds = time.perf_counter() - started
    return {
        "requests_per_second": len(ids) / seconds,
        "tokens_per_second": len(ids) * asked.tokens / seconds,
        "prompt_tokens": statistics.mean(prompt_tokens),
        "ids": ids,
    }


def load(processor: Any, pruning: Pruning, count: int, options: argparse.Namespace, *, seed: int) -> Load:
    """So many prompts, a random picture each."""
    import numpy as np
    from PIL import Image

    draw, (width, height) = np.random.default_rng(seed), options.image
    content = [{"type": "image"}, {"type": "text", "text": options.question}]
    text = processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
    pictures = [Image.fromarray(draw.integers(0, 256, (height, width, 3), np.uint8)) for _ in range(count)]
    return Load([Request(text, [picture], pruning) for picture in pictures], options.tokens)


def _written(method: str, budget: str) -> dict[str, Any]:
    stages = {"stages": "first"} if method == "tops" else {}
    try:
        return {"method": method, "budget": float(budget) if "." in budget else int(budget), **stages}
    except ValueError:
        raise ConfigurationError(
            f"--budgets {budget}: a count of tokens (64) or a keep ratio (0.25) is wanted"
        ) from None


def _line(row: dict[str, Any]) -> str:
    what = "unpruned" if row["method"] == "none" else f"{row['method']}@{row['budget']}"
    first = f", first token {row['first_token_ms']:7.1f} ms" if "first_token_ms" in row else ""
    cache = f", cache {row['cache_used']:.1%}" if "cache_used" in row else ""
    differ = f", {row['differing_tokens']} differing tokens" if "differing_tokens" in row else ""
    return (
        f"{row['engine']:<7} {what:<16} x{row['concurrency']:<3} {row['requests_per_second']:7.2f} requests/s{first}, "
        f"{row['prompt_tokens']:.0f} prompt tokens{cache}{differ}"
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="tops bench serving", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--checkpoint", help="folder or hub id (default: the miniature of LLaVA-1.5)")
    parser.add_argument("--random-weights", action="store_true", help="of the checkpoint's sizes; no comparison then")
    parser.add_argument("--dtype", default="float32" if not torch.cuda.is_available() else "bfloat16")
    parser.add_argument("--method", default="visionzip")
    parser.add_argument("--budgets", nargs="+", default=["0.333", "0.222", "0.111"], help="counts or keep ratios")
    parser.add_argument("--concurrency", nargs="+", type=int, default=[1, 8, 32], help="requests in flight, rising")
    parser.add_argument("--requests", type=int, default=64, help="for every row")
    parser.add_argument("--tokens", type=int, default=16, help="of every answer")
    parser.add_argument("--batch-size", type=int, default=8, help="of the library")
    parser.add_argument("--image", nargs=2, type=int, default=[336, 336], metavar=("WIDTH", "HEIGHT"))
    parser.add_argument("--question", default="What is shown here?")
    parser.add_argument("--max-model-len", type=int, default=4096)
    parser.add_argument("--json", type=Path, help="write the record here")
    return parser
