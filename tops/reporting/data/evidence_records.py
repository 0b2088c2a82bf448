"""Evidence from records of the efficiency benchmark, for claims of speed, memory and growth."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

from tops.paper.contrasts import Contrast
from tops.reporting.data.evidence import Finding
from tops.statistics.intervals import Interval

QUESTIONS = ("prefill", "memory", "fastest", "growth")
MODEL = "LLaVA-NeXT-7B"  # of Table 4


def record_findings(folder: Path, contrast: Contrast) -> list[Finding]:
    """Findings from the newest record of the paper's model on a GPU; for the growth of selection, of any machine."""
    if contrast.question == "growth":
        return list(_growth(_newest(folder, "scaling"), contrast))
    record = next((r for r in _records(folder, "efficiency") if _of_the_paper(r)), None)
    return [] if record is None else list(_costs(record, contrast))


def why_none(contrast: Contrast) -> str:
    """The reason why a claim about costs has no evidence."""
    if contrast.question == "growth":
        return "no record: run `make bench-scaling`"
    return f'no record of {MODEL} on a GPU: run `make bench-efficiency BENCH="--device cuda"`'


def _records(folder: Path, kind: str) -> Iterator[dict[str, Any]]:
    """Records of a kind, the newest first; what cannot be read is passed over (the efficiency table names it)."""
    for path in sorted(folder.glob(f"{kind}*.json"), key=lambda p: (p.stat().st_mtime_ns, p.name), reverse=True):
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        if isinstance(record, dict) and record.get("benchmark") == kind:
            yield {**record, "file": path.name}


def _newest(folder: Path, kind: str) -> dict[str, Any] | None:
    return next(_records(folder, kind), None)


def _of_the_paper(record: dict[str, Any]) -> bool:
    model, device = record.get("setting", {}).get("model"), record.get("machine", {}).get("device")
    return bool(model == MODEL and device != "cpu")


def _costs(record: dict[str, Any], contrast: Contrast) -> Iterator[Finding]:
    rows = {str(row["method"]): row for row in record["rows"]}
    if not {"none", contrast.ours[0]} <= set(rows):
        return
    whole, mine = rows["none"], rows[contrast.ours[0]]
    others = [_prefill(row) for name, row in rows.items() if name not in ("none", contrast.ours[0], "free_truncation")]
    if contrast.question == "prefill":
        value, what = _prefill(whole) / _prefill(mine), "times faster prefill"
    elif contrast.question == "memory" and None not in (whole.get("peak_memory_bytes"), mine.get("peak_memory_bytes")):
        value, what = (whole["peak_memory_bytes"] - mine["peak_memory_bytes"]) / 1e9, "GB less"
    elif contrast.question == "fastest" and others:
        value, what = _prefill(mine) / median(others), "prefill time over the median of the other methods"
    else:
        return
    machine = record["machine"].get("gpu") or record["machine"]["device"]
    yield Finding(f"{what}, {MODEL} on {machine} ({record['file']})", "", _exact(value), *contrast.region)


def _prefill(row: dict[str, Any]) -> float:
    return float(row["prefill_ms"]["median"])


def _growth(record: dict[str, Any] | None, contrast: Contrast) -> Iterator[Finding]:
    for name, series in (record or {}).items():
        if isinstance(series, dict) and series.get("axis") == "n":
            text = f"time of a selection over tokens ({name}), exponent on {record['machine']['device']}"  # type: ignore[index]
            yield Finding(text, "", _exact(float(series["time_exponent"])), *contrast.region)


def _exact(value: float) -> Interval:
    """An interval of no width, for a measurement that is not a sample of documents."""
    return Interval(value, value, value, 0.0, 1)
