"""Events that workers send to their launcher, as lines of JSON through a pipe, a file or an actor."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

from tops.store.answers import Answer
from tops.store.store import CellStatus

EVERY = 2.0  # seconds between two events of one cell's documents


@dataclass(frozen=True)
class Event:
    """One event: ``load``, ``start``, ``documents``, ``done``, ``failed``, ``aside``, ``lost``, ``stopping``."""

    kind: str
    worker: int
    key: str = ""
    label: str = ""
    seconds: float = 0.0
    detail: str = ""
    documents: int = 0
    total: int = 0

    def to_line(self) -> str:
        """One line of JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def from_line(cls, line: str) -> Event:
        """Inverse of :meth:`to_line`; ``ValueError`` for anything else."""
        try:
            return cls(**json.loads(line))
        except TypeError as error:
            raise ValueError(str(error)) from None


class RunningScore:
    """Mean score of the documents so far, and how many failed: shown for progress, not the cell's metric."""

    def __init__(self) -> None:
        self._sum, self._scored, self._failed = 0.0, 0, 0

    def add(self, answer: Answer, score: float | None) -> None:
        """Add one document; ``score`` is None where the rule cannot score a single document."""
        self._failed += answer.error is not None
        if score is not None:
            self._sum, self._scored = self._sum + score, self._scored + 1

    def __str__(self) -> str:
        parts = [f"score {100 * self._sum / self._scored:.1f}"] if self._scored else []
        return ", ".join([*parts, *([f"{self._failed} failed"] if self._failed else [])])


class DocumentEvents:
    """Turns the progress of a cell (:class:`tops.evaluation.Progress`) into events, a few per cell."""

    def __init__(self, emit: Callable[[Event], None], worker: int, key: str) -> None:
        self._emit, self._worker, self._key = emit, worker, key
        self._label, self._done, self._total = "", 0, 0
        self._score, self._told = RunningScore(), 0.0

    def begin(self, label: str, total: int, done: int) -> None:
        """A cell of ``total`` documents starts, ``done`` of which are already stored."""
        self._label, self._done, self._total = label, done, total
        self._tell()

    def advance(self, answer: Answer, score: float | None) -> None:
        """One more document."""
        self._done += 1
        self._score.add(answer, score)
        if time.monotonic() - self._told >= EVERY:
            self._tell()

    def end(self, status: CellStatus) -> None:
        """The cell is left. Nothing is emitted here: the worker reports the outcome."""

    def _tell(self) -> None:
        self._told = time.monotonic()
        detail = str(self._score)
        self._emit(
            Event(
                "documents",
                self._worker,
                self._key,
                self._label,
                detail=detail,
                documents=self._done,
                total=self._total,
            )
        )
