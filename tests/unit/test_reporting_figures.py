"""Figures from a synthetic store, and the measures they print."""

import base64
import json
from dataclasses import replace

import numpy as np
import pytest
from synthetic_store import fill

from tops.drawing import Places, Sheet
from tops.planning.plan import Row, plan
from tops.reporting.build import make
from tops.reporting.data.kept import Kept, gini, jaccard, kept_tokens, normalised_entropy
from tops.reporting.data.results import collect
from tops.reporting.data.samples import _bits, browser_data, grid
from tops.reporting.figures.figures import write_figures
from tops.reporting.figures.frontier import frontier
from tops.reporting.figures.kept_figures import _map
from tops.reporting.figures.qualitative import _shaded
from tops.reporting.figures.style import look, place, places, styled
from tops.reporting.tables.efficiency import Measured, mismatch
from tops.settings.schema import ColumnConfig, Experiment, PaperReference, RowConfig

BACKBONE = "llava-1.5-7b"
LEVELS = {"77.8": {BACKBONE: 128}, "88.9": {BACKBONE: 64}, "94.4": {BACKBONE: 32}}
BENCHMARKS = tuple(ColumnConfig(b, b) for b in ("gqa", "pope", "mme"))
REFERENCE = RowConfig(("none",), "reference", levels=())
WEIGHTS = {f"alpha={a};lambda={x}": {"alpha": a, "lam": x} for a in (0.5, 1) for x in (0.5, 1)}


def experiment(name, rows, **more):
    return Experiment(name, name, (BACKBONE,), BENCHMARKS, (REFERENCE, *rows), LEVELS, **more)


EXPERIMENTS = {
    "budgets": experiment("budgets", (RowConfig(("divprune", "tops")), RowConfig(("random",), "control"))),
    "radar": experiment("radar", (RowConfig(("divprune", "tops")),), paper=PaperReference(figures=(13,))),
    "weights": experiment("weights", (RowConfig(("tops",), variants=WEIGHTS, levels=("88.9",)),)),
    "places": experiment("places", (RowConfig(("tops",), levels=("88.9",)),), record_kept=True),
}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    root = tmp_path_factory.mktemp("results")
    for each in EXPERIMENTS.values():
        fill(root, each, documents=8)
    return root


def made(store, name):
    return make(collect(plan(EXPERIMENTS[name], "miniature", results=store), store)).resamples


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_a_figure_is_written_as_vector_and_picture(store, tmp_path, name):
    files, pictures = write_figures(made(store, name), tmp_path)
    drawn = {f.suffix for f in files if name in f.stem.removeprefix(name)}
    assert drawn == {".svg", ".pdf", ".png"}
    assert all(p.title.startswith("Miniature, not comparable") for p in pictures)


def test_selections_are_drawn_as_places_evenness_and_documents(tmp_path):
    fill(tmp_path, EXPERIMENTS["places"], documents=4, pictures=True)
    files, pictures = write_figures(made(tmp_path, "places"), tmp_path / "out")
    stems = {f.stem.split("_")[1] for f in files}
    assert stems == {"places", "evenness", "documents"}
    (page,) = [f for f in files if "documents" in f.stem and f.suffix == ".pdf"]
    assert page.stat().st_size < 1_000_000
    assert [f.suffix for f in files if "documents" in f.stem] == [".pdf", ".png"]  # the page draws its own
    assert not any("disagree" in p.title for p in pictures)


def test_the_frontier_sets_scores_against_measured_time_and_names_who_is_absent(store, tmp_path):
    times = {"none": 100.0, "divprune": 60.0, "tops": 50.0}
    row = {"visual_tokens_per_layer": [], "over_limit": 0.1}
    rows = [
        {**row, "method": m, "protocol": "" if m == "none" else "layer_average", "prefill_ms": {"median": t, "p95": t}}
        for m, t in times.items()
    ]
    setting = {"model": "miniature of LLaVA-1.5-7B", "visual_tokens": 576, "budget": 64}
    record = {"benchmark": "efficiency", "setting": setting, "machine": {"device": "cpu"}, "repeats": 3, "rows": rows}
    (tmp_path / "efficiency.json").write_text(json.dumps(record))
    found = collect(plan(EXPERIMENTS["budgets"], "miniature", results=store), store)
    report = make(found, efficiency=tmp_path / "efficiency.json")
    with styled():
        ((name, text, figure),) = frontier(report.resamples, report.measured)
    assert name == f"frontier_{BACKBONE}_88.9"
    assert "Without Random (not among the methods that were measured)." in text
    drawn = {line.get_label(): line for line in figure.axes[1].lines if line.get_marker() in "os*D^v"}
    assert sorted(float(line.get_xdata()[0]) for line in drawn.values()) == [50.0, 60.0, 100.0]
    assert list(frontier(report.resamples, make(found).measured)) == []


