"""Table 4's printed costs beside ours: tokens and FLOPs with a verdict, times and memory where a GPU measured them."""

from __future__ import annotations

from collections.abc import Iterator

from tops.paper.published import SOURCE
from tops.planning.plan import Row
from tops.planning.printed import COST_COLUMNS, PrintedRow, printed_rows
from tops.reporting.data.headings import title_of
from tops.reporting.data.names import benchmark_title, row_title
from tops.reporting.data.resamples import Resamples
from tops.reporting.tables.efficiency import Measured, mismatch
from tops.reporting.tables.flops import costs
from tops.reporting.tables.table import Datum, Header, Line, Table, hole, number

GPU = "A800"  # of section C.4
TOLERANCE = 0.01  # of tokens and FLOPs, which no machine changes; half of the last printed digit comes on top
_ROOM = 0.1  # of times and memory on the paper's own kind of GPU

NOTES = (
    f"Paper: {SOURCE}, an {GPU} of 80 GB at batch size 1. Tokens and FLOPs agree within {100 * TOLERANCE:g} %: they "
    "follow from the schedule.",
    f"Times and memory are judged on an {GPU} alone, within {100 * _ROOM:g} %. On another GPU compare ratios: the "
    "speed-up over the unpruned model.",
)


def costs_compared(resamples: Resamples, measured: Measured) -> Table:
    """One line per printed cost; empty for the miniature and before anything has run."""
    lines = [line for place in _places(resamples) for line in _lines(resamples, measured, place)]
    titles = ("column", "ours", "paper", "verdict")
    return Table(
        f"{resamples.results.name}_costs",
        f"Printed costs and ours. {title_of(resamples.results)}",
        tuple(Header(t) for t in titles),
        tuple(lines),
        NOTES,
        short="Printed costs and ours",
    )


def _places(resamples: Resamples) -> Iterator[PrintedRow]:
    if not resamples.results.miniature:
        yield from (p for p in printed_rows(resamples.results.plan) if p.row is not None and not p.reason)


def _lines(resamples: Resamples, measured: Measured, place: PrintedRow) -> Iterator[Line]:
    row, backbone = place.row, place.published.backbone
    assert row is not None
    for slug in COST_COLUMNS:
        printed = place.published.values.get(slug)
        if printed is None:
            continue
        ours = _ours(resamples, measured, backbone, row, slug)
        digits = -int(printed.as_tuple().exponent)
        verdict = "not compared" if ours.value is None else _verdict(slug, ours.value, float(printed), digits, measured)
        shown = ours if ours.value is None else number(ours.value, max(1, digits))
        yield Line(
            row_title(row), (Datum(benchmark_title(slug)), shown, Datum(str(printed), float(printed)), Datum(verdict))
        )


def _ours(resamples: Resamples, measured: Measured, backbone: str, row: Row, slug: str) -> Datum:
    tokens, flops = costs(resamples, backbone, row)
    if slug == "tokens":
        return tokens
    if slug == "flops_t":
        return flops
    if slug == "flops_x":
        reference = resamples.results.reference(backbone)
        whole = costs(resamples, backbone, reference)[1] if reference is not None else hole("no unpruned row")
        return number(whole.value / flops.value) if whole.value and flops.value else whole if flops.value else flops
    if measured.machine.get("device", "cpu") == "cpu":
        return hole('no record of a GPU: run `make bench-efficiency BENCH="--device cuda"`')
    reason = measured.why or mismatch(resamples.results, measured, backbone, row)
    if reason:
        return hole(reason)
    found = measured.rows[row.method]
    if slug == "latency_ms":
        return number(float(found["prefill_ms"]["median"]))
    memory = found.get("peak_memory_bytes")
    return hole("not measured on this machine") if memory is None else number(float(memory) / 1e9)


def _verdict(slug: str, ours: float, printed: float, digits: int, measured: Measured) -> str:
    if slug in ("latency_ms", "memory_gb"):
        if GPU not in str(measured.machine):
            return "another machine"
        return "agrees" if abs(ours / printed - 1) <= _ROOM else "differs"
    return "agrees" if abs(ours - printed) <= TOLERANCE * printed + 0.5 * 10.0**-digits else "differs"
