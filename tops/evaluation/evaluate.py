"""One cell: ask every document, store every answer, score them, seal the result."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from tops.benchmarks.benchmark import Benchmark
from tops.benchmarks.data import DataRoot
from tops.errors import ConfigurationError, TopsError
from tops.evaluation.code import answering_code
from tops.evaluation.session import Progress, Session, described
from tops.store.cell import Cell
from tops.store.store import CellStatus, Store

if TYPE_CHECKING:
    from tops.backbones.loading import Backbone
    from tops.benchmarks.data import Staged
    from tops.evaluation.batches import BatchSize
    from tops.evaluation.following import Following
    from tops.evaluation.judge import Judge
    from tops.methods.base import Method

log = logging.getLogger(__name__)


def evaluate_cell(
    cell: Cell,
    *,
    store: Store,
    backbone: Backbone,
    method: Method | None,
    benchmark: Benchmark,
    data_root: Staged | str | None = None,
    judge: Judge | None = None,
    limit: int | None = None,
    progress: Progress | None = None,
    record_kept: bool | int = False,
    batch_size: BatchSize = 1,
    let_through: tuple[type[BaseException], ...] = (),
    following: Following | None = None,
) -> CellStatus:
    """Evaluate one cell on one loaded model; go on where an earlier run stopped.

    Parameters
    ----------
    cell : Cell
        Its key names the result; a complete cell is left alone, one that another process holds is skipped.
    store : Store
        Where the result goes.
    backbone : Backbone
        Loaded model and processor; they are unchanged afterwards.
    method : Method or None
        None for the unpruned model.
    benchmark : Benchmark
        The one that ``cell.benchmark`` names.
    data_root : path or object with ``mirror`` and ``hf_home``
        Staged data; the default place for None.
    judge : Judge, optional
        For judged benchmarks, probed before the first document; that of ``TOPS_JUDGE_URL`` when absent.
    limit : int, optional
        Must agree with ``cell.benchmark.limit``.
    progress : Progress, optional
        Called with every document.
    record_kept : bool or int
        Store which visual tokens each cut kept, and the pictures: of all documents, or of so many, the first ones.
    batch_size : int or "auto"
        Most prompts in one call of the model; ``auto`` asks the first one alone and takes as many as the free memory
        then holds. In float32 answers do not depend on it; in half precision they may, so the provenance records it.
    let_through : tuple of exception types
        Exceptions that are not failures of a document and are raised on, such as a scheduler's notice that the time is
        up.
    following : Following, optional
        The next cell on this model: its first documents are prepared while the last ones of this cell are answered.

    Returns
    -------
    CellStatus
        ``SCORED`` or ``ANSWERED`` when it is complete, ``INCOMPLETE`` when documents failed (each is recorded with its
        error, and no score exists), ``RUNNING`` when another process has it.

    Raises
    ------
    ConfigurationError
        If the arguments contradict the cell.
    DataError
        If data is missing or is not what the cell was planned on.
    """
    _check(cell, benchmark, limit)
    if benchmark.judged:
        judge = judge or _judge_of_environment()
        if judge is not None:
            judge.probe()
    writer = store.open_cell(cell, answering_code(cell))
    if writer is None:
        return store.status(cell.key)
    with writer:
        if writer.restarted:
            log.warning(
                "%s was begun by other code; its answers so far are given up, and all are asked again", cell.label
            )
        try:
            session = Session(
                cell,
                writer,
                backbone,
                method,
                benchmark,
                DataRoot.at(data_root),
                record_kept,
                batch_size,
                following,
            )
            status = session.run(progress, let_through)
        except KeyboardInterrupt:
            log.warning(
                "stopped; %d documents of %s are stored, the same command goes on", len(writer.answers), cell.label
            )
            raise
        except let_through:
            raise
        except Exception as error:
            writer.fail(described(error))
            raise
    if status is CellStatus.ANSWERED and judge is not None:
        status = _judge(cell, store, benchmark, judge)
    return status


def _check(cell: Cell, benchmark: Benchmark, limit: int | None) -> None:
    if cell.benchmark.name != benchmark.name:
        raise ConfigurationError(f"the cell is of benchmark {cell.benchmark.name!r}, not {benchmark.name!r}")
    if limit is not None and limit != cell.benchmark.limit:
        raise ConfigurationError(f"limit={limit}, but the cell was specified with {cell.benchmark.limit}")
    if not cell.benchmark.data_hash:
        raise ConfigurationError(
            f"{cell.label}: the specification has no data hash, so its key would not tell which documents were asked; "
            "fill it from tops.benchmarks.data.data_hash"
        )


def _judge_of_environment() -> Judge | None:
    from tops.evaluation.judge import Judge

    return Judge.from_environment()


def _judge(cell: Cell, store: Store, benchmark: Benchmark, judge: Judge) -> CellStatus:
    """Add a judge's scores to a cell. Its answers are sealed already: a failing judge loses only its own verdicts."""
    from tops.evaluation.judge import judge_record

    try:
        judge_record(store, cell.key, benchmark, judge)
    except TopsError as error:
        log.warning("%s stays answered, not judged: %s", cell.label, error)
    return store.read(cell.key).status
