"""One answered document, and the append-only file that holds them."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, BinaryIO, Literal

FSYNC_SECONDS = 5.0  # a killed process loses nothing; a power cut loses at most this much


@dataclass(frozen=True)
class Answer:
    """A model's answer to one document: a line of ``answers.jsonl``.

    Attributes
    ----------
    doc_id : int
        Place of the document in the benchmark's split.
    cluster : str
        Documents of one cluster (one image, one video, one circular question) are resampled together.
    prompt, prompt_hash : str
        The text put before the model, template included, and its sha256.
    question : str
        The user's words without template.
    answer : str
        The generated text, stripped of what the stock wrapper strips.
    target : any
        Fields of the document that the scorers need, such as the true answer; plain JSON.
    scores : dict
        Scorer -> row of the document: its score and further fields that the scorer's metrics need.
    output_tokens : int
        Generated tokens.
    visual_tokens_per_layer : tuple of int
        Number of visual tokens that each decoder layer saw at prefill; empty when nothing was generated.
    newlines_per_layer : tuple of int
        Number of newline tokens that each layer saw beside the visual ones; empty when there were none, and in stores
        of earlier versions.
    kept : dict or None
        Per cut layer (as text) the kept original visual indices, when recording was asked for.
    seconds : float
        Wall time of this document.
    image : str or None
        Picture of the document, relative to the cell's folder.
    error : str or None
        Why there is no answer. A document with an error is asked again by the next run.
    """

    doc_id: int
    cluster: str
    prompt: str
    prompt_hash: str
    question: str
    answer: str
    target: Any
    scores: Mapping[str, Any] = field(default_factory=dict)
    output_tokens: int = 0
    visual_tokens_per_layer: tuple[int, ...] = ()
    newlines_per_layer: tuple[int, ...] = ()
    kept: Mapping[str, Any] | None = None
    seconds: float = 0.0
    image: str | None = None
    error: str | None = None

    def to_line(self) -> bytes:
        """One line of JSON with its newline."""
        row = asdict(self)
        if not any(self.newlines_per_layer):
            del row["newlines_per_layer"]
        return json.dumps(row, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode() + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> Answer:
        """Inverse of :meth:`to_line`.

        Raises
        ------
        ValueError
            If the line is not a whole, well-formed answer.
        """
        try:
            row = json.loads(line)
        except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
            raise ValueError(f"not JSON: {error}") from None
        if not isinstance(row, dict) or {*row, "newlines_per_layer"} != _FIELDS:
            raise ValueError("not an answer")
        row.setdefault("newlines_per_layer", [])
        for name, kinds in _KINDS.items():
            if not isinstance(row[name], kinds) or isinstance(row[name], bool):
                raise ValueError(f"not an answer: {name} is {row[name]!r}")
        for name in ("visual_tokens_per_layer", "newlines_per_layer"):
            row[name] = tuple(row[name])
        return cls(**row)


_FIELDS = {f.name for f in fields(Answer)}
_KINDS: dict[str, type | tuple[type, ...]] = {
    "doc_id": int,
    "output_tokens": int,
    "seconds": (int, float),
    "scores": dict,
    "visual_tokens_per_layer": list,
    "newlines_per_layer": list,
    **dict.fromkeys(("cluster", "prompt", "prompt_hash", "question", "answer"), str),
    "error": (str, type(None)),
}


def read_answers(path: Path) -> Iterator[Answer]:
    """Answers of a file, in file order.

    Raises
    ------
    ValueError
        At the first damaged line, with its number.
    """
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n"):
                raise ValueError(f"{path.name}: line {number} is cut off")
            try:
                yield Answer.from_line(line)
            except ValueError as error:
                raise ValueError(f"{path.name}: line {number} is {error}") from None


def salvage(path: Path) -> tuple[dict[int, Answer], int]:
    """Whole and error-free answers of an unfinished file, and how many lines were dropped.

    A line that is cut off, damaged, repeated, or that records an error is dropped: its document is asked again. The
    file is rewritten (atomically) only when a line was dropped.
    """
    kept: dict[int, Answer] = {}
    dropped = 0
    if not path.exists():
        return kept, dropped
    with path.open("rb") as file:
        for line in file:
            try:
                answer = Answer.from_line(line) if line.endswith(b"\n") else None
            except ValueError:
                answer = None
            if answer is None or answer.error is not None or answer.doc_id in kept:
                dropped += 1
            else:
                kept[answer.doc_id] = answer
    if dropped:
        write_atomically(path, b"".join(a.to_line() for a in kept.values()))
    return kept, dropped


class AnswerFile:
    """Appends answers; every line reaches the operating system before ``append`` returns."""

    def __init__(self, path: Path) -> None:
        self._file: BinaryIO = path.open("ab")
        self._synced = time.monotonic()

    def append(self, answer: Answer) -> None:
        """Write one line."""
        self._file.write(answer.to_line())
        self._file.flush()
        if time.monotonic() - self._synced > FSYNC_SECONDS:
            os.fsync(self._file.fileno())
            self._synced = time.monotonic()

    def close(self, *, sync: bool = True) -> None:
        """Flush and close. ``sync=False`` is for a file that is replaced by a synchronised one right away."""
        if not self._file.closed:
            self._file.flush()
            if sync:
                os.fsync(self._file.fileno())
            self._file.close()


def write_atomically(path: Path, content: bytes, *, sync: Literal["folder", "file", "none"] = "folder") -> None:
    """Write a file so that it holds either the old or the new content at every moment.

    Parameters
    ----------
    path : Path
        The file.
    content : bytes
        The whole content.
    sync : {"folder", "file", "none"}
        What a power cut after the return cannot undo. ``folder``: the new file under its name. ``file``: the new
        content is on the disk, but the name may still lead to the old file. ``none``: nothing is guaranteed.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with temporary.open("wb") as file:
        file.write(content)
        file.flush()
        if sync != "none":
            os.fsync(file.fileno())
    temporary.replace(path)
    if sync == "folder":
        sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Write the names of a folder's files to the disk (fsync of the folder)."""
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
