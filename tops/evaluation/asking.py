"""Asking the documents of a cell: from a document to a question, and through a stock chat model to a reply."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from PIL.Image import Image
from torch import Tensor

from tops.backbones.image_layouts import check_view, view_side
from tops.backbones.inputs import Inputs
from tops.benchmarks.documents import question_of
from tops.errors import DataError, UnsupportedModelError
from tops.evaluation.batches import merge, split
from tops.evaluation.media import Media, MediaReader
from tops.evaluation.messages import messages
from tops.evaluation.models import Asker, Prepared, Reply, asker_for, generate
from tops.methods.base import InputControl

if TYPE_CHECKING:
    from tops.backbones.loading import Backbone
    from tops.benchmarks.benchmark import Benchmark
    from tops.benchmarks.tasks import Task
    from tops.engine import PromptRecord, Run
    from tops.methods.base import Method
    from tops.store.cell import Cell


@dataclass(frozen=True)
class Question:
    """One document, ready for the model."""

    number: int
    document: dict[str, Any]
    words: str
    prepared: Prepared


@dataclass(frozen=True)
class Given:
    """One reply, and what pruning did to its prompt.

    ``measured`` holds losses for scorers that read these instead of a target. ``turn`` is the place in a conversation,
    from 1 on, and ``asked`` is the turn's prompt without the model's own earlier answers; they are 0 and empty for a
    question outside a conversation.
    """

    reply: Reply
    visual_tokens_per_layer: tuple[int, ...]
    newlines_per_layer: tuple[int, ...]
    kept: dict[str, Any] | None
    measured: dict[str, Any] | None = None
    turn: int = 0
    asked: str = ""


class Questions:
    """Cache of prepared questions of one model, up to a number of bytes; a full cache takes no more.

    Small benchmarks, such as the miniature ones, fit as a whole, and every row of a table asks them again. Questions of
    a large benchmark would only replace each other, so nothing is evicted.
    """

    LIMIT = 256 * 2**20

    def __init__(self) -> None:
        self._held: dict[Any, Question] = {}
        self._bytes = 0
        self.handed_over: dict[Any, Question] = {}  # for the next cell; held even when the cache is full

    def get(self, key: Any) -> Question | None:
        """The question under a key, or None; one handed over for the next cell is removed when it is returned."""
        question = self._held.get(key)
        if question is None and (question := self.handed_over.pop(key, None)) is not None:
            self.put(key, question)
        return question

    def put(self, key: Any, question: Question) -> None:
        """Hold a question if there is room."""
        values = question.prepared.options.values()
        tensors = sum(v.nbytes for v in values if isinstance(v, Tensor))
        pictures = (v for v in question.document.values() if isinstance(v, Image))
        size = tensors + sum(v.width * v.height * len(v.getbands()) for v in pictures)
        if self._bytes + size <= self.LIMIT:
            self._held[key] = question
            self._bytes += size


QUESTIONS: WeakKeyDictionary[Any, Questions] = WeakKeyDictionary()


class Asking:
    """Asks the documents of one cell.

    Parameters
    ----------
    cell : Cell
    benchmark : Benchmark
    backbone : Backbone
    method : Method or None
    task : Task
    run : Run or None
        The run that the ``prune()`` block gives; None for the unpruned model.
    """

    def __init__(
        self, cell: Cell, benchmark: Benchmark, backbone: Backbone, method: Method | None, task: Task, run: Run | None
    ) -> None:
        self._cell, self._benchmark, self._backbone, self._task, self._run = cell, benchmark, backbone, task, run
        self.asker, self.reader = asker_and_reader(backbone, cell.backbone.options, task, method)
        # A second pair prepares prompts: it may do so in a thread while this one's replies are read.
        self._preparing, self._reading = asker_and_reader(backbone, cell.backbone.options, task, method)
        # Prompts depend on the method only where it changes images.
        shared = None if isinstance(method, InputControl) else QUESTIONS.setdefault(backbone.model, Questions())
        self._shared: Questions | None = shared
        self._shared_key = repr((task.key, cell.benchmark.generation, sorted(cell.backbone.options.items())))

    def prepare(self, number: int) -> Question:
        """Read a document and build its prompt, or reuse the question of another method on this backbone."""
        if self._shared is None:
            return self._prepared(number)
        question = self._shared.get((self._shared_key, number))
        if question is None:
            question = self._prepared(number)
            self._shared.put((self._shared_key, number), question)
        return question

    def hand_over(self, numbers: Sequence[int]) -> None:
        """Prepare documents for the next cell; unasked documents of an earlier cell are dropped."""
        if self._shared is None:
            return
        self._shared.handed_over = {}
        for number in numbers:
            if self._shared.get((self._shared_key, number)) is None:
                self._shared.handed_over[self._shared_key, number] = self._prepared(number)

    def _prepared(self, number: int) -> Question:
        document = self._document(number)
        media = self._reading(number, document)
        content = messages(self._task.text(document), media, interleaved=self._benchmark.interleaved)
        return self._posed(number, document, content, media)

    def _posed(self, number: int, document: dict[str, Any], content: list[dict[str, Any]], media: Media) -> Question:
        """A question at the end of the given messages."""
        task = self._task
        request = task.request(number, lambda _: content, self._cell.benchmark.generation)
        self._preparing.task_dict = {task.stock.config.task: {self._benchmark.data.split: {number: document}}}
        prepared = self._preparing.prepare_prompt(request, media)
        return Question(number, document, question_of(self._benchmark, document), prepared)

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Context for all calls of the model: images are packed by the cell's image layout, and logging is off."""
        with self.asker.quiet(), self._backbone.adapter.shown(self.reader.layout):
            yield

    def _kept(self, record: PromptRecord) -> dict[str, Any]:
        """Kept indices by cut layer, as text, and under ``places`` where every token lies on the pictures."""
        out: dict[str, Any] = {str(layer): list(ids) for layer, ids in (record.kept or {}).items()}
        if record.places is not None:
            inputs, layout = Inputs.of(self._cell.backbone.options).laid_out(self._backbone.adapter.family)
            padded = inputs.image_padding == "square" or layout.pad
            out["places"] = (replace(record.places, placing="pad") if padded else record.places).to_json()
        return out

    def _clock(self) -> float:
        """Time in seconds plus the time saved by shared vision features, so that the order of methods has no effect."""
        memory = self._backbone.memory
        return time.perf_counter() + (0.0 if memory is None else memory.saved_seconds)

    def _document(self, number: int) -> dict[str, Any]:
        try:
            return self._task.documents[number]
        except (OSError, SyntaxError) as error:  # Pillow's errors for a file that is no picture or is cut off
            name = self._benchmark.source
            raise DataError(
                f"its image does not decode: {error}; delete the data and run `tops fetch benchmark={name}`"
            ) from error

    def ask(self, questions: Sequence[Question]) -> list[Given]:
        """Answer questions in one call of the model.

        Raises
        ------
        Exception
            The error of any of the questions.
        """
        run, prompts = self._run, [question.prepared for question in questions]
        if run is not None:
            run.question = [question.words for question in questions]
            run.sample = [f"{self._benchmark.name}/{question.number}" for question in questions]
            run.prompts.clear()
        started = self._clock()
        if len(prompts) == 1:
            ids = [generate(self._backbone.model, prompts[0].options)]
        else:
            ids = split(generate(self._backbone.model, merge(prompts)), prompts)
        seconds = (self._clock() - started) / len(prompts)
        replies = [self.asker.reply(p, i, seconds) for p, i in zip(prompts, ids, strict=True)]
        return [
            Given(reply, *self._seen(prompt, None if run is None else run.last[place]))
            for place, (reply, prompt) in enumerate(zip(replies, prompts, strict=True))
        ]

    def _seen(
        self, prompt: Prepared, record: PromptRecord | None
    ) -> tuple[tuple[int, ...], tuple[int, ...], dict[str, Any] | None]:
        """Visual tokens and newline tokens that each layer saw, and the kept tokens if they are recorded."""
        if record is None:
            return *tokens_unpruned(self._backbone, prompt.options), None
        tokens, newlines = (tuple(map(int, n)) for n in (record.visual_tokens_per_layer, record.newlines_per_layer))
        return tokens, newlines, None if record.kept is None else self._kept(record)


