"""A cell answered by vLLM: the stock prompts and pictures of every document, handed to an engine that batches itself.

The stock wrapper prepares each prompt as for the library. The inputs of its processor go to vLLM, whose own processor
must find the same words and the same number of visual tokens. The stock wrapper then decodes the ids that vLLM returns.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from itertools import groupby
from typing import TYPE_CHECKING, Any

import torch
from transformers import AutoConfig, GenerationConfig

from tops.backbones import family_named
from tops.errors import DataError, UnsupportedModelError
from tops.evaluation.asking import Asking, Given, Question
from tops.methods.base import Control
from tops.serving.offline import Answer, OfflineEngine, Request
from tops.serving.pruning import Pruning
from tops.serving.refusals import check_count
from tops.serving.served import SERVED

if TYPE_CHECKING:
    from tops.serving.images import ImageView

_DECODING = ("max_new_tokens", "min_new_tokens", "eos_token_id", "repetition_penalty")
_NOTHING = ("do_sample", "use_cache", "pad_token_id", "num_beams", "bos_token_id")
"""Settings of greedy generation that say nothing more to vLLM."""


class StandIn:
    """Stands in for a model inside vLLM: it has the attributes that the evaluation reads.

    Attributes
    ----------
    config, generation_config
        Configurations of the checkpoint.
    device : torch.device
        Where prompts are prepared.
    """

    def __init__(self, folder: str) -> None:
        self.config: Any = AutoConfig.from_pretrained(folder)
        self.generation_config = GenerationConfig.from_model_config(self.config)
        with suppress(OSError):  # a checkpoint without one decodes by its model's configuration
            self.generation_config = GenerationConfig.from_pretrained(folder)
        self.device, self.dtype = torch.device("cpu"), torch.float32

    def eval(self) -> StandIn:
        """Return itself; vLLM's models are always in eval mode."""
        return self


@dataclass(frozen=True)
class VllmBackbone:
    """A backbone inside vLLM, with the attributes that the evaluation needs.

    Attributes
    ----------
    name : str
        Catalogue name.
    folder, family, dtype : str
        Folder, family and type of its weights.
    options : mapping
        Arguments for ``vllm.LLM``.
    """

    name: str
    folder: str
    family: str
    dtype: str
    options: Mapping[str, Any]
    memory: None = None
    encoder: None = None

    @cached_property
    def engine(self) -> OfflineEngine:
        """The vLLM engine, started at the first use."""
        return OfflineEngine(self.folder, dtype=self.dtype, **self.options)

    @cached_property
    def model(self) -> Any:
        """The stand-in for the model."""
        return StandIn(self.folder)

    @cached_property
    def processor(self) -> Any:
        """The checkpoint's processor."""
        return family_named(self.family).load_processor(self.folder, None)

    @cached_property
    def adapter(self) -> ImageView:
        """View of the model family inside vLLM."""
        (name,) = set(family_named(self.family).model_classes) & set(SERVED)
        module, _, cls = SERVED[name].partition(":")
        view: ImageView = getattr(import_module(module), cls).view(self.model)
        return view


