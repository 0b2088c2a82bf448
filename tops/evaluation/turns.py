"""Several questions on one picture, in one conversation: cut on the first of them, or anew for each.

With ``cut: first`` a method sees the first question alone. Its cache, the pruned picture in it, then serves all later
turns: the earlier answers and the next question are new tokens behind it. With ``cut: each`` the whole conversation is
read again for every question and cut by it. The unpruned model reads it whole in both. Every turn is the prompt that
the stock wrapper makes of all messages so far, the model's own answers among them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from tops.benchmarks.turns import in_order
from tops.errors import DataError, UnsupportedModelError
from tops.evaluation.asking import Asking, Given, Question
from tops.evaluation.media import Media
from tops.evaluation.messages import messages
from tops.evaluation.models import generate

if TYPE_CHECKING:
    from transformers.cache_utils import Cache

    from tops.backbones.loading import Backbone
    from tops.benchmarks.benchmark import Benchmark
    from tops.benchmarks.tasks import Task
    from tops.engine import PromptRecord, Run
    from tops.methods.base import Method
    from tops.store.answers import Answer
    from tops.store.cell import Cell


@dataclass
class _Said:
    """A conversation so far.

    Attributes
    ----------
    prompt : str
        Prompt of the last turn, as the processor received it.
    asked : str
        That prompt without the model's answers.
    ids : Tensor, (1, L) int64
        Token ids of ``prompt``.
    answer : str
        The answer to the last turn.
    cache : Cache or None
        Holds ``ids``; None where every turn is read anew.
    record : PromptRecord or None
        Pruning record of the prompt.
    """

    prompt: str
    asked: str
    ids: Tensor
    answer: str
    cache: Cache | None
    record: PromptRecord | None


class TurnsAsking(Asking):
    """Asks the questions of one picture after each other."""

    def __init__(
        self, cell: Cell, benchmark: Benchmark, backbone: Backbone, method: Method | None, task: Task, run: Run | None
    ) -> None:
        super().__init__(cell, benchmark, backbone, method, task, run)
        assert benchmark.turns is not None
        self.seed = cell.seed
        self._keeps = run is not None and benchmark.turns.cut == "first"

    def converse(self, numbers: Sequence[int]) -> Iterator[tuple[Question, Given]]:
        """Ask documents of one picture in the given order, in one conversation.

        Raises
        ------
        UnsupportedModelError
            If the chat template changes the text of earlier turns when later ones are added.
        Exception
            The error of a turn; the turns after it cannot be asked.
        """
        first = self._document(numbers[0])
        media = self._reading(numbers[0], first)  # one for the whole conversation, because controls draw by document
        content: list[dict[str, Any]] = []
        said: _Said | None = None
        for turn, number in enumerate(numbers, 1):
            if said is None:
                document, question = first, self.prepare(number)
                content = messages(self._task.text(document), media, interleaved=self._benchmark.interleaved)
            else:
                document = self._document(number)
                answer = {"role": "assistant", "content": [{"type": "text", "text": said.answer}]}
                content = [*content, answer, *messages(self._task.text(document), Media())]
                question = self._posed(number, document, content, media)
            given, said = self._turn(turn, question, said)
            yield question, given

    def _turn(self, turn: int, question: Question, said: _Said | None) -> tuple[Given, _Said]:
        prepared, started = question.prepared, self._clock()
        ids, length = prepared.options["input_ids"], prepared.options["input_ids"].shape[1]
        asked = prepared.prompt if said is None else said.asked + self._new_words(prepared.prompt, said)
        if said is not None and said.cache is not None:
            self._check_tokens(ids, said)
            options = {**_text_of(prepared.options), "past_key_values": said.cache}
            record = said.record
        else:
            options, record = dict(prepared.options), None
            if self._run is not None:
                self._run.question = [question.words]
                self._run.sample = [f"{self._benchmark.source}/{question.number}"]  # as for the document alone
                self._run.prompts.clear()
        out: Any = generate(self._backbone.model, {**options, "return_dict_in_generate": True})
        if self._run is not None and record is None:
            record = self._run.last[0]
        reply = self.asker.reply(prepared, out.sequences, self._clock() - started)
        cache = _cropped(out.past_key_values, out.sequences.shape[1] - length) if self._keeps else None
        given = Given(reply, *self._seen(prepared, record), turn=turn, asked=asked)
        return given, _Said(prepared.prompt, asked, ids, reply.text.strip(), cache, record)

    def _new_words(self, prompt: str, said: _Said) -> str:
        """The text that the template adds after the last answer."""
        added = prompt.removeprefix(said.prompt)
        head, answer, tail = added.partition(said.answer) if said.answer else ("", "", added)
        if not prompt.startswith(said.prompt) or head.strip() or answer != said.answer:
            raise self._rewritten()
        return head + tail

    def _check_tokens(self, ids: Tensor, said: _Said) -> None:
        length = said.ids.shape[1]
        if ids.shape[1] <= length or not torch.equal(ids[:, :length], said.ids):
            raise self._rewritten()

    def _rewritten(self) -> UnsupportedModelError:
        return UnsupportedModelError(
            f"the chat template of {self._backbone.name} writes an earlier turn otherwise once another follows it, so "
            "its kept tokens cannot serve a later question; ask it one question at a time (a benchmark without turns)"
        )


def in_conversations(
    asking: TurnsAsking,
    groups: Sequence[Sequence[int]],
    stored: Collection[int],
    answered: Callable[[TurnsAsking, Question, Given], Answer],
    failed: Callable[[int, Exception], Answer],
    let_through: tuple[type[BaseException], ...],
) -> Iterator[Answer]:
    """Answers of all conversations, one conversation after the other.

    An interrupted conversation begins again, because its cache is gone; answers that are stored already are not yielded
    again.

    Parameters
    ----------
    asking : TurnsAsking
        Asks the questions.
    groups : sequence of sequences of int
        Documents of each conversation.
    stored : collection of int
        Documents whose answers are stored; the collection may grow during the iteration.
    answered : callable
        Makes an answer from a question and its reply.
    failed : callable
        Makes an answer record from a document and an error. Turns after a failed one fail too.
    let_through : tuple of exception types
        Exceptions that are not failures of a document and are raised on.
    """
    with asking.shown():
        for group in groups:
            numbers, done = in_order(group, asking.seed), 0
            if all(number in stored for number in numbers):
                continue
            before = frozenset(number for number in numbers if number in stored)
            try:
                for question, given in asking.converse(numbers):
                    answer = answered(asking, question, given)
                    done += 1
                    if question.number not in before:
                        yield answer
            except let_through:
                raise
            except Exception as error:
                why = DataError(f"document {numbers[done]}, an earlier turn of its conversation, failed")
                for place, number in enumerate(numbers[done:]):
                    if number not in before:
                        yield failed(number, why if place else error)


def _text_of(options: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of a turn of text: pixels are in the cache already."""
    text = ("input_ids", "attention_mask")
    return {name: value for name, value in options.items() if name in text or not isinstance(value, Tensor)}


def _cropped(cache: Cache, new: int) -> Cache:
    """The cache without the last answer, of which it holds ``new - 1`` tokens; the next prompt has the answer in it."""
    if new > 1:
        cache.crop(1 - new)
    return cache
