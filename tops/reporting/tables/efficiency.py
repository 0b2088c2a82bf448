"""Table 4: tokens and FLOPs from the store, latency and memory from ``tops bench efficiency --json``, and the score."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tops.accounting import FORMULAS
from tops.errors import DataError
from tops.planning.plan import Row
from tops.planning.resolve import prompt_shape
from tops.reporting.data.headings import title_of
from tops.reporting.data.names import backbone_title, benchmark_title, row_title
from tops.reporting.data.resamples import Resamples
from tops.reporting.data.results import Results
from tops.reporting.tables.flops import costs, unit
from tops.reporting.tables.layout import Best, score, section_of
from tops.reporting.tables.table import Datum, Header, Line, Table, hole, number
from tops.settings.choices import backbone_config

FOLDER = "benchmarks"


@dataclass(frozen=True)
class Measured:
    """A record of the efficiency benchmark.

    Attributes
    ----------
    rows : dict of str to dict
        Method to its measurements, as the benchmark wrote them.
    left_out : dict of str to str
        Methods that could not be measured, and why.
    why : str
        Why there is no record at all; empty when there is one.
    """

    setting: dict[str, Any] = field(default_factory=dict)
    machine: dict[str, Any] = field(default_factory=dict)
    repeats: int = 0
    rows: dict[str, dict[str, Any]] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    source: str = ""
    why: str = ""


def load_measured(results: Results, file: Path | None = None) -> Measured:
    """The record in ``file``, else the newest ``efficiency*.json`` under ``<results>/benchmarks`` for this profile.

    Raises
    ------
    DataError
        If a named file is not such a record.
    """
    if file is not None:
        return _read(file)
    folder = (results.plan.store or Path("results")) / FOLDER
    missing = Measured(why=f"not measured: run `tops bench efficiency --json {folder}/efficiency.json`")
    other = None
    for path in sorted(folder.glob("efficiency*.json"), key=lambda p: (p.stat().st_mtime_ns, p.name), reverse=True):
        try:
            found = _read(path)
        except DataError as error:
            found = Measured(why=str(error))
        if found.why or str(found.setting.get("model")).startswith("miniature") != results.miniature:
            other = other or found
            continue
        return found
    return other or missing


def _read(file: Path) -> Measured:
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
        if record["benchmark"] != "efficiency":
            raise DataError(f"{file} is a record of {record['benchmark']!r}; write one with `tops bench efficiency`")
        rows = {str(row["method"]): row for row in record["rows"]}
        for row in rows.values():
            float(row["prefill_ms"]["median"]), float(row["over_limit"]), str(row["protocol"])
        return Measured(
            dict(record["setting"]),
            dict(record["machine"]),
            int(record["repeats"]),
            rows,
            dict(record.get("left_out", {})),
            file.name,
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{file} is no record of `tops bench efficiency --json`: {error!r}") from None


def efficiency_table(resamples: Resamples, measured: Measured, bold: Best) -> Table:
    """One line per row, with the paper's columns in its order, and what the benchmark measures beyond them."""
    results, lines = resamples.results, []
    for backbone in results.backbones:
        reference = results.reference(backbone)
        whole = costs(resamples, backbone, reference)[1].value if reference is not None else None
        for row in sorted(results.rows(backbone), key=lambda r: r.role == "control"):
            tokens, flops = costs(resamples, backbone, row)
            data = (
                *(tokens, flops, _ratio(row, whole, flops)),
                *_speed(results, measured, backbone, row),
                *(score(results, row, column, bold) for column in results.columns(backbone)),
            )
            lines.append(Line(row_title(row), data, section_of(results, backbone, row), row.role))
    headers = (
        Header("tokens"),
        Header(unit(miniature=results.miniature)[0]),
        Header("fewer FLOPs (x)"),
        *(Header(title) for title in _SPEED),
        *(Header(benchmark_title(c.slug)) for c in results.columns(results.backbones[0])),
    )
    return Table(results.name, title_of(results), headers, tuple(lines), _notes(measured))


