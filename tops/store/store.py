"""The result store: one folder per cell, immutable once complete. Layout and file formats: docs/architecture.md."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from tops.errors import DataError
from tops.store.answers import Answer, read_answers, write_atomically
from tops.store.cell import SCHEMA_VERSION, Cell
from tops.store.locks import acquire, is_locked
from tops.store.seal import (
    REMEDY,
    as_json,
    cell_of,
    content_hash,
    fault_of,
    hash_memory,
    picture_fault,
    read_json,
    rescored_fault,
)
from tops.store.writer import CellStatus, CellWriter

__all__ = ["CellStatus", "CellWriter", "Record", "Store"]


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
        Specification of the cell.
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

    @property
    def code(self) -> dict[str, str] | None:
        """Fingerprint of each part of the code that answered; None for cells of versions without fingerprints."""
        code = self.provenance.get("code")
        return dict(code) if isinstance(code, dict) and "unknown" not in code else None

    def picture(self, name: str) -> Path | None:
        """File of a picture that an answer names; None when it is missing, altered since the seal, or elsewhere."""
        return None if picture_fault(self.path, name) else self.path / name

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
        """Rows of a scorer by document number: the input of its metrics.

        Raises
        ------
        DataError
            If that scorer has not scored this cell.
        """
        rescored = self.path / "rescored" / f"{scorer}.json"
        if rescored.exists():
            try:
                return {int(k): v for k, v in read_json(rescored)["rows"].items()}
            except (KeyError, ValueError, AttributeError) as error:
                raise DataError(f"{rescored}: damaged: {error!r}; delete it and run `tops score` again") from None
        if scorer not in self.scores:
            raise DataError(
                f"cell {self.key[:12]} has no scores of {scorer!r} (it has {', '.join(self.scores) or 'none'}); "
                f"run `tops score scorer={scorer}`"
            )
        return {a.doc_id: a.scores[scorer] for a in self.answers()}


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
        """Present state of a cell. Its seal is verified: an edited, swapped or truncated cell is ``DAMAGED``."""
        path = self.path(key)
        if (path / "complete.json").exists():
            if self.fault(key):
                return CellStatus.DAMAGED
            status = CellStatus(read_json(path / "scores.json")["status"])
            again = status is CellStatus.ANSWERED and (path / "rescored").is_dir()
            return self.read(key).status if again else status
        if not (path / "spec.json").exists():
            return CellStatus.MISSING
        return CellStatus.RUNNING if is_locked(path / "lock") else CellStatus.INCOMPLETE

    def fault(self, key: str) -> str:
        """Why the seal of a cell does not hold; empty when it holds, or when the cell has no seal."""
        path = self.path(key)
        if not (path / "complete.json").exists():
            return ""
        if fault := fault_of(path, key):
            return f"cell {key[:12]}: {fault}; {REMEDY}"
        status = read_json(path / "scores.json").get("status")
        if status not in (CellStatus.SCORED, CellStatus.ANSWERED):
            return f"cell {key[:12]}: scores.json has the status {status!r}; {REMEDY}"
        for file in sorted((path / "rescored").glob("[!.]*.json")):
            try:
                wrong = _rescored_fault(file, *(hash_memory().sha256(f) for f in (file, path / "answers.jsonl")))
            except (DataError, OSError) as error:
                wrong = f"damaged: {error.__cause__ or error}"
            if wrong:
                return f"cell {key[:12]}: rescored/{file.name} {wrong}"
        return ""

    def unsealed(self, key: str) -> bool:
        """Whether a cell has scores but no seal: the seal was deleted, or the run was killed before it was written."""
        path = self.path(key)
        return (path / "scores.json").exists() and not (path / "complete.json").exists()

    def set_aside(self, key: str) -> Path | None:
        """Move a cell out of the way, to ``replaced/`` beside the cells; None when there is none.

        Nothing reads cells there. They are kept because they took hours, and a person may want to compare.
        """
        place = self.cells.with_name("replaced")
        place.mkdir(parents=True, exist_ok=True)
        target = next(t for n in range(1, 10**6) if not (t := place / f"{key}-{n}").exists())
        try:
            self.path(key).rename(target)
        except FileNotFoundError:
            return None
        return target

    def open_cell(self, cell: Cell, code: Mapping[str, str] | None = None) -> CellWriter | None:
        """Exclusive access to a cell; None when it is complete or another process works on it.

        Parameters
        ----------
        cell : Cell
            The cell to be answered.
        code : mapping of str to str, optional
            Fingerprints of the code that will answer (``tops.evaluation.code.answering_code``). A cell that was begun
            by other code is started anew.
        """
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
            return CellWriter(path, cell, lock, code)
        except BaseException:
            os.close(lock)
            raise

    def read(self, key: str) -> Record:
        """One cell.

        Raises
        ------
        DataError
            If there is no such cell, or it was written by another version of the schema.
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
        if fault := self.fault(key):
            raise DataError(fault)
        done = (path / "complete.json").exists()
        stored = read_json(path / "scores.json") if done else {"scorers": {}, "default": None}
        status = CellStatus(stored["status"]) if done else self.status(key)
        scores, default = dict(stored["scorers"]), stored["default"]
        for file in sorted((path / "rescored").glob("[!.]*.json")) if done else ():
            again = read_json(file)
            scores[again["scorer"]] = again["scores"]
            default = default or (again["scorer"] if again["default"] else None)
            status = CellStatus.SCORED if default else status
        failure = path / "failure.json"
        return Record(
            key=key,
            path=path,
            spec=cell_of(spec, path / "spec.json"),
            status=status,
            scores=scores,
            default_scorer=default,
            provenance=read_json(path / "provenance.json") if status.done else {},
            failure=read_json(failure) if failure.exists() and not status.done else None,
        )

    def records(self, *, incomplete: bool = False, faults: list[str] | None = None) -> Iterator[Record]:
        """Complete cells by key; with ``incomplete`` the others too.

        Parameters
        ----------
        incomplete : bool
            Whether cells that are begun but not complete are included.
        faults : list of str, optional
            List that gets a sentence for each cell that cannot be read; such a cell is skipped. Without the list the
            first such cell raises a ``DataError``.
        """
        for key in self.keys():
            try:
                record = self.read(key)
            except DataError as error:
                if faults is None:
                    raise
                faults.append(str(error))
                continue
            if record.status.done or incomplete:
                yield record
        if faults is not None:  # a seal without a specification
            sealed = (path.parent for path in sorted(self.cells.glob("??/*/complete.json")))
            faults += [self.fault(folder.name) for folder in sealed if not (folder / "spec.json").exists()]

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
            Row of each document, as the metrics took it.
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
            "answers_sha256": hash_memory().sha256(path / "answers.jsonl"),
            "scores": scores,
            "rows": {str(k): v for k, v in sorted(rows.items())},
        }
        content["sha256"] = content_hash(content)
        write_atomically(path / "rescored" / f"{scorer}.json", as_json(content))


@cache
def _rescored_fault(file: Path, file_sha256: str, answers_sha256: str) -> str:
    """:func:`rescored_fault` of a file, cached; ``file_sha256`` gives an edited file a new cache entry."""
    return rescored_fault(read_json(file), file.stem, answers_sha256)
