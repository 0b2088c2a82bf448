"""Stock lmms-eval chat models with our model inside: their prompts and decoding, without their silent failures."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from importlib import import_module
from types import SimpleNamespace
from typing import Any, cast
from unittest.mock import patch

import numpy as np
import torch
from transformers import BatchFeature, GenerationConfig

from tops.backbones.image_layouts import NATIVE, ImageLayout
from tops.backbones.inputs import Inputs
from tops.benchmarks.quiet import import_lmms_eval
from tops.errors import DataError, UnsupportedModelError
from tops.evaluation.media import VICUNA, Media

import_lmms_eval()

from lmms_eval.api.model import lmms  # noqa: E402


@dataclass(frozen=True)
class Reply:
    """A model's reply to one prompt.

    Attributes
    ----------
    text : str
        The answer as the stock wrapper returns it.
    prompt : str
        The prompt as the processor received it, template included.
    output_tokens : int
    seconds : float
        Wall time of preparation and generation.
    """

    text: str
    prompt: str
    output_tokens: int
    seconds: float


@dataclass(frozen=True)
class Prepared:
    """One prompt as the stock wrapper hands it to ``generate``.

    Attributes
    ----------
    request : Instance
        The lmms-eval request.
    prompt : str
        As the processor got it.
    options : mapping
        Arguments of ``generate``; tensors have a batch of one.
    seconds : float
        Wall time of the preparation.
    images : tuple of PIL images
        As the processor got them.
    processing : mapping
        The processor's other arguments.
    """

    request: Any
    prompt: str
    options: Mapping[str, Any]
    seconds: float
    images: tuple[Any, ...] = ()
    processing: Mapping[str, Any] = field(default_factory=dict)


class _Halt(BaseException):
    """Raised to leave a stock wrapper at ``generate``; not an ``Exception``, because the wrapper swallows those."""


@dataclass
class _Watch:
    """Record of the inputs of processor and model during one request."""

    prompt: str = ""
    media: Media = field(default_factory=Media)
    error: BaseException | None = None
    inputs: Mapping[str, Any] = field(default_factory=dict)
    images: tuple[Any, ...] = ()
    processing: Mapping[str, Any] = field(default_factory=dict)
    halt: bool = False
    output: tuple[torch.Tensor, torch.Tensor] | None = None  # ids of the prompt; the same with those of the answer


def check_placeholders(processor: Any, texts: Sequence[str], images: Any, videos: Any) -> None:
    """Refuse prompts whose placeholders are not as many as their images and videos.

    Processors of transformers drop surplus images, or end in a bare ``StopIteration``.

    Raises
    ------
    DataError
        If the numbers differ, for example because a question's own words contain a placeholder.
    """
    for kind, given in (("image", images), ("video", videos)):
        mark = getattr(processor, f"{kind}_token", None)
        if mark is None:
            continue
        count = sum(len(item) if isinstance(item, list | tuple) else 1 for item in given or ())
        marks = sum(text.count(mark) for text in texts)
        if marks != count:
            raise DataError(
                f"the prompt has {marks} {kind} placeholder(s) {mark!r} and {count} {kind}(s); check the document's "
                "words and the chat template"
            )


class _Processor:
    """A processor that records the prompt, takes decoded frames, and refuses inputs that it would drop."""

    def __init__(self, backbone: Any, watch: _Watch, inputs: Inputs, layout: ImageLayout) -> None:
        self._processor, self._watch, self._inputs = backbone.processor, watch, inputs
        self._adapter, self._layout = backbone.adapter, layout

    def __getattr__(self, name: str) -> Any:
        return getattr(self._processor, name)

    def apply_chat_template(self, messages: Any, **options: Any) -> Any:
        text = self._processor.apply_chat_template(messages, **options)
        single = isinstance(text, str)
        texts = [text] if single else list(text)
        if self._inputs.system_prompt == "vicuna":
            texts = [f"{VICUNA} {t}" for t in texts]
        if self._watch.output is None:
            self._watch.prompt = texts[0]
        return texts[0] if single else texts

    def __call__(self, *, text: Any, images: Any = None, videos: Any = None, **options: Any) -> Any:
        if self._watch.output is not None:
            return BatchFeature({"input_ids": self._watch.output[0]})
        for name in ("num_frames", "fps", "do_sample_frames", "video_metadata"):
            options.pop(name, None)
        media = self._watch.media
        images = images or None
        if videos is not None and len(videos):
            if getattr(self._processor, "video_processor", None) is None:
                raise UnsupportedModelError(
                    f"{type(self._processor).__name__} has no video processor; choose a video backbone"
                )
            metadata = {"fps": media.fps, "frames_indices": list(media.indices), "total_num_frames": media.total}
            videos = [np.stack([np.asarray(f) for f in v]) if isinstance(v, list | tuple) else v for v in videos]
            options |= {"videos": videos, "do_sample_frames": False, "video_metadata": [metadata]}
        elif media.video:
            raise UnsupportedModelError("the frames of the video did not reach the processor")
        check_placeholders(self._processor, [text] if isinstance(text, str) else text, images, options.get("videos"))
        for name in ("min_pixels", "max_pixels"):
            value = getattr(self._inputs, name)
            if value is not None and images is not None:
                options[name] = value
        self._watch.images, self._watch.processing = tuple(images or ()), dict(options)
        return self._adapter.process(self._processor, self._layout, text=text, images=images, **options)


class _Model:
    """A model whose errors are kept, because the stock wrappers turn them into empty answers."""

    def __init__(self, model: Any, watch: _Watch) -> None:
        self._model, self._watch = model, watch

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def generate(self, **options: Any) -> Any:
        if self._watch.output is not None:
            return self._watch.output[1]
        self._watch.inputs = options
        for name in ("temperature", "top_p", "top_k"):  # greedy has none; transformers warns about each
            options.pop(name, None)
        if options.get("do_sample") or options.get("num_beams", 1) != 1:
            raise UnsupportedModelError(f"decoding must be greedy, not {options}")
        if self._watch.halt:
            raise _Halt
        try:
            return generate(self._model, options)
        except Exception as error:
            self._watch.error = error
            raise


def generate(model: Any, options: Mapping[str, Any]) -> torch.Tensor:
    """``model.generate`` with an explicit configuration; without one it rebuilds and logs the model's at every call."""
    configuration: Any = GenerationConfig
    names = configuration().to_dict()
    decoding = {name: value for name, value in options.items() if name in names}
    inputs = {name: value for name, value in options.items() if name not in names}
    with torch.inference_mode():
        ids: torch.Tensor = model.generate(**inputs, generation_config=configuration(**decoding))
    return ids


