"""Resamples of every place of a table, drawn together wherever the documents are the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from zlib import crc32

import numpy as np

from tops.errors import DataError
from tops.planning.plan import Column, PlanStatus, Row
from tops.reporting.data.documents import Brief, Documents, load_documents
from tops.reporting.data.headline import metric_name
from tops.reporting.data.mixing import marked
from tops.reporting.data.results import Entry, Results
from tops.reporting.data.scores import Scale, scale_of
from tops.statistics.comparison import Comparison, holm
from tops.statistics.drawn import Drawn, mean_of
from tops.statistics.metrics import resampled
from tops.statistics.parts import Part
from tops.statistics.resampling import Clusters
from tops.store.store import Record

RESAMPLES = 1000
SEED = 2026
_DIGITS = 9


@dataclass
class Resamples:
    """Resamples of an experiment, made once and looked up by place.

    Attributes
    ----------
    faults : list of str
        Cells whose stored score is not what their stored answers give, and columns that cannot be paired.
    clusters : dict of (str, str) to Clusters
        (Backbone, benchmark) to the clusters of its documents.
    """

    results: Results
    cache: Path | None = None
    count: int = RESAMPLES
    faults: list[str] = field(default_factory=list)
    places: dict[tuple[Row, Column], Drawn] = field(default_factory=dict)
    scales: dict[str, Scale | None] = field(default_factory=dict)
    documents: dict[str, Brief] = field(default_factory=dict)
    clusters: dict[tuple[str, str], Clusters] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for backbone in self.results.backbones:
            self.scales[backbone] = scale_of(self.results, backbone)
            groups: dict[str, list[Column]] = {}
            for column in self.results.columns(backbone):
                groups.setdefault(column.benchmark, []).append(column)
            for benchmark, columns in groups.items():
                self._draw(benchmark, columns)

    def of(self, record: Record) -> Brief:
        """The documents of a scored cell, in brief."""
        name = _scored(record)
        if name not in self.documents:
            self.documents[name] = self._load(record).brief
        return self.documents[name]

    def _load(self, record: Record) -> Documents:
        assert record.default_scorer is not None
        return load_documents(record, record.default_scorer, self.cache)

    def _draw(self, benchmark: str, columns: list[Column]) -> None:
        """Draw the resamples of one benchmark; its rows and parts share them, so that differences stay paired."""
        entries = [e for (_, c), e in self.results.entries.items() if c in columns and e.values]
        if not entries:
            return
        loaded = self._readable(entries)
        entries = [e for e in entries if all(_scored(r) in loaded for r in e.records)]
        if not entries:
            return
        self.documents |= {key: documents.brief for key, documents in loaded.items()}
        entries = self._paired(entries, loaded)
        if not entries:
            return
        loaded = {_scored(r): loaded[_scored(r)] for e in entries for r in e.records}
        by_scorer = {d.scorer: d for d in reversed(loaded.values())}
        nested = [g for d in by_scorer.values() for m in d.metrics.values() for g in m.nested]
        clusters = Clusters.of(next(iter(loaded.values())).clusters, *nested)
        self.clusters[columns[0].backbone, benchmark] = clusters
        checked = {id(e): e for e in entries if self._adds_up(e, loaded)}
        metrics = {
            (name, n): loaded[_scored(record)].metrics[metric_name(entry.column)]
            for name, entry in checked.items()
            for n, record in enumerate(entry.records)
        }
        drawn = dict(
            zip(metrics, resampled(list(metrics.values()), clusters, self.count, seed_of(benchmark)), strict=True)
        )
        for name, entry in checked.items():
            places = [key for key in metrics if key[0] == name]
            assert entry.value is not None
            # A mean over seeds can differ from its equal terms in the last bit; a tie must stay a tie.
            self.places[entry.row, entry.column] = Drawn(
                round(entry.value, _DIGITS),
                np.mean([drawn[key] for key in places], axis=0).round(_DIGITS),
                {benchmark: Part.of([metrics[key] for key in places], clusters)},
                metrics[places[0]].top,
            )

    def _readable(self, entries: Sequence[Entry]) -> dict[str, Documents]:
        """Documents by cell and scorer; a place whose answers are damaged becomes a hole and is named in ``faults``."""
        loaded: dict[str, Documents] = {}
        for entry in entries:
            try:
                for record in entry.records:
                    loaded.setdefault(_scored(record), self._load(record))
            except (DataError, KeyError, TypeError, ValueError) as error:
                told = str(error) if isinstance(error, DataError) else f"its answers are damaged: {error!r}"
                self._hole(entry, f"unreadable: {told}")
        return loaded

    def _paired(self, entries: Sequence[Entry], loaded: Mapping[str, Documents]) -> list[Entry]:
        """Places with the same questions as most places of their benchmark; the others become holes.

        Controls change what is shown, and so the prompt; they are compared by question and target alone. Columns of one
        benchmark may use different conventions, so prompts are compared inside a column.
        """
        kept = self._usual(entries, loaded, lambda d: d.asked, "other documents than the rest of the column")
        words = "the same questions in other words (prompt_hash) than the rest of the column"
        for column in dict.fromkeys(e.column for e in kept):
            among = [e for e in kept if e.column == column and e.row.role != "control"]
            fine = self._usual(among, loaded, lambda d: d.prompts, words)
            kept = [e for e in kept if e not in among or e in fine]
        return kept

    def _usual(
        self, entries: Sequence[Entry], loaded: Mapping[str, Documents], fact: Callable[[Documents], str], odd: str
    ) -> list[Entry]:
        """Places whose cells all share the commonest fact; the others become holes.

        The seed of a conversation orders its questions, so that its facts are compared among cells of one seed.
        """
        facts = {id(e): [(_order(r), fact(loaded[_scored(r)])) for r in e.records] for e in entries}
        counts: dict[int | None, Counter[str]] = {}
        for order, found in (pair for pairs in facts.values() for pair in pairs):
            counts.setdefault(order, Counter())[found] += 1
        usual = {order: count.most_common(1)[0][0] for order, count in counts.items()}
        fine = [e for e in entries if all(found == usual[order] for order, found in facts[id(e)])]
        for entry in entries:
            if entry not in fine:
                self._hole(entry, f"answered {odd}")
        return fine

    def _hole(self, entry: Entry, reason: str) -> None:
        hole = replace(entry, status=PlanStatus.FAILED, records=(), values=(), reason=reason)
        known = {**self.results.entries, (entry.row, entry.column): hole}
        self.results = replace(self.results, entries=known)
        self.faults.append(f"{entry.row.title} on {entry.column.slug} ({entry.column.backbone}): {reason}")

    def _adds_up(self, entry: Entry, loaded: Mapping[str, Documents]) -> bool:
        """Whether the stored scores are what the stored answers give; a place where they are not is a hole."""
        name = metric_name(entry.column)
        for record, value in zip(entry.records, entry.values, strict=True):
            metric = loaded[_scored(record)].metrics[name]
            if not np.isclose(metric.point, value, rtol=1e-6, atol=1e-6):
                self._hole(
                    entry,
                    f"cell {record.key[:12]}: stored {name} {value:.4f}, but its answers give {metric.point:.4f}; run "
                    "`tops results check rescore=true`",
                )
                return False
        return True

    def score(self, row: Row, column: Column) -> Drawn | None:
        """Score of a row on one column; None for a hole."""
        return self.places.get((row, column))

    def acc(self, backbone: str, row: Row, scale: Scale | None = None) -> Drawn | None:
        """Acc, each benchmark resampled by itself (stratified)."""
        scale = scale or self.scales[backbone]
        if scale is None:
            return None
        found: dict[str, Drawn] = {}
        for slug, column in scale.slugs.items():
            drawn = self.places.get((row, column))
            if drawn is None:
                return None
            found[slug] = drawn
        acc = scale.rule.acc({slug: d.resampled for slug, d in found.items()})
        point = float(scale.rule.acc({slug: d.point for slug, d in found.items()}))
        return mean_of(point, acc, list(found.values()), [scale.rule.weights[slug] for slug in found])

    def rel(self, backbone: str, row: Row, scale: Scale | None = None) -> Drawn | None:
        """Rel in percent, the unpruned model resampled on the same draws."""
        reference = self.results.reference(backbone)
        mine = self.acc(backbone, row, scale)
        base = self.acc(backbone, reference, scale) if reference is not None else None
        if mine is None or base is None or base.point == 0:
            return None
        if row == reference:  # 100 by definition: nothing about it is uncertain
            return Drawn(100.0, np.full_like(mine.resampled, 100.0), {})
        with np.errstate(divide="ignore", invalid="ignore"):
            return mine.per(base)

    def measure(self, backbone: str, row: Row, slug: str) -> Drawn | None:
        """The value named by ``slug``: ``rel``, ``acc`` or a benchmark."""
        if slug in ("rel", "acc"):
            return self.rel(backbone, row) if slug == "rel" else self.acc(backbone, row)
        column = next((c for c in self.results.columns(backbone) if c.slug == slug), None)
        return None if column is None else self.score(row, column)


def seed_of(benchmark: str) -> int:
    """The seed of a benchmark's resamples: all rows and parts of one benchmark share them."""
    return SEED + crc32(benchmark.encode()) % 1_000_000


