import itertools
import json

import pytest
import torch

from tops.bench import scaling, selection
from tops.bench.plain import STATEMENTS
from tops.cli.bench import main
from tops.errors import ConfigurationError


def test_record_of_the_comparison(tmp_path, capsys):
    path = tmp_path / "new" / "selection.json"
    words = ["selection", "1x60:12", "3x30:8", "--widths", "16", "24", "--repeats", "2", "--json", str(path)]
    assert main(words) == 0
    record = json.loads(path.read_text())
    rows = {(row["width"], row["shape"], row["method"]): row for row in record["rows"]}
    assert set(rows) == set(itertools.product((16, 24), ("1x60:12", "3x30:8"), selection.SELECTIONS))
    assert all(row["same"] is (True if width == 16 else None) for (width, _, _), row in rows.items())
    ratios = [row["plain_ms"] / row["ours_ms"] for row in rows.values()]
    assert record["ratio"]["least"] == pytest.approx(min(ratios))
    assert record["machine"]["torch"] == torch.__version__.split("+")[0]
    assert "1x60:12" in capsys.readouterr().out


def test_a_different_choice_is_told_and_fails(monkeypatch, capsys):
    auto = selection.SELECTIONS["tops"]
    picks = {"auto": lambda *a: torch.zeros(1, 12, dtype=torch.int64), "direct": lambda *a: auto(*a, "direct")}
    monkeypatch.setitem(selection.SELECTIONS, "tops", lambda *a: picks[a[3]](*a[:3]))
    assert main(["selection", "1x60:12", "--methods", "tops", "--widths", "16", "--repeats", "1"]) == 1
    assert "NO" in capsys.readouterr().out


@pytest.mark.parametrize("shape", ["60:12", "1x12:60", "axb:c", "0x5:1"])
def test_refuses_shapes(shape):
    with pytest.raises(ConfigurationError, match="BxN:K"):
        main(["selection", shape])


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_refuses_a_device_that_is_not_there():
    with pytest.raises(ConfigurationError, match="no CUDA"):
        main(["selection", "--device", "cuda"])


@pytest.mark.parametrize("method", STATEMENTS)
def test_plain_statements_are_the_same_methods(method):
    x, scores = selection.clustered(3, 60, 32, torch.device("cpu"))
    assert torch.equal(STATEMENTS[method](x, scores, 20), selection.SELECTIONS[method](x, scores, 20, "direct"))


def test_names_the_benchmarks(capsys):
    assert main([]) == 0
    assert main(["selecton"]) == 2
    assert "selection" in capsys.readouterr().err


def test_exponent_of_a_power_law():
    assert scaling.exponent([1, 2, 4, 8], [3, 12, 48, 192]) == pytest.approx(2.0)


@pytest.mark.slow
def test_scaling_record(tmp_path, monkeypatch):
    monkeypatch.setattr(scaling, "POOLS", (100, 200, 10**6))
    monkeypatch.setattr(scaling, "PICKS", (16, 32))
    monkeypatch.setattr(scaling, "FRAMES", (1, 2))
    monkeypatch.setattr(scaling, "IMAGES", (1, 2))
    assert (
        main(["scaling", "--repeats", "1", "--json", str(tmp_path / "s.json"), "--plot", str(tmp_path / "s.svg")]) == 0
    )
    record = json.loads((tmp_path / "s.json").read_text())
    assert [row["n"] for row in record["tokens, K=64"]["rows"]] == [100, 200]
    assert [row["batch"] for row in record["documents, images of 576, K=64"]["rows"]] == [1, 2]
    assert (tmp_path / "s.svg").stat().st_size > 0


def test_methods_are_timed_against_plain_statements(tmp_path, capsys):
    path = tmp_path / "methods.json"
    words = ["methods", "divprune", "trim", "fastv", "--tokens", "576", "--width", "64", "--repeats", "1"]
    assert main([*words, "--json", str(path)]) == 0
    record = json.loads(path.read_text())
    assert set(record["plain_over_ours"]) == {"divprune", "trim"}
    assert all(ratio["576"] > 0 for ratio in record["plain_over_ours"].values())
    assert "random" in record["milliseconds"]
