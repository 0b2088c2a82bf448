"""Reports on a synthetic store: real scorers and aggregation, invented answers."""

import csv
import io
import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import synthetic_store
from synthetic_store import fill

from tops.cli.main import main
from tops.errors import DataError
from tops.paper.aggregation import printed_rule, proper_rule
from tops.paper.published import TABLES, published_value
from tops.planning.plan import PlanStatus, plan
from tops.planning.printed import compared_rows, printed_rows
from tops.planning.request import request
from tops.reporting.build import make, write_tables
from tops.reporting.data.mixing import unmixed
from tops.reporting.data.results import collect
from tops.reporting.data.scores import aggregate, scale_of
from tops.reporting.tables import render
from tops.reporting.tables.comparison import matches, missing, verdict
from tops.reporting.tables.table import Header, Line, Table, hole, letter, number
from tops.settings.schema import ColumnConfig, Experiment, PaperReference, RowConfig
from tops.statistics.comparison import mcnemar
from tops.statistics.intervals import Interval
from tops.store.store import Store

BACKBONE = "llava-1.5-7b"
BENCHMARKS = ("gqa", "scienceqa_img", "textvqa", "pope", "mme", "mmbench_en", "mmbench_cn", "mmvet")
SMALL = Experiment(
    name="small",
    title="Small <experiment> & more",
    backbones=(BACKBONE,),
    benchmarks=tuple(ColumnConfig(b, b) for b in BENCHMARKS),
    rows=(
        RowConfig(("none",), "reference", levels=()),
        RowConfig(("divprune", "visionzip", "tops")),
        RowConfig(("random",), "control", seeds=(0, 1)),
        RowConfig(("downsampling",), "control"),
        RowConfig(("text_only",), "control", levels=()),
    ),
    levels={"77.8": {BACKBONE: 128}, "88.9": {BACKBONE: 64}},
    paper=PaperReference(tables=(11,)),
)
BY_LEVEL = replace(SMALL, name="bylevel", paper=PaperReference(tables=(1,)), layout="levels")


def collected(root, experiment=SMALL, profile="miniature"):
    return collect(plan(experiment, profile, results=root), root)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    root = tmp_path_factory.mktemp("results")
    fill(root, SMALL, documents=24)
    return root


@pytest.fixture(scope="module")
def paper_store(tmp_path_factory):
    root = tmp_path_factory.mktemp("paper")
    fill(root, SMALL, "paper", documents=24, only=lambda p: p.row.method in ("none", "tops", "divprune", "random"))
    return root


@pytest.fixture(scope="module")
def report(store):
    return make(collected(store))


def lines(table, label):
    return [line for line in table.lines if line.label == label]


def test_rows_and_columns_stand_in_the_papers_order(report):
    (table,) = report.main
    assert [h.title for h in table.headers] == [
        *("GQA", "SQA", "TextVQA", "POPE", "MME", "MMB-EN", "MMB-CN", "MM-Vet", "Acc", "Rel (%)")
    ]
    assert [line.label for line in table.lines[:4]] == ["Unpruned", "DivPrune", "VisionZip", "TOPS"]


def test_numbers_are_those_of_the_store(report, store):
    results = collected(store)
    (tops,) = [r for r in results.rows(BACKBONE) if r.method == "tops" and r.level == "77.8"]
    (line,) = [x for x in lines(report.main[0], "TOPS") if "77.8" in x.section]
    for column, datum in zip(results.columns(BACKBONE), line.data[:7], strict=False):
        record = results.entries[tops, column].records[0]
        metric = {"pope": "f1", "mme": "perception"}.get(column.slug, "accuracy")
        assert datum.value == record.scores[record.default_scorer]["metrics"][metric]
        assert datum.cells == (record.key,)


def test_rel_is_never_rounded_twice(store):
    results = collected(store)
    scale = scale_of(results, BACKBONE)
    row = next(r for r in results.rows(BACKBONE) if r.method == "tops")
    found, base = aggregate(results, scale, row), aggregate(results, scale, results.reference(BACKBONE))
    assert found.rel == 100 * found.acc / base.acc
    assert found.acc != round(found.acc, 1)


