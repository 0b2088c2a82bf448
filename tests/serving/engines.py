"""Engines of vLLM on the miniatures, the prompts they are asked, and what the library answers to the same."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from PIL import Image

from tops import Backbone, load_backbone
from tops.miniature.checkpoints import path as checkpoint
from tops.serving.pruning import KEY, VARIABLE, Pruning

os.environ.update(
    HF_HUB_OFFLINE="1",
    OMP_NUM_THREADS="1",
    VLLM_ALLOW_INSECURE_SERIALIZATION="1",  # functions of these tests are sent to the worker
    VLLM_CPU_KVCACHE_SPACE="1",
    VLLM_CPU_OMP_THREADS_BIND="nobind",
    VLLM_ENABLE_V1_MULTIPROCESSING="0",  # in this process: a start takes half as long, and nothing can linger
    VLLM_LOGGING_LEVEL="ERROR",
    VLLM_NO_USAGE_STATS="1",
)
FAMILIES = ("llava-1.5", "llava-next", "qwen2.5-vl", "internvl3")
TOKENS, BATCH = 4, 20
QUESTIONS = (
    "What colour is the square?",
    "How many squares are there?",
    "Is there a red square in the picture?",
    "What is on the left?",
)


@dataclass(frozen=True)
class Prompt:
    """Words and pictures, and the client's own names for these, where it gives some."""

    words: str
    images: tuple[Image.Image, ...]
    names: tuple[str, ...] = ()


def pictures(count: int, seed: int = 0, *, sizes: tuple[int, int] = (60, 220), grain: int = 12) -> list[Image.Image]:
    """Coloured squares of many sizes, with the grain of a photograph: on plain grounds patches are alike, and which of
    two equals a method keeps is decided by the rounding of products, which no two programs share."""
    draw, out = np.random.default_rng(seed), []
    for _ in range(count):
        width, height = (int(side) for side in draw.integers(*sizes, 2))
        pixels = np.full((height, width, 3), draw.integers(0, 255, 3), np.uint8)
        for _ in range(4):
            left, top = int(draw.integers(0, width - 20)), int(draw.integers(0, height - 20))
            pixels[top : top + 20, left : left + 20] = draw.integers(0, 255, 3)
        grainy = pixels + draw.integers(-grain, grain + 1, pixels.shape)
        out.append(Image.fromarray(grainy.clip(0, 255).astype(np.uint8)))
    return out


def prompts(count: int, seed: int = 0, *, images: int = 1) -> list[Prompt]:
    """Every picture comes with two questions, so that caches have something to find."""
    shown = pictures(count // 2 * images, seed)
    return [
        Prompt(QUESTIONS[(number + which) % len(QUESTIONS)], tuple(shown[number * images : (number + 1) * images]))
        for number in range(count // 2)
        for which in range(2)
    ]


def text_of(backbone: Backbone, prompt: Prompt) -> str:
    """The prompt in the checkpoint's own template."""
    content = [*({"type": "image"} for _ in prompt.images), {"type": "text", "text": prompt.words}]
    text: str = backbone.processor.apply_chat_template(
        [{"role": "user", "content": content}], add_generation_prompt=True
    )
    return text


def library(
    backbone: Backbone, batch: Sequence[Prompt], pruning: Mapping[str, Any] | None, *, tokens: int = TOKENS
) -> list[tuple[int, list[int]]]:
    """Length inside the model, and greedy tokens, of prompts in one call of ``generate`` in a ``prune()`` block."""
    told = Pruning.read(pruning) if pruning else Pruning()
    backbone.processor.tokenizer.padding_side = "left"
    texts, images = [text_of(backbone, prompt) for prompt in batch], [list(prompt.images) for prompt in batch]
    inputs = backbone.processor(text=texts, images=images, return_tensors="pt", padding=True)
    options = {**inputs, "max_new_tokens": tokens, "min_new_tokens": tokens, "do_sample": False}
    model: Any = backbone.model
    padded, method = inputs["input_ids"].shape[1], told.build()
    with torch.no_grad():
        if method is None:
            ids, lengths = model.generate(**options), inputs["attention_mask"].sum(1).tolist()
        else:
            with backbone.prune(method) as run:
                run.sample = told.sample
                ids = model.generate(**options)
            lengths = [record.tokens_per_layer[0] for record in run.last]
    return list(zip(lengths, ids[:, padded:].tolist(), strict=True))


class Engine:
    """An offline engine with prefix caching and chunked prefill, and the library's model of the same weights."""

    def __init__(self, family: str, **options: Any) -> None:
        from vllm import LLM

        self.family, self.folder = family, str(checkpoint(family))
        self.backbone = load_backbone(self.folder, dtype="float32")
        if family == "internvl3":  # the other way to tell an engine
            architectures = ["TopsInternVLForConditionalGeneration"]
            options["hf_overrides"] = {"architectures": architectures, KEY: {"method": "none"}}
        self.llm = LLM(
            model=self.folder,
            dtype="float32",
            enforce_eager=True,
            enable_chunked_prefill=True,
            enable_prefix_caching=True,
            max_num_batched_tokens=256,
            block_size=32,  # of the prefix cache: the least on a CPU, so that these prompts share some
            max_num_seqs=16,
            max_model_len=2048,
            limit_mm_per_prompt={"image": 2, **({"video": 0} if family == "internvl3" else {})},
            disable_log_stats=False,
            **options,
        )

    def ask(
        self, asked: Sequence[Prompt], prunings: Sequence[Mapping[str, Any] | None], *, tokens: int = TOKENS
    ) -> list[tuple[int, list[int]]]:
        """Length of the prompt inside the engine, and greedy tokens, of every prompt, all at once."""
        from vllm import SamplingParams

        requests = []
        for prompt, pruning in zip(asked, prunings, strict=True):
            request: dict[str, Any] = {
                "prompt": text_of(self.backbone, prompt),
                "multi_modal_data": {"image": list(prompt.images)},
            }
            if prompt.names:
                request["multi_modal_uuids"] = {"image": list(prompt.names)}
            if pruning is not None:
                request["mm_processor_kwargs"] = {KEY: dict(pruning)}
            requests.append(request)
        greedy = SamplingParams(temperature=0, max_tokens=tokens, min_tokens=tokens)
        outputs = self.llm.generate(requests, greedy, use_tqdm=False)
        return [(len(out.prompt_token_ids), list(out.outputs[0].token_ids)) for out in outputs]

    def library(
        self, asked: Sequence[Prompt], pruning: Mapping[str, Any] | None, *, tokens: int = TOKENS
    ) -> list[tuple[int, list[int]]]:
        """The same from ``prune()``, in batches."""
        batches = [asked[first : first + BATCH] for first in range(0, len(asked), BATCH)]
        return [answer for batch in batches for answer in library(self.backbone, batch, pruning, tokens=tokens)]

    def counter(self, name: str) -> float:
        """A counter of the engine."""
        return sum(float(metric.value) for metric in self.llm.get_metrics() if metric.name == name)  # type: ignore[attr-defined]

    def close(self) -> None:
        """End its processes."""
        from vllm.distributed import cleanup_dist_env_and_memory

        self.llm.llm_engine.engine_core.shutdown()
        del self.llm
        cleanup_dist_env_and_memory()
        gc.collect()


@contextmanager
def running(family: str, pruning: str = '{"method": "none"}', **options: Any) -> Iterator[Engine]:
    """An engine for the length of a block."""
    told = {} if family == "internvl3" else {VARIABLE: pruning}
    with patch.dict(os.environ, told):
        engine = Engine(family, **options)
        try:
            yield engine
        finally:
            engine.close()
