"""Every file under configs/ composes; what is wrong is refused with the nearest name."""

from typing import get_args

import pytest
import yaml
from fake_runs import PROFILE, grid

from tops.cli.main import main
from tops.errors import ConfigurationError
from tops.methods import method_names
from tops.planning import resolve
from tops.planning.plan import plan
from tops.planning.request import _expand, composed_by_axis, request
from tops.running.launchers.slurm import launch
from tops.running.worker import Assignment
from tops.settings import compose
from tops.settings.choices import (
    GROUPS,
    backbone_config,
    choice_names,
    load_choice,
    load_experiment,
    names_of,
)
from tops.settings.compose import composed
from tops.settings.methods import method_defaults, method_spec
from tops.settings.schema import LauncherConfig, SignalName
from tops.signals import Signal

CHOICES = [(group, name) for group in GROUPS if group != "experiment" for name in names_of(group)]


NAMES = {group: names_of(group) for group in GROUPS}
# The n-th of every group together: as many compositions as the largest group has choices.
TOGETHER = [
    {group: names[i % len(names)] for group, names in NAMES.items()} for i in range(max(map(len, NAMES.values())))
]


@pytest.mark.parametrize("chosen", TOGETHER, ids=lambda chosen: "-".join(chosen.values()))
def test_every_choice_composes_to_what_its_file_says(chosen):
    config = composed([f"{group}={name}" for group, name in chosen.items()])
    for group, name in chosen.items():
        found = getattr(config, group)
        if group not in ("launcher", "tracking"):  # these carry no name
            assert (found["name"] if isinstance(found, dict) else getattr(found, "name", found)) == name
    assert config.launcher == load_choice("launcher", chosen["launcher"])
    assert config.tracking == load_choice("tracking", chosen["tracking"])


@pytest.mark.parametrize("name", choice_names("experiment"))
def test_every_experiment_is_planned(name):
    assert load_experiment(name).title
    for profile in ("paper", "miniature"):
        found = plan(name, profile, status=False)
        assert found.cells
        assert not [c for c in found.cells if "unknown" in c.reason]


def test_every_method_is_a_choice_without_a_file():
    assert names_of("method") == ["none", *method_names()]
    for name in method_names():
        options = {k: v for k, v in compose.node("method", name).items() if k != "name"}
        assert method_spec(name, options) == method_spec(name, {})


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["method=topz"], "Did you mean 'tops'"),
        (["backbone=llava-1.5-7"], "Did you mean 'llava-1.5-7b'"),
        (["benchmark=popee"], "Did you mean 'pope'"),
        (["experiment=table7"], "Did you mean 'table"),
        (["metod=tops"], "Did you mean 'method'"),
        (["method.alpa=1"], "Did you mean 'alpha'"),
        (["method=fastv", "method.layr=1"], "method 'fastv' has no option 'layr'. Did you mean 'layer'"),
        (["method=fastv", "method.layer=deep"], "option 'layer' is 'deep', which is not int"),
        (["method=fastv", "method.rows=first"], "option 'rows' is 'first'"),
        (["backbone.dtyp=float16"], "Did you mean 'dtype'"),
        (["launcher.kind=slrm"], "Did you mean 'slurm'"),
        (["launcher.workers=many"], "workers is 'many'"),
        (["protocol=average"], "Did you mean 'layer_average'"),
        (["budget=half"], "neither a token count"),
        (["limit=0"], "not a number of documents"),
        (["seed=1.5"], "seed=1.5 is not int"),
        (["method=tops,fastv"], "add -m"),
        (["budget 64"], "an override looks like"),
        (["experiment=table1", "method=fastv"], "brings its own method"),
        (["experiment=table1", "backbones=[qwen2.5-vl-7b]"], "table1 has no backbone 'qwen2.5-vl-7b'"),
        (["experiment=table1,table2"], "an experiment is a run of its own"),
        (["experiment=table1", "suite=llava"], "brings its own suite"),
        (["experiment.limit=4"], "change its file under configs/experiment"),
        (["suite=lava"], "Did you mean 'llava'"),
        (["suite=llava", "benchmark=pope"], "leave 'benchmark=pope' out"),
        (["method=TOPS"], "Did you mean 'tops'"),
        (["~method"], "name another value, method=..."),
        (["profile.device=gpu"], "profile: device is 'gpu'"),
        (["profile.batch_size=0"], "batch_size is 0; it must be at least 1"),
        (["launcher.workers=-1"], "workers is -1; it must be at least 0"),
        (["launcher.options.partition=gpu"], "launcher=local takes no options, not partition"),
        (["backbone.signals=[salience]"], "Did you mean 'saliency'"),
        (["backbone.options.image_layuot=native"], "Did you mean 'image_layout'"),
        (["backbone=llava-next-7b", "backbone.options.image_layout=fixed-67"], "fixed-672"),
    ],
)
def test_wrong_words_are_answered_with_the_nearest_right_ones(words, message):
    with pytest.raises(ConfigurationError) as error:
        request(words)
    assert message in str(error.value)


