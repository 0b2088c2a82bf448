"""Rounds of ``stop=separable``: answers that an earlier round has stored are taken over, not asked again."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from tops.errors import DataError
from tops.evaluation.code import answering_code
from tops.planning.sequential import smaller_rounds
from tops.store.answers import Answer
from tops.store.cell import Cell
from tops.store.store import Record, Store


def take_over(cell: Cell, store: Store, recorded: bool | int = False) -> int:
    """Copy the answers of the largest earlier round of a cell into the cell that is to be run.

    A larger round asks all documents of a smaller one; the two specifications differ in the number of documents only.
    Only answers of today's code are copied. The cell then continues like an interrupted one, and its provenance counts
    the copied answers as resumed.

    Parameters
    ----------
    cell : Cell
        The cell of the round that is to be run.
    store : Store
        Store of both rounds.
    recorded : bool or int
        Documents whose kept tokens are to be stored: all of them, or a number of first ones. A document whose kept
        tokens are missing, although other documents of its cell have theirs, is asked again.

    Returns
    -------
    int
        Documents taken over.
    """
    code = answering_code(cell)
    if store.status(cell.key).done:
        return 0
    earlier = next(_complete(cell, store, code), None)
    writer = store.open_cell(cell, code) if earlier is not None else None
    if earlier is None or writer is None:
        return 0
    with writer:
        if writer.answers:  # this round was begun already
            return 0
        for answer in earlier.answers():
            if recorded is True and answer.kept is None and cell.method.name != "none":
                continue
            writer.append(_copied(answer, earlier, writer.path))
        return len(writer.answers)


def _complete(cell: Cell, store: Store, code: dict[str, str]) -> Iterator[Record]:
    """Earlier rounds of a cell that are complete and of today's code, the largest first."""
    for limit in smaller_rounds(cell.benchmark.limit):
        key = replace(cell, benchmark=replace(cell.benchmark, limit=limit)).key
        if store.status(key).done:
            try:
                record = store.read(key)
            except DataError:
                continue
            if record.code == code:
                yield record


def _copied(answer: Answer, record: Record, folder: Path) -> Answer:
    """The answer with its picture; its scores are computed again when the cell is sealed."""
    picture = record.picture(answer.image) if answer.image else None
    if picture is not None and answer.image is not None:
        target = folder / answer.image
        target.parent.mkdir(exist_ok=True)
        shutil.copyfile(picture, target)
    return replace(answer, scores={}, image=answer.image if picture is not None else None)
