"""Stored cells that answer a planned one, also on a machine that has other packages, no data and no weights."""

from __future__ import annotations

import json
from collections import Counter
from functools import cached_property
from typing import Any

from tops.errors import DataError
from tops.store.cell import Cell
from tops.store.store import Record, Store, read_json


class Lookup:
    """Finds the record of a planned cell.

    The key of a cell covers package versions and the hashes of data and weights, which a machine that only reads a
    store cannot know. Where the exact cell is absent, one that differs in nothing but these is taken; of several, the
    one whose versions and hashes most of the store shares. :mod:`tops.reporting.data.mixing` then looks for mixtures.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self._records: dict[str, Record | None] = {}

    def find(self, cell: Cell) -> Record | None:
        """The complete record, or None.

        Raises
        ------
        DataError
            If a stored cell cannot be read.
        """
        if self.store.status(cell.key).done:
            return self._read(cell.key)
        question, _ = _split(cell.as_dict())
        found = self._by_question.get(question, {})
        if not found:
            return None
        return self._read(max(found, key=lambda key: (self._common[found[key]], key)))

    def _read(self, key: str) -> Record | None:
        if key not in self._records:
            self._records[key] = self.store.read(key)
        return self._records[key]

    @cached_property
    def _by_question(self) -> dict[str, dict[str, str]]:
        """Question -> key -> circumstances, of all complete cells."""
        found: dict[str, dict[str, str]] = {}
        stored = self.store.keys()
        for key in stored:
            path = self.store.path(key)
            if not (path / "complete.json").exists():
                continue
            try:
                question, circumstances = _split(read_json(path / "spec.json"))
            except (DataError, KeyError, TypeError):
                continue  # `tops results check` names damaged cells
            found.setdefault(question, {})[key] = circumstances
        return found

    @cached_property
    def _common(self) -> Counter[str]:
        return Counter(c for keys in self._by_question.values() for c in keys.values())


def _split(spec: dict[str, Any]) -> tuple[str, str]:
    """A specification as what was asked, and the circumstances under which it was answered."""
    backbone, benchmark, method = dict(spec["backbone"]), dict(spec["benchmark"]), dict(spec["method"])
    circumstances = [spec["versions"], backbone.pop("revision"), method.pop("weights", "")]
    benchmark.pop("data_hash")
    asked = {k: v for k, v in spec.items() if k != "versions"}
    asked |= {"backbone": backbone, "benchmark": benchmark, "method": method}
    return json.dumps(asked, sort_keys=True), json.dumps(circumstances, sort_keys=True)
