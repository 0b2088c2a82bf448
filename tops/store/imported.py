"""Imported results: records read from logs of other programs, kept beside the cells of a store and never among them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from tops.errors import DataError
from tops.store.answers import Answer, read_answers, write_atomically

RECORD, ANSWERS = "record.json", "answers.jsonl"


@dataclass(frozen=True)
class Imported:
    """The record of one task in one log.

    Attributes
    ----------
    key : str
        Name of its folder: a digest of the log and of the user's words about it.
    program : str
        Program that wrote the log: ``lmms-eval`` or ``AngelSlim``.
    file, sha256 : str
        Name and hash of the log.
    title : str
        Title of its row in tables.
    model : str
        The model as the log names it; empty where it does not.
    backbone : str
        Catalogue name of the model; empty where it is not known.
    task, benchmark : str
        Name of the task in the log, and of the benchmark in this package.
    told : dict of str to float
        Metrics that the log itself states.
    documents : int
        Number of documents that the log answers; 0 where it does not tell.
    budget : str
        The budget in words.
    tokens_per_layer : tuple of float
        Visual tokens that each decoder layer saw; empty where the log does not tell.
    unknown : tuple of str
        What the log does not tell, one phrase each.
    data_hash : str
        Hash of the staged documents that the answers were checked against; empty without answers.
    prompt : dict or None
        Prompt settings with which this package asks exactly the prompts of the log; None where the prompts differ or
        the log does not tell them.
    path : Path or None
        Folder of the record.
    """

    key: str
    program: str
    file: str
    sha256: str
    title: str
    model: str
    backbone: str
    task: str
    benchmark: str
    told: dict[str, float] = field(default_factory=dict)
    documents: int = 0
    budget: str = ""
    tokens_per_layer: tuple[float, ...] = ()
    unknown: tuple[str, ...] = ()
    data_hash: str = ""
    prompt: dict[str, Any] | None = None
    path: Path | None = field(default=None, compare=False)

    @property
    def layer_average(self) -> float | None:
        """Visual tokens, mean over decoder layers; None where the log does not tell."""
        return sum(self.tokens_per_layer) / len(self.tokens_per_layer) if self.tokens_per_layer else None

    def answers(self) -> list[Answer]:
        """Answers of the log; empty for a log of scores alone.

        Raises
        ------
        DataError
            If the answers cannot be read.
        """
        file = None if self.path is None else self.path / ANSWERS
        if file is None or not file.exists():
            return []
        try:
            return list(read_answers(file))
        except ValueError as error:
            raise DataError(f"{file}: {error}; import {self.file} again") from None


def folder_of(root: str | Path, profile: str) -> Path:
    """Folder of the imported results of a profile."""
    return Path(root) / profile / "imported"


def write_imported(root: str | Path, profile: str, record: Imported, answers: Iterable[Answer]) -> Path:
    """Store a record; one of the same key is replaced."""
    folder = folder_of(root, profile) / record.key
    folder.mkdir(parents=True, exist_ok=True)
    content = {name: value for name, value in asdict(record).items() if name != "path"}
    write_atomically(folder / ANSWERS, b"".join(answer.to_line() for answer in answers))
    write_atomically(folder / RECORD, json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False).encode())
    return folder


def read_imported(root: str | Path, profile: str, faults: list[str]) -> Iterator[Imported]:
    """All imported records, by program, title and benchmark; what cannot be read is named in ``faults``."""
    found = []
    for file in sorted(folder_of(root, profile).glob(f"*/{RECORD}")):
        try:
            content = json.loads(file.read_bytes())
            known = {f.name for f in fields(Imported)} - {"path"}
            if set(content) != known or content["key"] != file.parent.name:
                raise ValueError("not a record of an import")
            for name in ("tokens_per_layer", "unknown"):
                content[name] = tuple(content[name])
            found.append(Imported(**content, path=file.parent))
        except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
            faults.append(f"{file} cannot be read ({error}); delete its folder and import the log again")
    yield from sorted(found, key=lambda r: (r.program, r.title, r.benchmark, r.key))
