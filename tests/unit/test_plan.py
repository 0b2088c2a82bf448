"""Plans: layout of the paper's tables, what is refused and why, what is left to do, what it costs."""

import re
import subprocess
import sys
import time
from dataclasses import replace

import pytest
from fake_runs import FakeEvaluator

from tops.benchmarks.benchmark import load_suite
from tops.errors import ConfigurationError
from tops.paper.published import published_rows
from tops.planning import requirements, resolve, staging
from tops.planning.cost import estimate
from tops.planning.plan import PlanStatus, plan
from tops.planning.request import request
from tops.planning.resolve import profile_budget
from tops.planning.show import plan_text, status_text
from tops.running.worker import Assignment, work
from tops.settings.choices import backbone_config, choice_names, load_experiment, load_profile
from tops.settings.schema import Experiment, LauncherConfig, parse
from tops.store.store import Store

TABLES = [name for name in choice_names("experiment") if name.startswith("table")]


def test_a_plan_asks_for_each_benchmark_a_few_times_not_once_a_cell(monkeypatch):
    asked = []
    load = resolve.load_benchmark
    monkeypatch.setattr(resolve, "load_benchmark", lambda name: asked.append(name) or load(name))
    found = plan("table1", status=False)
    assert 0 < len(asked) < len(found.unique()) / 10


DERIVED = {"acc", "rel", "tokens", "flops_t", "flops_x", "latency_ms", "memory_gb"}


@pytest.mark.parametrize("name", TABLES)
def test_every_printed_number_has_a_cell_that_can_run(name):
    found = plan(name, status=False)
    runs = {
        (c.column.backbone, c.row.method, c.row.variant, c.printed, c.column.slug)
        for c in found.cells
        if c.row.protocol != "as_printed" and c.status is not PlanStatus.REFUSED
    }
    columns = {b: [c.slug for c in found.columns if c.backbone == b] for b in found.experiment.backbones}
    (table,) = found.experiment.paper.tables
    printed = [
        (row.backbone, row.method, row.variant, None if row.method == "none" else row.budget, slug)
        for row in published_rows(str(table))
        for value, number in row.values.items()
        if number is not None
        for slug in (columns[row.backbone] if value in DERIVED else [value])
    ]
    assert printed
    assert set(printed) <= runs


def test_controls_stand_with_every_figure():
    for name in (n for n in choice_names("experiment") if n.startswith("figure")):
        assert {r.method for r in plan(name, status=False).rows if r.role == "control"} >= {"random"}, name


def test_controls_stand_in_every_table():
    for name in TABLES:
        found = plan(name, status=False)
        controls = {row.method for row in found.rows if row.role == "control"}
        assert {"random", "uniform", "pooling", "downsampling", "text_only"} <= controls
        seeds = {c.cell.seed for c in found.cells if c.row.method == "random"}
        assert len(seeds) == 5
        assert found.rows[0].role == "reference"


def test_both_protocols_of_tops():
    protocols = {r.protocol for r in plan("table11", status=False).rows if r.method == "tops"}
    assert protocols == {"layer_average", "as_printed"}


def test_impossible_cells_are_refused_with_the_reason():
    found = plan("table11", status=False)
    reasons = {(c.row.method, c.row.level): c.reason for c in found.cells if c.row.protocol == "layer_average"}
    assert "cannot average 32 of 576" in reasons["fastv", "94.4"]
    assert reasons["fastv", "88.9"] == ""
    exp = parse(
        Experiment,
        {
            "name": "x",
            "title": "x",
            "backbones": ["qwen2.5-vl-7b"],
            "benchmarks": ["pope"],
            "levels": {"90": {"qwen2.5-vl-7b": 128}},
            "rows": [{"methods": ["trim"]}],
        },
        "x",
    )
    (refused,) = plan(exp, status=False).cells
    assert refused.status is PlanStatus.REFUSED
    assert "text_tower" in refused.reason
    assert "refused:" in plan_text(plan(exp, status=False))


