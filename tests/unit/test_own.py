"""A user's own method, rule, benchmark and folder: found, named by content, and refused in one sentence."""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from fake_runs import PROFILE, answer

import tops
from tops.backbones import named_family
from tops.benchmarks.scorers import rule_of
from tops.cli.main import main
from tops.errors import ConfigurationError
from tops.fingerprint import of_file
from tops.methods import _outside, method_class, method_source, named_method
from tops.planning.matching_cells import MatchingCells
from tops.planning.plan import plan
from tops.planning.request import request
from tops.references import earlier_digest
from tops.settings import folders
from tops.settings.choices import choice_names, load_experiment, root_defaults
from tops.settings.compose import composed
from tops.settings.methods import build_method
from tops.store.store import Store

FIXTURE = Path(__file__).parents[1] / "fixtures/own"


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(FIXTURE, tmp_path / "own")
    monkeypatch.chdir(tmp_path / "own")
    monkeypatch.setattr(_outside, "REGISTERED", {})
    monkeypatch.setattr(folders, "_FILES", {})
    monkeypatch.setattr(sys, "path", list(sys.path))
    return tmp_path / "own"


def cells(words: str) -> list:
    return [p.cell for p in request(words.split()).plan.cells]


def test_a_method_from_a_file_is_a_choice_with_its_options(own: Path) -> None:
    config = composed(["method=./mine.py:Mine", "method.order=1", "budget=0.5"])
    assert config.method == {"name": "mine", "order": 1, "positions": None}
    assert composed(["method=mine"]).method["order"] == 2


def test_the_key_holds_the_file_and_what_it_imports_and_not_where_it_lies(own: Path, tmp_path: Path) -> None:
    words = "method=./mine.py:Mine budget=64 profile=miniature"
    first = cells(words)[0]
    assert first.method.source == of_file(own / "mine.py")
    shutil.copytree(FIXTURE, tmp_path / "elsewhere")
    assert of_file(tmp_path / "elsewhere/mine.py") == first.method.source
    (own / "distances.py").write_text((own / "distances.py").read_text().replace("mean(0)", "amax(0)"))
    edited = cells(words)[0]
    assert edited.key != first.key
    assert edited.method.source == of_file(own / "mine.py") != first.method.source


def test_a_comment_is_no_edit_and_a_store_of_the_earlier_formula_is_read(own: Path, tmp_path: Path) -> None:
    words = "method=./mine.py:Mine budget=64 profile=miniature"
    first = cells(words)[0]
    old = replace(first, method=replace(first.method, source=earlier_digest(own / "mine.py")))
    store = Store(tmp_path / "results", "miniature")
    with store.open_cell(old) as writer:
        writer.append(answer(0))
        writer.seal(scores={}, provenance={})
    assert MatchingCells(store).find(first).key == old.key != first.key
    assert build_method(old.method, old.budget, seed=0).name == "mine"
    (own / "mine.py").write_text("# a comment\n" + (own / "mine.py").read_text().replace("furthest", "most remote"))
    assert cells(words)[0].key == first.key
    (own / "distances.py").write_text((own / "distances.py").read_text().replace("mean(0)", "amax(0)"))
    assert "method's own file: it was edited since" in MatchingCells(store).find(cells(words)[0]).reason


def test_an_edited_file_is_loaded_anew(own: Path) -> None:
    before = method_class(named_method("./mine.py:Mine"))
    text = (own / "mine.py").read_text()
    (own / "mine.py").write_text(text.replace("order: int = 2", "order: int = 7"))
    assert before().order == 2
    assert method_class(named_method("./mine.py:Mine"))().order == 7


