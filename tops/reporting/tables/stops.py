"""How many documents each column asked under ``stop=separable``, with the verdicts of its comparisons."""

from __future__ import annotations

from collections import Counter

from tops.planning.sequential import Stop
from tops.reporting.data.names import backbone_title, benchmark_title, row_title
from tops.reporting.data.results import Results
from tops.reporting.tables.table import Datum, Header, Line, Table
from tops.statistics.sequential import ALPHA, Verdict

NOTE = (
    f"Each round asks twice as many documents as the one before, of all rows alike. A comparison of the subject with a "
    f"rival is told when a test that may be read after every round says higher, lower, or closer than the margin; the "
    f"chance of one wrong word anywhere in this table is at most {100 * ALPHA:g} %. A column ends with its last open "
    f"comparison. The test takes the score of each document, which for F1 and MME's points is being right; a picture "
    f"counts once."
)
WARNING = (
    "Documents were drawn until methods were told apart (stop=separable): intervals and p-values of this page take "
    "their number as fixed beforehand and are a little too narrow; the table of documents holds whenever one stops."
)


def stops_table(results: Results) -> Table:
    """A line for each backbone and benchmark; no lines without ``stop=separable``."""
    lines = []
    seen = set()
    for column, stop in results.plan.stops.items():
        if (column.backbone, column.benchmark) in seen:
            continue
        seen.add((column.backbone, column.benchmark))
        share = 100 * (1 - stop.documents / stop.all)
        data = (
            Datum(str(stop.documents), float(stop.documents)),
            Datum(str(stop.all), float(stop.all)),
            Datum(f"{share:.0f} %", share),
            Datum(_state(stop)),
            Datum(_said(stop)),
        )
        lines.append(Line(benchmark_title(column.benchmark), data, backbone_title(column.backbone)))
    titles = ("documents", "at most", "spared", "state", "subject against its rivals")
    return Table(
        f"{results.name}_stops",
        "Documents until methods were told apart",
        tuple(Header(title) for title in titles),
        tuple(lines),
        (NOTE,),
        label_title="Benchmark",
        short="Documents asked",
    )


def _state(stop: Stop) -> str:
    if stop.reason:
        return f"all asked: {stop.reason}"
    if not stop.done:
        return "round not complete"
    return "all asked" if Verdict.OPEN in stop.verdicts.values() else "told"


def _said(stop: Stop) -> str:
    """Counts of the verdicts, with the names of rivals whose comparison is open."""
    counts = Counter(stop.verdicts.values())
    parts = [f"{counts[v]} {v}" for v in (Verdict.HIGHER, Verdict.LOWER, Verdict.WITHIN) if counts[v]]
    left = [f"{row_title(row)} at {level}" for (level, row), v in stop.verdicts.items() if v is Verdict.OPEN]
    return "; ".join([*parts, *([f"open: {', '.join(left)}"] if left else [])])
