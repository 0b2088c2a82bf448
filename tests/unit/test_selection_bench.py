import json

import pytest
import torch

from tops.bench import scaling, selection
from tops.cli.bench import main
from tops.errors import ConfigurationError


def test_record_of_the_comparison(tmp_path, capsys):
    path = tmp_path / "new" / "selection.json"
    assert main(["selection", "1x60:12", "3x30:8", "--repeats", "2", "--json", str(path)]) == 0
    record = json.loads(path.read_text())
    assert [row["shape"] for row in record["rows"]] == ["1x60:12", "3x30:8"]
    assert all(row["same"] and row["greedy_ratio"] > 0 for row in record["rows"])
    assert record["machine"]["torch"] == torch.__version__.split("+")[0]
    assert "1x60:12" in capsys.readouterr().out


def test_a_different_choice_is_told_and_fails(monkeypatch, capsys):
    monkeypatch.setattr(selection, "select_tops", lambda x, r, k, **_: torch.zeros(len(x), k, dtype=torch.int64))
    assert main(["selection", "1x60:12", "--repeats", "1"]) == 1
    assert "NO" in capsys.readouterr().out


@pytest.mark.parametrize("shape", ["60:12", "1x12:60", "axb:c", "0x5:1"])
def test_refuses_shapes(shape):
    with pytest.raises(ConfigurationError, match="BxN:K"):
        main(["selection", shape])


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_refuses_a_device_that_is_not_there():
    with pytest.raises(ConfigurationError, match="no CUDA"):
        main(["selection", "--device", "cuda"])


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