def test_benchmarks_that_the_paper_does_not_have_count_in_acc_by_their_best_score(tmp_path):
    columns = tuple(ColumnConfig(b, b) for b in ("gqa", "mme", "ocrbench", "docvqa"))
    exp = replace(SMALL, name="others", benchmarks=columns, paper=PaperReference())
    scale = scale_of(collected(tmp_path, exp, "paper"), BACKBONE)
    assert scale.rule.divisors == {"gqa": 1, "mme": 20, "ocrbench": 10, "docvqa": 1}
    assert scale.rule.text == "mean of the 4 benchmarks shown, MME / 20, OCRBench / 10"
    assert not scale.whole
    small = scale_of(collected(tmp_path, exp), BACKBONE)
    assert list(small.slugs) == ["gqa", "mme", "ocrbench"]
    assert "without DocVQA (refused: DocVQA has no miniature documents" in small.note


def test_too_few_documents_are_said_in_words_and_nothing_is_nan(tmp_path):
    fill(tmp_path, SMALL, documents=2)
    report = make(collect(plan(SMALL, "miniature", results=tmp_path), tmp_path))
    assert any("too few independent documents for an interval" in sentence for sentence in report.summary)
    texts = [d.text for t in [*report.main, *report.more] for line in t.lines for d in line.data]
    assert not [text for text in [*texts, *report.summary, report.verdict] if "nan" in text.lower().split()]


def test_newlines_stand_beside_the_visual_tokens_as_a_number_of_their_own(tmp_path, monkeypatch):
    stock = synthetic_store.answers

    def with_newlines(planned, documents, **more):
        pruned = planned.row.method != "none"
        return [replace(a, newlines_per_layer=() if pruned else (48,) * 8) for a in stock(planned, documents, **more)]

    monkeypatch.setattr(synthetic_store, "answers", with_newlines)
    fill(tmp_path, SMALL, documents=4, only=lambda p: p.column.slug == "gqa")
    table = next(
        t for t in make(collect(plan(SMALL, "miniature", results=tmp_path), tmp_path)).more if "controls" in t.name
    )
    place = [h.title for h in table.headers].index("tokens")
    told = {line.label: line.data[place] for line in table.lines}
    assert (told["Unpruned"].text, told["Unpruned"].under) == ("144.0", "+ 48.0 newlines")
    assert told["TOPS"].under == ""


def test_a_report_finds_a_sweep_and_a_suite_by_their_words(tmp_path, capsys):
    for words, multirun in (
        (["method=tops,divprune", "budget=64,32", "benchmark=pope,gqa", "seed=0,1"], True),
        (["suite=yes_no", "method=tops", "budget=64"], False),
    ):
        words = [*words, "profile=miniature", f"results={tmp_path / 'results'}"]
        planned = request(words, multirun=multirun).plan
        store = Store(tmp_path / "results", "miniature")
        for one in planned.unique().values():
            if one.status is PlanStatus.MISSING:
                synthetic_store._write(store, one, 24, False, False)
        out = f"reports={tmp_path / 'reports'}"
        assert main(["report", *(["-m"] if multirun else []), *words, out]) == 0
        (table,) = [Path(line) for line in capsys.readouterr().out.splitlines() if line.endswith(".md")][:1]
        assert table.stem == planned.experiment.name
        assert "TOPS" in table.read_text()
    assert main(["report", "-m", "experiment=table1", "profile=miniature"]) == 2
    assert "already a sweep" in capsys.readouterr().err


def test_an_unjudged_benchmark_is_left_out_for_all_and_said(report):
    table = report.main[0]
    assert all(line.data[7].text == "" and "not judged" in line.data[7].reason for line in table.lines)
    assert any("over 7 of 8 benchmarks, without MM-Vet" in note for note in table.notes)


def test_the_miniature_says_so_and_never_meets_the_paper(report):
    assert report.main[0].title.startswith("MINIATURE")
    assert all("MINIATURE" in t.title for t in report.more)
    assert not [t for t in report.more if t.name.endswith("_comparison")]


def test_untrained_weights_are_plumbing_only(store):
    results = collected(store)

    def untrained(record):
        return replace(record, spec=replace(record.spec, backbone=replace(record.spec.backbone, trained=False)))

    entries = {p: replace(e, records=tuple(map(untrained, e.records))) for p, e in results.entries.items()}
    report = make(replace(results, entries=entries))
    assert all("PLUMBING ONLY" in t.title for t in (*report.main, *report.more))
    assert "never trained" in report.warnings[0]


