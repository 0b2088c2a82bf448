"""Logs of other programs: read, checked against the documents, scored here, shown marked, refused in one sentence."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import synthetic_store

from tops.benchmarks.benchmark import load_benchmark
from tops.cli.main import main
from tops.errors import DataError
from tops.importing.angelslim import read_summary, stages_of
from tops.importing.lmms_eval import read_log
from tops.importing.run import Asked, import_logs
from tops.miniature.data import ensure
from tops.planning.plan import plan
from tops.reporting.build import make
from tops.reporting.data.results import collect
from tops.reporting.tables.imported import SECTION
from tops.settings.choices import load_profile
from tops.settings.schema import ColumnConfig, Experiment, RowConfig
from tops.store.imported import read_imported

BACKBONE = "llava-1.5-7b"
POST = "\nAnswer the question using a single word or phrase."
MODEL = "checkpoint=somewhere/llava-1.5,method=fastv,budget=60"
STRATEGIES = (
    "{'global': StrategyConfig(strategy='visionzip', params={'ratio': 0.75, 'layer_idx': -1}, model_related_params={}),"
    " 1: StrategyConfig(strategy='dart', params={'ratio': 0.5}, model_related_params={})}"
)


def sample(number: int, task: str = "pope", **changes: Any) -> dict[str, Any]:
    """A line of the form that lmms-eval 0.7.3 writes; every third answer is wrong."""
    document = ensure().documents(task)[number]
    target = document["answer"]
    row = {
        "doc_id": number,
        "target": target,
        "filtered_resps": "nothing" if number % 3 == 2 else target.capitalize(),
        "token_counts": [{"output_tokens": 2}],
        "doc_hash": "74234e98afe7498fb5daf1f36ac2d78acc339464f950703b8c019892f982b90b",
        f"{task}_accuracy": {"question_id": "1", "score": 1.0, "prediction": "yes", "ground_truth": "yes"},
        "input": document["question"] + POST,
    }
    return {**row, **changes}


def log(folder: Path, rows: list[Any], task: str = "pope", model: str | None = MODEL, name: str = "tops") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"20261202_025435_samples_{task}.jsonl"
    path.write_text("".join(row if isinstance(row, str) else json.dumps(row) + "\n" for row in rows))
    if model is not None:
        results = {
            "results": {task: {"alias": task, "pope_accuracy,none": 0.5, "pope_accuracy_stderr,none": "N/A"}},
            "configs": {task: {"dataset_path": "lmms-lab-encoder/POPE", "repeats": 1}},
            "config": {"model": name, "model_args": model, "limit": 12.0},
            "lmms_eval_version": "0.7.3",
        }
        (folder / "20261202_025435_results.json").write_text(json.dumps(results, indent=2))
    return path


def imported(path: Path, root: Path, **said: str) -> list[Any]:
    asked = Asked(load_profile("miniature"), str(root), **said)
    return list(import_logs(path, asked))


def test_a_log_is_scored_by_the_rules_here_and_its_budget_told_per_layer(tmp_path: Path) -> None:
    log(tmp_path / "logs", [sample(n) for n in range(12)])
    (record,) = imported(tmp_path / "logs", tmp_path)
    assert (record.title, record.benchmark, record.backbone, record.program) == ("FastV", "pope", BACKBONE, "lmms-eval")
    assert record.tokens_per_layer == (144.0, *[48.0] * 7)
    assert record.layer_average == 60
    assert record.told == {"pope_accuracy": 0.5}
    assert record.prompt == {"convention": "default"} | load_benchmark("pope").prompt
    assert record.unknown == ("the chat template and the pictures' preparation",)
    (again,) = read_imported(tmp_path, "miniature", [])
    assert again == record
    answers = again.answers()
    assert [a.doc_id for a in answers] == list(range(12))
    assert set(answers[0].target) == set(load_benchmark("pope").target)
    assert imported(tmp_path / "logs", tmp_path)[0].key == record.key


def test_what_a_log_does_not_tell_is_said(tmp_path: Path) -> None:
    rows = [sample(n, input="") for n in range(3)]
    (other,) = imported(log(tmp_path / "a", rows, model="pretrained=x/y,budget=9", name="llava_pruned"), tmp_path)
    assert not other.tokens_per_layer
    assert other.prompt is None
    assert any("which any code may have changed" in what for what in other.unknown)
    assert any("left none in the log" in what for what in other.unknown)
    (alone,) = imported(log(tmp_path / "b", rows, model=None), tmp_path, title="Theirs", backbone=BACKBONE)
    assert (alone.title, alone.backbone, alone.told) == ("Theirs", BACKBONE, {})
    words = [sample(n, input="Tell me all.") for n in range(3)]
    (asked,) = imported(log(tmp_path / "c", words), tmp_path)
    assert asked.prompt is None
    assert "a prompt convention here that asks in its words" in asked.unknown


REFUSED = [
    ("a file of another kind", [{"doc_id": 0}], "has no target, filtered_resps"),
    ("no JSON", ["hello\n"], "its first line is not JSON"),
    ("a cut line", [0, '{"doc_id": 1, "targ'], "line 2 is cut off or damaged"),
    ("NaN", [0, '{"doc_id": NaN}\n'], "line 2 is cut off or damaged"),
    ("a list", [0, "[1]\n"], "line 2 holds a list"),
    ("a document twice", [0, 1, 0], "document 0 stands in lines 1 and 3"),
    ("beyond the end", [{"doc_id": 9999, "target": "yes", "filtered_resps": "yes"}], "answers document 9999"),
    ("other targets", [{"doc_id": 0, "target": "seven", "filtered_resps": "yes"}], "target of document 0 is 'seven'"),
    ("several answers", [{"doc_id": 0, "target": "yes", "filtered_resps": ["yes", "no"]}], "holds 2 answers"),
    ("a number that is none", [{"doc_id": "0", "target": "yes", "filtered_resps": "yes"}], "has doc_id '0'"),
    ("nothing", [], "it is empty"),
]


@pytest.mark.parametrize(("rows", "told"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
def test_what_is_no_log_of_these_documents_is_refused(tmp_path: Path, rows: list[Any], told: str) -> None:
    path = log(tmp_path, [sample(row) if isinstance(row, int) else row for row in rows])
    with pytest.raises(DataError, match=told):
        imported(path, tmp_path / "results")
    assert not list(read_imported(tmp_path / "results", "miniature", []))


def test_the_command_ends_with_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.json").write_text('{"a": 1}')
    unknown = log(tmp_path / "unknown", [sample(0)], task="pope_ful")
    results = log(tmp_path / "fine", [sample(0)]).with_name("20261202_025435_results.json")
    for words, told in {
        (str(tmp_path / "none"),): "does not exist; give lmms-eval's",
        (str(tmp_path / "empty"),): "no log lies below",
        (str(tmp_path / "notes.json"),): "neither lmms-eval nor AngelSlim writes such a file",
        (str(results),): "results without the answers",
        (str(unknown),): "no benchmark here asks lmms-eval's task 'pope_ful'. Did you mean 'pope'",
        (str(unknown), "backbone=llava"): "llava-1.5-7b",
        (): "give one file or folder, not 0",
    }.items():
        assert main(["import", *words, "profile=miniature", f"results={tmp_path}"]) == 2
        error = capsys.readouterr().err
        assert told in error
        assert error.count("\n") == 1
    assert main(["import", str(tmp_path / "fine"), "profile=miniature", f"results={tmp_path}"]) == 0
    assert "FastV on POPE, imported from lmms-eval" in capsys.readouterr().out


def test_angelslims_stages_are_read_as_text() -> None:
    stages = stages_of(STRATEGIES)
    assert [(s.behind, s.strategy, s.keeps) for s in stages] == [(-1, "visionzip", 0.25), (1, "dart", 0.5)]
    assert stages_of("{0: StrategyConfig(strategy='baseline', params={'ratio': 0.75})}")[0].keeps == 1
    for text in (
        "__import__('os').system('true')",
        "{'global': StrategyConfig(strategy='dart', params=open('x'))}",
        "{'global': StrategyConfig(strategy='dart', params={'ratio': 5})}",
        "{'global': 3}",
        "{" * 5000,
    ):
        assert stages_of(text) == ()


def test_a_summary_of_angelslim(tmp_path: Path) -> None:
    entry = {
        "config_path": "configs/llava/pruning/both_r0.75.yaml",
        "results": {"pope": {"alias": "pope", "pope_f1_score,none": 0.81, "pope_f1_score_stderr,none": "N/A"}},
        "acceleration_info": {"cost_ratio": 0.25, "speedup_factor": 4.0, "note": "Estimated via global ratio: 0.75"},
        "strategies": STRATEGIES,
    }
    path = tmp_path / "final_summary_1764600000.json"
    path.write_text(json.dumps({"both_r0.75.yaml": entry}, indent=4))
    (record,) = imported(tmp_path, tmp_path)
    assert record.title == "VisionZip and DART (both_r0.75)"
    assert record.told == {"pope_f1_score": 0.81}
    assert "25 % of the visual tokens kept before the first layer, then 50 %" in record.budget
    assert not record.tokens_per_layer
    (known,) = imported(path, tmp_path, backbone=BACKBONE)
    assert known.tokens_per_layer == (36.0, 36.0, *[18.0] * 6)
    with pytest.raises(DataError, match="has no scores; its run failed"):
        read_summary(path, {"x.yaml": {**entry, "results": {}}})


EXPERIMENT = Experiment(
    "imports",
    "imports",
    (BACKBONE,),
    (ColumnConfig("pope", "pope"), ColumnConfig("gqa", "gqa")),
    (RowConfig(("none",), "reference", levels=()), RowConfig(("tops",))),
    {"77.8": {BACKBONE: 128}},
)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store whose cells answered the first 12 documents of each benchmark right."""
    root = tmp_path_factory.mktemp("results")
    stock = synthetic_store.answers

    def real(planned: Any, documents: int, **more: Any) -> Any:
        name = planned.cell.benchmark.name
        for answer, document in zip(stock(planned, documents, **more), ensure().documents(name), strict=False):
            target = {field: document[field] for field in load_benchmark(name).target}
            cluster = document[load_benchmark(name).cluster[0]]
            yield replace(
                answer, target=target, cluster=cluster, question=document["question"], answer=target["answer"]
            )

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(synthetic_store, "answers", real)
        synthetic_store.fill(root, EXPERIMENT, documents=12)
    imported(log(root / "logs" / "same", [sample(n) for n in range(12)]), root)
    imported(log(root / "logs" / "fewer", [sample(n) for n in range(9)]), root, title="Fewer")
    return root