def asker_and_reader(
    backbone: Backbone, options: dict[str, Any], task: Task, method: object
) -> tuple[Asker, MediaReader]:
    """The chat model for a backbone, and the reader of its media."""
    inputs, layout = Inputs.of(options).laid_out(backbone.adapter.family)
    check_view(layout, view(backbone))
    video = getattr(backbone.processor, "video_processor", None)
    if task.benchmark.modality == "video" and video is None and not inputs.frames_as_images:
        raise UnsupportedModelError(
            f"{backbone.name} takes no videos ({type(backbone.processor).__name__} has no video processor); choose "
            "another backbone, or its option frames_as_images=true with a number of frames"
        )
    asker = asker_for(backbone, inputs, layout)
    images: Any = getattr(backbone.processor, "image_processor", None)
    reader = MediaReader(
        task,
        inputs,
        method,
        mean=getattr(images, "image_mean", None) or (0.5, 0.5, 0.5),
        token_pixels=token_pixels(backbone),
        rule=backbone.adapter.frame_rule,
        even=backbone.adapter.frame_pairs,
        layout=layout,
    )
    return asker, reader


def view(backbone: Backbone) -> int | None:
    """Side of the vision tower's input in pixels; None where it is not fixed."""
    return view_side(backbone.model.config.vision_config.to_dict())


def token_pixels(backbone: Backbone) -> int:
    """Side, in pixels of the processed image, of the square that one visual token covers."""
    config: Any = backbone.model.config
    vision: Any = config.vision_config
    patch = vision.patch_size
    side = int(patch[0] if isinstance(patch, list | tuple) else patch)
    merge = getattr(vision, "spatial_merge_size", None)
    shuffle = getattr(config, "downsample_ratio", None)
    if merge:
        return side * int(merge)
    return round(side / float(shuffle)) if shuffle else side


def tokens_unpruned(backbone: Backbone, inputs: Mapping[str, Any]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Visual tokens that each decoder layer of the unpruned model sees, and the newline tokens beside them.

    Parameters
    ----------
    backbone : Backbone
        The loaded model.
    inputs : mapping
        Arguments of ``generate`` for one prompt.
    """
    adapter = backbone.adapter
    ids = inputs["input_ids"]
    count = int(sum((ids == token).sum() for token in adapter.placeholder_ids))
    newlines = int(adapter.layout(inputs, [count])[0].newline.sum()) if count else 0
    depth = len(adapter.layers)
    return (count - newlines,) * depth, (newlines,) * depth
