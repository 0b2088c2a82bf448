"""One process that works through cells: one model in memory at a time, one cell locked at a time."""

from __future__ import annotations

import gc
import importlib
import json
import logging
import os
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from tops import registration
from tops.benchmarks.benchmark import load_benchmark
from tops.benchmarks.surroundings import scrub
from tops.errors import DataError
from tops.evaluation.code import snapshot
from tops.running.events import DocumentEvents, Event
from tops.settings.choices import choice_from
from tops.settings.schema import ProfileConfig
from tops.store.cell import BackboneSpec, Cell
from tops.store.store import CellStatus, Store

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Assignment:
    """Cells and settings that all workers of a run share; written once by the launcher and read by each worker.

    Attributes
    ----------
    results : str
        Root of the result store.
    profile : ProfileConfig
        The profile, with the places of weights and data on this installation.
    cells : tuple of Cell
        All cells of the run. Each worker takes cells that no other worker has locked.
    attempts : int
        A cell that has failed this often is set aside.
    threads : int
        CPU threads of each worker; 0 leaves the default.
    record_kept : bool or int
        Store which tokens each cut kept: of all documents of a cell, or of its first ones.
    before : dict of str to int
        Key to the number of failures that a cell had when the run began. A cell with more failures has failed in
        another worker of this run and is not tried again. Failures are counted, not dated, because the clocks of
        machines differ.
    own : dict
        The user's own methods, benchmarks and families (:func:`tops.registration.known`).
    evaluator : str
        ``module:function`` that loads the model of a backbone, as :func:`tops.running.execute.load_evaluator`.
    """

    results: str
    profile: ProfileConfig
    cells: tuple[Cell, ...]
    attempts: int = 3
    threads: int = 0
    record_kept: bool | int = False
    before: dict[str, int] = field(default_factory=dict)
    own: dict[str, Any] = field(default_factory=dict)
    evaluator: str = "tops.running.execute:load_evaluator"

    def __post_init__(self) -> None:
        if not self.before:
            store = Store(self.results, self.profile.name)
            object.__setattr__(self, "before", {cell.key: attempts_of(store, cell) for cell in self.cells})

    def save(self, path: Path) -> None:
        """Write it as JSON."""
        path.parent.mkdir(parents=True, exist_ok=True)
        content = {**asdict(self), "cells": [cell.as_dict() for cell in self.cells]}
        path.write_text(json.dumps(content))

    @classmethod
    def load(cls, path: Path) -> Assignment:
        """Inverse of :meth:`save`."""
        content = json.loads(path.read_text())
        profile = dict(content.pop("profile"))
        cells = tuple(Cell.from_dict(cell) for cell in content.pop("cells"))
        return cls(profile=choice_from("profile", profile.pop("name"), profile), cells=cells, **content)


class Evaluator(Protocol):
    """Evaluates cells of one backbone on one loaded model."""

    def __call__(
        self,
        cell: Cell,
        store: Store,
        *,
        record_kept: bool | int,
        let_through: tuple[type[BaseException], ...],
        progress: DocumentEvents,
        following: Cell | None,
    ) -> Any: ...


@dataclass
class ModelCache:
    """The one model of this process; asking for another backbone frees it first."""

    profile: ProfileConfig
    load: Callable[[BackboneSpec, ProfileConfig], Evaluator]
    loads: int = 0
    _held: tuple[BackboneSpec, Evaluator] | None = field(default=None, repr=False)

    def get(self, spec: BackboneSpec) -> Evaluator:
        """The evaluator of a backbone, loaded when it is not the one in memory."""
        if not self.holds(spec):
            self.free()
            self._held = (_weights(spec), self.load(spec, self.profile))
            self.loads += 1
        assert self._held is not None
        return self._held[1]

    def holds(self, spec: BackboneSpec) -> bool:
        """Whether the model of this backbone is the one in memory."""
        return self._held is not None and self._held[0] == _weights(spec)

    def free(self) -> None:
        """Drop the model and release its memory."""
        self._held = None
        gc.collect()
        torch = sys.modules.get("torch")
        if torch is not None and torch.cuda.is_available():
            torch.cuda.empty_cache()


