"""Scores on the documents that image downsampling gets wrong, on those that it gets right, and the suite ``hard``."""

from __future__ import annotations

from collections.abc import Iterator

from tops.planning.plan import Row
from tops.reporting.data.difficulty import NAMES, Difficulty, Group, Name, difficulties
from tops.reporting.data.headings import level_title, title_of
from tops.reporting.data.mixing import marked
from tops.reporting.data.names import backbone_title, benchmark_title, row_title
from tops.reporting.data.resamples import Resamples
from tops.reporting.tables.significance import interval, ranks_of
from tops.reporting.tables.table import Datum, Header, Line, Table, hole
from tops.statistics.intervals import FEWEST_CLUSTERS

NOTES = (
    "hard: documents that image downsampling to the same budget gets wrong; easy: those that it gets right. The "
    "control is not listed, for it has 0 and 100 there by construction.",
    "Numbers: mean score of the group's documents in percent, over all seeds, with 95 % intervals for this split into "
    "groups. Each document counts by itself: no F1, no pairs, no circular questions.",
    "Suite hard: mean over the benchmarks with enough hard documents, and the rank on it among methods and controls at "
    "the same layer average. Guessing gains on hard documents too: read a method beside Random.",
    "Documents: how many a group has, and in brackets of how many independent units (images, videos).",
)
FEW = f"too few: under {FEWEST_CLUSTERS} independent documents in the group, so no number"
_NO_SUITE = "no number on one of the suite's benchmarks"
_NOT_RANKED = (Datum(),) * 3


def difficulty_tables(resamples: Resamples) -> Iterator[Table]:
    """One table per backbone that has answers of the downsampling control."""
    found: dict[str, list[Difficulty]] = {}
    for each in difficulties(resamples):
        found.setdefault(each.backbone, []).append(each)
    for backbone, levels in found.items():
        slugs = list(dict.fromkeys(slug for each in levels for slug in each.groups))
        headers = (
            *(Header(name, benchmark_title(slug)) for slug in slugs for name in NAMES),
            *(Header(title, "Suite hard") for title in ("score [95 %]", "rank", "95 % of ranks", "first in %")),
            Header("score [95 %]", "Suite easy"),
        )
        lines = [line for each in levels for line in _lines(resamples, each, slugs)]
        short = f"Hard and easy documents: {backbone_title(backbone)}"
        name = f"{resamples.results.name}_hard_{backbone}"
        yield Table(name, f"{short}. {title_of(resamples.results)}", headers, tuple(lines), NOTES, short=short)


def _lines(resamples: Resamples, each: Difficulty, slugs: list[str]) -> Iterator[Line]:
    section = level_title(resamples.results, each.backbone, each.level)
    columns = resamples.results.columns(each.backbone)
    suite = {row: d for row in each.rows if (d := each.suite("hard", row)) is not None}
    fair = {
        row: d
        for row, d in suite.items()
        if row.level == each.level and row.protocol == "layer_average" and not marked(resamples.results, row, columns)
    }
    ranked = dict(zip(fair, ranks_of(fair), strict=True)) if fair else {}
    yield Line("Documents", (*_sizes(each, slugs), *((Datum(),) * 5)), section, "reference")
    for row in each.rows:
        data = [_score(each, slug, name, row) for slug in slugs for name in NAMES]
        if not any(d.value is not None for d in data) and row not in suite:
            continue
        hard, easy = _suite(each, "hard", row), _suite(each, "easy", row)
        yield Line(row_title(row), (*data, hard, *ranked.get(row, _NOT_RANKED), easy), section, row.role)


def _sizes(each: Difficulty, slugs: list[str]) -> Iterator[Datum]:
    for slug in slugs:
        for name in NAMES:
            yield _size(each.groups[slug][name]) if slug in each.groups else hole("no answers of the control")


def _size(group: Group) -> Datum:
    return Datum(f"{group.documents} ({group.clusters})", float(group.documents))


def _score(each: Difficulty, slug: str, name: Name, row: Row) -> Datum:
    if slug not in each.groups:
        return hole("no answers of the control")
    group = each.groups[slug][name]
    if not group.told:
        return hole(FEW)
    drawn = group.scores.get(row)
    return interval(drawn) if drawn is not None else hole(each.reasons[slug, row])


def _suite(each: Difficulty, name: Name, row: Row) -> Datum:
    if not any(pair[name].told for pair in each.groups.values()):
        return hole(FEW)
    drawn = each.suite(name, row)
    return interval(drawn) if drawn is not None else hole(_NO_SUITE)