@pytest.mark.parametrize(
    ("level", "reason"), [(5, "needs 2 tokens of every tile.*leave 1.*give 10 tokens"), (10, "^$")]
)
def test_a_budget_that_leaves_a_tile_too_little_is_refused(level, reason):
    exp = {
        "name": "x",
        "title": "x",
        "backbones": ["llava-next-7b"],
        "benchmarks": ["pope"],
        "levels": {"few": {"llava-next-7b": level}},
        "rows": [{"methods": ["visionzip"]}],
    }
    (cell,) = plan(parse(Experiment, exp, "x"), status=False).cells
    assert re.search(reason, cell.reason)


def staged_checkpoints(folder, *names):
    staging._staged.cache_clear()
    for name in names:
        (folder / name).mkdir()
        (folder / name / "config.json").write_text("{}")
        (folder / name / "model.safetensors").write_bytes(name.encode())
    return replace(load_profile("paper"), checkpoints=str(folder))


def test_the_text_tower_is_part_of_the_cells_that_read_it(tmp_path):
    def cells(profile):
        found = plan("figure2", profile, status=False).cells
        return {c.row.method: c for c in found if c.row.level == "77.8"} | {"none": found[0]}

    without = cells(staged_checkpoints(tmp_path, "llava-1.5-7b"))
    for name in ("trim", "cdpruner"):
        assert without[name].status is PlanStatus.REFUSED
        assert "openai/clip-vit-large-patch14-336, which is not staged" in without[name].reason
    assert {c.status for n, c in without.items() if n not in ("trim", "cdpruner")} == {PlanStatus.MISSING}
    there = cells(staged_checkpoints(tmp_path, "clip-vit-large-patch14-336"))
    for name, planned in there.items():
        assert planned.status is PlanStatus.MISSING
        assert (planned.cell.key != without[name].cell.key) is (name in ("trim", "cdpruner"))
        assert type(planned.cell).from_dict(planned.cell.as_dict()) == planned.cell
    (tmp_path / "clip-vit-large-patch14-336" / "model.safetensors").write_bytes(b"other")
    staging._folder_hash.cache_clear()
    other = cells(replace(staged_checkpoints(tmp_path), name="paper"))
    assert other["trim"].cell.key != there["trim"].cell.key
    assert other["fastv"].cell.key == there["fastv"].cell.key


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rows": [{"methods": ["fastw"]}]}, "unknown method 'fastw'. Did you mean 'fastv'"),
        ({"rows": [{"methods": ["fastv"], "options": {"layr": 3}}]}, "Did you mean 'layer'"),
        ({"rows": [{"methods": ["fastv"], "variants": {"x": {"layr": 3}}}]}, "Did you mean 'layer'"),
        ({"benchmarks": ["popee"]}, "Did you mean 'pope'"),
        ({"backbones": ["llava-1.5"]}, "Did you mean 'llava-1.5-7b'"),
    ],
)
def test_wrong_names_in_an_experiment_file_are_errors_not_refused_cells(change, message):
    content = {
        "name": "x",
        "title": "x",
        "backbones": ["llava-1.5-7b"],
        "benchmarks": ["pope"],
        "levels": {"90": {"llava-1.5-7b": 64}},
        "rows": [{"methods": ["tops"]}],
    }
    with pytest.raises(ConfigurationError) as error:
        plan(parse(Experiment, {**content, **change}, "x"), status=False)
    assert message in str(error.value)


def test_shared_cells_have_one_key_in_all_tables():
    unpruned = {
        c.cell.key
        for name in ("table1", "table5", "table11", "table15")
        for c in plan(name, status=False).cells
        if c.row.method == "none" and c.column.backbone == "llava-1.5-7b" and c.column.benchmark == "pope"
    }
    assert len(unpruned) == 1


def test_parts_of_a_benchmark_share_one_cell():
    found = plan("table3", status=False)
    keys = {c.column.slug: c.cell.key for c in found.cells if c.row.method == "none"}
    assert keys["videomme"] == keys["videomme_short"] == keys["videomme_long"] != keys["mlvu"]
    assert len(found.unique()) < len(found.cells)


