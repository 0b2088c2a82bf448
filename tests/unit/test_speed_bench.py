"""Efficiency, throughput and grid benchmarks on small settings."""

import json
from dataclasses import replace

import pytest
import torch

from tops.bench import efficiency, grid
from tops.cli.bench import main
from tops.errors import ConfigurationError
from tops.store.cell import BackboneSpec, BenchmarkSpec, Cell, MethodSpec


def test_efficiency_record(tmp_path, capsys):
    path = tmp_path / "efficiency.json"
    words = ["efficiency", "tops", "fastv", "--device", "cpu", "--repeats", "1", "--tokens", "2", "--json", str(path)]
    assert main(words) == 0
    record = json.loads(path.read_text())
    rows = {row["method"]: row for row in record["rows"]}
    assert set(rows) == {"none", "free_truncation", "tops", "fastv"}
    free, unpruned = rows["free_truncation"], rows["none"]
    assert free["over_limit"] == 0
    assert free["visual_tokens"] == rows["tops"]["visual_tokens"] == record["setting"]["budget"]
    assert rows["fastv"]["protocol"] == "kept"
    # The formula is the counter's sum; a selection's own products come on top.
    assert unpruned["decoder_flops_measured"] == pytest.approx(unpruned["decoder_flops_analytic"], rel=1e-3)
    assert free["decoder_flops_measured"] == pytest.approx(free["decoder_flops_analytic"], rel=1e-3)
    assert rows["tops"]["decoder_flops_measured"] > rows["tops"]["decoder_flops_analytic"]
    assert all(set(row["phases_ms"]) == set(efficiency.PHASES) for row in rows.values())
    assert "over limit" in capsys.readouterr().out


def test_backbones_record(tmp_path, capsys):
    path = tmp_path / "backbones.json"
    words = ["backbones", "llava-video-7b", "--device", "cpu", "--repeats", "1", "--tokens", "2", "--json", str(path)]
    assert main(words) == 0
    (record,) = json.loads(path.read_text())["backbones"]
    rows = {row["method"]: row for row in record["rows"]}
    assert record["setting"]["visual_tokens"] == 8 * 36
    assert rows["none"]["visual_tokens_per_layer"] == [8 * 36] * 8
    # A ninth of each frame's 36 tokens on layer average: 2T of T = 4, then 139 to 39, cuts at 12 and 16 of 28.
    assert rows["tops"]["visual_tokens_per_layer"] == [64] * 3 + [23] * 2 + [6] * 3
    assert rows["fastv"]["visual_tokens_per_layer"] == [8 * 36] + [8 * 4] * 7
    assert "64 x 3, 23 x 2, 6 x 3" in capsys.readouterr().out


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_no_gpu_no_figures():
    with pytest.raises(ConfigurationError, match="no CUDA"):
        main(["efficiency", "--device", "cuda"])


def cells(backbones, each):
    return [
        Cell("paper", BackboneSpec(b, "f", "c", "r"), MethodSpec("none"), None, BenchmarkSpec(f"b{i}", "t", "s", "h"))
        for b in backbones
        for i in range(each)
    ]


def test_one_worker_does_all_and_loads_each_model_once():
    done = grid.simulate(cells("xyz", 4), 1, lambda cell: 2.0, lambda cell: 10.0)
    assert (done.makespan, done.work, done.loads) == (54.0, 54.0, 3)


def test_workers_share_without_overlap():
    given = cells("xy", 8)
    done = grid.simulate(given, 4, lambda cell: 1.0, lambda cell: 0.0)
    assert done.work == 16
    assert done.makespan == 4


def test_no_gpu_is_of_use_beyond_the_longest_cell():
    given = cells("x", 3)
    times = dict(zip((c.key for c in given), (5.0, 1.0, 1.0), strict=True))
    assert grid.simulate(given, 64, lambda cell: times[cell.key], lambda cell: 1.0).makespan == 6


def test_rates_are_those_of_a_gpu(tmp_path):
    path = tmp_path / "efficiency.json"
    row = {
        "method": "none",
        "phases_ms": {"language_model": 200.0},
        "prefill_ms": {"median": 250.0},
        "decode_ms": {"median": 20.0},
        "decoder_flops_analytic": 4e13,
    }
    record = {"benchmark": "efficiency", "machine": {"device": "cpu"}, "rows": [row]}
    path.write_text(json.dumps(record))
    with pytest.raises(ConfigurationError, match="cuda"):
        grid.Rates.of(path)
    path.write_text(json.dumps({**record, "machine": {"device": "H"}}))
    rates = grid.Rates.of(path)
    assert rates.flops == pytest.approx(2e14)
    assert rates.token == pytest.approx(0.02)
    assert rates.document == pytest.approx(0.05 + grid.cost.SECONDS_PER_DOCUMENT)
    assert replace(rates, source="") != grid.Rates(source="")


@pytest.mark.slow
@pytest.mark.parametrize("size", ["3", "auto"])
def test_throughput_counts_what_differs(tmp_path, capsys, size):
    path = tmp_path / "throughput.json"
    words = ["throughput", "--experiment", "smoke", "--cells", "2", "--limit", "4", "--batch-size", size]
    assert main([*words, "--json", str(path)]) == 0
    record = json.loads(path.read_text())
    assert [row["differing_documents"] for row in record["rows"]] == [0, 0, 0]
    assert [row["documents"] for row in record["rows"]] == [8, 8, 8]
    assert [row["features_asked"] > 0 for row in record["rows"]] == [False, False, True]
    assert all(0 < row["model_share"] < 1 for row in record["rows"])
