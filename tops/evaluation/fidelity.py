"""Loss of the unpruned model's own answers under pruning (figure 2 of the paper).

The unpruned model answers greedily; its own answer, end mark included, is then fed token by token to the pruned model,
whose prompt is cut as in generation. The loss is the mean over the answer's tokens of minus the log-probability, in
nats; its increase over the unpruned model's loss is what the figure shows. Agreement is the share of these tokens that
the pruned model also ranks first. The paper does not say whose answers it takes: the model's own need no label, exist
for every document, and have the smallest loss that decoding reaches.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from tops.errors import NonFiniteError
from tops.evaluation.asking import Asking, Given, Question, tokens_unpruned
from tops.evaluation.models import generate

if TYPE_CHECKING:
    from tops.backbones.loading import Backbone
    from tops.benchmarks.benchmark import Benchmark
    from tops.benchmarks.tasks import Task
    from tops.engine import Run
    from tops.methods.base import Method
    from tops.store.cell import Cell


@dataclass(frozen=True)
class Forced:
    """Loss of a given answer under a model, token by token.

    Attributes
    ----------
    loss : list of float
        Minus the log-probability of each answer token, in nats.
    agrees : list of bool
        Whether each answer token is the model's most probable one.
    """

    loss: list[float]
    agrees: list[bool]


@torch.inference_mode()
def teacher_forced(model: Any, prompt: Mapping[str, Tensor], answer: Tensor) -> Forced:
    """Loss of an answer after a prompt, also inside a ``prune()`` block: only the prompt is cut.

    Parameters
    ----------
    model : PreTrainedModel
        In eval mode.
    prompt : mapping of str to Tensor
        ``input_ids`` and ``attention_mask``, (1, L) without padding, and the pixels.
    answer : Tensor, (1, T) int64
        T >= 1.

    Raises
    ------
    NonFiniteError
        If a log-probability is not finite.
    """
    first = model(**prompt, use_cache=True, logits_to_keep=1)
    logits = [first.logits[:, -1:]]
    if answer.shape[1] > 1:
        # Without a mask: nothing is padded, and Qwen's positions of several tokens at a time hold only so.
        step = model(input_ids=answer[:, :-1], past_key_values=first.past_key_values, use_cache=True)
        logits.append(step.logits)
    scores = torch.cat(logits, 1)[0].float().log_softmax(-1)
    loss = -scores.gather(1, answer[0, :, None])[:, 0]
    if not bool(loss.isfinite().all()):
        raise NonFiniteError("the loss of the unpruned model's answer is not finite; check the model in this dtype")
    return Forced(loss.tolist(), (scores.argmax(-1) == answer[0]).tolist())


@dataclass(frozen=True)
class _Reference:
    """Answer of the unpruned model and its own loss."""

    answer: Tensor
    forced: Forced


# References of the model in memory: all rows of an experiment are measured against the same answers.
_REFERENCES: WeakKeyDictionary[Any, dict[str, _Reference]] = WeakKeyDictionary()


class FidelityAsking(Asking):
    """Measures in place of generating. The reply is the unpruned model's, its loss under pruning is ``measured``."""

    def __init__(
        self, cell: Cell, benchmark: Benchmark, backbone: Backbone, method: Method | None, task: Task, run: Run | None
    ) -> None:
        assert run is None, "references need the unpruned model"
        super().__init__(cell, benchmark, backbone, method, task, run)
        self._method = method
        self._unpruned = self if method is None else Asking(cell, benchmark, backbone, None, task, None)
        self._known = _REFERENCES.setdefault(backbone.model, {})
        self._what = repr((replace(cell.benchmark, limit=None), sorted(cell.backbone.options.items())))

    def ask(self, questions: Sequence[Question]) -> list[Given]:
        """Measure questions, one after the other."""
        return [self._measure(question) for question in questions]

    def _measure(self, question: Question) -> Given:
        started, options = self._clock(), question.prepared.options
        reference = self._reference(question)
        if self._method is None:
            forced, (seen, newlines) = reference.forced, tokens_unpruned(self._backbone, options)
        else:
            with self._backbone.prune(self._method) as run:
                # The same random draws as when this document is answered.
                run.question, run.sample = question.words, f"{self._benchmark.source}/{question.number}"
                forced = teacher_forced(self._backbone.model, _tensors(options), reference.answer)
            seen, newlines = run.last[0].visual_tokens_per_layer, run.last[0].newlines_per_layer
        ids = torch.cat([options["input_ids"], reference.answer], 1)
        reply = self.asker.reply(question.prepared, ids, self._clock() - started)
        measured = {"loss": forced.loss, "agrees": forced.agrees, "unpruned_loss": reference.forced.loss}
        return Given(reply, tuple(int(n) for n in seen), tuple(int(n) for n in newlines), None, measured)

    def _reference(self, question: Question) -> _Reference:
        key = f"{self._what} {question.number}"
        if key not in self._known:
            mine = question if self._unpruned is self else self._unpruned.prepare(question.number)
            options, model = mine.prepared.options, self._backbone.model
            answer = generate(model, options)[:, options["input_ids"].shape[1] :].clone()
            self._known[key] = _Reference(answer, teacher_forced(model, _tensors(options), answer))
        return self._known[key]


def _tensors(options: Mapping[str, Any]) -> dict[str, Tensor]:
    """Arguments of ``generate`` without the settings of decoding."""
    return {name: value for name, value in options.items() if isinstance(value, Tensor)}
