"""What must not stand in one column: answers to other questions, or from other software without a word."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from tops.planning.plan import Column, PlanStatus, Row
from tops.reporting.data.results import Entry, Results
from tops.store.store import Record


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)


# Another value of these is another experiment: such a cell is refused.
_QUESTION: dict[str, Callable[[Record], str]] = {
    "prompt settings": lambda r: _text(r.spec.benchmark.prompt),
    "generation settings": lambda r: _text(r.spec.benchmark.generation),
    "data": lambda r: r.spec.benchmark.data_hash,
    "document limit": lambda r: _text(r.spec.benchmark.limit),
    "weights": lambda r: f"{r.spec.backbone.checkpoint}@{r.spec.backbone.revision}",
    "input options": lambda r: _text(r.spec.backbone.options),
    "scorer": lambda r: str(r.default_scorer),
}
# Another value of these may move an answer: such a number is marked, and takes no part in "best".
_SOFTWARE: dict[str, Callable[[Record], str]] = {
    "package versions": lambda r: _text({**r.spec.versions, **r.provenance.get("versions", {})}),
    "number format": lambda r: r.spec.backbone.dtype,
    "attention implementation": lambda r: r.spec.backbone.attention,
}


def unmixed(results: Results) -> Results:
    """Results in which every column holds one experiment.

    The value that most cells of a column share is the column's. A cell that asked something else, or whose budget means
    something else than its row says, is refused; one that ran on other software is marked. ``warnings`` name both.
    """
    entries, warnings = dict(results.entries), list(results.warnings)
    for column in results.plan.columns:
        members = {place: e for place, e in entries.items() if place[1] == column and e.records}
        records = [r for e in members.values() for r in e.records]
        for kind, facts in (("refused", _QUESTION), ("marked", _SOFTWARE)):
            for what, fact in facts.items():
                usual = _usual(fact(r) for r in records)
                for place, entry in members.items():
                    odd = next((fact(r) for r in entry.records if fact(r) != usual), None)
                    if odd is None:
                        continue
                    reason = f"other {what} than the rest of the column: {_difference(odd, usual)}"
                    entries[place] = _set_aside(entries[place], reason, refuse=kind == "refused")
                    warnings.append(f"{kind}: {place[0].title} on {column.slug} ({column.backbone}) has {reason}")
        for place, entry in members.items():
            reason = _other_protocol(place[0], entry)
            if reason:
                entries[place] = _set_aside(entries[place], reason, refuse=True)
                warnings.append(f"refused: {place[0].title} on {column.slug} ({column.backbone}): {reason}")
    return replace(results, entries=entries, warnings=tuple(dict.fromkeys(warnings)))


def _usual(values: Iterable[str]) -> str:
    """The commonest value, the first of equals."""
    counted = Counter(values).most_common(1)
    return counted[0][0] if counted else ""


def _difference(odd: str, usual: str) -> str:
    """Only what differs, where both are JSON objects."""
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
    """Marks of a row over some columns, joined."""
    found = [results.entries[row, c].mark for c in columns if (row, c) in results.entries]
    return "; ".join(dict.fromkeys(m for m in found if m))
