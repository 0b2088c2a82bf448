"""Where the documents of a benchmark come from, which of them are asked, and in which turns."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal


@dataclass(frozen=True)
class DataSource:
    """The data set that holds a benchmark's documents.

    Attributes
    ----------
    path : str
        Hub repository, and folder below the mirror where it is staged; or a folder of your own, ``./`` from the YAML.
    config : str or None
        Configuration of the data set; None for the default one.
    split : str
        Split that is asked.
    documents : int
        Number of documents of the real split.
    also : tuple of str
        Further configurations that the stock task loads, such as GQA's images.
    revision : str or None
        Commit to fetch; None: the newest, which is then recorded beside the data.
    gated : bool
        Whether the hub asks for an accepted licence and a token.
    megabytes : int
        Rough download size.
    videos : str or None
        Folder below ``HF_HOME`` that the stock task reads videos from.
    unpack : str or None
        Folder below ``HF_HOME`` that archives of videos are unpacked into, as stock does.
    files : tuple of str
        Patterns of the files that the task needs.
    only : dict
        Field to the value that documents must have to be asked: SEED-Bench's images without its videos.
    explode : str
        Field with a list, each entry of which is asked as a document of its own, as the stock task's ``process_docs``
        does: RefCOCO's phrases for one box. Such a document also has its picture's ``image_width`` and
        ``image_height``.
    """

    path: str
    split: str
    documents: int
    megabytes: int
    config: str | None = None
    also: tuple[str, ...] = ()
    revision: str | None = None
    gated: bool = False
    videos: str | None = None
    unpack: str | None = None
    files: tuple[str, ...] = ("README.md", "*.parquet")
    only: dict[str, str] = field(default_factory=dict)
    explode: str = ""


@dataclass(frozen=True)
class Turns:
    """Questions of one picture as turns of one conversation (:mod:`tops.benchmarks.turns`).

    Attributes
    ----------
    questions : int
        Turns of a conversation; pictures with fewer different questions are not asked.
    cut : str
        ``first``: on the first question, and the others are asked on the tokens that it left; ``each``: the whole
        conversation is read and cut anew for every question.
    """

    questions: Annotated[int, 2]
    cut: Literal["first", "each"]
