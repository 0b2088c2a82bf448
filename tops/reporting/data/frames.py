"""``tops.results``: the content of a store as tidy data frames, with numbers in numeric columns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tops.errors import DataError
from tops.reporting.data.names import benchmark_title, row_title
from tops.store.store import Record, Store

if TYPE_CHECKING:
    from pandas import DataFrame

    from tops.planning.plan import Row
    from tops.reporting.data.resamples import Resamples
from tops.statistics.drawn import Drawn

CELLS = [
    "key",
    "profile",
    "backbone",
    "method",
    "budget",
    "protocol",
    "benchmark",
    "seed",
    "limit",
    "status",
    "scorer",
    "metric",
    "score",
    "scale",
    "documents",
    "invalid_rate",
    "layer_average",
    "seconds",
]
DOCUMENTS = [
    "key",
    "backbone",
    "method",
    "budget",
    "protocol",
    "benchmark",
    "seed",
    "doc_id",
    "cluster",
    "question",
    "answer",
    "score",
    "valid",
    "output_tokens",
    "layer_average",
    "seconds",
]
INTERVALS = [
    "backbone",
    "level",
    "budget",
    "method",
    "title",
    "variant",
    "protocol",
    "role",
    "measure",
    "measure_title",
    "estimate",
    "lower",
    "upper",
    "clusters",
]


@dataclass(frozen=True)
class Frames:
    """Results of a store as pandas data frames.

    Attributes
    ----------
    records : tuple of Record
        The complete cells.
    resamples : Resamples or None
        Resamples of the experiment; None for the cells of a whole store.
    """

    records: tuple[Record, ...]
    resamples: Resamples | None = None

    @cached_property
    def cells(self) -> DataFrame:
        """A line per complete cell: its specification, and its score under the scorer that the benchmark reports."""
        return _frame(CELLS, (_cell(record) for record in self.records))

    @cached_property
    def documents(self) -> DataFrame:
        """A line per document of every cell: answer, score, and the visual tokens that the decoder's layers saw."""
        return _frame(DOCUMENTS, (line for record in self.records for line in _documents(record)))

    @cached_property
    def intervals(self) -> DataFrame:
        """A line per row, budget and measure (every benchmark, ``acc``, ``rel``) with its 95 % interval.

        Raises
        ------
        DataError
            If no experiment was named: an interval belongs to a table.
        """
        if self.resamples is None:
            raise DataError("intervals belong to an experiment; ask for tops.results('table1', ...)")
        return _frame(INTERVALS, _intervals(self.resamples))


def results(
    experiment: str | None = None,
    *,
    profile: str = "paper",
    root: str | Path = "results",
    limit: int | None = None,
    full: bool = False,
    backbones: Iterable[str] | None = None,
) -> Frames:
    """Stored results as pandas data frames: ``.cells``, ``.documents``, ``.intervals``.

    Parameters
    ----------
    experiment : str, optional
        Name of an experiment, whose cells, rows and intervals are meant; all cells of the store without one.
    profile : str
        ``paper`` or ``miniature``.
    root : path
        Root of the result store.
    limit, full, backbones
        As in ``tops run``.

    Raises
    ------
    ConfigurationError
        For unknown names, with the nearest ones.
    """
    if experiment is None:
        return Frames(tuple(Store(root, profile).records()))
    from tops.planning.plan import plan
    from tops.reporting.data.mixing import unmixed
    from tops.reporting.data.resamples import Resamples
    from tops.reporting.data.results import collect

    planned = plan(experiment, profile, results=root, limit=limit, full=full, backbones=backbones)
    resamples = Resamples(unmixed(collect(planned, root)))
    return Frames(tuple(resamples.results.records()), resamples)


def _frame(columns: list[str], lines: Iterable[dict[str, Any]]) -> DataFrame:
    import pandas

    return pandas.DataFrame(list(lines), columns=columns)


def _asked(record: Record) -> dict[str, Any]:
    spec = record.spec
    return {
        "key": record.key,
        "backbone": spec.backbone.name,
        "method": spec.method.name,
        "budget": None if spec.budget is None else spec.budget.value,
        "protocol": None if spec.budget is None else spec.budget.protocol,
        "benchmark": spec.benchmark.name,
        "seed": spec.seed,
    }


def _cell(record: Record) -> dict[str, Any]:
    scored = record.scores.get(record.default_scorer or "", {})
    metric = scored.get("metric")
    answers = [a for a in record.answers() if a.visual_tokens_per_layer]
    seen = [_average(a.visual_tokens_per_layer) for a in answers]
    return {
        **_asked(record),
        "profile": record.spec.profile,
        "limit": record.spec.benchmark.limit,
        "status": record.status.value,
        "scorer": record.default_scorer,
        "metric": metric,
        "score": scored.get("metrics", {}).get(metric),
        "scale": scored.get("scale"),
        "documents": scored.get("documents", record.provenance.get("documents")),
        "invalid_rate": scored.get("invalid_rate"),
        "layer_average": sum(seen) / len(seen) if seen else None,
        "newlines": sum(_average(a.newlines_per_layer) for a in answers) / len(answers) if answers else None,
        "seconds": record.provenance.get("seconds"),
    }


def _average(layers: tuple[int, ...]) -> float:
    return sum(layers) / len(layers) if layers else 0.0


def _documents(record: Record) -> Iterator[dict[str, Any]]:
    asked = _asked(record)
    rows = record.rows(record.default_scorer) if record.default_scorer else {}
    for answer in record.answers():
        row = rows.get(answer.doc_id, {})
        yield {
            **asked,
            "doc_id": answer.doc_id,
            "cluster": answer.cluster,
            "question": answer.question,
            "answer": answer.answer,
            "score": row.get("score"),
            "valid": row.get("valid"),
            "output_tokens": answer.output_tokens,
            "layer_average": _average(answer.visual_tokens_per_layer) if answer.visual_tokens_per_layer else None,
            "newlines": _average(answer.newlines_per_layer),
            "seconds": answer.seconds,
        }


def _intervals(resamples: Resamples) -> Iterator[dict[str, Any]]:
    results = resamples.results
    for backbone in results.backbones:
        slugs = [column.slug for column in results.columns(backbone)]
        for row in results.rows(backbone):
            for slug in (*slugs, "acc", "rel"):
                drawn = resamples.measure(backbone, row, slug)
                if drawn is not None:
                    yield {**_row(resamples, backbone, row), **_estimate(slug, drawn)}


def _row(resamples: Resamples, backbone: str, row: Row) -> dict[str, Any]:
    entries = (e for (r, c), e in resamples.results.entries.items() if r == row and c.backbone == backbone)
    budget = next((e.budget for e in entries if e.budget is not None), None)
    return {
        "backbone": backbone,
        "level": row.level,
        "budget": None if budget is None else budget.value,
        "method": row.method,
        "title": row_title(row),
        "variant": row.variant,
        "protocol": row.protocol,
        "role": row.role,
    }


def _estimate(slug: str, drawn: Drawn) -> dict[str, Any]:
    interval = drawn.interval
    return {
        "measure": slug,
        "measure_title": benchmark_title(slug),
        "estimate": drawn.point,
        "lower": interval.low,
        "upper": interval.high,
        "clusters": drawn.units or None,
    }
