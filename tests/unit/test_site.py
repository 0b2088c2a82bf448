"""The site of a profile: an index over the experiments, with a leaderboard."""

import numpy as np
import pytest
from synthetic_store import fill

from tops.planning.plan import Row
from tops.reporting import site
from tops.reporting.figures.rank_figure import separable
from tops.reporting.tables.leaderboard import leaderboard
from tops.reporting.tables.table import Datum, Header, Line, Table
from tops.settings.choices import choice_names, load_experiment
from tops.statistics.drawn import Drawn
from tops.statistics.parts import Part


@pytest.fixture
def built(tmp_path, monkeypatch):
    claims = Table("claims", "Claims", (Header("verdict"),), (Line("one claim", (Datum("cannot tell"),)),))
    monkeypatch.setattr(site, "choice_names", lambda group: ["smoke", "figure10"])
    monkeypatch.setattr(site, "claims_table", lambda *_: claims)
    fill(tmp_path / "results", "smoke", documents=8)
    said = []
    faults = site.build_site("miniature", tmp_path / "results", tmp_path / "site", said.append)
    return tmp_path / "site", faults, said


def test_an_index_leads_to_every_experiment_the_claims_and_the_audit(built):
    folder, faults, said = built
    assert faults == []
    index = (folder / "index.html").read_text()
    assert "1 of 2 experiments have numbers." in index
    assert [name for name in ("smoke.html", "claims.html", "audit.html") if f'href="{name}"' in index] == [
        "smoke.html",
        "claims.html",
        "audit.html",
    ]
    assert "not run yet" in index  # figure10
    assert 'href="index.html"' in (folder / "smoke.html").read_text()
    assert {"smoke.html", "claims.html", "audit.html", "index.html"} <= {line.rsplit("/", 1)[1] for line in said}


def test_only_experiments_that_the_store_has_a_cell_of_are_planned():
    stored = {("llava-1.5-7b", "tops", "gqa", None)}
    for name in choice_names("experiment"):
        assert not site._may_have_numbers(load_experiment(name), "miniature", set())
    assert site._may_have_numbers(load_experiment("table1"), "paper", stored)
    assert not site._may_have_numbers(load_experiment("figure17"), "paper", stored)  # of LLaVA-Video


def test_the_leaderboard_needs_something_to_rank():
    assert leaderboard([], miniature=True) is None


def test_pairs_are_told_apart_only_where_every_resample_agrees():
    noise = np.random.default_rng(0).normal(0, 1, 200)
    rows = [Row(name, name, "method", "77.8", "layer_average") for name in ("a", "b", "c")]
    values = (90 + noise, 89.9 + noise[::-1], 40 + noise)
    all_of_them = np.ones(200, dtype=bool)
    parts = [{"b": Part((v - v.mean()) / 200**0.5, np.arange(200), all_of_them, 0.0)} for v in values]
    drawn = {row: Drawn(float(v.mean()), v, p) for row, v, p in zip(rows, values, parts, strict=True)}
    assert list(separable(drawn).values()) == [1, 1, 2]
