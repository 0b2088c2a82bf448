"""The result store: one folder per cell, immutable once complete. Layout and file formats: docs/architecture.md."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Any

from tops.errors import DataError
from tops.store.answers import Answer, AnswerFile, read_answers, salvage, sha256_of, write_atomically
from tops.store.cell import SCHEMA_VERSION, Cell
from tops.store.locks import acquire, is_locked

SEALED = ("spec.json", "answers.jsonl", "provenance.json", "scores.json")


class CellStatus(StrEnum):
    """Where a cell stands."""

    MISSING = "missing"
    RUNNING = "running"  # another process holds its lock
    INCOMPLETE = "incomplete"  # begun; the next run goes on
    ANSWERED = "answered, not judged"  # complete, but no scorer could run: no number
    SCORED = "scored"

    @property
    def done(self) -> bool:
        """Whether the cell is complete: nothing will ever be asked again."""
        return self in (CellStatus.ANSWERED, CellStatus.SCORED)


@dataclass(frozen=True)
class Record:
    """One stored cell, read only.

    Attributes
    ----------
    key : str
        Content address of the specification.
    path : Path
        Folder of the cell.
    spec : Cell
        The full specification.
    status : CellStatus
        Scores exist only when this is ``SCORED``.
    scores : dict
        Scorer -> ``{"metrics": {name: float}, "documents": int, "invalid_rate": float or None, "yes_rate": float or
        None, "mean_output_tokens": float}``. Later re-scorings are included under their scorer's name.
    default_scorer : str or None
        The scorer whose metrics the benchmark reports.
    provenance : dict
        Commit, versions, hardware, times; empty when the cell is not complete.
    failure : dict or None
        ``{"error", "attempts", "failed_documents", "time"}`` of the last attempt, when it failed.
    """

    key: str
    path: Path
    spec: Cell
    status: CellStatus
    scores: dict[str, dict[str, Any]]
    default_scorer: str | None
    provenance: dict[str, Any]
    failure: dict[str, Any] | None

    def answers(self) -> Iterator[Answer]:
        """Stored answers by rising document number (as they came, for a cell that is not complete)."""
        path = self.path / "answers.jsonl"
        if not path.exists():
            return
        try:
            yield from read_answers(path)
        except ValueError as error:
            if self.status.done:
                raise DataError(f"{path}: {error}; run `tops results check`, delete the folder and run again") from None

    def rows(self, scorer: str) -> dict[int, Any]:
        """Per-document rows of a scorer, by document: what its aggregation takes.

        Raises
        ------
        DataError
            If that scorer has not scored this cell.
        """
        rescored = self.path / "rescored" / f"{scorer}.json"
        if rescored.exists():
            return {int(k): v for k, v in read_json(rescored)["rows"].items()}
        if scorer not in self.scores:
            raise DataError(
                f"cell {self.key[:12]} has no scores of {scorer!r} (it has {', '.join(self.scores) or 'none'}); "
                f"run `tops score scorer={scorer}`"
            )
        return {a.doc_id: a.scores[scorer] for a in self.answers()}


class CellWriter:
    """Exclusive access to one unfinished cell; a context manager that gives the lock back.

    Attributes
    ----------
    answers : dict[int, Answer]
        Documents answered so far, earlier runs included.
    salvaged : int
        Answers of earlier runs that were kept.
    dropped : int
        Lines of earlier runs that were given up (damaged, or documents that had failed).
    """

    def __init__(self, path: Path, cell: Cell, lock: int) -> None:
        self.path, self.cell, self._lock = path, cell, lock
        self.sealed = False
        spec = path / "spec.json"
        if spec.exists():
            if Cell.from_dict(read_json(spec)).key != cell.key:
                raise DataError(
                    f"{spec} holds another specification than its key says; delete the folder and run again"
                )
        else:
            write_atomically(spec, _json(cell.as_dict()))
        self.answers, self.dropped = salvage(path / "answers.jsonl")
        self.salvaged = len(self.answers)
        self._file = AnswerFile(path / "answers.jsonl")

    def append(self, answer: Answer) -> None:
        """Store one document; it survives a kill from here on."""
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
        """Make the cell complete. Nothing of it changes afterwards.

        Parameters
        ----------
        scores : mapping
            As in :class:`Record`; empty: the cell becomes "answered, not judged".
        provenance : mapping
            JSON types.
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
        self._file.close()
        ordered = [self.answers[i] for i in sorted(self.answers)]
        lines = [_with_rows(a, rows or {}).to_line() for a in ordered]
        status = CellStatus.SCORED if scores else CellStatus.ANSWERED
        write_atomically(self.path / "answers.jsonl", b"".join(lines))
        write_atomically(self.path / "provenance.json", _json(provenance))
        write_atomically(
            self.path / "scores.json",
            _json({"schema": SCHEMA_VERSION, "status": status, "default": default_scorer, "scorers": scores}),
        )
        (self.path / "failure.json").unlink(missing_ok=True)
        seal = {
            "schema": SCHEMA_VERSION,
            "documents": len(ordered),
            "sha256": {n: sha256_of(self.path / n) for n in SEALED},
        }
        write_atomically(self.path / "complete.json", _json(seal))
        self.sealed = True
        return status

    def fail(self, error: str) -> None:
        """Note why this attempt ended without a complete cell; counts the attempts."""
        path = self.path / "failure.json"
        attempts = int(read_json(path).get("attempts", 0)) if path.exists() else 0
        failed = sorted(a.doc_id for a in self.answers.values() if a.error is not None)
        note = {"error": error, "attempts": attempts + 1, "failed_documents": failed, "time": time.time()}
        write_atomically(path, _json(note))

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