def test_imported_rows_stand_marked_and_pair_only_with_the_same_documents(root: Path) -> None:
    report = make(collect(plan(EXPERIMENT, "miniature", results=root), root))
    assert not report.resamples.faults
    (table,) = [t for t in report.more if t.name == "imports_imported"]
    lines = {line.label: line.data for line in table.lines}
    same, fewer = lines["FastV at 60 tokens (imported, lmms-eval)"], lines["Fewer at 60 tokens (imported, lmms-eval)"]
    assert same[2].value is not None
    assert same[2].value < 0
    assert same[6].text == "60.0"
    assert fewer[2].reason == "its 9 documents are not those of this column"
    shown = [line for line in report.main[0].lines if line.section == SECTION]
    assert {line.role for line in shown} == {"imported"}
    assert "not ranked" in shown[0].data[0].mark
    assert shown[0].data[1].reason == "no log of it is imported"
    assert all(datum.value is None for line in shown for datum in line.data[2:])
    ranked = [line.label for t in report.more if t is not table for line in t.lines]
    assert not any("imported" in label for label in ranked)


def test_logs_of_one_name_do_not_hide_each_other(root: Path, tmp_path: Path) -> None:
    copy = tmp_path / "results"
    shutil.copytree(root, copy)
    imported(log(tmp_path / "more", [sample(n) for n in range(6)]), copy)
    report = make(collect(plan(EXPERIMENT, "miniature", results=copy), copy))
    shown = [line for line in report.main[0].lines if line.label.startswith("FastV at 60 tokens")]
    assert sorted(line.data[0].mark.split(", ")[1] for line in shown) == [
        "12 documents; not ranked",
        "6 documents; not ranked",
    ]


