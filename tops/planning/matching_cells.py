"""Which stored cell answers a planned one: the single rule for plans, runs and reports."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from tops.benchmarks.benchmark import load_benchmark
from tops.benchmarks.scorers import rule_code
from tops.errors import DataError, TopsError
from tops.evaluation.code import differences
from tops.store.cell import Cell
from tops.store.hashes import same_content
from tops.store.seal import read_json
from tops.store.store import CellStatus, Record, Store

_OWN = ("backbone", "benchmark", "method")  # whose files a user may edit; their digests are in the key
SCORING = "scoring rule"
PACKAGES = "packages"


@dataclass(frozen=True)
class Match:
    """The stored cell that matches a planned one, and its state.

    Attributes
    ----------
    key : str
        Key of the stored cell: the planned cell's own key, or that of a cell answered under other circumstances.
    status : CellStatus
        State of the stored cell.
    stale : tuple of str
        What has changed since the cell was answered or scored: parts of the code, the scoring rule, packages. Empty for
        an answer of today's code.
    reason : str
        Why no stored cell was found, or what is stale, in words.
    fingerprinted : bool
        Whether the cell records which code answered it; cells of earlier versions do not.
    failed : bool
        Whether its last attempt ended in an error.
    """

    key: str
    status: CellStatus
    stale: tuple[str, ...] = ()
    reason: str = ""
    fingerprinted: bool = True
    failed: bool = False


class MatchingCells:
    """Finds the stored cell of a planned one.

    The key of a cell covers data, weights and package versions. A machine that only reads a store may have neither data
    nor weights: a hash that is empty here is not compared. A hash that is known here must agree: a stored cell of other
    data or weights does not match. A cell of other package versions matches, as a stale one. Of several matches, the
    one whose circumstances most cells of the store share is taken.

    An instance reads the store once and remembers what it found: make a new one to see later changes.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self._records: dict[str, Record] = {}
        self._found: dict[str, Match] = {}

    def find(self, cell: Cell) -> Match:
        """The stored cell that answers a planned one; of status ``MISSING`` when there is none. It never raises."""
        if cell.key not in self._found:
            self._found[cell.key] = self._find(cell)
        return self._found[cell.key]

    def _find(self, cell: Cell) -> Match:
        status = self.store.status(cell.key)
        if status is not CellStatus.MISSING:
            return self._stored(cell, cell.key, status)
        asked, here = split(cell.as_dict())
        stored = self._by_question.get(asked, {})
        fits = [key for key, there in stored.items() if not _other_question(here, there)]
        if not fits:
            reason = _other_question(here, next(iter(stored.values()))) if stored else ""
            return Match(cell.key, CellStatus.MISSING, reason=f"stored only with {reason}" if reason else "")
        key = max(fits, key=lambda k: (self._common[_text(stored[k])], k))
        return self._stored(cell, key, self.store.status(key))

    def record(self, match: Match) -> Record:
        """The record of a complete match.

        Raises
        ------
        DataError
            If it cannot be read.
        """
        if match.key not in self._records:
            self._records[match.key] = self.store.read(match.key)
        return self._records[match.key]

    def _stored(self, cell: Cell, key: str, status: CellStatus) -> Match:
        if status is CellStatus.DAMAGED:
            return Match(key, status, reason=self.store.fault(key))
        if status is CellStatus.INCOMPLETE:
            reason, failed = self._unfinished(key)
            return Match(key, status, reason=reason, failed=failed)
        match = Match(key, status)
        if not status.done:
            return match
        try:
            record = self.record(match)
        except DataError as error:
            return Match(key, CellStatus.DAMAGED, reason=str(error))
        parts = [*differences(record.code, cell), *_rescored_since(record), *_packages(record.spec, cell)]
        return Match(key, status, tuple(parts), why_stale(parts, record, cell), record.code is not None)

    def _unfinished(self, key: str) -> tuple[str, bool]:
        """Why a cell is not complete, and whether an attempt failed."""
        try:
            failure = self.store.read(key).failure
        except DataError as error:
            return str(error), True
        if failure is not None:
            return str(failure.get("error", "failed")), True
        if self.store.unsealed(key):
            return "its seal complete.json is gone beside full scores; the next run seals it again", False
        return "begun, not finished", False

    @cached_property
    def _by_question(self) -> dict[str, dict[str, dict[str, Any]]]:
        """Specification without circumstances -> key -> circumstances, of all cells whose seal holds."""
        found: dict[str, dict[str, dict[str, Any]]] = {}
        for key in self.store.keys():  # noqa: SIM118
            if not self.store.status(key).done:
                continue  # `tops results check` names damaged cells
            try:
                asked, there = split(read_json(self.store.path(key) / "spec.json"))
            except (DataError, KeyError, TypeError):
                continue
            found.setdefault(asked, {})[key] = there
        return found

    @cached_property
    def _common(self) -> Counter[str]:
        return Counter(_text(there) for keys in self._by_question.values() for there in keys.values())


