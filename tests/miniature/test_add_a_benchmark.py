"""The tutorial's benchmark, taken out of its page, is planned, run and scored on data of its schema."""

from __future__ import annotations

import io
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import tops
from tops.cli.main import main
from tops.miniature import checkpoints
from tops.miniature.documents import IMAGE, Part
from tops.miniature.scenes import make_scene
from tops.miniature.storage import write_repository
from tops.store.store import CellStatus, Store

PAGE = (Path(tops.__file__).parent / "docs/add-a-benchmark.md").read_text(encoding="utf-8")
YAML = re.search(r"```yaml\n(.*?)```", PAGE, re.S)[1]
NAME = re.search(r"tops run benchmark=(\w+)", PAGE)[1]


@pytest.fixture
def words(tmp_path: Path) -> list[str]:
    """Keys of a run: the page's YAML in a folder of one's own, four documents in the data set's schema."""
    own = tmp_path / "configs/benchmark"
    own.mkdir(parents=True)
    (own / f"{NAME}.yaml").write_text(YAML, encoding="utf-8")
    rows = []
    for i in range(4):
        png = io.BytesIO()
        Image.fromarray(make_scene(np.random.default_rng(i), "evaluation").image).save(png, "PNG")
        question = {"question_id": str(i), "question": "How many shapes are there?", "answers": ["5"] * 9 + ["five"]}
        rows.append({**question, "image": png.getvalue()})
    columns = {"question_id": "string", "question": "string", "answers": "strings", "image": IMAGE}
    repository = re.search(r"path: (\S+)", YAML)[1]
    split = re.search(r"split: (\S+)", YAML)[1]
    write_repository(tmp_path / "data/mirror" / repository, [Part("", split, columns, rows)])
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights/llava-1.5-7b").symlink_to(checkpoints.path("llava-1.5"))
    return [
        *("backbone=llava-1.5-7b", "method=tops", "budget=0.25", f"benchmark={NAME}", "limit=2"),
        *("profile=paper", "profile.device=cpu", "profile.dtype=float32", f"results={tmp_path / 'results'}"),
        *(f"profile.checkpoints={tmp_path / 'weights'}", f"profile.data={tmp_path / 'data'}"),
        f"--config-dir={tmp_path / 'configs'}",
    ]


@pytest.mark.slow
def test_the_tutorials_benchmark_is_planned_run_and_scored(words, tmp_path, capsys):
    assert main(["plan", *words]) == 0
    assert "1 cells: 1 missing" in capsys.readouterr().out
    assert main(["run", *words]) == 0
    (record,) = Store(tmp_path / "results", "paper").records()
    assert record.status is CellStatus.SCORED
    answers = list(record.answers())
    assert len(answers) == 2
    assert all("How many shapes are there?" in a.prompt for a in answers)
    right = [float(a.answer.strip() in a.target["answers"]) for a in answers]
    assert record.scores["lmms-eval"]["metrics"]["accuracy"] == pytest.approx(100 * np.mean(right))