def test_a_time_is_set_beside_the_budget_of_its_own_model(tmp_path):
    results = collect(
        plan("table1", "miniature", results=tmp_path), tmp_path
    )  # 77.8 %: 32 of 144, and 64 of 288 tokens
    rows = {"tops": {"protocol": "layer_average"}}
    measured = Measured({"model": "miniature of LLaVA-NeXT-7B", "budget": 80, "visual_tokens": 720}, rows=rows)
    said = {
        row.level: mismatch(results, measured, "llava-next-7b", row)
        for row in results.rows("llava-next-7b")
        if results.is_subject(row) and row.protocol == "layer_average"
    }
    assert said["77.8"] == "measured at 80 of 720 tokens, not 64 of 288"
    assert said["88.9"] == ""


def test_what_a_page_calls_kept_is_what_was_stored():
    kept = [0, 5, 143]
    mask = np.unpackbits(np.frombuffer(base64.b64decode(_bits(kept, 144)), np.uint8)).astype(bool)
    assert np.flatnonzero(mask).tolist() == kept
    shaded = _shaded(np.full((24, 24, 3), 200, np.uint8), mask.reshape(12, 12))
    assert (shaded[:2, :2] == 200).all()
    assert (shaded[:2, 2:4] < 100).all()


def test_no_two_methods_look_alike():
    rows = [Row(f"m{i}", f"m{i}", "method", "88.9", "layer_average", "") for i in range(13)]
    number = places(rows)
    drawn = [look(row, number[place(row)]) for row in rows]
    assert len({(d["color"], d["linestyle"], d["marker"]) for d in drawn}) == 13


def test_figures_are_the_same_bytes_every_time(store, tmp_path):
    first = write_figures(made(store, "weights"), tmp_path / "a")[1]
    assert first[0].svg == write_figures(made(store, "weights"), tmp_path / "b")[1][0].svg


def test_an_empty_store_has_no_figures(tmp_path):
    assert write_figures(made(tmp_path, "budgets"), tmp_path) == ([], [])


def test_a_control_without_the_picture_has_no_places_on_it(tmp_path):
    blind = {"placing": "tiles", "sheets": []}
    fill(tmp_path, EXPERIMENTS["places"], documents=4, pictures=True, kept={"0": [0, 5], "places": blind})
    data = browser_data(made(tmp_path, "places"))
    assert data["places"] == []
    assert {a["places"] for d in data["documents"] for a in d["answers"].values()} == {None}


def test_evenness():
    even, single = np.full(16, 0.5), np.eye(16)[0]
    assert gini(even) == pytest.approx(0)
    assert gini(single) == pytest.approx(15 / 16)
    assert normalised_entropy(even) == pytest.approx(1)
    assert normalised_entropy(single) == 0
    assert np.isnan(gini(np.zeros(3)))
    assert gini(np.array([1.0, 3.0])) == pytest.approx(0.25)


def test_agreement_is_shared_over_joint():
    a = np.array([[1, 1, 0, 0], [1, 0, 0, 0]], dtype=bool)
    b = np.array([[0, 1, 1, 0], [1, 0, 0, 0]], dtype=bool)
    assert jaccard(a, b) == pytest.approx((1 / 3 + 1) / 2)


def test_kept_tokens_come_by_cut(store):
    u = made(store, "places")
    record = next(r for r in u.results.records() if r.spec.method.name == "tops")
    stages = kept_tokens(record)
    assert list(stages) == [0, 4]
    assert stages[4].mask.sum(axis=1).tolist() == [16] * 8
    assert isinstance(stages[0], Kept)
    assert 0 < stages[4].gini < 1