def test_the_miniature_keeps_the_ratio():
    small, paper = load_profile("miniature"), load_profile("paper")
    llava = backbone_config("llava-1.5-7b")
    assert [profile_budget(t, llava, small) for t in (128, 64, 32)] == [32, 16, 8]
    assert profile_budget(128, llava, paper) == 128
    assert profile_budget(0.25, llava, small) == 0.25
    found = plan("table1", "miniature", status=False)
    assert {c.backbone for c in found.columns} == {"llava-1.5-7b", "llava-next-7b"}
    assert "LLaVA-1.5-13B" in found.note
    alone = plan("table13", "miniature", status=False)
    assert {c.cell.backbone.checkpoint for c in alone.cells if c.cell} == {"llava-1.5"}
    assert "13B" not in alone.note
    assert "documents" in found.note
    assert "documents" not in plan("table1", "miniature", status=False, full=True).note


def test_everything_that_changes_an_answer_changes_the_key():
    keys = [
        {c.cell.key for c in plan("smoke", "miniature", status=False, **more).cells}
        for more in ({}, {"limit": 3}, {"full": True})
    ]
    assert not keys[0] & keys[1]
    assert not keys[0] & keys[2]
    paper = {c.cell.key for c in plan("smoke", status=False).cells}
    assert not keys[0] & paper


def test_status_and_what_is_left(tmp_path):
    before = plan("smoke", "miniature", results=tmp_path)
    todo = before.todo()
    bad = todo[2].key
    fake = FakeEvaluator(
        tmp_path / "log", fail=lambda c: RuntimeError("boom") if getattr(c, "key", "") == bad else None
    )
    work(Assignment(str(tmp_path), before.profile, tuple(todo[:4])), load=fake.load)
    after = plan("smoke", "miniature", results=tmp_path)
    assert after.counts == {PlanStatus.SCORED: 3, PlanStatus.FAILED: 1, PlanStatus.MISSING: len(todo) - 4}
    assert [c.key for c in after.todo()] == [c.key for c in todo if c.key == bad or c in todo[4:]]
    assert "RuntimeError: boom" in status_text(after)
    cost = estimate(after)
    assert cost.measured == len(todo) - 3  # by the three cells of the same backbone
    with Store(tmp_path, "miniature").open_cell(todo[5]):
        assert plan("smoke", "miniature", results=tmp_path).counts[PlanStatus.RUNNING] == 1


def test_the_paper_profile_without_a_gpu_names_the_miniature(monkeypatch):
    monkeypatch.setattr(requirements, "gpu_count", lambda: 0)
    found = plan("table1", status=False)
    with pytest.raises(ConfigurationError) as error:
        requirements.check_requirements(found, LauncherConfig(kind="local"))
    assert "a CUDA GPU" in str(error.value)
    assert "llava-hf/llava-1.5-7b-hf" in str(error.value)
    assert "make reproduce-table1 PROFILE=miniature" in str(error.value)
    requirements.check_requirements(plan("smoke", "miniature", status=False), LauncherConfig(kind="local"))


def test_unknown_keys_of_an_experiment_file():
    with pytest.raises(ConfigurationError, match=r"unknown key 'bencmarks'\. Did you mean 'benchmarks'"):
        parse(Experiment, {"bencmarks": []}, "x.yaml")
    with pytest.raises(ConfigurationError, match="title"):
        parse(Experiment, {"name": "x"}, "x.yaml")


