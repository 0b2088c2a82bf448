"""Kept tokens: frequencies over the image, evenness, and agreement of two selections."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tops.drawing import Places, Sheet
from tops.reporting.data.results import Results
from tops.statistics.resampling import Floats
from tops.store.store import Record


@dataclass(frozen=True)
class Kept:
    """Selections of one cell at one cut.

    Attributes
    ----------
    mask : array of bool, shape (documents, visual)
        Whether each token was kept. Documents whose number or layout of tokens differs from that of most are left out.
        Newlines are not counted as places.
    places : Places or None
        How the tokens lie on the pictures; None where the answers do not tell (stores of earlier versions).
    """

    mask: np.ndarray
    places: Places | None = None

    @property
    def probability(self) -> Floats:
        """Share of documents that keep each token, shape (visual,)."""
        return np.asarray(self.mask.mean(axis=0), dtype=np.float64)

    @property
    def grids(self) -> list[Floats]:
        """Probabilities as one array of shape (rows, columns) per view; an empty list where the layout is not known."""
        out, start = [], 0
        for sheet in self.places.sheets if self.places is not None else ():
            size = sheet.rows * sheet.columns
            out.append(self.probability[start : start + size].reshape(sheet.rows, sheet.columns))
            start += size
        return out

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


def kept_tokens(record: Record, visual: Mapping[int, int] | None = None) -> dict[int, Kept]:
    """Selections by cut layer; empty when the cell did not record them.

    Parameters
    ----------
    record : Record
        Complete cell.
    visual : mapping of int to int, optional
        Visual tokens of each document before any cut (:func:`visual_tokens` of the unpruned cell). A cell that cuts
        before the first layer does not record these numbers; without them, the largest kept index counts as the last
        token.
    """
    rows: dict[int, list[_Document]] = {}
    for answer in record.answers():
        whole = (visual or {}).get(answer.doc_id, 0)
        whole = max(whole, tokens_before(answer.kept, answer.visual_tokens_per_layer))
        content = (answer.kept or {}).get("places")
        lie = None if content is None else Places.from_json(content)
        for layer, indices in stages_of(answer.kept).items():
            rows.setdefault(int(layer), []).append((whole, indices, lie))
    return {layer: _kept(found, given=bool(visual)) for layer, found in sorted(rows.items())}


def stages_of(kept: Mapping[str, Any] | None) -> dict[str, list[int]]:
    """Kept indices by cut layer, without the other entries of ``kept``."""
    return {layer: indices for layer, indices in (kept or {}).items() if isinstance(indices, list)}


def visual_tokens(record: Record) -> dict[int, int]:
    """Document number to the visual tokens that the first layer saw."""
    return {a.doc_id: a.visual_tokens_per_layer[0] for a in record.answers() if a.visual_tokens_per_layer}


def tokens_before(kept: Mapping[str, Any] | None, seen: Sequence[int]) -> int:
    """Visual tokens before any cut, as far as a pruned answer tells; at least the number that the first layer saw."""
    highest = max((max(v, default=-1) for v in stages_of(kept).values()), default=-1) + 1
    return max([highest, *seen[:1]])


_Document = tuple[int, Sequence[int], "Places | None"]  # tokens before any cut, those kept, how they lie


def _kept(found: Sequence[_Document], *, given: bool) -> Kept:
    """Selections of the documents with the commonest layout. Without layouts, of those with the commonest count; where
    counts are only lower bounds, of all documents, at the largest count.
    """
    lie = Counter(place for _, _, place in found).most_common(1)[0][0]
    if lie is not None:
        at = np.concatenate([_numbers(sheet) for sheet in lie.sheets])
        rows = [indices for _, indices, place in found if place == lie]
        return Kept(_marked(rows, int(at.max()) + 1)[:, at], lie)
    visual = Counter(v for v, _, _ in found).most_common(1)[0][0] if given else max(v for v, _, _ in found)
    return Kept(_marked([indices for v, indices, _ in found if v == visual or not given], visual))


def _numbers(sheet: Sheet) -> np.ndarray:
    """Token numbers of a grid, row by row."""
    return (sheet.start + np.arange(sheet.rows)[:, None] * sheet.stride + np.arange(sheet.columns)).ravel()


def _marked(rows: Sequence[Sequence[int]], visual: int) -> np.ndarray:
    width = max([visual, *(max(indices, default=-1) + 1 for indices in rows)])  # newlines may follow the last place
    mask = np.zeros((len(rows), width), dtype=bool)
    for line, indices in zip(mask, rows, strict=True):
        line[list(indices)] = True
    return mask


def unrecorded(results: Results) -> tuple[str, ...]:
    """A warning if an experiment needs kept tokens and some of its cells, run for another experiment, lack them."""
    if not results.plan.experiment.record_kept:
        return ()
    entries = (e for (row, _), e in results.entries.items() if row.role == "method" and row.level)
    cells = {r.key: r for e in entries for r in e.records}
    without = sorted(key for key, r in cells.items() if (first := next(r.answers(), None)) and first.kept is None)
    if not without:
        return ()
    return (
        f"{len(without)} of {len(cells)} cells hold no kept tokens (first: {without[0][:12]}): they were run for an "
        f"experiment that does not record them. Delete these cells and run {results.name} again to see theirs.",
    )
