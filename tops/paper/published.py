"""The numbers printed in the paper (arXiv 2606.27161 v1), as data. Provenance: ``data/README.md``."""

from __future__ import annotations

import csv
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cache
from importlib.resources import files

from tops.errors import DataError, nearest_names

SOURCE = "arXiv 2606.27161 v1"
TABLES: tuple[str, ...] = ("1", "2", "3", "4", "5", "6", "11", "12", "13", "14", "15", "16", "17")


@dataclass(frozen=True)
class PublishedRow:
    """One printed row.

    Attributes
    ----------
    budget : int
        Retained tokens as printed, per image or per frame; the full count for the unpruned model.
    values : dict of str to Decimal or None
        Benchmark or derived column to the printed digits, in the printed order; None where the paper prints a dash.
    """

    table: str
    backbone: str
    method: str
    variant: str
    budget: int
    compression: str
    values: dict[str, Decimal | None] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """``llava-1.5-7b / tops@32 / criteria=R``."""
        return " / ".join(p for p in (self.backbone, f"{self.method}@{self.budget}", self.variant) if p)


def read_csv(name: str) -> list[dict[str, str]]:
    """Rows of one file of the published data, every value as printed."""
    with files("tops.paper").joinpath("data", name).open(encoding="utf-8") as lines:
        return list(csv.DictReader(lines))


@cache
def _tables() -> dict[str, tuple[PublishedRow, ...]]:
    found: dict[str, dict[tuple[str, ...], PublishedRow]] = {name: {} for name in TABLES}
    for line in read_csv("results.csv"):
        key = (line["backbone"], line["budget"], line["method"], line["variant"])
        row = found[line["table"]].setdefault(
            key,
            PublishedRow(
                line["table"],
                line["backbone"],
                line["method"],
                line["variant"],
                int(line["budget"]),
                line["compression"],
            ),
        )
        if line["benchmark"] in row.values:
            raise DataError(f"results.csv: table {line['table']} prints {line['benchmark']} of {row.label} twice")
        row.values[line["benchmark"]] = Decimal(line["value"]) if line["value"] else None
    return {name: tuple(rows.values()) for name, rows in found.items()}


def published_rows(table: str) -> tuple[PublishedRow, ...]:
    """Rows of a table in printed order.

    Raises
    ------
    DataError
        If the paper has no such result table.
    """
    try:
        return _tables()[str(table)]
    except KeyError:
        raise DataError(
            f"the paper prints no results in table {table!r}. {nearest_names(str(table), TABLES)}"
        ) from None


def published_value(
    table: str, backbone: str, method: str, budget: int, benchmark: str, variant: str = ""
) -> Decimal | None:
    """One printed number, or None where the paper has none."""
    for row in published_rows(table):
        if (row.backbone, row.method, row.budget, row.variant) == (backbone, method, budget, variant):
            return row.values.get(benchmark)
    return None


def text_number(key: str) -> Decimal:
    """A number given in prose or a caption only."""
    for line in read_csv("text_numbers.csv"):
        if line["key"] == key:
            return Decimal(line["value"])
    known = [line["key"] for line in read_csv("text_numbers.csv")]
    raise DataError(f"the text gives no number {key!r}. {nearest_names(key, known)}")
