"""Every notebook of the documents runs from its first cell to its last, and prints what it shows."""

from __future__ import annotations

import contextlib
import io
import json
import re
from pathlib import Path

import pytest

import tops

NOTEBOOKS = sorted((Path(tops.__file__).parent / "docs/notebooks").glob("*.ipynb"))


def printed(cell: dict[str, object]) -> str:
    """What a stored cell says on standard output."""
    return "".join("".join(o["text"]) for o in cell["outputs"] if o["output_type"] == "stream")


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_and_prints_what_it_shows(path, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] == "code":
            out = io.StringIO()
            with contextlib.redirect_stdout(out):
                exec(compile("".join(cell["source"]), str(path), "exec"), names)
            assert out.getvalue() == printed(cell)


@pytest.mark.slow
def test_the_readmes_example_answers_right(monkeypatch, tmp_path):
    text = (Path(tops.__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(re.search(r"```python\n(.*?)```", text, re.S)[1], {})
    assert out.getvalue().splitlines() == ["red", "red", "[64, 64, 64, 16, 16, 16, 8, 8]"]
    assert (tmp_path / "kept.png").exists()