def test_seeds_are_averaged(store):
    results = collected(store)
    entry = next(e for (row, c), e in results.entries.items() if row.method == "random" and c.slug == "gqa")
    assert len(entry.values) == 2
    assert entry.value == sum(entry.values) / 2


def test_a_half_finished_store_gives_holes_with_reasons(tmp_path):
    fill(tmp_path, SMALL, documents=4, only=lambda p: p.row.method == "none" or p.column.slug == "gqa")
    report = make(collected(tmp_path))
    (line,) = [x for x in lines(report.main[0], "TOPS") if "77.8" in x.section]
    assert line.data[0].value is not None
    assert line.data[1].reason == "not run yet"
    assert "benchmarks without a number" in line.data[9].reason


def test_an_empty_store_gives_a_table_of_holes(tmp_path):
    report = make(collected(tmp_path, BY_LEVEL))
    assert all(d.text == "" and d.reason for line in report.main[0].lines for d in line.data)
    assert report.warnings == ()


def test_a_machine_with_other_packages_and_no_data_reads_the_same_numbers(store):
    def elsewhere(one):
        cell = replace(one.cell, versions={"torch": "9.9"}, backbone=replace(one.cell.backbone, revision=""))
        return replace(one, cell=cell, status=PlanStatus.MISSING)

    here = plan(SMALL, "miniature", results=store)
    there = replace(here, cells=tuple(elsewhere(one) for one in here.cells))
    values = [{p: e.value for p, e in collect(x, store).entries.items()} for x in (here, there)]
    assert values[0] == values[1]


def test_table_1_shows_rel_by_backbone_and_level(store):
    table = make(collected(store, BY_LEVEL)).main[0]
    assert {h.group for h in table.headers} == {"LLaVA-1.5-7B"}
    assert len(table.headers) == 2
    assert [d.text for d in lines(table, "Unpruned")[0].data] == ["100.0", "100.0"]


def test_a_stored_score_that_its_answers_do_not_give_is_named(tmp_path):
    fill(tmp_path, SMALL, documents=4, only=lambda p: p.column.slug == "gqa")
    file = next(p for p in tmp_path.rglob("scores.json") if '"accuracy"' in p.read_text())
    file.write_text(re.sub(r'("accuracy": )[\d.]+', r"\g<1>12.5", file.read_text()))
    report = make(collected(tmp_path))
    assert not any("12.5" in d.text for t in report.main for x in t.lines for d in x.data)
    assert any("scores.json changed after the cell was complete" in w for w in report.warnings)


def test_a_cell_whose_answers_are_damaged_is_a_hole_and_is_named(tmp_path):
    fill(tmp_path, SMALL, documents=4, only=lambda p: p.column.slug == "gqa")
    results = collected(tmp_path)
    (row,) = [r for r in results.rows(BACKBONE) if r.method == "tops" and r.level == "77.8"]
    file = results.entries[row, results.columns(BACKBONE)[0]].records[0].path / "answers.jsonl"
    file.write_bytes(file.read_bytes()[:-40])
    report = make(collected(tmp_path))
    shown = {x.label: x.data[0] for x in report.main[0].lines if "77.8" in x.section}
    assert "answers.jsonl changed after the cell was complete" in shown["TOPS"].reason
    assert shown["DivPrune"].value is not None
    assert any("TOPS on gqa" in w and "results check" in w for w in report.warnings)


def versions(planned):
    return {"versions": {"torch": "2.0", "transformers": "4.9" if planned.row.method == "divprune" else "5.0"}}


def test_other_package_versions_are_marked_and_cannot_win(tmp_path):
    fill(tmp_path, SMALL, documents=8, only=lambda p: p.column.slug == "gqa", provenance=versions)
    report = make(collected(tmp_path))
    (line,) = [x for x in lines(report.main[0], "DivPrune") if "77.8" in x.section]
    assert "transformers 4.9 instead of 5.0" in line.data[0].mark
    assert line.data[0].value is not None
    best = next(t for t in report.more if t.name.endswith("_best"))
    assert not any("DivPrune" in d.text for x in best.lines for d in x.data)
    assert any("DivPrune on gqa" in w for w in report.warnings)


