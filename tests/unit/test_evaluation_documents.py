"""Which documents a limit takes, which belong together, and what the data folder must hold."""

import os
import re
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from tops.benchmarks.benchmark import load_benchmark
from tops.benchmarks.data import DataRoot, data_hash
from tops.benchmarks.documents import cluster_of, limited, question_of, target_of
from tops.benchmarks.quiet import environment
from tops.benchmarks.tasks import Task
from tops.errors import ConfigurationError, DataError


def pope(n=300):
    return [{"answer": ("yes", "no")[i % 2], "category": ("a", "b", "c")[i * 3 // n]} for i in range(n)]


def test_a_limit_draws_from_every_part_and_every_answer():
    bench, documents = load_benchmark("pope"), pope()
    chosen = limited(bench, documents, 30)
    assert len(chosen) == 30
    parts = Counter((documents[i]["category"], documents[i]["answer"]) for i in chosen)
    assert parts == {(split, answer): 5 for split in "abc" for answer in ("yes", "no")}
    assert set(limited(bench, documents, 12)) <= set(chosen)
    assert limited(bench, documents, None) == list(range(300)) == limited(bench, documents, 300)


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 20])
def test_pairs_and_rotations_stay_whole(limit):
    mme = [{"category": "color", "question_id": str(i % 15)} for i in range(30)]
    chosen = limited(load_benchmark("mme"), mme, limit)
    assert len(chosen) == max(2, limit // 2 * 2)
    assert all((i + 15) % 30 in chosen for i in chosen)
    mmbench = [{"index": i % 10 + 1_000_000 * (i // 10)} for i in range(40)]
    chosen = limited(load_benchmark("mmbench_cn"), mmbench, limit)
    assert len(chosen) == max(4, limit // 4 * 4)
    assert len({i % 10 for i in chosen}) == len(chosen) // 4


def test_clusters():
    assert cluster_of(load_benchmark("mmbench_en"), {"index": 3_000_007}, 5) == "7"
    assert cluster_of(load_benchmark("mme"), {"category": "color", "question_id": "3"}, 5) == "color|3"
    assert cluster_of(replace(load_benchmark("gqa"), cluster=()), {}, 5) == "5"


def test_questions_of_one_picture_are_one_cluster():
    from PIL import Image

    bench = load_benchmark("ai2d")
    red, blue = Image.new("RGB", (4, 4), "red"), Image.new("RGB", (4, 4), "blue")
    assert cluster_of(bench, {}, 0, [red]) == cluster_of(bench, {}, 1, [red.copy()]) != cluster_of(bench, {}, 2, [blue])


def test_a_field_that_is_not_there_is_named():
    with pytest.raises(DataError, match="no field 'category'"):
        target_of(load_benchmark("pope"), {"answer": "yes"})
    with pytest.raises(DataError, match="they have answer"):
        question_of(load_benchmark("pope"), {"answer": "yes"})


@pytest.mark.parametrize("limit", [0, -1, 1.5, True])
def test_limits_are_whole_numbers(limit):
    with pytest.raises(ConfigurationError, match="whole number"):
        load_benchmark("pope").spec("x", limit=limit)


def test_generation_is_pinned_and_greedy():
    bench = load_benchmark("pope")
    with pytest.raises(ConfigurationError, match="must be pinned"):
        replace(bench, generation={})
    with pytest.raises(ConfigurationError, match="greedy"):
        replace(bench, generation={"max_new_tokens": 4, "temperature": 0.2})
    with pytest.raises(ConfigurationError, match="Did you mean 'no_ocr'"):
        load_benchmark("textvqa").spec("x", convention="noocr")


@pytest.fixture
def staged(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("TOPS_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "mirror" / "lmms-eval" / "Video-MME" / "videomme"
    folder.mkdir(parents=True)
    (folder / "test.parquet").write_bytes(b"documents")
    (tmp_path / "hf_home" / "videomme" / "data").mkdir(parents=True)
    (tmp_path / "hf_home" / "videomme" / "data" / "a.mp4").write_bytes(b"video")
    return tmp_path


def test_hash_covers_documents_and_videos(staged):
    first = data_hash("videomme", staged)
    assert first == data_hash("videomme", DataRoot.at(staged))
    (staged / "hf_home" / "videomme" / "data" / "b.mp4").write_bytes(b"more")
    second = data_hash("videomme", staged)
    (staged / "mirror" / "lmms-eval" / "Video-MME" / "videomme" / "test.parquet").write_bytes(b"other text")
    third = data_hash("videomme", staged)
    assert len({first, second, third}) == 3


def test_hash_does_not_write_into_the_data(staged):
    before = sorted(p for p in staged.rglob("*") if "cache" not in p.parts)
    data_hash("videomme", staged)
    assert sorted(p for p in staged.rglob("*") if "cache" not in p.parts) == before


def test_missing_data_names_the_command(staged):
    with pytest.raises(DataError, match="tops fetch benchmark=pope"):
        data_hash("pope", staged)
    (staged / "hf_home" / "videomme" / "data" / "a.mp4").unlink()
    with pytest.raises(DataError, match=r"no videos.*tops fetch benchmark=videomme"):
        data_hash("videomme", staged)


def test_a_task_that_leaves_the_process_only_fails_its_document():
    """As the stock video tasks do when a file is not there."""
    stock = SimpleNamespace(doc_to_visual=lambda document: sys.exit("video path:x.mp4 does not exist"))
    with pytest.raises(DataError, match=r"x\.mp4 does not exist; run `tops fetch benchmark=mlvu`"):
        Task(load_benchmark("mlvu"), stock, None).visuals({})


def test_no_task_finds_a_judge_by_chance(monkeypatch, tmp_path):
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    monkeypatch.setenv("API_TYPE", "openai")
    with environment(tmp_path):
        assert "OPENAI_API_KEY" not in os.environ
        assert (os.environ["API_TYPE"], os.environ["HF_HOME"]) == ("dummy", str(tmp_path))
    assert (os.environ["OPENAI_API_KEY"], os.environ["API_TYPE"]) == ("secret", "openai")


def test_every_guard_that_the_documentation_claims_has_its_test():
    tests = Path(__file__).parents[1]
    claimed = set(re.findall(r"`(test_\w+)`", (tests.parent / "tops" / "docs" / "evaluation.md").read_text()))
    there = {
        name for file in tests.rglob("test_*.py") for name in re.findall(r"^def (test_\w+)", file.read_text(), re.M)
    }
    assert len(claimed) > 30
    assert claimed <= there
