"""The paper profile's own configurations from command to report, on the miniature's weights and documents."""

import pytest

from tops.cli.main import main
from tops.miniature import checkpoints, data
from tops.store.store import CellStatus, Store

pytestmark = pytest.mark.slow


def test_the_paper_profile_runs_where_its_paths_point(tmp_path, capsys):
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "llava-1.5-7b").symlink_to(checkpoints.path("llava-1.5"))
    documents = data.ensure().mirror.parent
    words = [
        *("-m", "backbone=llava-1.5-7b", "method=tops,trim", "budget=0.25", "benchmark=pope,gqa", "limit=2"),
        *("profile=paper", "profile.device=cpu", "profile.dtype=float32", f"results={tmp_path / 'results'}"),
        *(f"profile.checkpoints={tmp_path / 'weights'}", f"profile.data={documents}"),
    ]
    assert main(["run", *words]) == 0
    records = list(Store(tmp_path / "results", "paper").records())
    assert {(r.spec.method.name, r.spec.benchmark.name, r.status) for r in records} == {
        (method, benchmark, CellStatus.SCORED) for method in ("tops", "trim") for benchmark in ("pope", "gqa")
    }
    for record in records:
        assert record.spec.backbone.checkpoint == "llava-hf/llava-1.5-7b-hf"
        assert record.spec.backbone.options == {"system_prompt": "vicuna", "image_padding": "square"}
        answers = list(record.answers())
        assert len(answers) == 2
        assert all(a.prompt.startswith("A chat between a curious user") for a in answers)
        assert all(sum(a.visual_tokens_per_layer) == 36 * 8 for a in answers)
    assert main(["run", *words]) == 0
    assert "(4 were before)" in capsys.readouterr().err
    assert main(["results", "check", f"results={tmp_path / 'results'}"]) == 0
