"""Every table and figure of the paper has its target, and what it draws is what the paper shows."""

import json
import re
from pathlib import Path

import pytest
from synthetic_store import fill

from tops.planning.plan import PlanStatus, plan
from tops.reporting.build import make, write_settings
from tops.reporting.data.results import collect
from tops.reporting.figures.figures import write_figures
from tops.reporting.tables.settings import settings_tables
from tops.settings.choices import choice_names, load_experiment

MAKEFILE = (Path(__file__).parents[2] / "Makefile").read_text(encoding="utf-8")


def numbers(name):
    return re.search(rf"^{name} := ([\d ]+)", MAKEFILE, re.M)[1].split()


def test_make_reproduces_every_table_and_figure():
    assert sorted(map(int, numbers("TABLES"))) == [1, 2, 3, 4, 5, 6, *range(11, 18)]
    assert all(f"reproduce-table{n}" in MAKEFILE for n in (7, 8, 9, 10))  # data, not runs
    assert sorted(map(int, numbers("FIGURES"))) == [1, 2, *range(4, 19)]  # 3 is a drawing
    shown = {f"{kind}{n}" for kind, name in (("table", "TABLES"), ("figure", "FIGURES")) for n in numbers(name)}
    studies = set(re.search(r"^STUDIES := (.*)", MAKEFILE, re.M)[1].split())
    assert shown | studies <= set(choice_names("experiment"))
    assert {"principles", "readings", "hallucination", "protocols", "falsification"} <= studies


@pytest.mark.parametrize(
    ("name", "backbones", "acc"),
    [("figure17", ("llava-video-7b",), "video"), ("figure18", ("qwen2.5-vl-7b", "internvl3-8b"), "advanced")],
)
def test_a_radar_is_of_the_models_and_the_rule_of_its_table(name, backbones, acc):
    found = load_experiment(name)
    assert (found.backbones, found.acc) == (backbones, acc)


def test_tables_7_to_10_are_pages_of_the_papers_data(tmp_path):
    seven, eight, nine, ten = settings_tables()
    assert [len(t.lines) for t in (seven, eight, nine, ten)] == [12, 7, 12, 6]
    assert [d.text for d in nine.lines[0].data] == ["128", "576 > 256 > 128 > 32", "12, 24", "152.0", "18.8"]
    assert {p.name for p in write_settings([seven, nine], tmp_path)} >= {"settings.html", "table9.csv", "settings.tex"}


@pytest.mark.parametrize("table", ["table5", "table6", "table15", "table16", "table17"])
def test_ablations_have_the_printed_schedule_beside_the_matched_one(table):
    rows = {(r.protocol, r.variant) for r in plan(table, "paper", status=False).rows if r.method == "tops"}
    both = {variant for protocol, variant in rows if protocol == "as_printed"}
    assert both
    assert both <= {variant for protocol, variant in rows if protocol == "layer_average"}


def test_table_6_has_both_readings_of_one_stage_alone():
    found = plan("table6", "paper", status=False)
    counts = {
        (c.row.protocol, c.row.variant): (c.cell.method.options["counts"], c.cell.method.options["cut_layers"])
        for c in found.cells
        if c.row.method == "tops"
    }
    assert counts["as_printed", "stage=s2"] == ([128, 32], None)
    assert counts["layer_average", "stage=s2"] == (None, [2, 14])
    assert not [c for c in plan("table6", "miniature", status=False).cells if c.status is PlanStatus.REFUSED]


def test_principles_go_over_all_fourteen_benchmarks_and_are_crossed_by_stage():
    found = load_experiment("principles")
    assert len({c.benchmark for c in found.benchmarks}) == 14
    crossed = {r.variant for r in plan(found, "paper", status=False).rows if r.variant.startswith("stage1=")}
    assert len(crossed) == 18
    options = plan("table5", "paper", status=False).cells[-1].cell.method.options
    assert "stage1_principles" not in options  # earlier cells keep their keys


def test_each_reading_departs_once_from_the_default():
    cells = [
        c for c in plan("readings", "paper", status=False).cells if c.row.method == "tops" and c.column.slug == "gqa"
    ]
    default = next(c.cell.method.options for c in cells if not c.row.variant and c.row.protocol == "layer_average")
    changed = {c.row.variant: {k for k, v in c.cell.method.options.items() if default.get(k) != v} for c in cells}
    assert {len(keys) for variant, keys in changed.items() if variant and variant != "stage1=stage2"} == {1}
    assert {k for keys in changed.values() for k in keys} >= {
        *("normalisation", "attention_layer", "per_tile", "cls_layer", "heads", "positions", "rater"),
        *("stage1_features", "newlines", "lam", "cut_layers"),
    }


def test_figure_1_has_an_axis_per_model(tmp_path):
    wanted = ("none", "tops", "divprune")
    names = ["llava-1.5-7b", "qwen2.5-vl-7b", "internvl3-8b"]
    chosen = {"only": lambda p: p.row.method in wanted and p.column.backbone in names}
    fill(tmp_path, "figure1", documents=6, **chosen)
    found = plan("figure1", "miniature", results=tmp_path, backbones=names)
    resamples = make(collect(found, tmp_path)).resamples
    _, pictures = write_figures(resamples, tmp_path / "figures")
    (picture,) = [p for p in pictures if "Each model" in p.title]
    assert "without FastV, SparseVLM" in picture.title


def test_printed_costs_stand_beside_ours_and_times_are_judged_on_the_papers_gpu_alone(tmp_path):
    only = {"only": lambda p: p.row.method in ("none", "tops") and p.row.protocol != "as_printed"}
    fill(tmp_path, "table4", "paper", documents=6, layers=lambda p: 2880 if p.cell.budget is None else 320, **only)
    speed = {"median": 90.0, "p95": 99.0}
    rows = [
        {"method": m, "protocol": "layer_average", "prefill_ms": s, "over_limit": 0.0, "peak_memory_bytes": b}
        for m, s, b in (("none", {"median": 270.0, "p95": 280.0}, 16.7e9), ("tops", speed, 14.8e9))
    ]
    setting = {"model": "LLaVA-NeXT-7B", "budget": 320, "visual_tokens": 2880}
    for gpu, verdict in (("NVIDIA A800 80GB", "agrees"), ("NVIDIA H200", "another machine")):
        record = {"benchmark": "efficiency", "setting": setting, "repeats": 3, "rows": rows}
        record["machine"] = {"device": "cuda", "gpu": gpu}
        file = tmp_path / "efficiency.json"
        file.write_text(json.dumps(record))
        report = make(collect(plan("table4", "paper", results=tmp_path), tmp_path), efficiency=file)
        table = next(t for t in report.more if t.name == "table4_costs")
        said = {(line.label, line.data[0].text): line.data[3].text for line in table.lines}
        assert said["TOPS", "Tokens"] == "agrees"
        assert said["TOPS", "Latency (ms)"] == verdict
        assert said["FastV", "Tokens"] == "not compared"
