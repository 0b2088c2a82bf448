"""The data cache: same bytes for a seed, checked at each use, repaired or named, never half built."""

import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tops.errors import DataError
from tops.miniature import data as module
from tops.miniature.benchmarks import BENCHMARKS
from tops.miniature.contact_sheet import write_sheet
from tops.miniature.data import MiniatureData, ensure, faults, folder_of, load
from tops.miniature.storage import sha256_of_hashes

FEW = ("pope", "mlvu")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> MiniatureData:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "BENCHMARKS", {name: BENCHMARKS[name] for name in FEW})
        return ensure(tmp_path_factory.mktemp("cache"))


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BENCHMARKS", {name: BENCHMARKS[name] for name in FEW})


def files_of(root: Path) -> dict[str, str]:
    return dict(json.loads((root / "manifest.json").read_text())["files"])


def damage(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_one_seed_makes_the_same_bytes(built: MiniatureData, few: None, tmp_path: Path) -> None:
    again = ensure(tmp_path)
    assert files_of(again.root) == files_of(built.root)
    assert (again.sha256, again.hash_of("pope")) == (built.sha256, built.hash_of("pope"))


@pytest.mark.parametrize("way", ["damaged", "missing", "no manifest", "manifest edited"])
def test_a_damaged_cache_is_named_and_repaired(
    way: str, few: None, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BENCHMARKS", {"pope": BENCHMARKS["pope"]})
    root = ensure(tmp_path).root
    before = files_of(root)
    name = next(name for name in before if name.endswith(".parquet"))
    victim = root / name
    if way == "damaged":
        damage(victim)
    elif way == "missing":
        victim.unlink()
    elif way == "no manifest":
        victim = root / "manifest.json"
        victim.unlink()
    else:
        victim = root / "manifest.json"
        victim.write_text(victim.read_text().replace(before[name], "0" * 64))
    (fault,) = faults(root)
    assert str(victim) in fault
    if way == "damaged":
        assert before[name] in fault
    with pytest.raises(DataError, match=re.escape(str(victim))):
        load(root)
    assert ensure(tmp_path).root == root
    assert files_of(root) == before
    assert not faults(root)
    assert str(victim) in caplog.text


def test_another_seed_makes_other_documents(
    built: MiniatureData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BENCHMARKS", {"pope": BENCHMARKS["pope"]})
    assert ensure(tmp_path, seed=1).hash_of("pope") != built.hash_of("pope")


def test_a_build_that_breaks_off_leaves_nothing(few: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(module, "write_repository", fail)
    with pytest.raises(DataError, match=r"no space left on device.*TOPS_CACHE"):
        ensure(tmp_path)
    assert list((tmp_path / "miniature").iterdir()) == []


def test_the_cache_folder_follows_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOPS_CACHE", str(tmp_path))
    assert folder_of().is_relative_to(tmp_path)
    monkeypatch.delenv("TOPS_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert folder_of() == folder_of(tmp_path / "home" / ".cache" / "tops")


def test_hashes_cover_all_files_of_a_benchmark(built: MiniatureData) -> None:
    files = files_of(built.root)
    videos = {name for name in files if name.startswith("hf_home/mlvu/")}
    assert len(videos) == 105
    expected = {k: v for k, v in files.items() if "MLVU" in k or k in videos}
    assert built.hash_of("mlvu") == sha256_of_hashes(expected)
    with pytest.raises(DataError, match="Did you mean 'mlvu'"):
        built.hash_of("mlvuu")


def test_pope_splits_share_images_and_yes_questions(built: MiniatureData) -> None:
    rows = built.documents("pope")
    by_split = {s: [r for r in rows if r["category"] == s] for s in ("adversarial", "popular", "random")}
    images = {split: [r["image"]["bytes"] for r in found] for split, found in by_split.items()}
    assert images["adversarial"] == images["popular"] == images["random"]
    yes = {split: [r["question"] for r in found if r["answer"] == "yes"] for split, found in by_split.items()}
    assert yes["adversarial"] == yes["popular"] == yes["random"]
    assert len(yes["random"]) == len(by_split["random"]) / 2


def test_a_contact_sheet_shows_pictures_and_escapes_what_it_is_given(
    built: MiniatureData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = built.documents("pope")
    rows[0]["question"] = "<script>alert(1)</script> & co"
    monkeypatch.setattr(MiniatureData, "documents", lambda *_: rows)
    replies = [SimpleNamespace(doc_id=number, answer="<img src=x onerror=alert(2)>") for number in (0, 7)]
    run: Any = SimpleNamespace(answers=lambda: iter(replies), spec=SimpleNamespace(label="<b>model</b>"))
    page = write_sheet(built, "pope", tmp_path, count=3, run=run).read_text()
    assert page.count("data:image/png;base64,") == 2
    assert "Reply: &lt;img src=x onerror=alert(2)&gt;" in page
    assert "&lt;b&gt;model" in page
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; co" in page
    assert built.hash_of("pope")[:12] in page


def test_a_contact_sheet_of_videos_shows_frames(built: MiniatureData, tmp_path: Path) -> None:
    page = write_sheet(built, "mlvu", tmp_path, count=2).read_text()
    assert page.count("data:image/png;base64,") == 12
