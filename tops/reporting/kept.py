"""Which tokens stayed: frequencies over the image, evenness, and how far two selections agree."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tops.experiments.store import Record
from tops.statistics.resampling import Floats


@dataclass(frozen=True)
class Kept:
    """Selections of one cell at one cut.

    Attributes
    ----------
    mask : array of bool, shape (documents, visual)
        Kept or not; documents with another number of visual tokens than most are left out.
    """

    mask: np.ndarray

    @property
    def probability(self) -> Floats:
        """Share of documents that keep each token, shape (visual,)."""
        return np.asarray(self.mask.mean(axis=0), dtype=np.float64)

    @property
    def gini(self) -> float:
        """Gini index of the probabilities: 0 when every place is kept equally often."""
        return gini(self.probability)

    @property
    def entropy(self) -> float:
        """Entropy of the places of kept tokens over its maximum: 1 when even."""
        return normalised_entropy(self.probability)


def gini(values: Floats) -> float:
    """Gini index of non-negative values; NaN when all are zero."""
    x = np.sort(np.asarray(values, dtype=np.float64))
    n, total = len(x), x.sum()
    if n == 0 or total == 0:
        return float("nan")
    return float((2 * np.arange(1, n + 1) - n - 1) @ x / (n * total))


def normalised_entropy(values: Floats) -> float:
    """Shannon entropy of the values as a distribution, divided by log of their number; NaN when all are zero."""
    x = np.asarray(values, dtype=np.float64)
    if len(x) < 2 or x.sum() == 0:
        return float("nan")
    p = x[x > 0] / x.sum()
    return float(-(p * np.log(p)).sum() / np.log(len(x)))


def jaccard(a: np.ndarray, b: np.ndarray) -> float:
    """Mean over documents of shared / joint kept tokens; masks of shape (documents, visual)."""
    joint = (a | b).sum(axis=1)
    with np.errstate(invalid="ignore"):
        return float(np.nanmean(np.where(joint > 0, (a & b).sum(axis=1) / joint, np.nan)))


def kept_tokens(record: Record) -> dict[int, Kept]:
    """Selections by cut layer; empty when the cell did not record them."""
    rows: dict[int, list[tuple[int, Sequence[int]]]] = {}
    for answer in record.answers():
        visual = _visual(answer.kept, answer.visual_tokens_per_layer)
        for layer, indices in (answer.kept or {}).items():
            rows.setdefault(int(layer), []).append((visual, indices))
    return {layer: Kept(_mask(found)) for layer, found in sorted(rows.items())}


def _visual(kept: Mapping[str, Sequence[int]] | None, seen: Sequence[int]) -> int:
    """Tokens before any cut: what the first layer saw, unless a cut before it dropped some."""
    highest = max((max(v, default=-1) for v in (kept or {}).values()), default=-1) + 1
    return max([highest, *seen[:1]])


def _mask(rows: Iterable[tuple[int, Sequence[int]]]) -> np.ndarray:
    found = list(rows)
    visual = max(
        v for v, _ in found
    )  # a cut before layer 0 hides the full count from documents that kept no late token
    mask = np.zeros((len(found), visual), dtype=bool)
    for line, (_, indices) in zip(mask, found, strict=True):
        line[list(indices)] = True
    return mask