def test_the_largest_plan_is_quick_and_free_of_torch():
    code = (
        "import sys; from tops.planning.plan import plan; plan('principles');"
        "print({'torch', 'transformers', 'lmms_eval', 'pandas', 'hydra'} & set(sys.modules))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "set()"
    began = time.process_time()
    plan("principles", status=False)
    assert time.process_time() - began < 3


def test_a_method_without_its_budget_is_refused():
    """The unpruned model would stand in the table under the method's name."""
    small = load_profile("miniature")
    for name, options in (("tops", {}), ("random", {}), ("downsampling", {})):
        refused = resolve.cell(
            backbone_config("llava-1.5-7b"), name, options, None, "layer_average", "pope", small, 1, 0
        )
        assert "prunes nothing" in refused.reason
    for name, options in (("text_only", {}), ("none", {}), ("trim", {"count": "outliers"})):
        cell = resolve.cell(backbone_config("llava-1.5-7b"), name, options, None, "layer_average", "pope", small, 1, 0)
        assert cell.label.endswith(f"{name} / pope")


def test_batch_size_is_part_of_a_cell_where_answers_depend_on_it():
    backbone, paper, small = backbone_config("llava-1.5-7b"), load_profile("paper"), load_profile("miniature")

    def key(profile, size):
        chosen = replace(profile, batch_size=size)
        return resolve.cell(backbone, "none", {}, None, "layer_average", "pope", chosen, 1, 0).key

    assert len({key(paper, size) for size in (1, 8, "auto")}) == 3
    assert len({key(small, size) for size in (1, 8, "auto")}) == 1


def test_whether_empty_answers_are_allowed_is_part_of_a_cell():
    backbone, paper = backbone_config("llava-1.5-7b"), load_profile("paper")
    strict, lenient = (
        resolve.cell(backbone, "none", {}, None, "layer_average", "pope", replace(paper, allow_empty=allowed), 1, 0)
        for allowed in (False, True)
    )
    assert (strict.benchmark.generation["allow_empty"], lenient.benchmark.generation["allow_empty"]) == (False, True)
    assert strict.key != lenient.key


def test_fine_tuned_weights_are_another_revision(tmp_path):
    """One matrix in the middle of a large file, everything else alike."""
    header = b'{"w":{}}'
    content = bytearray((80 << 20) + 8 + len(header))
    content[: 8 + len(header)] = len(header).to_bytes(8, "little") + header
    found = []
    for mark in (0, 1):
        content[30 << 20 : 34 << 20] = bytes([mark]) * (4 << 20)
        (tmp_path / "model.safetensors").write_bytes(content)
        staging._folder_hash.cache_clear()
        found.append(staging._folder_hash(tmp_path))
    assert found[0] != found[1]


def test_videos_are_shown_as_frames_or_refused_before_a_model_loads():
    small = load_profile("miniature")

    def cell(backbone, benchmark):
        return resolve.cell(backbone_config(backbone), "none", {}, None, "layer_average", benchmark, small, 1, 0)

    assert cell("llava-1.5-7b", "mlvu").backbone.options == {"frames": 4, "frames_as_images": True}
    assert cell("llava-1.5-7b", "pope").backbone.options == {}
    assert cell("llava-video-7b", "mlvu").backbone.options == {"frames": 8}
    refused = cell("llava-next-7b", "mlvu")
    assert "not shown videos, so not MLVU" in refused.reason
    assert "llava-video-7b" in refused.reason
    words = ["backbone=llava-next-7b", "method=none", "benchmark=mlvu", "profile=miniature", "limit=1"]
    (planned,) = request([*words, "backbone.video={frames: 2, frames_as_images: true}"]).plan.cells
    assert planned.cell.backbone.options["frames"] == 2


def test_the_papers_conditions_are_in_the_key_and_the_others_stay_choices():
    paper, small = load_profile("paper"), load_profile("miniature")

    def cell(backbone, benchmark="gqa", given=None, profile=paper, **changed):
        chosen = replace(backbone_config(backbone), **changed)
        return resolve.cell(chosen, "tops", given or {}, 0.25, "layer_average", benchmark, profile, 1, 0)

    layouts = {"llava-next-7b": "cdpruner-672", "llava-next-13b": "cdpruner-672", "qwen2.5-vl-7b": "square-1008",
               "internvl3-8b": "fixed-896"}  # fmt: skip
    for name, layout in layouts.items():
        assert cell(name).backbone.options["image_layout"] == layout
    half = ("llava-1.5-7b", "llava-1.5-13b", "llava-next-7b", "llava-next-13b", "llava-video-7b")
    assert {cell(name, "mlvu" if "video" in name else "gqa").backbone.dtype for name in half} == {"float16"}
    video = cell("llava-video-7b", "mlvu")
    assert video.backbone.options == {"frames": 64, "frames_per_second": 1}
    assert video.method.options["cut_layers"] == [12, 16]
    # What was asked before the paper's conditions has the key that it had.
    even = cell("llava-video-7b", "mlvu", {"cut_layers": [10, 21]}, dtype="bfloat16", video={})
    assert (even.backbone.options, even.method.options["cut_layers"]) == ({"frames": 64}, None)
    assert resolve.as_meant(even).options["cut_layers"] == [10, 21]
    assert resolve.as_meant(video) == video.method
    mini = cell("llava-video-7b", "mlvu", {"cut_layers": [3, 6]}, small)
    assert (mini.backbone.options, mini.method.options["cut_layers"]) == ({"frames": 8}, None)
    assert resolve.as_meant(mini).options["cut_layers"] == [3, 6]
    assert cell("llava-video-7b", "mlvu", profile=small).method.options["cut_layers"] == [3, 5]


def test_a_layout_for_other_views_is_refused_in_the_plan(tmp_path):
    words = ["backbone=llava-next-7b", "method=tops", "budget=0.25", "benchmark=gqa", "limit=1"]
    (native,) = request([*words, "profile=miniature"]).plan.cells
    assert native.status is PlanStatus.MISSING
    (refused,) = request([*words, "profile=miniature", "backbone.options.image_layout=fixed-672"]).plan.cells
    assert refused.status is PlanStatus.REFUSED
    assert "gives 2880 tokens with views of 336 pixels; those of this checkpoint are 96" in refused.reason
    (tmp_path / "llava-next-7b").symlink_to(staging.checkpoints.path("llava-next"))
    (refused,) = request([*words, f"profile.checkpoints={tmp_path}"]).plan.cells
    assert "image_layout='cdpruner-672' gives 2880 tokens with views of 336 pixels" in refused.reason


def test_one_experiment_has_all_benchmarks():
    found = plan("benchmarks", "miniature", status=False)
    asked = {b: {c.benchmark for c in found.columns if c.backbone == b} for b in found.experiment.backbones}
    assert asked["llava-1.5-7b"] == set(load_suite("all"))
    assert asked["llava-video-7b"] == set(load_suite("video"))
    assert found.counts == {PlanStatus.MISSING: 34}


def test_documents_are_limited_by_benchmark():
    smoke = load_experiment("smoke")
    found = plan(replace(smoke, limit={"miniature": {"pope": 6}}), "miniature", status=False)
    limits = {(c.cell.benchmark.name, c.cell.benchmark.limit) for c in found.cells if c.cell}
    assert limits == {("pope", 6), ("gqa", None)}
    assert "6 documents of each limited benchmark" in found.note
    both = replace(smoke, limit={"miniature": {"pope": 6, "gqa": 9}})
    assert "6 to 9 documents of each limited benchmark" in plan(both, "miniature", status=False).note
    assert {c.cell.benchmark.limit for c in plan(both, "miniature", status=False, limit=2).cells if c.cell} == {2}
    with pytest.raises(ConfigurationError, match=r"limit of profile miniature names 'popp'.*pope"):
        plan(replace(smoke, limit={"miniature": {"popp": 6}}), "miniature", status=False)
    with pytest.raises(ConfigurationError, match="limit of profile miniature is 0"):
        plan(replace(smoke, limit={"miniature": 0}), "miniature", status=False)


def test_a_benchmark_without_miniature_documents_is_refused_with_those_that_have_some():
    words = ["backbone=llava-1.5-7b", "method=tops", "budget=64", "benchmark=docvqa"]
    (refused,) = request([*words, "profile=miniature"]).plan.cells
    assert refused.status is PlanStatus.REFUSED
    assert "DocVQA has no miniature documents; ask it with profile=paper" in refused.reason
    assert "gqa, scienceqa_img" in refused.reason
    (asked,) = request([*words, "profile=paper"]).plan.cells
    assert asked.status is PlanStatus.MISSING
    assert asked.cell.benchmark.generation["max_new_tokens"] == 32


def test_the_field_of_benchmarks_is_planned_on_the_backbones_that_can_be_asked():
    words = ["method=tops", "budget=0.25", "suite=field", "backbone=llava-next-7b"]
    cells = {c.column.benchmark: c for c in request(words).plan.cells}
    assert set(cells) == set(load_suite("field"))
    refused = {name: c.reason for name, c in cells.items() if c.status is PlanStatus.REFUSED}
    assert list(refused) == ["mvbench"]
    assert "not shown videos" in refused["mvbench"]
