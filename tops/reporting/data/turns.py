"""Scores by turn of a conversation, with the tokens of the first question and with a cut for each."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from tops.benchmarks.benchmark import load_benchmark
from tops.benchmarks.scorers.turns import TURN
from tops.planning.plan import Column, Row
from tops.reporting.data.documents import Documents, load_documents
from tops.reporting.data.resamples import Resamples
from tops.statistics.drawn import Drawn
from tops.statistics.metrics import Metric
from tops.statistics.parts import Part
from tops.statistics.resampling import Clusters, Floats, same_documents

_NO_RANKS = np.zeros(0)  # resamples, which ranks alone are read from


@dataclass(frozen=True)
class Turned:
    """One row under one way of cutting: right answers and answers of every document at every turn, over its seeds.

    Attributes
    ----------
    right, asked : array, shape (documents, turns)
        Sums over seeds.
    clusters : Clusters
        Clusters of the documents: those of one picture.
    source : str
        Benchmark whose documents these are.
    mark : str
        A warning to the reader about the row.
    """

    right: Floats
    asked: Floats
    clusters: Clusters
    source: str
    mark: str = ""

    def at(self, turns: Collection[int]) -> Drawn:
        """Right answers at some turns (from 1 on), in percent."""
        places = [turn - 1 for turn in turns]
        table = np.stack([self.right[:, places].sum(1), self.asked[:, places].sum(1)], 1)
        metric = Metric(table, _percent, top=100.0)
        return Drawn(metric.point, _NO_RANKS, {self.source: Part.of([metric], self.clusters)}, metric.top)


@dataclass(frozen=True)
class Conversations:
    """Scores by turn of one benchmark on one backbone.

    Attributes
    ----------
    backbone, source : str
        ``source`` is the benchmark whose documents these are.
    turns : int
        Turns of a conversation.
    kept, anew : dict of Row to Turned
        Cut on the first question, and cut for each; the second is empty where the experiment does not ask it.
    reasons : dict of Row to str
        Why a row has no numbers.
    """

    backbone: str
    source: str
    turns: int
    kept: Mapping[Row, Turned]
    anew: Mapping[Row, Turned]
    reasons: Mapping[Row, str] = field(default_factory=dict)

    @cached_property
    def later(self) -> range:
        """Turns after the first."""
        return range(2, self.turns + 1)


def conversations(resamples: Resamples, backbone: str) -> Iterator[Conversations]:
    """Scores by turn of every benchmark that is asked in turns, in the order of the columns."""
    found: dict[tuple[str, int, str, str], dict[str, Column]] = {}
    for column in resamples.results.columns(backbone):
        bench = load_benchmark(column.benchmark)
        if bench.turns is not None:
            place = (bench.source, bench.turns.questions, column.convention, column.scorer)
            found.setdefault(place, {})[bench.turns.cut] = column
    for (source, turns, _, _), columns in found.items():
        rows, reasons = _rows(resamples, source, turns, columns)
        if any(rows.values()):
            yield Conversations(backbone, source, turns, rows.get("first", {}), rows.get("each", {}), reasons)


def _rows(
    resamples: Resamples, source: str, turns: int, columns: Mapping[str, Column]
) -> tuple[dict[str, dict[Row, Turned]], dict[Row, str]]:
    loaded: dict[tuple[str, Row], tuple[list[Documents], str]] = {}
    reasons: dict[Row, str] = {}
    for cut, column in columns.items():
        for (row, c), entry in resamples.results.entries.items():
            if c != column:
                continue
            if not entry.values:
                reasons[row] = entry.reason
                continue
            documents = [
                load_documents(r, r.default_scorer, resamples.cache) for r in entry.records if r.default_scorer
            ]
            loaded[cut, row] = documents, entry.mark
    rows: dict[str, dict[Row, Turned]] = {cut: {} for cut in columns}
    everything = [d for documents, _ in loaded.values() for d in documents]
    if not everything:
        return rows, reasons
    if not same_documents(d.ids.tolist() for d in everything):
        return rows, {row: "cells answered different documents" for _, row in loaded}
    clusters = Clusters.of(everything[0].clusters)
    for (cut, row), (documents, mark) in loaded.items():
        rows[cut][row] = Turned(*_sums(documents, turns), clusters, source, mark)
    return rows, reasons


def _sums(seeds: Sequence[Documents], turns: int) -> tuple[Floats, Floats]:
    right, asked = np.zeros((len(seeds[0].ids), turns)), np.zeros((len(seeds[0].ids), turns))
    for documents in seeds:
        places = np.arange(len(documents.ids)), np.asarray(documents.columns[TURN], dtype=np.int64) - 1
        np.add.at(right, places, np.asarray(documents.columns["score"], dtype=np.float64))
        np.add.at(asked, places, 1)
    return right, asked


def _percent(sums: Floats) -> Floats:
    right, asked = sums[..., 0], sums[..., 1]
    out: Floats = 100 * np.divide(right, asked, out=np.full(np.shape(right), np.nan), where=asked > 0)
    return out
