"""Which documents a limited run asks, and which of them belong together."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from tops.benchmarks.benchmark import Benchmark
from tops.errors import DataError

if TYPE_CHECKING:
    from PIL.Image import Image

PICTURE = re.compile(r"<image (\d+)>")  # where a picture stands in the text of an interleaved benchmark


def cluster_of(benchmark: Benchmark, document: Mapping[str, Any], number: int, images: Sequence[Image] = ()) -> str:
    """Name of a document's cluster; documents with the same name are resampled together.

    Parameters
    ----------
    benchmark : Benchmark
        Its YAML names the fields.
    document : mapping
        The document; its picture may be left out unless the benchmark's cluster is ``image``.
    number : int
        Number of the document; it names the cluster when the benchmark has no cluster fields.
    images : sequence of PIL images
        Pictures of the document.
    """
    parts = []
    for name in benchmark.cluster:
        if name == "image" and "image" not in document:
            digest = hashlib.sha256()
            for image in images:
                digest.update(image.tobytes())
            parts.append(digest.hexdigest()[:16])
        else:
            value = _field(benchmark, document, name)
            parts.append(str(int(value) % benchmark.cluster_modulo if benchmark.cluster_modulo else value))
    return "|".join(parts) or str(number)


def limited(benchmark: Benchmark, documents: Sequence[Mapping[str, Any]], limit: int | None) -> list[int]:
    """Numbers of the documents to ask: all, or at most ``limit`` of them, drawn over the whole split.

    The draw is the same everywhere, and a larger limit asks all that a smaller one does. The first documents, or every
    n-th, would be biased: files are sorted by category, and yes and no alternate.

    Benchmarks that score documents in groups (MME's pairs, MMBench's rotations, HallusionBench's sets) are limited by
    whole groups, as many as fit but at least one: half a group would be scored by another rule. Where the metric is
    made of parts (POPE's splits, MME's categories), the parts take turns: one that is missing, or holds no yes, would
    give another number.
    """
    if limit is None or limit >= len(documents):
        return list(range(len(documents)))
    groups: dict[str, list[int]] = {}
    for number, document in enumerate(documents):
        name = cluster_of(benchmark, document, number) if benchmark.whole_groups else str(number)
        groups.setdefault(name, []).append(number)
    shuffled = [group for _, group in sorted(enumerate(groups.values()), key=lambda item: _rank(item[0]))]
    parts: dict[tuple[Any, ...], list[list[int]]] = {}
    for group in shuffled:
        part = tuple(_field(benchmark, documents[group[0]], name) for name in benchmark.strata)
        parts.setdefault(part, []).append(group)
    in_turn = [group for turn in zip_longest(*parts.values()) for group in turn if group]
    picked = list(in_turn[0])
    for group in in_turn[1:]:
        if len(picked) + len(group) > limit:
            break
        picked += group
    return sorted(picked)


def _rank(place: int) -> bytes:
    return hashlib.sha256(b"%d" % place).digest()


def target_of(benchmark: Benchmark, document: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of a document that the scorers need."""
    return {name: _field(benchmark, document, name) for name in benchmark.target}


def question_of(benchmark: Benchmark, document: Mapping[str, Any]) -> str:
    """The user's plain words, without template."""
    words = str(_field(benchmark, document, benchmark.question))
    return " ".join(PICTURE.sub(" ", words).split()) if benchmark.interleaved else words


def _field(benchmark: Benchmark, document: Mapping[str, Any], name: str) -> Any:
    if name not in document:
        raise DataError(
            f"documents of {benchmark.name} have no field {name!r} (they have {', '.join(sorted(document))}); correct "
            "the benchmark's YAML, or fetch the data again"
        )
    return document[name]
