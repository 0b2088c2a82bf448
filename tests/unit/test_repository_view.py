"""A repository of which a part is staged, as ``datasets`` can read it."""

import datasets
import pytest

from tops.benchmarks.view import as_staged
from tops.miniature.documents import Part
from tops.miniature.storage import write_repository

COLUMNS = {"q": "string"}


@pytest.fixture
def folder(tmp_path):
    parts = [Part(c, s, COLUMNS, [{"q": f"{c} {s}"}]) for c in ("first", "second") for s in ("train", "dev")]
    write_repository(tmp_path / "set", parts)
    return tmp_path / "set"


def test_one_split_of_one_configuration(folder, tmp_path):
    for file in folder.rglob("*.parquet"):
        if file.parent.name != "second" or not file.name.startswith("dev"):
            file.unlink()
    files = list(folder.rglob("*.parquet"))
    with pytest.raises((ValueError, FileNotFoundError)):
        datasets.load_dataset(str(folder), "second", cache_dir=str(tmp_path / "a"))
    for _ in range(2):  # a second process finds the view there
        view = as_staged(folder, files, tmp_path / "view")
        assert datasets.load_dataset(str(view), "second", cache_dir=str(tmp_path / "b"))["dev"]["q"][:] == [
            "second dev"
        ]
    assert "first" not in (view / "README.md").read_text()


def test_files_of_others_in_the_same_folder_are_none_of_ours(folder, tmp_path):
    files = [f for f in folder.rglob("*.parquet") if f.parent.name == "second"]
    view = as_staged(folder, files, tmp_path / "view")
    assert sorted(p.name for p in view.iterdir()) == ["README.md", "second"]
    loaded = datasets.load_dataset(str(view), "second", cache_dir=str(tmp_path / "c"))
    assert sorted(loaded) == ["dev", "train"]


def test_a_whole_repository_and_one_without_a_list_are_read_as_they_are(folder, tmp_path):
    files = list(folder.rglob("*.parquet"))
    assert as_staged(folder, files, tmp_path / "view") == folder
    for text in ("", "no head", "---\n- a list\n---\n", "---\nlicense: mit\n---\n"):
        (folder / "README.md").write_text(text)
        assert as_staged(folder, files[:1], tmp_path / "view") == folder
    (folder / "README.md").unlink()
    assert as_staged(folder, files, tmp_path / "view") == folder
    assert not (tmp_path / "view").exists()
