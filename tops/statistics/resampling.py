"""Which documents belong together, and how often each group is drawn in each resample."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
_BLOCK = 4_000_000  # numbers that are drawn at a time: 32 MB


@dataclass(frozen=True)
class Clusters:
    """Clusters of documents that are resampled together, such as the questions about one image.

    Attributes
    ----------
    index : array of int, shape (documents,)
        Cluster of each document, numbered 0 to count - 1.
    """

    index: Ints

    @classmethod
    def of(cls, names: Sequence[Hashable], *nested: Sequence[Hashable]) -> Clusters:
        """Clusters from a name per document.

        Parameters
        ----------
        names : sequence, length documents
            Image, video or other unit of sampling.
        *nested : sequences, length documents
            Groups that a metric scores as a whole (the two questions of an image in MME, the rotations of a question in
            MMBench): clusters that share such a group are merged, because a group must be drawn whole.
        """
        parent: dict[Hashable, Hashable] = {}

        def root(node: Hashable) -> Hashable:
            while parent.setdefault(node, node) != node:
                parent[node] = parent[parent[node]]
                node = parent[node]
            return node

        for level, groups in enumerate(nested):
            for name, group in zip(names, groups, strict=True):
                parent[root((-1, name))] = root((level, group))
        numbers: dict[Hashable, int] = {}
        return cls(np.array([numbers.setdefault(root((-1, name)), len(numbers)) for name in names], dtype=np.int64))

    @cached_property
    def count(self) -> int:
        """Number of clusters."""
        return int(self.index.max()) + 1 if len(self.index) else 0

    def sums(self, per_document: Floats) -> Floats:
        """Sum of per-document statistics in each cluster, shape (documents, k) -> (count, k)."""
        out = np.zeros((self.count, per_document.shape[1]))
        np.add.at(out, self.index, per_document)
        return out

    def blocks(self, resamples: int = 1000, seed: int = 0) -> Iterator[Floats]:
        """How often each resample draws each cluster, as blocks of rows: shape (some, count), rows sum to count.

        The same seed and clusters give the same draws, so that two methods on the same documents are paired, whatever
        the size of a block.
        """
        rng = np.random.default_rng(seed)
        some = max(1, _BLOCK // max(self.count, 1))
        for start in range(0, resamples, some):
            size = min(some, resamples - start)
            if self.count == 0:
                yield np.zeros((size, 0))
                continue
            yield rng.multinomial(self.count, np.full(self.count, 1 / self.count), size=size).astype(np.float64)

    def draws(self, resamples: int = 1000, seed: int = 0) -> Floats:
        """All blocks of :meth:`blocks` as one array, shape (resamples, count)."""
        return np.concatenate([np.zeros((0, self.count)), *self.blocks(resamples, seed)])


def same_documents(rows: Iterable[Iterable[int]]) -> bool:
    """Whether all cells answered the same documents: only then is a comparison paired."""
    sets = [frozenset(ids) for ids in rows]
    return all(ids == sets[0] for ids in sets[1:])