def test_a_sweep_takes_every_combination_and_one_launcher():
    plan = request(
        ["method=tops,random", "budget=16,32", "benchmark=pope,gqa", "seed=range(2)", "profile=miniature"],
        multirun=True,
    ).plan
    assert len(plan.cells) == 16
    assert len(plan.unique()) == 16
    assert {c.cell.budget.value for c in plan.cells} == {16, 32}
    for word in ("launcher=local,slurm", "limit=5,10"):
        with pytest.raises(ConfigurationError, match="one value per run"):
            request([word, "method=tops"], multirun=True)


def test_a_suite_stands_for_its_benchmarks():
    words = ["suite=yes_no", "budget=0.25", "profile=miniature"]
    assert [c.column.benchmark for c in request(words).plan.cells] == ["pope", "mme", "hallusionbench"]
    swept = request(["suite=yes_no,llava", "method=tops,random", *words[1:]], multirun=True).plan
    assert len(swept.unique()) == 2 * 9  # pope and mme are in both


def test_a_scheduler_takes_settings_that_no_file_names():
    options = request(["launcher=slurm", "launcher.options.partition=gpu", "launcher.options.mem_gb=8"]).config.launcher
    assert (options.options["partition"], options.options["mem_gb"], options.workers) == ("gpu", 8, 8)


@pytest.mark.parametrize(
    "words",
    [
        ["backbone=qwen2.5-vl-7b", "method=fastv", "method.layer=3", "budget=0.25", "benchmark=mme"],
        ["method=tops", "method.alpha=0.3", "seed=4", "backbone.dtype=float16", "profile=miniature"],
        ["method=random", "method.positions=original", "limit=7", "benchmark=textvqa", "benchmark.convention=no_ocr"],
    ],
)
def test_axes_put_together_equal_one_full_composition(words):
    assert composed_by_axis(words) == composed(words)


def test_no_choice_refers_to_another_axis():
    """Otherwise axes could not be composed apart."""
    for group, name in CHOICES:
        assert "${" not in str(compose.node(group, name)), (group, name)


def test_hydra_expands_sweeps():
    assert len(_expand(["method=tops,fastv", "budget=range(1,4)"])) == 6


def test_options_reach_the_cell():
    words = ["method=tops", "method.alpha=0.3", "budget=16", "profile=miniature", "benchmark=textvqa"]
    (planned,) = request([*words, "benchmark.convention=no_ocr", "profile.dtype=bfloat16", "limit=5"]).plan.cells
    cell = planned.cell
    assert cell.method.options["alpha"] == 0.3
    assert cell.method.options["principles"] == "RCD"
    assert cell.backbone.dtype == "bfloat16"
    assert cell.benchmark.prompt["ocr"] is False
    assert cell.benchmark.limit == 5
    assert cell.budget.value == 16


@pytest.mark.parametrize(
    ("options", "message"),
    [({"timeout_mn": 5}, "Unknown argument 'timeout_mn'"), ({"timeout_min": "long"}, "expected type")],
)
def test_wrong_settings_of_slurm_are_refused_before_anything_is_submitted(options, message, tmp_path, monkeypatch):
    work = Assignment(str(tmp_path), PROFILE, grid())
    choice = LauncherConfig("slurm", workers=1, options=options)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigurationError, match="needs Slurm's srun"):
        launch(work, tmp_path, choice, print)
    (tmp_path / "srun").touch(mode=0o755)
    with pytest.raises(ConfigurationError, match=message):
        launch(work, tmp_path, choice, print)


def test_hydra_s_flag_prints_the_composition(capsys):
    assert main(["run", "--cfg", "job", "method=fastv", "method.layer=3"]) == 0
    assert yaml.safe_load(capsys.readouterr().out)["method"] == {
        "name": "fastv",
        **method_defaults("fastv"),
        "layer": 3,
    }


def test_backbones_fit_their_adapters():
    pytest.importorskip("torch")
    from tops.backbones import families

    for name in choice_names("backbone"):
        choice = backbone_config(name)
        adapter = families()[choice.family]
        assert set(get_args(SignalName)) == {s.value for s in Signal}
        assert resolve.signals_of(choice) == adapter.available(), name
        assert (choice.text_tower is not None) == (Signal.TEXT_TOWER in adapter.available()), name
        assert choice.checkpoint in adapter.checkpoints, name
        assert name in adapter.published.values(), name
        text = adapter.real_config(choice.checkpoint).get_text_config()
        sizes = (text.num_hidden_layers, text.hidden_size, text.intermediate_size)
        assert sizes == (choice.depth, choice.width, choice.feed_forward), name
        assert adapter.published[(text.model_type, *sizes[:2])] == name
