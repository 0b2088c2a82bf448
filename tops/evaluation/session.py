"""One attempt at a cell: its documents are prepared, asked, stored and sealed."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from tops.benchmarks.benchmark import Benchmark
from tops.benchmarks.data import DataRoot
from tops.benchmarks.documents import cluster_of, target_of
from tops.benchmarks.scorers import rule_of, score_answers, summarise
from tops.benchmarks.scorers.turns import TURN
from tops.errors import DataError
from tops.evaluation.pictures import ENCODED
from tops.evaluation.provenance import now, provenance
from tops.store.answers import Answer
from tops.store.cell import Cell
from tops.store.store import CellStatus, CellWriter

if TYPE_CHECKING:
    from PIL.Image import Image

    from tops.backbones.loading import Backbone
    from tops.benchmarks.tasks import Task
    from tops.engine import Run
    from tops.evaluation.asking import Asking, Given, Question
    from tops.evaluation.batches import BatchSize
    from tops.evaluation.following import Following
    from tops.methods.base import Method

log = logging.getLogger(__name__)
ROOM = "; free the GPU or choose a larger one, profile.batch_size=1, fewer frames"
AT_ONCE = 64  # prompts handed to an engine that batches by itself
HOPELESS = 5  # a cell whose first documents fail this often is given up


class Progress(Protocol):
    """Protocol of a listener to the progress of a cell."""

    def begin(self, label: str, total: int, done: int) -> None:
        """A cell of ``total`` documents starts, ``done`` of which are already stored."""

    def advance(self, answer: Answer, score: float | None) -> None:
        """One more document was answered; ``score`` is its own score, or None where the rule gives none."""

    def end(self, status: CellStatus) -> None:
        """The cell is left."""


def described(error: BaseException) -> str:
    """Type and message of an error, in one line."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:500]}" if text else type(error).__name__


def _window(benchmark: Benchmark, size: int) -> int:
    """Number of documents prepared at a time: several batches, so that prompts of similar length meet in one."""
    return size * (4 if size > 1 and benchmark.modality == "image" else 1)