class Store:
    """All cells of one profile.

    Parameters
    ----------
    root : path
        Folder of all results, ``results`` by default.
    profile : str
        ``paper`` or ``miniature``; their cells never mix.
    """

    def __init__(self, root: str | Path = "results", profile: str = "paper") -> None:
        self.root, self.profile = Path(root), profile
        self.cells = self.root / profile / "cells"

    def path(self, key: str) -> Path:
        """Folder of a cell."""
        return self.cells / key[:2] / key

    def keys(self) -> Iterator[str]:
        """Keys of all cells that were ever begun, sorted."""
        for folder in sorted(self.cells.glob("??/*")):
            if (folder / "spec.json").exists():
                yield folder.name

    def status(self, key: str) -> CellStatus:
        """Where a cell stands now."""
        path = self.path(key)
        if (path / "complete.json").exists():
            return CellStatus(read_json(path / "scores.json")["status"])
        if not (path / "spec.json").exists():
            return CellStatus.MISSING
        return CellStatus.RUNNING if is_locked(path / "lock") else CellStatus.INCOMPLETE

    def open_cell(self, cell: Cell) -> CellWriter | None:
        """Exclusive access to a cell; None when it is complete or another process works on it."""
        if cell.profile != self.profile:
            raise DataError(f"cell of profile {cell.profile!r} in the store of {self.profile!r}")
        path = self.path(cell.key)
        if (path / "complete.json").exists():
            return None
        path.mkdir(parents=True, exist_ok=True)
        lock = acquire(path / "lock")
        if lock is None:
            return None
        try:
            if (path / "complete.json").exists():
                (path / "lock").unlink(missing_ok=True)
                os.close(lock)
                return None
            return CellWriter(path, cell, lock)
        except BaseException:
            os.close(lock)
            raise

    def read(self, key: str) -> Record:
        """One cell.

        Raises
        ------
        DataError
            If there is none, or it was written by another version of the schema.
        """
        path = self.path(key)
        if not (path / "spec.json").exists():
            raise DataError(f"no cell {key} in {self.cells}")
        spec = read_json(path / "spec.json")
        if spec.get("schema") != SCHEMA_VERSION:
            raise DataError(
                f"{path}: schema {spec.get('schema')!r}, this version of tops reads {SCHEMA_VERSION}; "
                "use the version named in its provenance.json"
            )
        status = self.status(key)
        stored = read_json(path / "scores.json") if status.done else {"scorers": {}, "default": None}
        scores, default = dict(stored["scorers"]), stored["default"]
        for file in sorted((path / "rescored").glob("[!.]*.json")) if status.done else ():
            again = read_json(file)
            scores[again["scorer"]] = again["scores"]
            default = default or (again["scorer"] if again["default"] else None)
            status = CellStatus.SCORED if default else status
        failure = path / "failure.json"
        return Record(
            key=key,
            path=path,
            spec=Cell.from_dict(spec),
            status=status,
            scores=scores,
            default_scorer=default,
            provenance=read_json(path / "provenance.json") if status.done else {},
            failure=read_json(failure) if failure.exists() and not status.done else None,
        )

    def records(self, *, incomplete: bool = False) -> Iterator[Record]:
        """Complete cells by key; with ``incomplete`` the others too."""
        for key in self.keys():
            record = self.read(key)
            if record.status.done or incomplete:
                yield record

    def rescore(
        self, key: str, scorer: str, scores: Mapping[str, Any], rows: Mapping[int, Any], *, default: bool
    ) -> None:
        """Add a scorer's result to a complete cell, beside the sealed files, bound to the answers by their hash.

        Parameters
        ----------
        key, scorer : str
            Which cell, and the scorer's name.
        scores : mapping
            One entry of ``Record.scores``.
        rows : mapping
            Per document what the aggregation took.
        default : bool
            Whether this scorer is the one to report when the cell was sealed without scores.
        """
        path = self.path(key)
        if not (path / "complete.json").exists():
            raise DataError(f"cell {key[:12]} is not complete; run it before scoring")
        (path / "rescored").mkdir(exist_ok=True)
        content = {
            "schema": SCHEMA_VERSION,
            "scorer": scorer,
            "default": default,
            "answers_sha256": sha256_of(path / "answers.jsonl"),
            "scores": scores,
            "rows": {str(k): v for k, v in sorted(rows.items())},
        }
        content["sha256"] = content_hash(content)
        write_atomically(path / "rescored" / f"{scorer}.json", _json(content))


def _with_rows(answer: Answer, rows: Mapping[str, Mapping[int, Any]]) -> Answer:
    values = {f: getattr(answer, f) for f in Answer.__dataclass_fields__}
    values["scores"] = {scorer: per_document[answer.doc_id] for scorer, per_document in rows.items()} or answer.scores
    return Answer(**values)


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n").encode()


def content_hash(content: Mapping[str, Any]) -> str:
    """sha256 of a JSON object without its own ``sha256``, hex."""
    return hashlib.sha256(_json({k: v for k, v in content.items() if k != "sha256"})).hexdigest()


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file of the store.

    Raises
    ------
    DataError
        If the file is missing or damaged.
    """
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: {error}; run `tops results check`") from error
    if not isinstance(value, dict):
        raise DataError(f"{path}: not a JSON object; run `tops results check`")
    return value