def order_for(worker: int, cells: Iterable[Cell]) -> list[Cell]:
    """The order in which a worker looks at cells: by backbone, each worker beginning with another one.

    Workers that share a backbone begin at different places of its list, so that they seldom ask for one lock.
    """
    groups: dict[BackboneKey, list[Cell]] = {}
    for cell in cells:
        groups.setdefault(_backbone_key(cell.backbone), []).append(cell)
    lists = list(groups.values())
    if not lists:
        return []
    first = worker % len(lists)
    out: list[Cell] = []
    for group in lists[first:] + lists[:first]:
        lap = worker // len(lists)
        start = (lap * 7919) % len(group)  # a prime, so that starts spread over any length
        out += group[start:] + group[:start]
    return out


BackboneKey = str


def _backbone_key(spec: BackboneSpec) -> BackboneKey:
    return json.dumps(asdict(_weights(spec)), sort_keys=True)


def _weights(spec: BackboneSpec) -> BackboneSpec:
    """The specification without options: cells that differ only in these (prompts, pictures) share a model."""
    return replace(spec, options={})


def work(
    assignment: Assignment,
    worker: int = 0,
    *,
    emit: Callable[[Event], None] = lambda event: None,
    load: Callable[[BackboneSpec, ProfileConfig], Evaluator] | None = None,
    let_through: tuple[type[BaseException], ...] = (),
) -> int:
    """Work until every cell is complete or taken; returns how many of the cells that this worker took are complete.

    Cells that an earlier worker began and did not finish come last, so that a cell that kills its process does not keep
    the other cells from being done.

    Parameters
    ----------
    assignment : Assignment
        Shared by all workers of the run.
    worker : int
        Number of this worker, from 0.
    emit : callable
        Called with every event.
    load : callable, optional
        Loads the model of a backbone; by default what the assignment names.
    let_through : tuple of exception types
        Exceptions that are not failures of a cell and are raised on, such as a scheduler's notice that the time is up.
    """
    if gone := scrub():
        log.warning("left out of this worker's environment, for it would change answers: %s", ", ".join(gone))
    snapshot()
    if assignment.threads:  # read by torch, which is imported with the first model
        os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = str(assignment.threads)
    registration.restore(assignment.own)
    if load is None:
        module, function = assignment.evaluator.split(":")
        load = getattr(importlib.import_module(module), function)
    store = Store(assignment.results, assignment.profile.name)
    models = ModelCache(assignment.profile, load)
    tried: set[str] = set()
    postponed: set[str] = set()
    broken: dict[BackboneKey, str] = {}
    finished = 0
    pending = order_for(worker, assignment.cells)
    progress = True
    while progress:
        progress, waiting = False, []
        for place, cell in enumerate(pending):
            state = store.status(cell.key)
            if state.done or cell.key in tried:
                continue
            if state is CellStatus.RUNNING:
                waiting.append(cell)
                continue
            failure = _failure(store, cell)
            if state is CellStatus.INCOMPLETE and failure is None and cell.key not in postponed:
                postponed.add(cell.key)
                waiting.append(cell)
                progress = True
                continue
            tried.add(cell.key)
            if state is CellStatus.DAMAGED:
                emit(Event("failed", worker, cell.key, cell.label, detail=store.fault(cell.key)))
                continue
            attempts = _count(failure)
            if attempts > assignment.before.get(cell.key, attempts):
                continue  # another worker of this run tried it
            if attempts >= assignment.attempts:
                detail = f"failed {attempts} times, last with {(failure or {}).get('error', 'an unknown error')}"
                emit(Event("aside", worker, cell.key, cell.label, detail=detail))
                continue
            following = _following(cell, pending[place + 1 :], store, tried)
            outcome = _one(cell, following, store, models, worker, emit, broken, let_through, assignment.record_kept)
            finished += outcome
            progress = progress or outcome
        pending = waiting
    return finished


