"""Right and wrong answers of two rows on the same documents."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from tops.planning.plan import Row
from tops.reporting.data.resamples import Resamples
from tops.statistics.comparison import Flips, mcnemar


@dataclass(frozen=True)
class Pair:
    """One seed of a row beside the first seed of another, on one benchmark.

    Attributes
    ----------
    mine, other : array of bool, shape (documents,)
        Right or wrong.
    seed : int
        Place of the first row's seed in its list.
    """

    slug: str
    mine: np.ndarray
    other: np.ndarray
    seed: int


def pairs(resamples: Resamples, backbone: str, row: Row, other: Row | None) -> Iterator[Pair]:
    """Every benchmark once, where both rows have a number and answered the same documents."""
    seen = set()
    for column in resamples.results.columns(backbone):
        mine = resamples.results.entries.get((row, column))
        theirs = resamples.results.entries.get((other, column)) if other is not None else None
        if column.benchmark in seen or mine is None or theirs is None or not mine.values or not theirs.values:
            continue
        seen.add(column.benchmark)
        base = resamples.of(theirs.records[0])
        for seed, record in enumerate(mine.records):
            documents = resamples.of(record)
            if documents.asked == base.asked:
                yield Pair("" if column.metric else column.slug, documents.right, base.right, seed)


def discordant(resamples: Resamples, backbone: str, row: Row, other: Row, slug: str = "") -> Flips | None:
    """McNemar's test of a row against another, first seeds; over one benchmark, or all of them pooled.

    ``gained`` counts the documents that only ``row`` has right, ``lost`` those that only ``other`` has.
    """
    found = [p for p in pairs(resamples, backbone, row, other) if p.seed == 0 and slug in ("", p.slug)]
    if not found:
        return None
    return mcnemar(np.concatenate([p.other for p in found]).tolist(), np.concatenate([p.mine for p in found]).tolist())
