"""Results as data: numbers in numeric columns."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pandas
import pytest
from synthetic_store import fill

import tops
from tops.errors import DataError
from tops.reporting.tables import render
from tops.reporting.tables.table import Datum, Header, Line, Table, number


def test_csv_has_the_ends_of_intervals_as_numbers_and_no_title_in_its_lines() -> None:
    table = Table(
        "t",
        "A title",
        (Header("difference [95 %]", "Rel"), Header("n")),
        (
            Line("a", (Datum("+1.2 [+0.3, +2.1]", 1.2, low=0.3, high=2.1), number(5.0))),
            Line("b", (Datum(), number(1.0))),
        ),
    )
    lines = list(csv.DictReader(io.StringIO(render.as_csv(table))))
    assert lines[0]["Rel difference [95 %]"] == "1.2"
    assert (lines[0]["Rel difference lower"], lines[0]["Rel difference upper"]) == ("0.3", "2.1")
    assert lines[1]["Rel difference lower"] == ""
    assert "A title" not in render.as_csv(table)


def test_frames_of_an_experiment(tmp_path: Path) -> None:
    planned = fill(tmp_path, "smoke", documents=24)
    found = tops.results("smoke", profile="miniature", root=tmp_path)
    assert len(found.cells) == len(planned.unique())
    assert found.cells["score"].between(0, 100).all()
    assert len(found.documents) == 24 * len(found.cells)
    tops_rows = found.intervals[(found.intervals["method"] == "tops") & (found.intervals["measure"] == "rel")]
    assert (tops_rows["lower"] <= tops_rows["estimate"]).all()
    (whole,) = found.intervals[
        (found.intervals["method"] == "none") & (found.intervals["measure"] == "rel")
    ].itertuples()
    assert (whole.estimate, str(whole.lower)) == (100.0, "nan")  # by definition
    assert (tops_rows["estimate"] <= tops_rows["upper"]).all()


def test_an_empty_store_gives_empty_frames_with_their_columns(tmp_path: Path) -> None:
    found = tops.results(root=tmp_path, profile="miniature")
    assert isinstance(found.cells, pandas.DataFrame)
    assert {"backbone", "method", "budget", "score"} <= set(found.cells.columns)
    assert found.documents.empty
    with pytest.raises(DataError, match="intervals belong to an experiment"):
        _ = found.intervals