@dataclass
class Session:
    """One attempt at one cell."""

    cell: Cell
    writer: CellWriter
    backbone: Backbone
    method: Method | None
    benchmark: Benchmark
    root: DataRoot
    record_kept: bool | int
    batch_size: BatchSize
    following: Following | None = None
    recorded: set[int] = field(default_factory=set)
    largest: int = 1  # batch that was asked for

    def run(self, progress: Progress | None, let_through: tuple[type[BaseException], ...]) -> CellStatus:
        import torch

        from tops.benchmarks.quiet import environment
        from tops.benchmarks.tasks import load_task

        started, clock, resumed = now(), time.perf_counter(), self.writer.salvaged
        task = load_task(self.benchmark, self.cell.benchmark, self.root)
        numbers = task.numbers(self.cell.benchmark.limit)
        ordered = sorted(numbers)
        self.recorded = set(ordered if self.record_kept is True else ordered[: int(self.record_kept)])
        torch.manual_seed(self.cell.seed)
        status = CellStatus.INCOMPLETE
        if progress is not None:
            progress.begin(self.cell.label, len(numbers), len(self.writer.answers))
        try:
            with environment(self.root.hf_home), self._pruned() as run:
                self._ask_all(task, numbers, run, progress, let_through)
            failed = [a for a in self.writer.answers.values() if a.error is not None]
            if failed or set(self.writer.answers) != set(numbers):
                self.writer.fail(self._why(failed, len(numbers)))
                return status
            record = provenance(
                started=started,
                seconds=time.perf_counter() - clock,
                seed=self.cell.seed,
                documents=len(numbers),
                resumed=resumed,
                device=str(self.backbone.model.device),
                batch_size=self.largest,
                engine=self.cell.backbone.engine or "library",
            )
            status = self._seal(record)
            return status
        finally:
            if progress is not None:
                progress.end(status)

    @contextmanager
    def _pruned(self) -> Iterator[Run | None]:
        # Fidelity needs the unpruned model too; vLLM prunes by itself.
        if self.method is None or self.benchmark.measure == "fidelity" or self.cell.backbone.engine:
            yield None
            return
        with self.backbone.prune(self.method, record_kept=bool(self.record_kept)) as run:
            yield run

    def _ask_all(
        self,
        task: Task,
        numbers: list[int],
        run: Run | None,
        progress: Progress | None,
        let_through: tuple[type[BaseException], ...],
    ) -> None:
        rule = rule_of(self.benchmark)
        failures = 0
        for answer in self._answers(task, [n for n in numbers if n not in self.writer.answers], run, let_through):
            failures += answer.error is not None
            self.writer.append(answer)
            if progress is not None:
                scored = answer.error is None and rule.row is not None
                progress.advance(answer, float(rule.row(answer.answer, answer.target)["score"]) if scored else None)  # type: ignore[misc]
            if failures == HOPELESS and failures == len(self.writer.answers):
                return  # every document fails: the rest would only repeat it

    def _answers(
        self, task: Task, numbers: list[int], run: Run | None, let_through: tuple[type[BaseException], ...]
    ) -> Iterator[Answer]:
        """Answers of all documents, failed ones among them, in the order in which they come."""
        from tops.evaluation.asking import Asking
        from tops.evaluation.batches import ahead, buckets, measured
        from tops.evaluation.fidelity import FidelityAsking
        from tops.evaluation.turns import TurnsAsking, in_conversations

        parts = (self.cell, self.benchmark, self.backbone, self.method, task, run)

        def failed(number: int, error: Exception) -> Answer:
            log.debug("document %d of %s", number, self.cell.label, exc_info=error)
            return self._failed(task, number, error)

        if self.benchmark.measure == "turns":
            turns, groups = TurnsAsking(*parts), task.conversations(self.cell.benchmark.limit)
            yield from in_conversations(turns, groups, self.writer.answers, self._answer, failed, let_through)
            return
        kind: type[Asking] = FidelityAsking if self.benchmark.measure == "fidelity" else Asking
        if self.cell.backbone.engine:
            from tops.evaluation.through_vllm import VllmAsking

            kind = VllmAsking
        asking = kind(*parts)

        def prepared(number: int) -> Question | tuple[int, Exception]:
            try:
                return asking.prepare(number)
            except let_through:
                raise
            except Exception as error:
                return number, error

        def ask(questions: list[Question]) -> Iterator[Answer]:
            try:
                replies = asking.ask(questions)
            except let_through:
                raise
            except Exception as error:
                if len(questions) == 1:
                    yield failed(questions[0].number, error)
                    return
                self._make_room(error)
                for question in questions:  # which of them it was, and the answers of the others
                    yield from ask([question])
                return
            for question, reply in zip(questions, replies, strict=True):
                try:
                    yield self._answer(asking, question, reply)
                except Exception as error:
                    yield failed(question.number, error)

        def in_batches(numbers: list[int], size: int, *, last: bool = True) -> Iterator[Answer]:
            self.largest = size
            window = _window(self.benchmark, size)
            for outcomes in ahead(prepared, numbers, window, partial(self._hand_over, size) if last else None):
                for outcome in outcomes:
                    if isinstance(outcome, tuple):
                        yield failed(*outcome)
                ready = [outcome for outcome in outcomes if not isinstance(outcome, tuple)]
                for questions in buckets(ready, size, lambda question: question.prepared):
                    yield from ask(questions)

        with asking.shown():
            if self.cell.backbone.engine:
                yield from in_batches(numbers, AT_ONCE)
            elif self.batch_size == "auto":
                with measured(self.backbone.model.device) as room:
                    yield from in_batches(numbers[:1], 1, last=False)
                yield from in_batches(numbers[1:], room.prompts)
            else:
                yield from in_batches(numbers, self.batch_size)

    def _hand_over(self, size: int) -> None:
        # Prompts are packed as this cell's options say for as long as it lasts.
        if self.following is not None and self.following.cell.backbone == self.cell.backbone:
            self.following.prepare(self.backbone, self.root, _window(self.following.benchmark, size))

    def _answer(self, asking: Asking, question: Question, given: Given) -> Answer:
        reply, text = given.reply, given.reply.text.strip()
        if not text and not self.cell.benchmark.generation.get("allow_empty", False):
            raise DataError("the answer is empty; profile.allow_empty=true counts empty answers as wrong ones")
        plain = {k: v for k, v in question.document.items() if k != "image"}
        raw: Sequence[Image] = ()
        if "image" in self.benchmark.cluster or question.number in self.recorded:
            raw = asking.reader.raw(question.document).images
        target = target_of(self.benchmark, question.document) if given.measured is None else given.measured
        return Answer(
            doc_id=question.number,
            cluster=cluster_of(self.benchmark, plain, question.number, raw),
            prompt=reply.prompt,
            prompt_hash=hashlib.sha256((given.asked or reply.prompt).encode()).hexdigest(),
            question=question.words,
            answer=text,
            target={**target, TURN: given.turn} if given.turn else target,
            output_tokens=reply.output_tokens,
            visual_tokens_per_layer=given.visual_tokens_per_layer,
            newlines_per_layer=given.newlines_per_layer if any(given.newlines_per_layer) else (),
            kept=given.kept if question.number in self.recorded else None,
            seconds=round(reply.seconds, 4),
            image=self._picture(question.number, raw) if question.number in self.recorded else None,
        )

    def _failed(self, task: Task, number: int, error: Exception) -> Answer:
        """The answer record of a document that failed, with its error and what is known of the document."""
        self._make_room(error)
        plain = task.documents.plain(number)
        return Answer(
            doc_id=number,
            cluster=str(number),
            prompt="",
            prompt_hash="",
            question=str(plain.get(self.benchmark.question, "")),
            answer="",
            target=None,
            error=described(error) + (ROOM if isinstance(error, self._out_of_memory()) else ""),
        )

    @staticmethod
    def _out_of_memory() -> type[Exception]:
        import torch

        return torch.OutOfMemoryError

    def _make_room(self, error: Exception) -> None:
        import torch

        if isinstance(error, self._out_of_memory()):
            torch.cuda.empty_cache()

    def _picture(self, number: int, images: Any) -> str | None:
        if not images:
            return None
        folder = self.writer.path / "images"
        folder.mkdir(exist_ok=True)
        # The first frame of a video is what the backbone's own rule takes.
        shown = (self.cell.backbone.name, repr(sorted(self.cell.backbone.options.items())))
        key = (self.benchmark.source, self.cell.benchmark.data_hash, *shown, number)
        (folder / f"{number}.png").write_bytes(ENCODED.png(key, images[0]))
        return f"images/{number}.png"

    def _why(self, failed: list[Answer], total: int) -> str:
        if not failed:
            return f"{len(self.writer.answers)} of {total} documents are answered"
        first = failed[0]
        more = "; gave up, for every document fails" if len(self.writer.answers) < total else ""
        return f"{len(failed)} of {total} documents failed, first document {first.doc_id}: {first.error}{more}"

    def _seal(self, record: Mapping[str, Any]) -> CellStatus:
        answers = [self.writer.answers[i] for i in sorted(self.writer.answers)]
        scores, rows = {}, {}
        for scorer in self.benchmark.scorers:
            if rule_of(self.benchmark, scorer).row is None:
                continue
            rows[scorer] = score_answers(self.benchmark, scorer, answers)
            scores[scorer] = summarise(self.benchmark, scorer, answers, rows[scorer])
        default = self.benchmark.scorer if self.benchmark.scorer in scores else None
        return self.writer.seal(scores=scores, rows=rows, provenance=record, default_scorer=default)
