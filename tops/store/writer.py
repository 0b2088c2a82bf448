"""Exclusive access to one unfinished cell: append answers, note failures, seal."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Any

from tops.errors import DataError
from tops.store.answers import Answer, AnswerFile, salvage, sync_folder, write_atomically
from tops.store.cell import SCHEMA_VERSION, Cell
from tops.store.seal import as_json, key_of, read_json, sealed

CODE = "code.json"  # of an unfinished cell: the code that made its answers so far; the seal adds it to the provenance
UNKNOWN_CODE = {"unknown": "no fingerprints are left of the code that began it"}


class CellStatus(StrEnum):
    """State of a stored cell."""

    MISSING = "missing"
    RUNNING = "running"  # another process holds its lock
    INCOMPLETE = "incomplete"  # begun; the next run goes on
    ANSWERED = "answered, not judged"  # complete, but no scorer could run: no number
    SCORED = "scored"
    DAMAGED = "damaged"  # its seal does not hold: its files prove nothing

    @property
    def done(self) -> bool:
        """Whether the cell is complete, so that no document is asked again."""
        return self in (CellStatus.ANSWERED, CellStatus.SCORED)


class CellWriter:
    """Exclusive access to one unfinished cell; a context manager that gives the lock back.

    Attributes
    ----------
    answers : dict[int, Answer]
        Documents answered so far, earlier runs included.
    salvaged : int
        Answers of earlier runs that were kept.
    dropped : int
        Lines of earlier runs that were dropped (damaged, or documents that had failed).
    restarted : bool
        Whether answers of other code were deleted, so that all answers of the cell are from the same code.
    code : dict or None
        Fingerprints that the seal will carry.
    """

    def __init__(self, path: Path, cell: Cell, lock: int, code: Mapping[str, str] | None = None) -> None:
        self.path, self.cell, self._lock = path, cell, lock
        self.sealed = False
        spec = path / "spec.json"
        if spec.exists():
            if key_of(path) != cell.key:
                raise DataError(
                    f"{spec} holds another specification than its key says; delete the folder and run again"
                )
        else:
            write_atomically(spec, as_json(cell.as_dict()), sync="file")
        self.code, self.restarted = self._take_up(code)
        self.answers, self.dropped = salvage(path / "answers.jsonl")
        self.salvaged = len(self.answers)
        self._file = AnswerFile(path / "answers.jsonl")

    def _take_up(self, code: Mapping[str, str] | None) -> tuple[dict[str, str] | None, bool]:
        """Compare the code of the answers so far with that of this attempt; delete answers of other code."""
        if code is None:
            return None, False
        note, begun = self.path / CODE, (self.path / "answers.jsonl").exists()
        try:
            before = read_json(note) if note.exists() else None
        except DataError:  # cut off by a power cut
            before = None
        if before == dict(code):
            return dict(code), False
        if begun and before is None and (self.path / "answers.jsonl").stat().st_size:
            return UNKNOWN_CODE, False  # an older version began it; its answers are not thrown away unasked
        if begun:
            for name in ("answers.jsonl", "failure.json", "scores.json", "provenance.json"):
                (self.path / name).unlink(missing_ok=True)
            shutil.rmtree(self.path / "images", ignore_errors=True)
        write_atomically(note, as_json(dict(code)), sync="none")
        return dict(code), begun

    def append(self, answer: Answer) -> None:
        """Store one answer; once this returns, a kill of the process does not lose it."""
        self._file.append(answer)
        self.answers[answer.doc_id] = answer

    def seal(
        self,
        *,
        scores: Mapping[str, Any],
        provenance: Mapping[str, Any],
        default_scorer: str | None = None,
        rows: Mapping[str, Mapping[int, Any]] | None = None,
    ) -> CellStatus:
        """Make the cell complete; its files do not change afterwards.

        Parameters
        ----------
        scores : mapping
            As in :class:`Record`; empty: the cell becomes "answered, not judged".
        provenance : mapping
            Content of ``provenance.json``, in JSON types.
        default_scorer : str, optional
            Which of the scorers is the one to report.
        rows : mapping, optional
            Per scorer and document the row to store beside the answer.

        Raises
        ------
        DataError
            If a document has failed: such a cell cannot be complete.
        """
        failed = [a.doc_id for a in self.answers.values() if a.error is not None]
        if failed:
            raise DataError(f"{len(failed)} documents failed (first: {failed[0]}); the cell stays incomplete")
        if bool(scores) != (default_scorer is not None) or (
            default_scorer is not None and default_scorer not in scores
        ):
            raise ValueError(f"default scorer {default_scorer!r} is not among {sorted(scores)}")
        self._file.close(sync=False)
        ordered = [self.answers[i] for i in sorted(self.answers)]
        lines = [_with_rows(a, rows or {}).to_line() for a in ordered]
        status = CellStatus.SCORED if scores else CellStatus.ANSWERED
        provenance = {**provenance, **({} if self.code is None else {"code": self.code})}
        scored = {"schema": SCHEMA_VERSION, "status": status, "default": default_scorer, "scorers": scores}
        write_atomically(self.path / "answers.jsonl", b"".join(lines), sync="file")
        write_atomically(self.path / "provenance.json", as_json(provenance), sync="file")
        write_atomically(self.path / "scores.json", as_json(scored), sync="file")
        (self.path / "failure.json").unlink(missing_ok=True)
        # All that the seal names is on the disk before the seal is. A seal that a power cut takes back is written anew
        # by the next run, which finds every answer.
        sync_folder(self.path)
        write_atomically(self.path / "complete.json", as_json(sealed(self.path, len(ordered))), sync="file")
        (self.path / CODE).unlink(missing_ok=True)
        self.sealed = True
        return status

    def fail(self, error: str) -> None:
        """Write the failure note: why this attempt ended without a complete cell, and the number of attempts."""
        path = self.path / "failure.json"
        attempts = _attempts(path)
        failed = sorted(a.doc_id for a in self.answers.values() if a.error is not None)
        note = {"error": error, "attempts": attempts + 1, "failed_documents": failed, "time": time.time()}
        write_atomically(path, as_json(note))

    def close(self) -> None:
        """Release the lock; the cell stays as it is."""
        self._file.close()
        if self._lock >= 0:
            if self.sealed:
                (self.path / "lock").unlink(missing_ok=True)
            os.close(self._lock)
            self._lock = -1

    def __enter__(self) -> CellWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _attempts(failure: Path) -> int:
    """Attempts so far; a note that cannot be read counts as none."""
    try:
        return int(read_json(failure).get("attempts", 0)) if failure.exists() else 0
    except (DataError, TypeError, ValueError):
        return 0


def _with_rows(answer: Answer, rows: Mapping[str, Mapping[int, Any]]) -> Answer:
    values = {f: getattr(answer, f) for f in Answer.__dataclass_fields__}
    values["scores"] = {scorer: per_document[answer.doc_id] for scorer, per_document in rows.items()} or answer.scores
    return Answer(**values)