def test_built_in_cells_have_no_such_entry(own: Path) -> None:
    spec = cells("method=tops budget=64 profile=miniature")[0].as_dict()
    assert [part for part in ("method", "backbone", "benchmark") if "source" in spec[part]] == []


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("./nowhere.py:Mine", "there is no file"),
        ("./mine.py:Mein", "no 'Mein'. Did you mean 'Mine'"),
        ("./mine.py:NoMethod", "is no method: it lacks name, title, schedule(), select(), @dataclass(frozen=True)"),
        ("no_such_package.mod:Mine", "there is no module 'no_such_package.mod'"),
        ("./broken.py:Mine", "broken.py, line 2: ModuleNotFoundError: No module named 'not_there'"),
        ("./crooked.py:Mine", "crooked.py, line 1: SyntaxError"),
        ("./twin.py:Twin", "two methods are named 'tops'"),
    ],
)
def test_what_is_no_method_is_refused_in_one_sentence(own: Path, word: str, said: str, capsys) -> None:
    (own / "broken.py").write_text("import os\nimport not_there\n")
    (own / "crooked.py").write_text("def (:\n")
    (own / "twin.py").write_text("from mine import Mine\nclass Twin(Mine):\n    name = 'tops'\n    title = 'T'\n")
    assert main(["plan", f"method={word}", "budget=64", "profile=miniature"]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert len(error.splitlines()) == 1


def test_register_takes_classes_references_and_files(own: Path) -> None:
    assert tops.register("mine.py:Mine") == "mine.py:Mine"
    assert method_source("mine").file == own / "mine.py"
    tops.register(own / "configs/benchmark/pope_first_word.yaml")
    assert "pope_first_word" in choice_names("benchmark")
    with pytest.raises(ConfigurationError, match="defined in no file, or inside a function"):
        tops.register(type("Local", (method_class("mine"),), {"__module__": "__nowhere__", "name": "local"}))
    with pytest.raises(ConfigurationError, match="the folder of a choice says what it is"):
        tops.register(own / "mine.yaml")
    with pytest.raises(ConfigurationError, match="no subclass of"):
        named_family("./mine.py:Mine")


def test_an_experiment_of_ones_own_names_methods_beside_its_file(own: Path) -> None:
    experiment = load_experiment("mine")
    assert experiment.rows[1].methods == ("mine", "divprune")
    planned = plan("mine", PROFILE, status=False)
    assert {c.cell.method.name for c in planned.cells if c.cell} == {"none", "mine", "divprune", "uniform"}


def test_a_benchmark_of_ones_own_takes_a_rule_from_a_file_and_its_digest_is_in_the_key(own: Path) -> None:
    rule = rule_of("pope_first_word")
    assert rule.row("Yes, it is", {"answer": "yes"})["score"] == 1.0
    words = "benchmark=pope_first_word method=tops budget=64 profile=miniature"
    first = cells(words)[0]
    assert first.benchmark.source
    (own / "rules.py").write_text((own / "rules.py").read_text().replace("startswith", "endswith"))
    assert cells(words)[0].benchmark.source != first.benchmark.source


def test_folders_add_and_never_replace(own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert {"mine", "table1"} <= set(choice_names("experiment"))
    more = tmp_path / "more/experiment"
    more.mkdir(parents=True)
    (more / "smoke.yaml").write_text("extends: smoke\ntitle: Mine\n")
    monkeypatch.setenv("TOPS_CONFIGS", str(more.parent))
    with pytest.raises(ConfigurationError, match="name of another experiment, the built-in one"):
        choice_names("experiment")
    (more / "smoke.yaml").write_text("override: true\nextends: smoke\ntitle: Mine\n")
    os.utime(more)
    assert load_experiment("smoke").title == "Mine"
    assert load_experiment("smoke").benchmarks
    (more.parent / "config.yaml").write_text("override: true\nresults: elsewhere\n")
    assert root_defaults()["results"] == "elsewhere"
    assert root_defaults()["seed"] == 0


def test_config_dir_is_an_option_of_every_command(own: Path, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TOPS_CONFIGS", "")
    assert main(["plan", "experiment=mine", "profile=miniature"]) == 2
    assert main(["plan", "experiment=mine", "profile=miniature", "--config-dir", str(own / "configs")]) == 0
    assert "Mine on POPE" in capsys.readouterr().out
    assert main(["plan", "experiment=mine", "--config-dir=/no/where"]) == 2
    assert "no such folder" in capsys.readouterr().err
