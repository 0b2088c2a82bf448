"""Every golden file equals, and a wrong number in one does not pass."""

from pathlib import Path

import numpy as np
import pytest

from tops.cli import main as cli
from tops.golden.command import check_file

GOLDEN = Path(__file__).parents[1] / "golden"
FILES = sorted(GOLDEN.glob("*/*.npz"))


def test_every_method_has_cases():
    assert {f.parent.name for f in FILES} == {
        *("cdpruner", "dart", "divprune", "fastv", "pdrop", "prumerge_plus", "scope", "sparsevlm", "tops", "trim"),
        "visionzip",
    }
    assert len(FILES) == 41


@pytest.mark.parametrize("file", FILES, ids=lambda f: f"{f.parent.name}/{f.stem}")
def test_equal(file):
    faults, indices, _, worst = check_file(file)
    assert faults == []
    assert indices > 0
    assert worst <= 1


def rewritten(tmp_path, source, change):
    with np.load(GOLDEN / source) as file:
        arrays = {name: file[name] for name in file.files}
    change(arrays)
    target = tmp_path / source
    target.parent.mkdir()
    np.savez(target, **arrays)
    return target


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("fastv/case_0.npz", "keep_indices"),
        ("visionzip/case_1.npz", "assign"),
        ("sparsevlm/case_0.npz", "merged_tokens"),
        ("dart/model_0.npz", "decode_positions"),
        ("pdrop/model_0.npz", "kv_len_after_prefill"),
    ],
)
def test_a_changed_number_is_noticed(tmp_path, source, name):
    def change(arrays):
        arrays[name] = arrays[name].copy()
        arrays[name].flat[-1] += 1

    faults, *_ = check_file(rewritten(tmp_path, source, change))
    assert any(fault.startswith(name) for fault in faults)


def test_an_array_nobody_compares_is_a_fault(tmp_path):
    file = rewritten(tmp_path, "trim/case_0.npz", lambda arrays: arrays.update(surplus=np.zeros(1)))
    assert check_file(file)[0] == ["not compared: surplus"]


def test_command_exits_1_on_a_mismatch_and_names_it(tmp_path, capsys):
    rewritten(tmp_path, "divprune/case_0.npz", lambda arrays: arrays.update(num_keep=np.int64(3)))
    assert cli.main(["golden", str(tmp_path)]) == 1
    assert "num_keep" in capsys.readouterr().out


def test_command_exits_0_when_all_is_equal(capsys, tmp_path):
    rewritten(tmp_path, "divprune/case_0.npz", lambda arrays: None)
    assert cli.main(["golden", str(tmp_path)]) == 0
    assert "1 of 1 files equal" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "content"), [("fastv/case_9.npz", b"no zip"), ("fastv/other.npz", b""), ("fastvv/case_0.npz", b"")]
)
def test_damaged_and_unknown_files_fail_with_a_reason(tmp_path, capsys, name, content):
    (tmp_path / name).parent.mkdir()
    (tmp_path / name).write_bytes(content)
    assert cli.main(["golden", str(tmp_path)]) == 1
    assert "FAILED" in capsys.readouterr().out


def test_empty_folder_says_what_it_wants(tmp_path, capsys):
    assert cli.main(["golden", str(tmp_path)]) == 2
    assert "one folder a method" in capsys.readouterr().err