@pytest.mark.parametrize(
    ("part", "change", "reason"),
    [
        ("benchmark", {"prompt": {"ocr": False}}, "other prompt settings"),
        ("benchmark", {"limit": 3}, "other document limit"),
        ("budget", {"protocol": "kept"}, "budget protocol kept in a row of layer_average"),
    ],
)
def test_other_questions_and_budgets_are_refused(store, part, change, reason):
    results = collected(store)
    place = next(p for p in results.entries if p[0].method == "tops" and p[1].slug == "gqa")
    entry = results.entries[place]
    record = entry.records[0]
    spec = replace(record.spec, **{part: replace(getattr(record.spec, part), **change)})
    mixed = {**results.entries, place: replace(entry, records=(replace(record, spec=spec),))}
    clean = unmixed(replace(results, entries=mixed))
    assert clean.entries[place].value is None
    assert reason in clean.entries[place].reason
    assert any("TOPS on gqa" in w for w in clean.warnings)


def test_paper_and_reproduction_stand_side_by_side_with_a_verdict(paper_store):
    report = make(collected(paper_store, profile="paper"))
    table = next(t for t in report.more if t.name.endswith("_comparison"))
    (line,) = [x for x in lines(table, "TOPS") if "77.8" in x.section and x.data[0].text == "GQA"]
    assert line.data[3].text == str(published_value("11", BACKBONE, "tops", 128, "gqa"))
    assert line.data[5].text in ("agrees", "differs", "cannot tell")
    assert not [x for x in table.lines if x.data[0].text.startswith(("Acc", "Rel"))]  # MM-Vet has no number
    assert not lines(table, "Random")


@pytest.mark.parametrize(
    ("ours", "complete", "expected"),
    [
        (Interval(60.4, 59, 62, 0.7, 500), True, "agrees"),
        (Interval(60.4, 59, 62, 0.7, 500), False, "cannot tell"),
        (Interval(60.1, 59.9, 60.3, 0.1, 500), False, "agrees"),
        (Interval(62.0, 59, 65, 1.5, 500), True, "cannot tell"),
        (Interval(62.0, 61, 63, 0.5, 500), True, "differs"),
        (Interval(62.0, float("nan"), float("nan"), float("nan"), 1), True, "cannot tell"),
    ],
)
def test_verdicts(ours, complete, expected):
    assert verdict(60.0, ours, 0.5, complete=complete) == expected


def test_controls_table_knows_budgets_flips_and_blind_scores(report):
    table = next(t for t in report.more if t.name.endswith("_controls"))
    place = {h.title: i for i, h in enumerate(table.headers)}
    (line,) = [x for x in lines(table, "TOPS") if "77.8" in x.section]
    assert line.data[place["tokens"]].value == pytest.approx((144 + 7 * 32) / 8)
    assert line.data[place["lost %"]].value > 0
    assert line.data[place["− blind"]].value > 20
    assert lines(table, "Unpruned")[0].data[place["lost %"]].text == ""


def test_flops_of_the_miniature_are_of_its_own_widths(report):
    table = next(t for t in report.more if t.name.endswith("_controls"))
    (line,) = [x for x in lines(table, "TOPS") if "77.8" in x.section]
    flops = sum(2 * (4 * n * 128**2 + 2 * n**2 * 128 + 3 * n * 128 * 384) for n in (144, *[32] * 7))
    assert table.headers[1].title == "GFLOPs"
    assert line.data[1].value == pytest.approx(flops / 1e9)


