"""Unpruned scores against published ones: what a run on real weights looks at first."""

from pathlib import Path

import pytest
from synthetic_store import fill

import tops
from tops.paper.published import read_csv
from tops.paper.unpruned import HINTS, check_unpruned, known_scores
from tops.planning.plan import plan
from tops.reporting.build import make
from tops.reporting.data.results import collect


@pytest.mark.parametrize(
    ("backbone", "benchmark", "score", "state", "likely"),
    [
        ("llava-next-7b", "textvqa", 60.0, "as published", ""),
        ("llava-next-7b", "textvqa", 65.1, "outside", "image_layout=native"),
        ("llava-next-7b", "gqa", 40.0, "outside", HINTS["gqa"]),
        ("llava-1.5-7b", "scienceqa_img", 66.0, "as published", ""),  # the model zoo has 66.8, the paper 69.5
        ("internvl3-8b", "hallusionbench", 30.0, "outside", "2,048 tokens"),
        ("llava-1.5-7b", "ai2d", 50.0, "unknown", ""),
    ],
)
def test_a_score_outside_names_the_likely_setting(backbone, benchmark, score, state, likely):
    found = check_unpruned(backbone, benchmark, score)
    assert found.state == state
    assert likely in found.likely


def test_sampling_widens_the_range_and_the_scale_sets_the_tolerance():
    assert check_unpruned("llava-1.5-7b", "pope", 83.0).state == "outside"
    assert check_unpruned("llava-1.5-7b", "pope", 83.0, slack=2.5).state == "as published"
    assert check_unpruned("llava-1.5-7b", "mme", 1488.0, maximum=2000).state == "as published"


def test_every_published_score_says_where_it_is_from():
    for line in read_csv("unpruned.csv"):
        assert line["source"]
        assert line["seen"] in ("yes", "recalled")
        own = [k for k in known_scores(line["backbone"], line["benchmark"]) if k.source.startswith("Table")]
        assert len(own) == 1
        assert abs(float(line["value"]) / own[0].value - 1) < 0.11  # a slip of a digit would not be


def test_the_report_of_real_weights_warns_before_any_pruned_number(tmp_path):
    fill(
        tmp_path, "table11", "paper", documents=30, only=lambda p: p.row.role == "reference" and p.column.slug == "pope"
    )
    report = make(collect(plan("table11", "paper", results=tmp_path), tmp_path))
    table = next(t for t in report.more if t.name == "table11_unpruned")
    (line,) = table.lines
    assert (line.label, line.data[2].text in ("outside", "as published")) == ("POPE", True)
    warned = [w for w in report.warnings if "outside the published" in w]
    assert len(warned) == (line.data[2].text == "outside")


def test_the_page_of_conditions_holds_the_data():
    page = (Path(tops.__file__).parent / "docs/conditions.md").read_text(encoding="utf-8")
    for line in read_csv("unpruned.csv"):
        assert f"{float(line['value']):g} ({line['source']}" in page
