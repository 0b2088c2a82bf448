"""The documents of one cell, column-wise, cached: a store of millions of answers is parsed once.

The cache holds nothing that the store does not; it may be deleted at any time. It is named after the sealed answers, so
it can never be stale.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from tops.benchmarks.scorers import metrics, score_answers
from tops.statistics.metrics import Metric
from tops.statistics.resampling import Floats
from tops.store.store import Record

_VERSION = 2


@dataclass(frozen=True)
class Brief:
    """What stays in memory of a cell once its resamples are drawn.

    Attributes
    ----------
    ids : array of int, shape (documents,)
        Rising document numbers.
    right : array of bool, shape (documents,)
        At least half of the score.
    layers : array, shape (depth,)
        Visual tokens each decoder layer saw, averaged over documents.
    seconds : float
        Median wall time of a document.
    """

    ids: np.ndarray
    right: np.ndarray
    layers: Floats
    seconds: float

    @property
    def layer_average(self) -> float:
        """Mean over decoder layers and documents of the visual tokens seen at prefill; NaN when none were logged."""
        return float(self.layers.mean()) if len(self.layers) else float("nan")


@dataclass(frozen=True)
class Documents:
    """What statistics need of one scored cell.

    Attributes
    ----------
    benchmark, scorer : str
        Which rules the rows belong to.
    ids : array of int, shape (documents,)
        Rising document numbers.
    clusters : list of str
        Unit of sampling of each document.
    columns : dict of str to list
        The scorer's rows, field by field; ``score``, ``valid`` and ``prediction`` among them.
    layers : array, shape (depth,)
        Visual tokens each decoder layer saw, averaged over documents.
    seconds : float
        Median wall time of a document.
    """

    benchmark: str
    scorer: str
    ids: np.ndarray
    clusters: list[str]
    columns: dict[str, list[Any]]
    layers: Floats
    seconds: float

    @cached_property
    def metrics(self) -> dict[str, Metric]:
        """Metrics of the scorer, ready to resample."""
        names = list(self.columns)
        rows = [dict(zip(names, values, strict=True)) for values in zip(*self.columns.values(), strict=True)]
        return metrics(self.benchmark, self.scorer, rows)

    @property
    def brief(self) -> Brief:
        """The part that later tables and figures need."""
        right = np.asarray(self.columns["score"], dtype=np.float64) >= 0.5
        return Brief(self.ids, right, self.layers, self.seconds)


def load_documents(record: Record, scorer: str, cache: Path | None = None) -> Documents:
    """Documents of a complete cell under a scorer.

    Parameters
    ----------
    record : Record
        The cell.
    scorer : str
        Whose rows to take.
    cache : path, optional
        Folder for parsed columns; None parses anew.
    """
    file = None if cache is None else cache / f"{_name(record, scorer)}.npz"
    if file is not None and file.exists():
        found = _read(file, record.spec.benchmark.name, scorer)
        if found is not None:
            return found
    documents = _parse(record, scorer)
    if file is not None:
        _write(file, documents)
    return documents


def _name(record: Record, scorer: str) -> str:
    """A re-scoring adds a file of its own, whose time and size join the name."""
    again = record.path / "rescored" / f"{scorer}.json"
    stamp = f"-{again.stat().st_mtime_ns}-{again.stat().st_size}" if again.exists() else ""
    return f"{record.key}-{scorer}{stamp}"


def _parse(record: Record, scorer: str) -> Documents:
    ids, clusters, seen, rows, seconds = [], [], [], [], []
    rescored = record.rows(scorer) if (record.path / "rescored" / f"{scorer}.json").exists() else None
    for answer in record.answers():
        ids.append(answer.doc_id)
        clusters.append(answer.cluster)
        seen.append(answer.visual_tokens_per_layer)
        seconds.append(answer.seconds)
        if rescored is not None:
            rows.append(rescored[answer.doc_id])
        elif scorer in answer.scores:
            rows.append(answer.scores[scorer])
        else:  # a scorer that came after the cell was stored
            rows.append(score_answers(record.spec.benchmark.name, scorer, [answer])[answer.doc_id])
    return Documents(
        record.spec.benchmark.name,
        scorer,
        np.array(ids),
        clusters,
        _columns(rows),
        _mean_layers(seen),
        float(np.median(seconds)) if seconds else float("nan"),
    )


def _columns(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    names = list(dict.fromkeys(name for row in rows for name in row))
    return {name: [row.get(name) for row in rows] for name in names}


def _mean_layers(seen: Sequence[Sequence[int]]) -> Floats:
    depth = max((len(s) for s in seen), default=0)
    whole = [s for s in seen if len(s) == depth]
    return np.asarray(whole, dtype=np.float64).mean(axis=0) if depth else np.zeros(0)


def _write(file: Path, documents: Documents) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"clusters": documents.clusters, "columns": documents.columns}, separators=(",", ":"))
    temporary = file.with_suffix(".tmp.npz")
    np.savez(
        temporary,
        version=np.array(_VERSION),
        ids=documents.ids,
        layers=documents.layers,
        seconds=np.array(documents.seconds),
        text=np.frombuffer(text.encode(), np.uint8),
    )
    temporary.replace(file)


def _read(file: Path, benchmark: str, scorer: str) -> Documents | None:
    """None for a cache that is damaged or of another version: it is then made anew."""
    try:
        with np.load(file, allow_pickle=False) as stored:
            if int(stored["version"]) != _VERSION:
                return None
            text = json.loads(stored["text"].tobytes())
            seconds = float(stored["seconds"])
            return Documents(
                benchmark, scorer, stored["ids"], text["clusters"], text["columns"], stored["layers"], seconds
            )
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        return None