def _order(record: Record) -> int | None:
    """What orders the questions of a cell beside its benchmark: the seed of a conversation."""
    return record.spec.seed if record.spec.benchmark.turns else None


def _scored(record: Record) -> str:
    """Name of a cell under one scorer, because columns of one cell may use different scorers."""
    return f"{record.key}-{record.default_scorer}"


@dataclass(frozen=True)
class Winner:
    """The best of a group of rows at one budget, and whether it beats the runner-up beyond chance."""

    row: Row
    runner_up: Row
    comparison: Comparison
    adjusted: float

    @property
    def beyond_chance(self) -> bool:
        """Whether the p-value, Holm-adjusted over the table, is below 0.05."""
        return self.adjusted < 0.05


def winners(resamples: Resamples) -> Mapping[tuple[str, str, str], Winner]:
    """Best row by backbone, level and column, over methods and controls with the same budget protocol."""
    results = resamples.results
    found: dict[tuple[str, str, str], tuple[Row, Row, Comparison]] = {}
    for backbone in results.backbones:
        slugs = ["rel", *(c.slug for c in results.columns(backbone))]
        for level in dict.fromkeys(row.level for row in results.rows(backbone) if row.level):
            rivals = [
                r
                for r in results.rows(backbone)
                if r.level == level
                and r.protocol == "layer_average"
                and not marked(results, r, results.columns(backbone))
            ]
            for slug in slugs:
                drawn = {row: d for row in rivals if (d := resamples.measure(backbone, row, slug)) is not None}
                if len(drawn) > 1:
                    best, second = sorted(drawn, key=lambda row: drawn[row].point, reverse=True)[:2]
                    found[backbone, level, slug] = best, second, drawn[best].against(drawn[second])
    adjusted = holm({place: comparison.p for place, (_, _, comparison) in found.items()})
    return {place: Winner(*winner, adjusted[place]) for place, winner in found.items()}
