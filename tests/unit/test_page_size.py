"""The page of Table 1 with all its cells: small enough to be mailed."""

import re

import pytest
from synthetic_store import fill

from tops.planning.plan import plan
from tops.reporting.build import build
from tops.reporting.data.results import collect


@pytest.mark.slow
def test_table_1_is_under_a_megabyte_without_pictures(tmp_path):
    fill(tmp_path, "table1", documents=24, pictures=True)
    build(collect(plan("table1", "miniature", results=tmp_path), tmp_path), tmp_path / "out")
    page = (tmp_path / "out" / "table1.html").read_text(encoding="utf-8")
    figures = re.findall(r"data:image/svg\+xml;base64,[\w+/=]*", page)
    assert len(figures) >= 4
    assert len(page.encode()) - sum(map(len, figures)) < 1_000_000
