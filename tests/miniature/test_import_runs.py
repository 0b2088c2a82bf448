"""A log that lmms-eval's own command writes, imported."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tops.importing.run import Asked, import_logs
from tops.miniature import checkpoints
from tops.miniature.data import ensure
from tops.settings.choices import load_profile
from tops.store.imported import read_imported


@pytest.mark.slow
def test_the_commands_own_log(tmp_path: Path) -> None:
    model = f"checkpoint={checkpoints.path('llava-1.5')},method=fastv,budget=60"
    words = ["--model", "tops", "--model_args", model, "--tasks", "pope,gqa", "--limit", "6", "--batch_size", "1"]
    words += ["--log_samples", "--output_path", str(tmp_path / "logs")]
    quiet = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_DATASETS_CACHE": str(tmp_path / "datasets")}
    command = [sys.executable, "-m", "lmms_eval", *words]
    subprocess.run(command, cwd=ensure().mirror, env=quiet, check=True, capture_output=True)
    found = list(import_logs(tmp_path / "logs", Asked(load_profile("miniature"), str(tmp_path))))
    assert [(r.benchmark, r.title, r.backbone, r.documents) for r in found] == [
        ("gqa", "FastV", "llava-1.5-7b", 6),
        ("pope", "FastV", "llava-1.5-7b", 6),
    ]
    assert all(r.prompt is not None and r.layer_average == 60 for r in found)
    (gqa, *_) = read_imported(tmp_path, "miniature", [])
    right = sum(answer.answer == answer.target["answer"] for answer in gqa.answers())
    assert gqa.told["exact_match"] == pytest.approx(right / 6)
