"""Every golden file equals, and a wrong number in one does not pass."""

from pathlib import Path

import numpy as np
import pytest
from golden.checks import check_file, methods

from tops.cli import main as cli
from tops.cli.golden import load_checks
from tops.errors import DataError
from tops.methods import method_class, method_names

GOLDEN = Path(__file__).parents[1] / "golden"
FILES = sorted(GOLDEN.glob("*/*.npz"))


def test_every_method_of_a_paper_has_vectors_and_checks():
    papers = {name for name in method_names() if (method_class(name).__doc__ or "").count("arXiv")}
    assert {file.parent.name for file in FILES} == set(methods()) == papers - {"downsampling"}


@pytest.mark.parametrize("file", FILES, ids=lambda f: f"{f.parent.name}/{f.stem}")
def test_equal(file):
    check = check_file(file)
    assert check.faults == []
    assert check.indices > 0
    assert check.worst <= 1


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

    check = check_file(rewritten(tmp_path, source, change))
    assert any(fault.startswith(name) for fault in check.faults)


def test_an_array_nobody_compares_is_a_fault(tmp_path):
    file = rewritten(tmp_path, "trim/case_0.npz", lambda arrays: arrays.update(surplus=np.zeros(1)))
    assert check_file(file).faults == ["not compared: surplus"]


def test_command_exits_1_on_a_mismatch_and_names_it(tmp_path, capsys):
    rewritten(tmp_path, "divprune/case_0.npz", lambda arrays: arrays.update(num_keep=np.int64(3)))
    assert cli.main(["golden", str(tmp_path)]) == 1
    assert "num_keep" in capsys.readouterr().out


def test_command_exits_0_when_all_is_equal(capsys, tmp_path):
    rewritten(tmp_path, "divprune/case_0.npz", lambda arrays: None)
    assert cli.main(["golden", str(tmp_path)]) == 0
    assert "1 of 1 files equal" in capsys.readouterr().out


@pytest.mark.parametrize("visual", [51, 37])
def test_a_forward_pass_may_have_any_number_of_visual_tokens(tmp_path, capsys, visual):
    """The outputs are of another number, so they differ; nothing is in the way of computing them."""
    rewritten(tmp_path, "fastv/model_0.npz", lambda arrays: arrays.update(image_length=np.int64(visual)))
    assert cli.main(["golden", str(tmp_path)]) == 1
    assert "fastv/model_0.npz  DIFFERS" in capsys.readouterr().out


def test_the_command_goes_on_after_a_file_that_fails_and_names_it(tmp_path, capsys):
    def break_it(arrays):
        arrays["attn_last_row"] = arrays["attn_last_row"][..., :3]
        arrays["q"] = arrays["q"][:, :, None, None]

    rewritten(tmp_path, "fastv/case_0.npz", break_it)
    rewritten(tmp_path, "scope/case_0.npz", lambda arrays: None)
    assert cli.main(["golden", str(tmp_path)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("fastv/case_0.npz  FAILED")
    assert lines[1].startswith("scope/case_0.npz  equal")
    assert lines[2] == "1 of 2 files equal; not: fastv/case_0.npz"


def test_without_a_checkout_the_command_says_what_is_missing(tmp_path):
    with pytest.raises(DataError, match="part of the source, not of the installed package"):
        load_checks(tmp_path)


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
