"""Hard and easy documents on answers whose truth is known."""

import numpy as np
import pytest
import synthetic_store

from tops.planning.plan import plan
from tops.reporting.build import make
from tops.reporting.data.difficulty import difficulties
from tops.reporting.data.results import collect
from tops.reporting.tables.difficulty import FEW
from tops.settings.schema import ColumnConfig, Experiment, RowConfig

BACKBONE = "llava-1.5-7b"
EXPERIMENT = Experiment(
    "groups",
    "groups",
    (BACKBONE,),
    tuple(ColumnConfig(b, b) for b in ("gqa", "pope", "mme", "textvqa_fidelity")),
    (
        RowConfig(("none",), "reference", levels=()),
        RowConfig(("tops", "divprune")),
        RowConfig(("random",), "control", seeds=(0, 1)),
        RowConfig(("downsampling",), "control"),
        RowConfig(("text_only",), "control", levels=()),
    ),
    {"77.8": {BACKBONE: 128}, "88.9": {BACKBONE: 64}},
)
# Which of 60 documents (two a picture) are right, at 88.9. GQA: every third is hard. POPE: six are. MME: none is.
RIGHT = {
    "none": lambda i, seed: True,
    "tops": lambda i, seed: i % 3 > 0 or i % 2 == 0,
    "divprune": lambda i, seed: i % 3 > 0 or i % 12 == 0,
    "random": lambda i, seed: i % 3 > 0 or (seed == 1 and i % 2 == 0),
    "text_only": lambda i, seed: False,
}
CONTROL = {"gqa": lambda i: i % 3 > 0, "pope": lambda i: i >= 6, "mme": lambda i: True}


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    root, stock = tmp_path_factory.mktemp("results"), synthetic_store.answers

    def decided(planned, documents, **more):
        cell = planned.cell
        name, method = cell.benchmark.name, cell.method.name
        own = CONTROL.get(name) if method == "downsampling" else lambda i: RIGHT[method](i, cell.seed)
        return stock(planned, documents, right=own, **more)

    def wanted(planned):
        lacks = planned.row.level == "77.8" and planned.row.method == "downsampling"
        return not lacks and planned.cell.benchmark.name != "textvqa_fidelity"

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(synthetic_store, "answers", decided)
        synthetic_store.fill(root, EXPERIMENT, documents=60, only=wanted)
    return make(collect(plan(EXPERIMENT, "miniature", results=root), root))


def test_groups_are_what_the_control_gets_wrong_and_right(report):
    (found,) = difficulties(report.resamples)  # none at 77.8, whose control has no answers; none of a loss
    assert (found.level, found.control.method) == ("88.9", "downsampling")
    sizes = {slug: [(g.documents, g.clusters, g.told) for g in pair.values()] for slug, pair in found.groups.items()}
    assert sizes == {
        "gqa": [(20, 20, True), (40, 30, True)],
        "pope": [(6, 3, False), (54, 27, True)],
        "mme": [(0, 0, False), (60, 30, True)],
    }
    points = {
        row.method: [found.groups["gqa"][name].scores[row].point for name in ("hard", "easy")] for row in found.rows
    }
    assert points == {
        "none": [100, 100],
        "tops": [50, 100],
        "divprune": [25, 100],
        "random": [25, 100],  # 0 and 50 by seed
        "text_only": [0, 0],
    }
    assert found.groups["pope"]["hard"].scores == {}


def test_the_suite_takes_benchmarks_with_enough_hard_documents(report):
    (found,) = difficulties(report.resamples)
    suite = {row.method: found.suite("hard", row) for row in found.rows}
    assert {method: d.point for method, d in suite.items()} == {
        "none": 100, "tops": 50, "divprune": 25, "random": 25, "text_only": 0
    }  # fmt: skip
    easy = {row.method: found.suite("easy", row).point for row in found.rows}
    assert easy["tops"] == pytest.approx((100 + 100 * 45 / 54 + 100 * 50 / 60) / 3)
    hard = suite["tops"].interval
    assert hard.units == 20
    assert 26 < hard.low < 32 < 68 < hard.high < 74  # ten of twenty
    assert np.isfinite(suite["tops"].resampled).all()


def test_the_table_says_too_few_and_no_number(report):
    (table,) = [t for t in report.more if t.name == f"groups_hard_{BACKBONE}"]
    place = [(h.group, h.title) for h in table.headers]
    lines = {line.label: line for line in table.lines}
    sizes = lines.pop("Documents")
    assert [d.text for d in sizes.data[:6]] == ["20 (20)", "40 (30)", "6 (3)", "54 (27)", "0 (0)", "60 (30)"]
    assert list(lines) == ["Unpruned", "TOPS", "DivPrune", "Random", "Text only"]
    for line in lines.values():
        for benchmark in ("POPE", "MME"):
            datum = line.data[place.index((benchmark, "hard"))]
            assert (datum.value, datum.reason) == (None, FEW)
    tops = dict(zip(place, lines["TOPS"].data, strict=True))
    assert tops["GQA", "hard"].text.startswith("50.0 [")
    assert tops["Suite hard", "score [95 %]"].value == 50.0
    assert tops["Suite hard", "rank"].text == "1"
    assert dict(zip(place, lines["Random"].data, strict=True))["Suite hard", "rank"].text == "2.5"  # a tie
    assert dict(zip(place, lines["Unpruned"].data, strict=True))["Suite hard", "rank"].text == ""
    assert "77.8" not in "".join(line.section for line in table.lines)


def test_without_a_downsampling_control_there_is_no_table(report):
    assert len([t for t in report.more if "_hard_" in t.name]) == 1