_SPEED = ("prefill (ms)", "p95 (ms)", "over free truncation (%)", "decode (ms a token)", "memory (GB)")


def _ratio(row: Row, whole: float | None, mine: Datum) -> Datum:
    if row.role == "reference":
        return Datum()
    if mine.value is None or not whole:
        return hole(mine.reason or "no FLOPs of the unpruned model yet")
    return number(whole / mine.value) if mine.value else hole("no visual tokens at all")


def _speed(results: Results, measured: Measured, backbone: str, row: Row) -> tuple[Datum, ...]:
    """The measured columns of a row; if there are none, holes with the reason."""
    reason = measured.why or mismatch(results, measured, backbone, row)
    if reason:
        return (hole(reason),) * len(_SPEED)
    found = measured.rows[row.method]
    memory = found.get("peak_memory_bytes")
    return (
        number(float(found["prefill_ms"]["median"])),
        number(float(found["prefill_ms"]["p95"])),
        number(100 * float(found["over_limit"])),
        _decode(found.get("decode_ms")),
        number(float(memory) / 1e9, 2) if memory is not None else hole("not measured on this machine"),
    )


def _decode(spread: Any) -> Datum:
    """Time of one further token: a difference of two times, which noise can make negative."""
    if not isinstance(spread, dict):
        return hole("not measured on this machine")
    median = float(spread["median"])
    return number(median) if median > 0 else hole("lost in the noise of the machine")


def mismatch(results: Results, measured: Measured, backbone: str, row: Row) -> str:
    """Why a measurement does not belong to this row; empty when it does."""
    title = backbone_title(backbone)
    model = f"miniature of {title}" if results.miniature else title
    if measured.setting.get("model") != model:
        return f"measured on {measured.setting.get('model')}, not on {model}"
    if row.variant:
        return "the benchmark measures methods as they are, without variants"
    if row.method not in measured.rows:
        left_out = measured.left_out.get(row.method)
        return f"not measured: {left_out}" if left_out else "not among the methods that were measured"
    if row.role == "reference":
        return ""
    protocol = measured.rows[row.method]["protocol"]
    if row.level and protocol != row.protocol:
        return f"measured with budget protocol {protocol}"
    mine = (e.budget for (r, c), e in results.entries.items() if r == row and c.backbone == backbone)
    budget = next((found.value for found in mine if found is not None), None)
    visual = prompt_shape(backbone_config(backbone), results.plan.profile).visual
    asked, of = measured.setting.get("budget", 0), measured.setting.get("visual_tokens", 0)
    # The miniature's benchmark has a larger prompt than its documents: the keep ratio must be the same.
    if budget is not None and (not of or abs(asked / of - (budget / visual if budget > 1 else budget)) > 0.005):
        return f"measured at {asked} of {of} tokens, not {budget} of {visual}"
    return ""


def _notes(measured: Measured) -> tuple[str, ...]:
    notes = [
        "tokens: visual tokens a decoder layer sees at prefill, mean over layers and documents, as logged; newline "
        "tokens are counted beside them.",
        f'FLOPs: prefill of the mean prompt by the formula "paper", {FORMULAS["paper"]}.',
    ]
    if measured.rows:
        facts = {**measured.setting, **measured.machine}
        listed = ", ".join(f"{k.replace('_', ' ')} {_plain(v)}" for k, v in facts.items())
        notes += [
            f"Times and memory: `tops bench efficiency`, {measured.source}, {measured.repeats} repeats, medians unless "
            f"said: {listed}.",
            f"They are of one prompt of {measured.setting.get('visual_tokens')} visual tokens at a budget of "
            f"{measured.setting.get('budget')}, not of the benchmark's documents.",
            "prefill: from pixels to the first token. memory: the most that was allocated (on a CPU: resident, with "
            "libraries), 10^9 bytes. free truncation keeps the first tokens and is the limit of any method. The "
            "paper's times are of other hardware and are not compared.",
        ]
    return tuple(notes)


def _plain(value: Any) -> str:
    return ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, dict) else str(value)