def _following(cell: Cell, later: Iterable[Cell], store: Store, tried: set[str]) -> Cell | None:
    """The next cell of the same backbone that no worker has begun; None at the end of the backbone's list."""
    for other in later:
        if other.backbone != cell.backbone:
            return None
        if other.key not in tried and store.status(other.key) is CellStatus.MISSING:
            return other
    return None


def _one(
    cell: Cell,
    following: Cell | None,
    store: Store,
    models: ModelCache,
    worker: int,
    emit: Callable[[Event], None],
    broken: dict[BackboneKey, str],
    let_through: tuple[type[BaseException], ...],
    record_kept: bool | int,
) -> bool:
    """Run one cell; True when it is complete afterwards. Errors other than ``let_through`` are noted for this cell."""
    began, before = time.monotonic(), attempts_of(store, cell)
    backbone = _backbone_key(cell.backbone)
    try:
        if backbone in broken:
            raise RuntimeError(broken[backbone])
        if not models.holds(cell.backbone):
            emit(Event("load", worker, label=cell.backbone.name))
        try:
            evaluate = models.get(cell.backbone)
        except let_through:
            raise
        except Exception as error:
            broken[backbone] = f"{cell.backbone.name} did not load: {describe(error)}"
            raise
        emit(Event("start", worker, cell.key, cell.label))
        progress = DocumentEvents(emit, worker, cell.key)
        evaluate(cell, store, record_kept=record_kept, let_through=let_through, progress=progress, following=following)
    except let_through:
        raise
    except Exception as error:
        log.exception("%s", cell.label)
        if attempts_of(store, cell) == before:  # not noted by the evaluation itself
            note_failure(store, cell, broken.get(backbone) or describe(error))
    state = store.status(cell.key)
    seconds = time.monotonic() - began
    if state.done:
        emit(Event("done", worker, cell.key, cell.label, seconds, _headline(store, cell)))
        return True
    if state is CellStatus.RUNNING:
        return False
    why = (_failure(store, cell) or {}).get("error") or store.fault(cell.key) or "not finished"
    emit(Event("failed", worker, cell.key, cell.label, seconds, str(why)))
    return False


def describe(error: BaseException) -> str:
    """Type and first line of an error."""
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0]}" if text else type(error).__name__


def _failure(store: Store, cell: Cell) -> dict[str, Any] | None:
    """The failure note of the last attempt; None when there is none, or when it cannot be read."""
    if store.status(cell.key) is not CellStatus.INCOMPLETE:
        return None
    try:
        return store.read(cell.key).failure
    except DataError:
        return None


def _count(failure: dict[str, Any] | None) -> int:
    try:
        return int((failure or {}).get("attempts", 0))
    except (TypeError, ValueError):
        return 0


def attempts_of(store: Store, cell: Cell) -> int:
    """How often a cell has failed so far."""
    return _count(_failure(store, cell))


def note_failure(store: Store, cell: Cell, error: str) -> None:
    """Store why an attempt failed; not while another worker holds the cell, which may still finish it."""
    try:
        writer = store.open_cell(cell)
    except DataError as damaged:
        log.warning("%s: %s", cell.label, damaged)
        return
    if writer is not None:
        with writer:
            writer.fail(error)


def _headline(store: Store, cell: Cell) -> str:
    """Text with the metric that tables print, or a remark that the cell has none."""
    try:
        record = store.read(cell.key)
        if record.default_scorer is None:
            return "answered, not judged"
        metric = load_benchmark(cell.benchmark.name).metric
        return f"{metric} {record.scores[record.default_scorer]['metrics'][metric]:.4g}"
    except (DataError, KeyError, TypeError, ValueError) as error:
        return f"complete, but its score cannot be read: {error}"
