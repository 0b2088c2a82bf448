"""The documents of one cell, column-wise, cached: a store of millions of answers is parsed once.

The cache holds nothing that the store does not; it may be deleted at any time. It is named by the hash of the answers,
so it can never be stale.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from tops.benchmarks.scorers import metrics, score_answers
from tops.benchmarks.scorers.turns import TURN
from tops.statistics.metrics import Metric
from tops.statistics.resampling import Floats
from tops.store.answers import Answer
from tops.store.cell import BenchmarkSpec
from tops.store.seal import hash_memory
from tops.store.store import Record

_VERSION = 4


@dataclass(frozen=True)
class Brief:
    """Data of a cell that stay in memory after its resamples are drawn.

    Attributes
    ----------
    ids : array of int, shape (documents,)
        Rising document numbers.
    scores : array, shape (documents,)
        Score of each document alone, 0 to 1.
    layers : array, shape (depth,)
        Visual tokens each decoder layer saw, averaged over documents.
    newlines : float
        Newline tokens beside them, mean over layers and documents.
    seconds : float
        Median wall time of a document.
    asked, prompts : str
        As in :class:`Documents`.
    """

    ids: np.ndarray
    scores: Floats
    layers: Floats
    newlines: float
    seconds: float
    asked: str
    prompts: str

    @property
    def right(self) -> np.ndarray:
        """Documents with at least half of the score, bool."""
        out: np.ndarray = self.scores >= 0.5
        return out

    @property
    def layer_average(self) -> float:
        """Mean over decoder layers and documents of the visual tokens seen at prefill; NaN when none were logged."""
        return float(self.layers.mean()) if len(self.layers) else float("nan")


@dataclass(frozen=True)
class Documents:
    """Data of one scored cell, column by column, for statistics.

    Attributes
    ----------
    benchmark, scorer : str
        Benchmark and scorer whose rules gave the rows.
    ids : array of int, shape (documents,)
        Rising document numbers.
    clusters : list of str
        Cluster name of each document.
    columns : dict of str to list
        The scorer's rows, field by field; ``score``, ``valid`` and ``prediction`` among them.
    layers : array, shape (depth,)
        Visual tokens each decoder layer saw, averaged over documents.
    newlines : float
        Newline tokens beside them, mean over layers and documents.
    seconds : float
        Median wall time of a document.
    asked : str
        Hash over the documents' numbers, clusters, questions and targets: cells are paired where it is the same.
    prompts : str
        Hash over the prompts, template included.
    """

    benchmark: str
    scorer: str
    ids: np.ndarray
    clusters: list[str]
    columns: dict[str, list[Any]]
    layers: Floats
    newlines: float
    seconds: float
    asked: str
    prompts: str

    @cached_property
    def metrics(self) -> dict[str, Metric]:
        """Metrics of the scorer, ready to resample."""
        names = list(self.columns)
        rows = [dict(zip(names, values, strict=True)) for values in zip(*self.columns.values(), strict=True)]
        return metrics(self.benchmark, self.scorer, rows)

    @property
    def brief(self) -> Brief:
        """The part that later tables and figures need."""
        scores = np.asarray(self.columns["score"], dtype=np.float64)
        return Brief(self.ids, scores, self.layers, self.newlines, self.seconds, self.asked, self.prompts)


def load_documents(record: Record, scorer: str, cache: Path | None = None) -> Documents:
    """Documents of a complete cell under a scorer.

    Parameters
    ----------
    record : Record
        The cell.
    scorer : str
        The scorer whose rows are taken.
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
    """Name of the cache file: the hash of the answers, and the hash of scores that a re-scoring added."""
    files = [record.path / "answers.jsonl", record.path / "rescored" / f"{scorer}.json"]
    hashes = [hash_memory().sha256(file)[:32] for file in files if file.exists()]
    return f"{record.spec.benchmark.name}-{scorer}-{'-'.join(hashes)}"


def _parse(record: Record, scorer: str) -> Documents:
    ids, clusters, seen, newlines, rows, seconds = [], [], [], [], [], []
    rescored = record.rows(scorer) if (record.path / "rescored" / f"{scorer}.json").exists() else None
    asked, prompts = hashlib.sha256(), hashlib.sha256()
    for answer in record.answers():
        asked.update(fact_of(answer, record.spec.benchmark))
        prompts.update(f"{answer.doc_id} {answer.prompt_hash}\n".encode())
        ids.append(answer.doc_id)
        clusters.append(answer.cluster)
        seen.append(answer.visual_tokens_per_layer)
        newlines.append(np.mean(answer.newlines_per_layer or [0]))
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
        float(np.mean(newlines)) if newlines else 0.0,
        float(np.median(seconds)) if seconds else float("nan"),
        asked.hexdigest()[:32],
        prompts.hexdigest()[:32],
    )


def fact_of(answer: Answer, asked: BenchmarkSpec) -> bytes:
    """Bytes that identify the question of an answer, for the hash by which cells are paired."""
    target = None if asked.name.endswith("_fidelity") else answer.target  # which there is measured
    if asked.turns:  # seeds put the same questions at other turns
        target = {name: value for name, value in answer.target.items() if name != TURN}
    return json.dumps([answer.doc_id, answer.cluster, answer.question, target], sort_keys=True, default=str).encode()


def _columns(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    names = list(dict.fromkeys(name for row in rows for name in row))
    return {name: [row.get(name) for row in rows] for name in names}


def _mean_layers(seen: Sequence[Sequence[int]]) -> Floats:
    depth = max((len(s) for s in seen), default=0)
    whole = [s for s in seen if len(s) == depth]
    return np.asarray(whole, dtype=np.float64).mean(axis=0) if depth else np.zeros(0)


def _write(file: Path, documents: Documents) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    named = ("clusters", "columns", "asked", "prompts")
    text = json.dumps({name: getattr(documents, name) for name in named}, separators=(",", ":"))
    temporary = file.with_suffix(".tmp.npz")
    np.savez(
        temporary,
        version=np.array(_VERSION),
        ids=documents.ids,
        layers=documents.layers,
        newlines=np.array(documents.newlines),
        seconds=np.array(documents.seconds),
        text=np.frombuffer(text.encode(), np.uint8),
    )
    temporary.replace(file)


def _read(file: Path, benchmark: str, scorer: str) -> Documents | None:
    """Read a cache file; None if it is damaged or of another version, so that it is made anew."""
    try:
        with np.load(file, allow_pickle=False) as stored:
            if int(stored["version"]) != _VERSION:
                return None
            text = json.loads(stored["text"].tobytes())
            newlines, seconds = float(stored["newlines"]), float(stored["seconds"])
            return Documents(
                benchmark, scorer, stored["ids"], layers=stored["layers"], newlines=newlines, seconds=seconds, **text
            )
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile):
        return None
