"""The unmodified stock lmms-eval tasks on the miniature data, in a process without network."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tops.miniature.benchmarks import BENCHMARKS
from tops.miniature.data import MiniatureData, ensure
from tops.miniature.prompts import FORMATS, WORD_OR_PHRASE
from tops.miniature.questions import Question

pytestmark = pytest.mark.slow
TASKS = [task for benchmark in BENCHMARKS.values() for task in benchmark.tasks]


@pytest.fixture(scope="module")
def data() -> MiniatureData:
    return ensure()


@pytest.fixture(scope="module")
def report(data: MiniatureData, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("stock")
    environment = os.environ | {
        "HF_HOME": str(data.hf_home),
        "HF_DATASETS_CACHE": str(folder / "datasets"),
        "HF_HUB_OFFLINE": "1",
        "API_TYPE": "dummy",  # MM-Vet makes a judge's client when it is imported
    }
    script = Path(__file__).with_name("stock_tasks.py").resolve()
    done = subprocess.run(
        [sys.executable, str(script), str(folder), *TASKS],
        cwd=data.mirror,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    line = next(line for line in done.stdout.splitlines() if line.startswith("REPORT "))
    return dict(json.loads(line.removeprefix("REPORT ")))


@pytest.mark.parametrize("name", BENCHMARKS)
def test_a_stock_task_loads_all_documents(name: str, report: dict[str, Any], data: MiniatureData) -> None:
    entry = report[BENCHMARKS[name].tasks[0]]
    asked = sum(report[task]["documents"] for task in BENCHMARKS[name].tasks[: BENCHMARKS[name].parts])
    assert asked == data.manifest["benchmarks"][name]["documents"]
    assert 100 <= asked <= 300
    for visuals in entry["visuals"]:
        (visual,) = visuals
        assert visual.endswith(".mp4") if BENCHMARKS[name].data.videos else "size=96x96" in visual


@pytest.mark.parametrize("task", [task for task in TASKS if task != "mmvet"])
def test_right_answers_get_full_marks(task: str, report: dict[str, Any]) -> None:
    full = {"mme_perception_score": 800, "mme_cognition_score": 200, "pope_yes_ratio": 0.5, "ocrbench_accuracy": 0.2}
    percent = ("gpt_eval_score", "mlvu_percetion_score", "videomme_perception_score")
    scores = report[task]["scores"]
    assert scores
    for metric, value in scores.items():
        assert value == pytest.approx(full.get(metric, 100 if metric in percent else 1), abs=1e-2), metric


def first_question(name: str, row: dict[str, Any]) -> Question:
    """The first document as a question, options taken from the benchmark's own columns."""
    options: list[str] = []
    if name.startswith("mmbench"):
        options = [row[letter] for letter in "ABCD" if row[letter] != "nan"]
    elif name == "longvideobench":
        options = [row[f"option{i}"] for i in range(5) if row[f"option{i}"] != "N/A"]
    elif name == "videomme":
        options = [option.split(". ", 1)[1] for option in row["options"]]
    else:
        options = row.get("choices") or row.get("candidates") or row.get("options") or []
    text = row["question"].removesuffix(" Please answer yes or no.").split("\n")[0]
    if name == "mmstar":
        options = [part.split(": ")[1] for part in row["question"].split("\nOptions: ")[1].split(", ")]
    hint = row["hint"] if name == "scienceqa_img" else ""
    return Question("any", text, "", options=tuple(options), hint=hint)


@pytest.mark.parametrize("name", [name for name in BENCHMARKS if name in FORMATS])
def test_training_formats_are_the_stock_prompts(name: str, report: dict[str, Any], data: MiniatureData) -> None:
    # the stock TextVQA and MM-Vet defaults are the conventions without OCR tokens and with the preamble
    form = FORMATS[{"textvqa": "textvqa_no_ocr", "mmvet": "mmvet_step_by_step"}.get(name, name)]
    question = first_question(name, data.documents(name)[0])
    assert form.text(question) == report[BENCHMARKS[name].tasks[0]]["text"]


def test_the_ocr_convention_of_textvqa_is_the_stock_prompt(data: MiniatureData) -> None:
    from lmms_eval.tasks.textvqa.utils import textvqa_doc_to_text

    for row in data.documents("textvqa")[:20]:
        question = Question("digit", row["question"], "", tokens=tuple(row["ocr_tokens"]))
        settings = {"pre_prompt": "", "post_prompt": WORD_OR_PHRASE, "ocr": True}
        assert FORMATS["textvqa"].text(question) == textvqa_doc_to_text(row, settings)