def _no_progress(*args: Any, **options: Any) -> Any:
    from tqdm import tqdm

    options["disable"] = True
    return tqdm(*args, **options)


@contextmanager
def _without_noise(module: Any) -> Iterator[None]:
    with patch.object(module, "tqdm", _no_progress), patch.object(module, "log_metrics", lambda **_: None):
        yield


class Asker:
    """Mix-in before a stock chat class: it uses a loaded backbone instead of loading one.

    ``ask`` answers one request or raises; ``generate_until`` serves lmms-eval's own evaluator in the same way.

    Parameters
    ----------
    backbone : Backbone
        The loaded backbone, with ``model``, ``processor`` and ``adapter``.
    inputs : Inputs
        How pictures and prompts are prepared.
    layout : ImageLayout
        How images become visual tokens.
    """

    stock_module: Any
    task_dict: dict[str, Any]

    def __init__(self, backbone: Any, inputs: Inputs, layout: ImageLayout) -> None:
        lmms.__init__(self)
        model, processor = backbone.model, backbone.processor
        self.backbone, self.inputs, self.watch = backbone, inputs, _Watch()
        self._model = _Model(model.eval(), self.watch)
        self._config, self._tokenizer = model.config, processor.tokenizer
        # Stock classes know their processor by one of three names.
        self._processor = self.processor = self._image_processor = _Processor(backbone, self.watch, inputs, layout)
        processor.tokenizer.padding_side = "left"
        self._device = model.device
        self.device_map = str(model.device)
        self.batch_size_per_gpu, self.use_cache, self.chat_template = 1, True, None
        self.accelerator = SimpleNamespace(is_main_process=False, num_processes=1, unwrap_model=lambda m: m)
        for name, value in backbone.adapter.chat_settings(inputs).items():
            setattr(self, name, value)

    @property
    def model(self) -> Any:
        """The model, its errors watched."""
        return self._model

    def clean(self) -> None:
        """Keep the model: it serves the next cell. Stock deletes it after every evaluation."""

    def ask(self, request: Any, media: Media | None = None) -> Reply:
        """Answer one request.

        Raises
        ------
        Exception
            The original error, unchanged.
        """
        self.watch.prompt, self.watch.error, self.watch.media = "", None, media or Media()
        started = time.perf_counter()
        with _without_noise(self.stock_module):
            result = super().generate_until([request])[0]  # type: ignore[misc]
        if self.watch.error is not None:
            raise self.watch.error
        if result.text is None or result.token_counts is None:
            raise RuntimeError("the stock wrapper gave no answer and no error")
        seconds = time.perf_counter() - started
        return Reply(result.text, self.watch.prompt, int(result.token_counts.output_tokens), seconds)

    def quiet(self) -> Any:
        """Context in which :meth:`prepare_prompt` and :meth:`reply` may be called, from several threads too."""
        return _without_noise(self.stock_module)

    def prepare_prompt(self, request: Any, media: Media) -> Prepared:
        """Prepare a prompt: every step of the stock wrapper before the model.

        Raises
        ------
        Exception
            The original error, unchanged.
        """
        self.watch.prompt, self.watch.error, self.watch.media = "", None, media
        started = time.perf_counter()
        self.watch.halt = True
        try:
            super().generate_until([request])  # type: ignore[misc]
        except _Halt:
            watch, seconds = self.watch, time.perf_counter() - started
            return Prepared(request, watch.prompt, watch.inputs, seconds, watch.images, watch.processing)
        finally:
            self.watch.halt = False
        raise RuntimeError("the stock wrapper did not come to the model")

    def reply(self, prepared: Prepared, ids: torch.Tensor, seconds: float) -> Reply:
        """Make a reply: every step of the stock wrapper after the model.

        Parameters
        ----------
        prepared : Prepared
            From :meth:`prepare_prompt`, of any asker of this model.
        ids : Tensor, (1, L + T) int64
            Output of ``generate`` for the prompt: prompt and answer.
        seconds : float
            Wall time of that ``generate``.
        """
        words = [{"role": "user", "content": [{"type": "text", "text": ""}]}]
        old = prepared.request.arguments
        request = replace(prepared.request, arguments=(*old[:1], lambda _: words, *old[2:]))
        self.watch.error, self.watch.media = None, Media()
        self.watch.output = (prepared.options["input_ids"], ids)
        self.task_dict = {old[4]: {old[5]: {old[3]: None}}}
        try:
            result = super().generate_until([request])[0]  # type: ignore[misc]
        finally:
            self.watch.output = None
        if result.text is None or result.token_counts is None:
            raise RuntimeError("the stock wrapper gave no answer and no error")
        tokens = int(result.token_counts.output_tokens)
        return Reply(result.text, prepared.prompt, tokens, prepared.seconds + seconds)

    def generate_until(self, requests: list[Any]) -> list[Any]:
        """Answers in the form that lmms-eval's evaluator takes; the first error ends the evaluation."""
        from lmms_eval.api.instance import GenerationResult, TokenCounts

        replies = [self.ask(request) for request in requests]
        return [GenerationResult(r.text, TokenCounts(output_tokens=r.output_tokens)) for r in replies]


@cache
def _asking(chat: str) -> Callable[[Any, Inputs, ImageLayout], Asker]:
    """:class:`Asker` in front of the one model class that a module of ``lmms_eval.models.chat`` defines."""
    module = import_module(f"lmms_eval.models.chat.{chat}")
    stock = next(
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, lmms) and value.__module__ == module.__name__
    )
    return cast(
        Callable[[Any, Inputs, ImageLayout], Asker],
        type(f"Asking{stock.__name__}", (Asker, stock), {"stock_module": module}),
    )


def asker_for(backbone: Any, inputs: Inputs, layout: ImageLayout = NATIVE) -> Asker:
    """The stock wrapper that fits a loaded backbone.

    A layout with views of its own also needs :meth:`tops.backbones.base.Adapter.shown` around the model's calls.

    Raises
    ------
    UnsupportedModelError
        If no stock wrapper fits.
    """
    adapter = backbone.adapter
    if not adapter.chat:
        raise UnsupportedModelError(
            f"family {adapter.family!r} names no chat model of lmms-eval; set Adapter.chat in its file, or choose "
            f"another backbone"
        )
    return _asking(adapter.chat)(backbone, inputs, layout)