def test_tops_meets_every_row_of_its_budget_on_the_same_documents(report, store):
    table = next(t for t in report.more if t.name.endswith("_paired"))
    assert [x.label for x in table.lines[:5]] == ["Unpruned", "DivPrune", "VisionZip", "Random", "Image downsampling"]
    results, n, only_ours, only_theirs = collected(store), 0, 0, 0
    rows = {r.method: r for r in results.rows(BACKBONE) if r.level == "77.8"}
    for column in results.columns(BACKBONE)[:7]:
        tops, divprune = (list(results.entries[rows[m], column].records[0].answers()) for m in ("tops", "divprune"))
        for a, b in zip(tops, divprune, strict=True):
            (mine, theirs) = (next(iter(x.scores.values()))["score"] >= 0.5 for x in (a, b))
            n, only_ours, only_theirs = n + 1, only_ours + (mine and not theirs), only_theirs + (theirs and not mine)
    assert [d.value for d in table.lines[1].data[3:6]] == [n, only_ours, only_theirs]
    alone = mcnemar([False] * only_ours + [True] * only_theirs, [True] * only_ours + [False] * only_theirs).p
    assert table.lines[1].data[6].value >= alone


def test_a_budget_that_means_something_else_is_neither_ranked_nor_hidden(tmp_path):
    rows = (*SMALL.rows[:2], RowConfig(("tops",), protocol="as_printed"), RowConfig(("random",), "control"))
    other = replace(SMALL, name="other", rows=rows, levels={"88.9": {BACKBONE: 64}})
    fill(tmp_path, other, documents=6, layers=lambda p: 23 if p.row.protocol == "as_printed" else None)
    report = make(collected(tmp_path, other))
    label = "TOPS (schedule as printed)"
    (shown,) = lines(report.main[0], label)
    assert {d.under for d in shown.data if d.value is not None} == {"23.0 tokens", ""}
    assert shown.data[-1].under
    tables = {t.name.removeprefix("other_"): t for t in report.more}
    (ranked,) = lines(tables["intervals"], label)
    assert ranked.data[0].value is not None
    assert "not ranked" in ranked.data[2].reason
    assert not lines(tables["paired"], label)
    (control,) = (
        d
        for h, d in zip(tables["controls"].headers, lines(tables["controls"], label)[0].data, strict=True)
        if h.title == "− best control"
    )
    assert "another layer average" in control.reason


def test_acc_and_every_score_have_intervals(report):
    tables = {t.name.removeprefix("small_"): t for t in report.more}
    (main,) = [x for x in lines(report.main[0], "TOPS") if "77.8" in x.section]
    (whole,) = [x for x in lines(tables["intervals"], "TOPS") if "77.8" in x.section]
    assert [d.value for d in (whole.data[0], whole.data[5])] == pytest.approx([d.value for d in main.data[9:7:-1]])
    (scores,) = [x for x in lines(tables["scores"], "TOPS") if "77.8" in x.section]
    for datum, shown in zip(scores.data[:7], main.data[:7], strict=True):
        low, high = map(float, re.search(r"\[(.+), (.+)\]", datum.text).groups())
        assert low <= shown.value <= high
        assert datum.value == pytest.approx(shown.value)
    assert scores.data[7].text == ""
    assert "table of scores" in scores.data[7].reason


def test_table_2_shows_acc_by_both_rules(tmp_path):
    advanced = replace(
        SMALL,
        name="advanced",
        backbones=("qwen2.5-vl-7b",),
        benchmarks=tuple(ColumnConfig(b, b) for b in proper_rule("2").divisors),
        rows=(RowConfig(("none",), "reference", levels=()), RowConfig(("tops",))),
        levels={"80.2": {"qwen2.5-vl-7b": 256}},
        paper=PaperReference(tables=(2,)),
        acc="advanced",
    )
    fill(tmp_path, advanced, "paper", documents=12)
    (table,) = make(collected(tmp_path, advanced, "paper")).main
    assert [(h.group, h.title) for h in table.headers[-4:]] == [
        *(("proper", "Acc"), ("proper", "Rel (%)"), ("as in the paper", "Acc"), ("as in the paper", "Rel (%)"))
    ]
    (line,) = lines(table, "TOPS")
    scores = {c: d.value for c, d in zip(proper_rule("2").divisors, line.data, strict=False)}
    assert line.data[-4].value == pytest.approx(proper_rule("2").acc(scores))
    assert line.data[-2].value == pytest.approx(printed_rule("2").acc(scores))


def test_best_is_bold_only_beyond_chance(report):
    best = next(t for t in report.more if t.name.endswith("_best"))
    beyond = sum(line.data[-1].text == "beyond chance" for line in best.lines)
    assert beyond == sum(d.bold for line in report.main[0].lines for d in line.data)
    assert beyond < len(best.lines)


