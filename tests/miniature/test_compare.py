"""A user's own folder, from a method in a file to the report, in one command."""

from __future__ import annotations

import csv
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

FIXTURE = Path(__file__).parents[1] / "fixtures/own"


@pytest.mark.slow
def test_one_command_compares_a_method_of_ones_own(tmp_path: Path) -> None:
    own = tmp_path / "own"
    shutil.copytree(FIXTURE, own)
    words = ["method=./mine.py:Mine", "against=divprune", "budget=288", "benchmark=pope,pope_first_word"]
    command = [sys.executable, "-m", "tops", "compare", *words, "profile=miniature", "limit=6", "launcher.workers=1"]
    done = subprocess.run(command, cwd=own, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr
    assert "Mine against DivPrune" in done.stdout
    with (own / "reports/miniature/compare-mine.csv").open() as file:
        text = file.read()
    assert "POPE by the first word" in text
    with (own / "reports/miniature/compare-mine_paired.csv").open() as file:
        rivals = {line["against"] for line in csv.DictReader(file)}
    assert {"DivPrune", "Random", "Unpruned"} <= rivals
    again = subprocess.run(command, cwd=own, capture_output=True, text=True)
    assert re.search(r"(\d+) of \1 cells complete \(\1 were before\)", again.stderr)
    (own / "distances.py").write_text((own / "distances.py").read_text().replace("mean(0)", "amin(0)"))
    planned = subprocess.run([*command, "--dry"], cwd=own, capture_output=True, text=True)
    assert "2 to run anew, stored only with an earlier content of the method's own file" in planned.stdout