def test_answers_that_need_a_judge_have_no_score(tmp_path: Path) -> None:
    rows = [sample(n, "mmvet", input="") for n in range(2)]
    imported(log(tmp_path / "logs", rows, task="mmvet"), tmp_path)
    judged = replace(EXPERIMENT, benchmarks=(ColumnConfig("mmvet", "mmvet"),))
    report = make(collect(plan(judged, "miniature", results=tmp_path), tmp_path))
    (table,) = [t for t in report.more if t.name == "imports_imported"]
    assert table.lines[0].data[1].reason == "a judge would have to score its answers"


def test_a_damaged_record_is_named_and_the_report_stands(root: Path, tmp_path: Path) -> None:
    copy = tmp_path / "results"
    shutil.copytree(root, copy)
    record = next(copy.glob("miniature/imported/*/record.json"))
    record.write_text("{}")
    report = make(collect(plan(EXPERIMENT, "miniature", results=copy), copy))
    assert any(str(record) in warning and "import the log again" in warning for warning in report.warnings)


def test_a_log_may_wrap_one_answer_in_lists(tmp_path: Path) -> None:
    path = log(tmp_path, [sample(0, filtered_resps=[["Yes "]], token_counts=[None])])
    assert read_log(path).samples[0].answer == "Yes"