def split(spec: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Split a specification into the part that was asked (as JSON) and the circumstances of the answer.

    The circumstances are package versions, hashes of weights and data, and digests of a user's own files.
    """
    backbone, benchmark, method = dict(spec["backbone"]), dict(spec["benchmark"]), dict(spec["method"])
    circumstances = {
        "versions": spec["versions"],
        "weights": backbone.pop("revision"),
        "weights of the method": method.pop("weights", ""),
        "data": benchmark.pop("data_hash"),
        "own": [part.pop("source", "") for part in (backbone, benchmark, method)],
    }
    backbone.pop("trained", None)  # follows from the weights
    asked = {k: v for k, v in spec.items() if k != "versions"}
    asked |= {"backbone": backbone, "benchmark": benchmark, "method": method}
    return json.dumps(asked, sort_keys=True), circumstances


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def _other_question(here: dict[str, Any], there: dict[str, Any]) -> str:
    """The first circumstance that is known here and differs in the stored cell, in words; empty when none does."""
    if edited := [p for p, a, b in zip(_OWN, here["own"], there["own"], strict=True) if not same_content(a, b)]:
        return f"an earlier content of the {' and '.join(edited)}'s own file: it was edited since"
    for name in ("data", "weights", "weights of the method"):
        if here[name] and not same_content(here[name], there[name]):
            return f"other {name} ({there[name][:12] or 'none'} instead of {here[name][:12]})"
    if here["weights"] and here["weights of the method"] != there["weights of the method"]:
        return f"other weights of the method ({there['weights of the method']} instead of none)"
    return ""


def _packages(stored: Cell, planned: Cell) -> list[str]:
    return [PACKAGES] if stored.versions != planned.versions else []


def _rescored_since(record: Record) -> list[str]:
    """The scoring part, if the rule that scored a cell has changed; a cell without its digest counts as unchanged."""
    if record.default_scorer is None:
        return []
    code = record.scores[record.default_scorer].get("code")
    try:
        now = rule_code(load_benchmark(record.spec.benchmark.name), record.default_scorer)
    except TopsError:
        return [SCORING]
    return [SCORING] if code is not None and not same_content(now, code) else []


def why_stale(parts: list[str], record: Record, planned: Cell) -> str:
    """Why a cell is stale, in words; empty when nothing has changed since it was answered."""
    code = [part for part in parts if part not in (SCORING, PACKAGES)]
    words = [f"answered by other code of its {', '.join(code)}"] if code else []
    if SCORING in parts:
        words.append("scored by other code of its rule")
    if PACKAGES in parts:
        there, here = record.spec.versions, planned.versions
        names = [n for n in sorted({*there, *here}) if there.get(n) != here.get(n)]
        changed = ", ".join(f"{n} {there.get(n, 'none')} instead of {here.get(n, 'none')}" for n in names)
        words.append(f"answered under {changed}")
    return "; ".join(words)
