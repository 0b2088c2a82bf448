"""Scores of miniature models with and without the image: read from the result store, written into the model card."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tops.benchmarks.benchmark import load_benchmark
from tops.errors import DataError
from tops.miniature import checkpoints
from tops.miniature.cards import write_card
from tops.store.store import Record, Store

UNPRUNED, BLIND = "none", "text_only"
FIELD = "benchmarks"  # of the card
IMAGES_ONLY = ("llava-1.5", "llava-next")  # families whose processors take no videos


@dataclass(frozen=True)
class Scored:
    """One benchmark of one model, in the unit of its reported metric.

    Attributes
    ----------
    unpruned, blind : float or None
        Score with the image and all visual tokens, and with the question alone; None without a complete, scored run.
    weights : str
        Revision of the weights that answered.
    data : str
        Hash of the documents that were asked.
    cells : tuple of str
        Keys of the runs that the figures come from.
    """

    unpruned: float | None
    blind: float | None
    weights: str
    data: str
    cells: tuple[str, ...]


def _headline(record: Record) -> float | None:
    scores: Mapping[str, Any] = record.scores.get(record.default_scorer or "", {}).get("metrics", {})
    value = scores.get(load_benchmark(record.spec.benchmark.name).metric)
    return None if value is None else float(value)


def stored_scores(store: Store, family: str, revision: str, data: Mapping[str, str]) -> dict[str, Scored]:
    """Scores of a model from complete runs over all documents of the present data.

    Parameters
    ----------
    store : Store
        Store of the miniature profile.
    family : str
        Family of the miniature checkpoint.
    revision : str
        Revision of its weights; runs of other weights do not count.
    data : mapping
        Benchmark to the hash of its documents; runs on other documents do not count.
    """
    found: dict[str, dict[str, Record]] = {}
    for record in store.records():
        cell = record.spec
        name = cell.benchmark.name
        wanted = (cell.backbone.checkpoint, cell.backbone.revision, cell.benchmark.limit) == (family, revision, None)
        if wanted and cell.method.name in (UNPRUNED, BLIND) and cell.benchmark.data_hash == data.get(name):
            found.setdefault(name, {})[cell.method.name] = record
    return {
        name: Scored(
            _headline(runs[UNPRUNED]) if UNPRUNED in runs else None,
            _headline(runs[BLIND]) if BLIND in runs else None,
            revision,
            data[name],
            tuple(record.key for _, record in sorted(runs.items())),
        )
        for name, runs in found.items()
    }


def card_scores(
    family: str, revision: str, data: Mapping[str, str], root: Path = checkpoints.ROOT
) -> dict[str, Scored]:
    """Scores that the model card states for these weights and documents; its other scores are left out."""
    stated = checkpoints.card(family, root).get(FIELD, {})
    scored = {name: Scored(**{**entry, "cells": tuple(entry["cells"])}) for name, entry in stated.items()}
    return {n: entry for n, entry in scored.items() if (entry.weights, entry.data) == (revision, data.get(n))}


def write_card_scores(family: str, scores: Mapping[str, Scored], root: Path = checkpoints.ROOT) -> Path:
    """Write scores into the model card, in place of its former ones.

    Raises
    ------
    DataError
        When ``scores`` is empty.
    """
    if not scores:
        raise DataError(
            f"the store holds no complete run of miniature {family!r} with its present weights and documents; "
            "run `tops run experiment=miniature profile=miniature`"
        )
    card = checkpoints.card(family, root) | {FIELD: {name: asdict(entry) for name, entry in sorted(scores.items())}}
    write_card(root / family, card)
    return root / family / "card.json"


def table(described: Mapping[str, Mapping[str, Any]], scores: Mapping[str, Scored], label: str | None) -> Sequence[str]:
    """Lines of the table: documents, unpruned score, blind score and chance per benchmark.

    Parameters
    ----------
    described : mapping
        ``benchmarks`` of the data's manifest.
    scores : mapping
        Per benchmark; a missing one shows as a dash.
    label : str or None
        Note that must stand beside every figure of this model (:func:`tops.miniature.checkpoints.label`).
    """

    def number(value: float | None) -> str:
        return "–" if value is None else f"{value:.1f}"

    lines = [f"{'benchmark':<16}{'documents':>10}{'unpruned':>10}{'blind':>8}{'chance':>8}"]
    for name, entry in described.items():
        found = scores.get(name)
        unpruned, blind = (found.unpruned, found.blind) if found else (None, None)
        cells = f"{entry['documents']:>10}{number(unpruned):>10}{number(blind):>8}{number(entry['chance']):>8}"
        lines.append(f"{entry['title']:<16}{cells}")
    lines.append("percent; MME: points of perception (four categories of 200)")
    if any(scores.get(name) is None for name in described):
        lines.append("–: no complete run on these documents (MM-Vet also needs a judge)")
    return [*lines, label] if label else lines