def record(method, protocol="layer_average", milliseconds=50.0, decode=5.0):
    times = {"prefill_ms": {"median": milliseconds, "p95": 60.0}, "decode_ms": {"median": decode, "p95": 9.0}}
    return {"method": method, "protocol": protocol, "over_limit": 0.25, "peak_memory_bytes": 2_000_000_000, **times}


MEASURED = {
    "benchmark": "efficiency",
    "setting": {"model": "miniature of LLaVA-NeXT-7B", "budget": 80, "visual_tokens": 720},
    "machine": {"device": "cpu"},
    "repeats": 3,
    "rows": [record("none", ""), record("tops", decode=-1.0), record("visionzip", "kept")],
    "left_out": {"trim": "no text tower"},
}


def table_4(root, **more):
    results = collect(plan("table4", "miniature", results=root), root)
    (table,) = make(results, **more).main
    place = {h.title: i for i, h in enumerate(table.headers)}
    return {x.label: {t: x.data[i] for t, i in place.items()} for x in table.lines}


def test_table_4_joins_the_store_with_the_efficiency_benchmark(tmp_path):
    fill(tmp_path, "table4", documents=6)
    without = table_4(tmp_path)["TOPS"]
    assert without["prefill (ms)"].reason.startswith("not measured: run `tops bench efficiency --json")
    assert without["F1"].value is not None
    folder = tmp_path / "benchmarks"
    folder.mkdir()
    (folder / "efficiency.json").write_text(json.dumps(MEASURED))
    paper = {**MEASURED, "setting": MEASURED["setting"] | {"model": "LLaVA-NeXT-7B"}}
    (folder / "efficiency-cuda.json").write_text(json.dumps(paper))
    rows = table_4(tmp_path)
    assert rows["TOPS"]["prefill (ms)"].value == 50
    assert rows["TOPS"]["over free truncation (%)"].value == 25
    assert rows["TOPS"]["memory (GB)"].value == 2
    assert "noise" in rows["TOPS"]["decode (ms a token)"].reason
    assert rows["TOPS"]["fewer FLOPs (x)"].value > 1
    assert "protocol kept" in rows["VisionZip"]["prefill (ms)"].reason
    assert "no text tower" in rows["TRIM"]["prefill (ms)"].reason
    assert "protocol layer_average" in rows["TOPS (schedule as printed)"]["prefill (ms)"].reason
    assert "cannot average" in rows["FastV"]["tokens"].reason


@pytest.mark.parametrize(
    ("change", "reason"),
    [({"budget": 300}, "measured at 300 of 720"), ({"model": "LLaVA-NeXT-7B"}, "measured on LLaVA-NeXT-7B")],
)
def test_measurements_of_another_setting_are_not_shown(tmp_path, change, reason):
    file = tmp_path / "e.json"
    file.write_text(json.dumps({**MEASURED, "setting": MEASURED["setting"] | change}))
    assert reason in table_4(tmp_path, efficiency=file)["TOPS"]["prefill (ms)"].reason


@pytest.mark.parametrize("text", ["", "[]", '{"benchmark": "selection"}', '{"benchmark": "efficiency", "rows": [{}]}'])
def test_a_file_that_is_no_efficiency_record_is_refused(tmp_path, text):
    file = tmp_path / "e.json"
    file.write_text(text)
    with pytest.raises(DataError, match="tops bench efficiency"):
        table_4(tmp_path, efficiency=file)


HOSTILE = "<b>&_%$#{}~^\\|`*\n=1"
TABLE = Table(
    "t",
    HOSTILE,
    (Header(HOSTILE, "g"), Header("b", "g")),
    (Line(HOSTILE, (number(1.25, bold=True), hole(HOSTILE))), Line("=cmd()", (number(-1.5), hole("other")))),
    (HOSTILE,),
)


def test_formats_escape_what_is_theirs():
    assert "<b>" not in render.markdown(TABLE).replace("\\<b>", "")
    assert r"\textless{}b\textgreater{}\&\_\%\$\#\{\}" in render.latex(TABLE)
    rows = list(csv.reader(io.StringIO(render.as_csv(TABLE))))
    assert rows[2][2] == "'=cmd()"
    assert rows[2][4] == "-1.5"
    assert rows[1][5] == ""


