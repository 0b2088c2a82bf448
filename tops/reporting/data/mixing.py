"""Unmixed columns: answers to other questions are refused, and answers from other software are marked."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from tops.planning.plan import Column, PlanStatus, Row
from tops.reporting.data.results import Entry, Results
from tops.store.store import Record


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)


def _device(record: Record) -> str:
    """Name of the computing device: the processor, or the GPU models; empty where a cell does not record it."""
    device = str(record.provenance.get("device", ""))
    if not device.startswith("cuda"):
        return device
    gpus = record.provenance.get("hardware", {}).get("gpus", [])
    return ", ".join(sorted(set(map(str, gpus)))) or "GPU"


# Another value of these is another experiment: such a cell is refused.
_QUESTION: dict[str, Callable[[Record], str]] = {
    "prompt settings": lambda r: _text(r.spec.benchmark.prompt),
    "generation settings": lambda r: _text(r.spec.benchmark.generation),
    "data": lambda r: r.spec.benchmark.data_hash,
    "document limit": lambda r: _text(r.spec.benchmark.limit),
    "weights": lambda r: f"{r.spec.backbone.checkpoint}@{r.spec.backbone.revision}",
    "input options": lambda r: _text(r.spec.backbone.options),
    "scorer": lambda r: str(r.default_scorer),
    "judge": lambda r: _text({k: v for k, v in (_scores(r).get("judge") or {}).items() if k != "url"}),
}
# Another program: such a cell is refused too, unless the plan keeps stale cells (stale=keep), which marks it.
_CODE: dict[str, Callable[[Record], str]] = {
    "code of the engine": lambda r: _code(r, "engine"),
    "code of the backbone": lambda r: _code(r, "backbone"),
    "code of the evaluation": lambda r: _code(r, "evaluation"),
    "code of the scoring rule": lambda r: str(_scores(r).get("code", "")),
}
# Parts that methods do not share: compared among the cells of one method, over all columns.
_METHOD_CODE: dict[str, Callable[[Record], str]] = {
    "code of the method": lambda r: _code(r, "method"),
    "code of the selection": lambda r: _code(r, "selection"),
}
# Another value of these may move an answer: such a number is marked, and takes no part in "best".
_SOFTWARE: dict[str, Callable[[Record], str]] = {
    "package versions": lambda r: _text({**r.spec.versions, **r.provenance.get("versions", {})}),
    "number format": lambda r: r.spec.backbone.dtype,
    "attention implementation": lambda r: r.spec.backbone.attention,
    "engine": lambda r: r.spec.backbone.engine or "library",
    "device": _device,
}


def _code(record: Record, part: str) -> str:
    """Fingerprint of one part of the code; empty for a cell of an earlier version, which records none."""
    return (record.code or {}).get(part, "")


def _scores(record: Record) -> dict[str, Any]:
    return record.scores[record.default_scorer] if record.default_scorer is not None else {}


def unmixed(results: Results) -> Results:
    """Results in which every column holds one experiment.

    The value that most cells of a column share is the column's. A cell that asked something else, or whose budget
    protocol is not its row's, is refused; one that ran on other software is marked. ``warnings`` name both.
    """
    mixture = _Mixture(dict(results.entries), list(results.warnings))
    code = "marked" if results.plan.stale == "keep" else "refused"
    for column in results.plan.columns:
        members = {place: e for place, e in mixture.entries.items() if place[1] == column and e.records}
        for kind, facts in (("refused", _QUESTION), (code, _CODE), ("marked", _SOFTWARE)):
            mixture.compare(members, facts, kind, "the rest of the column")
        for place, entry in members.items():
            if reason := _other_protocol(place[0], entry):
                mixture.set_aside(place, reason, "refused")
    for method in dict.fromkeys(row.method for row in results.plan.rows):
        members = {place: e for place, e in mixture.entries.items() if place[0].method == method and e.records}
        mixture.compare(members, _METHOD_CODE, code, "its other cells")
    records = {r.key: r for e in mixture.entries.values() for r in e.records}
    silent = [key for key, record in records.items() if record.code is None]
    if silent and len(silent) < len(records):
        mixture.warnings.append(
            f"{len(silent)} of {len(records)} cells do not tell which code answered them, for an earlier version of "
            "tops stored them: whether they compare with the others is unknown"
        )
    return replace(results, entries=mixture.entries, warnings=tuple(dict.fromkeys(mixture.warnings)))


@dataclass
class _Mixture:
    """The entries and warnings, changed place by place during the comparison."""

    entries: dict[tuple[Row, Column], Entry]
    warnings: list[str]

    def compare(
        self,
        members: Mapping[tuple[Row, Column], Entry],
        facts: Mapping[str, Callable[[Record], str]],
        kind: str,
        others: str,
    ) -> None:
        """Set aside members whose facts differ from the usual ones; a fact that a cell does not record is skipped."""
        records = [r for e in members.values() for r in e.records]
        for what, fact in facts.items():
            usual = _usual(v for r in records if (v := fact(r)))
            if facts in (_CODE, _METHOD_CODE):  # today's code is the reference, however few cells have it
                today = (v for e in members.values() if not e.stale for r in e.records if (v := fact(r)))
                usual = _usual(today) or usual
            for place, entry in members.items():
                odd = next((value for r in entry.records if (value := fact(r)) and value != usual), None)
                if odd is not None:
                    self.set_aside(place, f"other {what} than {others}: {_difference(odd, usual)}", kind)

    def set_aside(self, place: tuple[Row, Column], reason: str, kind: str) -> None:
        """Refuse or mark a place, and warn of it."""
        row, column = place
        self.entries[place] = _set_aside(self.entries[place], reason, refuse=kind == "refused")
        self.warnings.append(f"{kind}: {row.title} on {column.slug} ({column.backbone}) has {reason}")


def _usual(values: Iterable[str]) -> str:
    """The commonest value, the first of equals."""
    counted = Counter(values).most_common(1)
    return counted[0][0] if counted else ""


def _difference(odd: str, usual: str) -> str:
    """The difference in words; of two JSON objects, only the keys that differ."""
    try:
        a, b = json.loads(odd), json.loads(usual)
    except ValueError:
        a, b = odd, usual
    if isinstance(a, dict) and isinstance(b, dict):
        keys = [k for k in sorted({*a, *b}) if a.get(k) != b.get(k)]
        return ", ".join(f"{k} {a.get(k)} instead of {b.get(k)}" for k in keys)
    return f"{odd or 'none'} instead of {usual or 'none'}"


def _other_protocol(row: Row, entry: Entry) -> str:
    found = {r.spec.budget.protocol for r in entry.records if r.spec.budget is not None}
    strange = sorted(found - {row.protocol})
    return f"budget protocol {strange[0]} in a row of {row.protocol}" if strange else ""


def _set_aside(entry: Entry, reason: str, *, refuse: bool) -> Entry:
    if refuse:
        return replace(entry, status=PlanStatus.REFUSED, values=(), reason=f"not shown: {reason}")
    return replace(entry, mark="; ".join(dict.fromkeys(p for p in (entry.mark, reason) if p)))


def marked(results: Results, row: Row, columns: Iterable[Column]) -> str:
    """The marks of a row in some columns, joined to one text."""
    found = [results.entries[row, c].mark for c in columns if (row, c) in results.entries]
    return "; ".join(dict.fromkeys(m for m in found if m))
