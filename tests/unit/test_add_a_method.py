"""The tutorial's method works as written, and a package adds one by an entry point."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import tiny
import torch
from scenes import scene

import tops
from tops import methods
from tops.engine import prune

CODE = re.search(r"```python\n(.*?)```", (Path(tops.__file__).parent / "docs/add-a-method.md").read_text(), re.S)[1]


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / "my_package").mkdir()
    (tmp_path / "my_package/largest_norm.py").write_text(CODE)
    info = tmp_path / "my_package-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my-package\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[tops.methods]\nlargest_norm = my_package.largest_norm:LargestNorm\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    methods._registry.cache_clear()
    yield
    methods._registry.cache_clear()


@pytest.mark.usefixtures("installed")
def test_the_tutorials_method_runs_through_the_engine() -> None:
    assert "largest_norm" in methods.method_names()
    method = methods.build("largest_norm", budget=5, order=1.0)
    point = scene(5)
    kept = method.select(point).indices
    assert set(kept.tolist()) == set(point.tokens.features.abs().sum(1).topk(5).indices.tolist())
    case = tiny.llava()
    with prune(case.model, method) as run, torch.no_grad():
        case.model(**case.inputs)
    assert run.visual_tokens_per_layer == [5] * tiny.DEPTH


def test_the_tutorials_method_is_under_40_lines() -> None:
    assert len(CODE.splitlines()) < 40