class VllmAsking(Asking):
    """Asks the documents of one cell inside vLLM; see :class:`tops.evaluation.asking.Asking`."""

    _backbone: Any

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        method = arguments[3]
        self._method = None if method is None or isinstance(method, Control) else method

    def ask(self, questions: Sequence[Question]) -> list[Given]:
        """Answer questions in one call of vLLM.

        Raises
        ------
        DataError
            If vLLM's processor found other words, or another number of visual tokens, than the stock one.
        """
        started = time.perf_counter()
        requests = [self._request(question) for question in questions]
        decoding = [_decoding(question.prepared.options, self._backbone.model) for question in questions]
        if any(one != decoding[0] for one in decoding):
            raise UnsupportedModelError(f"prompts of one call decode differently: {decoding}")
        answers = self._backbone.engine.answer(requests, **decoding[0])
        seconds = (time.perf_counter() - started) / len(questions)
        return [self._given(*one, seconds) for one in zip(questions, answers, strict=True)]

    def _request(self, question: Question) -> Request:
        prepared, pruning = question.prepared, Pruning()
        if self._method is not None:
            sample = f"{self._benchmark.name}/{question.number}"
            pruning = Pruning.of(self._cell.method.name, self._method, sample)
        known = self._backbone.processor.image_processor.valid_kwargs.__annotations__
        processing = {name: value for name, value in prepared.processing.items() if name in known}
        return Request(prepared.prompt, prepared.images, pruning, processing)

    def _given(self, question: Question, answer: Answer, seconds: float) -> Given:
        prepared, adapter = question.prepared, self._backbone.adapter
        stock = prepared.options["input_ids"][0].tolist()
        placeholders = set(adapter.placeholder_ids)
        here, there = _single(stock, placeholders), _single(answer.prompt, placeholders)
        if here != there:
            raise DataError(
                f"vLLM read {len(there)} tokens of text where the stock prompt has {len(here)}; its tokenizer or "
                "template differs from the checkpoint's processor"
            )
        shapes = self._shapes(stock, prepared.options, placeholders)
        left = sum(token in placeholders for token in answer.prompt)
        counts = [self._counted(visual, length) for visual, length in shapes]
        if left != sum(placed for _, placed in counts):
            wanted = sum(placed for _, placed in counts)
            raise DataError(
                f"vLLM kept {left} visual tokens where the stock prompt gives {wanted}; the pictures reached it in "
                "another size"
            )
        ids = torch.tensor([[*stock, *answer.ids]])
        depth = int(self._backbone.model.config.get_text_config().num_hidden_layers)
        seen = sum(visual for visual, _ in counts)
        return Given(self.asker.reply(prepared, ids, seconds), (seen,) * depth, (left - seen,) * depth, None)

    def _shapes(self, stock: list[int], options: Mapping[str, Any], placeholders: set[int]) -> list[tuple[int, int]]:
        """Visual tokens, and placeholders, of every image of the stock prompt."""
        runs = [len(list(run)) for inside, run in groupby(stock, lambda t: t in placeholders) if inside]
        view, out = self._backbone.adapter, []
        for number, length in enumerate(runs):
            newlines = 0
            if "image_sizes" in view.facts:
                facts = {name: options[name][number] for name in view.facts}
                newlines = int(view.one_image(facts).newline.sum())
            out.append((length - newlines, length))
        return out

    def _counted(self, visual: int, length: int) -> tuple[int, int]:
        """Visual tokens and placeholders that stay of an image."""
        if self._method is None:
            return visual, length
        shape = self._backbone.adapter.shape(length if self._method.with_newlines else visual)
        keep = check_count(self._method, shape, self._cell.method.name)
        return (visual, length) if keep is None else (keep, keep)


def _single(ids: Sequence[int], placeholders: set[int]) -> list[int]:
    """Ids with every run of placeholders reduced to one."""
    out: list[int] = []
    for token in ids:
        if token not in placeholders or not out or out[-1] not in placeholders:
            out.append(token)
    return out


def _decoding(options: Mapping[str, Any], model: Any) -> dict[str, Any]:
    """Settings of the stock wrapper's ``generate`` as vLLM takes them.

    Raises
    ------
    UnsupportedModelError
        For a setting that is not known here: leaving it out could change answers.
    """
    configuration: Any = GenerationConfig
    names = configuration().to_dict()
    given = {name: value for name, value in options.items() if name in names and value is not None}
    own = model.generation_config.to_diff_dict()
    for name in ("repetition_penalty", "eos_token_id"):
        if own.get(name) is not None:
            given.setdefault(name, own[name])
    unknown = sorted(set(given) - {*_DECODING, *_NOTHING})
    if unknown:
        raise UnsupportedModelError(
            f"decoding sets {', '.join(unknown)}, which engine=vllm does not know; use engine=library"
        )
    ends = given.get("eos_token_id")
    return {
        "tokens": int(given["max_new_tokens"]),
        "least": int(given.get("min_new_tokens", 0)),
        "repetition_penalty": float(given.get("repetition_penalty", 1.0)),
        "ignore_eos": True,  # the ids of the stock wrapper end an answer, and no others
        "stop_token_ids": [] if ends is None else list(ends) if isinstance(ends, list | tuple) else [int(ends)],
    }