def test_maps_follow_the_true_layout_of_tiles_and_leave_newlines_out(store, tmp_path):
    """An overview of 2 x 2 and a stitched view of 2 x 3 with a newline after each row: token 4 + 4 r + c."""
    lie = Places("whole", (Sheet(0, 0, 2, 2, 0, 2), Sheet(0, 1, 2, 3, 4, 4)))
    other = Places("whole", (Sheet(0, 0, 2, 2, 0, 2), Sheet(0, 1, 3, 2, 4, 3)))
    tops = next(r for r in made(store, "places").results.records() if r.spec.method.name == "tops")
    alone = replace(tops, path=tmp_path)
    kept = {"0": [0, 3, 9, 11], "places": lie.to_json()}
    told = [replace(a, kept=kept, visual_tokens_per_layer=(4,) * 8) for a in tops.answers()]
    told[-1] = replace(told[-1], kept={"0": [1], "places": other.to_json()})
    (tmp_path / "answers.jsonl").write_bytes(b"".join(a.to_line() for a in told))
    stage = kept_tokens(alone, dict.fromkeys(range(8), 12))[0]
    assert stage.mask.shape == (7, 10)
    assert [g.tolist() for g in stage.grids] == [[[1, 0], [0, 1]], [[0, 0, 0], [0, 1, 0]]]
    drawn = _map(stage, alone)
    assert drawn.shape == (2, 6)
    assert np.isnan(drawn[:, 2]).all()
    assert drawn[1, 4] == 1.0
    assert stage.gini == pytest.approx(gini(np.array([1, 1, 1] + [0] * 7)))


def test_a_cut_before_the_model_does_not_hide_how_many_tokens_there_were(store, tmp_path):
    u = made(store, "places")
    tops = next(r for r in u.results.records() if r.spec.method.name == "tops")
    alone = replace(tops, path=tmp_path)
    few = [replace(a, kept={"0": [3, 7]}, visual_tokens_per_layer=(2,) * 8) for a in tops.answers()]
    (tmp_path / "answers.jsonl").write_bytes(b"".join(a.to_line() for a in few))
    assert kept_tokens(alone)[0].mask.shape == (8, 8)
    assert kept_tokens(alone, dict.fromkeys(range(8), 144))[0].mask.shape == (8, 144)
    assert kept_tokens(alone, {i: 144 if i else 288 for i in range(8)})[0].mask.shape == (7, 144)


def test_cells_of_another_experiment_that_recorded_nothing_are_named(store, tmp_path):
    places = EXPERIMENTS["places"]
    fill(tmp_path, places, documents=2, only=lambda p: p.column.slug == "gqa")
    assert make(collect(plan(places, "miniature", results=tmp_path), tmp_path)).warnings == ()
    fill(tmp_path, places, documents=2, only=lambda p: p.column.slug == "pope", record=False)
    (warning,) = make(collect(plan(places, "miniature", results=tmp_path), tmp_path)).warnings
    assert warning.startswith("1 of 2 cells hold no kept tokens")


def test_seeds_that_agree_with_all_others_tie(tmp_path):
    five = experiment("five", (RowConfig(("tops",)), RowConfig(("random",), "control", seeds=(0, 1, 2, 3, 4))))
    fill(tmp_path, five, documents=8, right=lambda i: i % 3 > 0)
    report = make(collect(plan(five, "miniature", results=tmp_path), tmp_path))
    tables = {t.name: t for t in report.more}
    assert {line.data[-1].text for t in ("five_best", "five_paired") for line in tables[t].lines} == {"tie"}
    assert not any("-0.0" in d.text for t in report.more for line in t.lines for d in line.data)


def test_an_unknown_layout_is_never_drawn_on_the_picture():
    assert grid("llava-1.5", 576) == {"side": 24, "map": True, "visual": 576, "tiles": 1}
    assert grid("llava-next", 2880) == {"side": 24, "map": True, "visual": 2880, "tiles": 5}
    assert not grid("qwen2.5-vl", 1296)["map"]


def test_the_browser_gets_disputed_and_first_documents(store):
    data = browser_data(made(store, "budgets"), per_benchmark=3)
    assert len(data["documents"]) == 9
    assert {d["id"] for d in data["documents"]} >= {0}
    assert all(set(d["answers"]) for d in data["documents"])
