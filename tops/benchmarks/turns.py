"""Questions of one picture as the turns of a conversation: which of them, and in which order."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import Any

from tops.benchmarks.benchmark import Benchmark
from tops.benchmarks.documents import cluster_of, question_of
from tops.errors import DataError


def conversations(
    benchmark: Benchmark, documents: Sequence[Mapping[str, Any]], limit: int | None
) -> list[tuple[int, ...]]:
    """Numbers of the documents of each conversation, rising: the same for every method, budget and seed.

    Each picture that has enough different questions gives one conversation. Its questions are drawn from all of it;
    where the benchmark has strata (yes and no of POPE), these take turns.

    Parameters
    ----------
    benchmark : Benchmark
        A benchmark with ``measure: turns``.
    documents : sequence of mapping
        The whole split; pictures may be left out.
    limit : int or None
        Documents at most, whole conversations of them and at least one; drawn over all pictures, so that a larger
        limit asks all that a smaller one does.

    Raises
    ------
    DataError
        If no picture has that many different questions.
    """
    assert benchmark.turns is not None
    count = benchmark.turns.questions
    pictures: dict[str, list[int]] = {}
    for number, document in enumerate(documents):
        pictures.setdefault(cluster_of(benchmark, document, number), []).append(number)
    found = [drawn for numbers in pictures.values() if (drawn := _drawn(benchmark, documents, numbers, count))]
    if not found:
        most = max((len({_words(benchmark, documents[n]) for n in g}) for g in pictures.values()), default=0)
        raise DataError(
            f"{benchmark.name}: no picture has {count} different questions (the most is {most}); lower turns.questions "
            "in a benchmark of your own, or choose another one"
        )
    shuffled = [group for _, group in sorted(enumerate(found), key=lambda item: _rank(item[0]))]
    return sorted(shuffled if limit is None else shuffled[: max(1, limit // count)])


def in_order(numbers: Sequence[int], seed: int) -> tuple[int, ...]:
    """The documents of a conversation in the order that belongs to a seed.

    As many seeds in a row as there are questions (0 to 3, 4 to 7, ... of four) put every question once at every turn:
    over such a run the turns have the same questions and differ in their place only.
    """
    count = len(numbers)
    mixed = sorted(numbers, key=lambda number: _rank(seed // count, number))
    shift = seed % count
    return (*mixed[shift:], *mixed[:shift])


def _drawn(
    benchmark: Benchmark, documents: Sequence[Mapping[str, Any]], numbers: Sequence[int], count: int
) -> tuple[int, ...]:
    """Different questions of one picture; empty where there are too few."""
    asked: dict[str, int] = {}
    for number in sorted(numbers, key=_rank):
        asked.setdefault(_words(benchmark, documents[number]), number)
    parts: dict[tuple[str, ...], list[int]] = {}
    for number in asked.values():
        part = tuple(str(documents[number][name]) for name in benchmark.strata)
        parts.setdefault(part, []).append(number)
    in_turn = [number for turn in zip_longest(*parts.values()) for number in turn if number is not None]
    return tuple(sorted(in_turn[:count])) if len(in_turn) >= count else ()


def _words(benchmark: Benchmark, document: Mapping[str, Any]) -> str:
    return question_of(benchmark, document).strip().lower()


def _rank(*places: int) -> bytes:
    return hashlib.sha256(" ".join(map(str, places)).encode()).digest()