def test_markdown_tables_are_rectangular(report):
    for table in (*report.main, *report.more):
        body = [x for x in render.markdown(table).splitlines() if x.startswith("|")]
        assert len({len(re.findall(r"(?<!\\)\|", x)) for x in body}) == 1


def test_footnote_letters():
    assert [letter(i) for i in (0, 25, 26, 27, 701, 702)] == ["a", "z", "aa", "ab", "zz", "aaa"]


def test_latex_compiles(report, tmp_path):
    engine = shutil.which("pdflatex") or shutil.which("tectonic")
    if engine is None:
        pytest.skip("neither pdflatex nor tectonic is installed")
    body = "\n".join(render.latex(t) for t in (*report.main, *report.more, TABLE))
    head = r"\documentclass{article}\usepackage[T1]{fontenc}\usepackage[utf8]{inputenc}\usepackage{booktabs,graphicx}"
    (tmp_path / "t.tex").write_text(f"{head}\n\\begin{{document}}\n{body}\n\\end{{document}}\n", encoding="utf-8")
    options = ["-interaction=nonstopmode", "-halt-on-error"] if "pdflatex" in engine else []
    done = subprocess.run([engine, *options, "t.tex"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:]


def test_every_table_has_its_files(report, tmp_path):
    paths = write_tables(report.name, [*report.main, *report.more], tmp_path)
    assert {p.name for p in paths} >= {"small.md", "small.tex", "small.csv", "small_controls.csv"}
    assert all(p.stat().st_size > 100 for p in paths)


def test_a_second_report_reads_the_cache_and_says_the_same(store, tmp_path):
    first = make(collected(store), tmp_path)
    assert list(tmp_path.glob("*.npz"))
    second = make(collected(store), tmp_path)
    assert first.main == second.main
    assert first.more == second.more
    for file in tmp_path.glob("*.npz"):
        file.write_bytes(b"damaged")
    assert make(collected(store), tmp_path).more == first.more


def test_reports_never_import_torch(tmp_path):
    code = (
        "import sys; from tops.cli.main import main; "
        f"words = ['profile=miniature', 'results={tmp_path}/none', 'reports={tmp_path}/out']; "
        "main(['report', 'experiment=table1', *words]); "
        "main(['paper', 'audit']); "
        "sys.exit(any(m in sys.modules for m in ('torch', 'transformers', 'lmms_eval')))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize(
    "settings", [["experiment"], ["experimnt=table1"], ["profile=miniature"], ["experiment=tabel1"]]
)
def test_wrong_settings_are_refused_with_what_to_write(settings, capsys):
    assert main(["report", *settings]) == 2
    assert re.search("table1|experiment", capsys.readouterr().err)


def test_no_published_number_is_left_out_without_a_reason(paper_store):
    u = make(collected(paper_store, profile="paper")).resamples
    printed = [p.published for p in printed_rows(u.results.plan)]
    numbers = sum(v is not None for p in printed for v in p.values.values())
    absent = missing(u)
    assert len(matches(u)) + sum(len(m.slugs) for m in absent) == numbers
    assert {m.reason for m in absent if m.label.startswith("llava-1.5-7b / fastv")} == {
        "the experiment has no such row"
    }
    assert all(m.reason for m in absent)


def test_the_row_beside_a_printed_one_means_what_the_print_means():
    rows = compared_rows(plan("table11", "paper", status=False), BACKBONE)
    meant = {(method, level): row.protocol for (level, method, _), row in rows.items()}
    assert meant["sparsevlm", "88.9"] == meant["dart", "94.4"] == "as_printed"
    assert meant["tops", "94.4"] == meant["fastv", "88.9"] == "layer_average"
    video = compared_rows(plan("table3", "paper", status=False), "llava-video-7b")
    assert [video[level, "sparsevlm", ""].protocol for level in ("81.1", "90.5")] == ["layer_average", "kept"]


@pytest.mark.parametrize("table", TABLES)
def test_every_printed_row_has_its_cell(table):
    places = printed_rows(plan(f"table{table}", "paper", status=False))
    assert [p.published.label for p in places if p.row is None or p.reason or p.without] == []
