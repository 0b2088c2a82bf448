"""One cell on a miniature model through the stock tasks: what is stored, and what happens when something goes wrong."""

import json
import threading
from dataclasses import replace
from pathlib import Path
from weakref import WeakKeyDictionary

import pytest
from evaluation_models import backbone, cell, data, evaluate, pruned

from tops.benchmarks.benchmark import load_benchmark
from tops.budget import Budget
from tops.errors import ConfigurationError, DataError, UnsupportedModelError
from tops.evaluation.asking import Asking
from tops.evaluation.batches import ON_CPU
from tops.evaluation.following import Following
from tops.methods import build
from tops.miniature.benchmarks import BENCHMARKS
from tops.store.check import check
from tops.store.store import CellStatus, Store


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path, "miniature")


@pytest.fixture
def generated(monkeypatch):
    """Arguments of every ``generate``."""
    calls = []
    model = backbone().model
    stock = type(model).generate

    def watched(self, **options):
        calls.append(options)
        return stock(self, **options)

    monkeypatch.setattr(type(model), "generate", watched)
    return calls


@pytest.fixture
def failing(monkeypatch):
    """Makes the n-th call of ``generate`` raise."""
    model = backbone().model
    stock = type(model).generate

    def at(numbers, error):
        seen = iter(range(10_000))

        def generate(self, **options):
            if next(seen) in numbers:
                raise error
            return stock(self, **options)

        monkeypatch.setattr(type(model), "generate", generate)

    return at


def test_unpruned_and_pruned(store, generated):
    method = pruned()
    for chosen in (None, method):
        of = cell(method=chosen)
        assert evaluate(store, of, chosen, record_kept=chosen is not None) is CellStatus.SCORED
        record = store.read(of.key)
        answers = list(record.answers())
        assert len(answers) == 3
        seen = 36 if chosen else 144
        assert {a.visual_tokens_per_layer for a in answers} == {(seen,) * 8}
        first = answers[0]
        assert first.prompt.count("<image>") == 1
        assert first.question in first.prompt
        assert first.prompt.endswith("ASSISTANT:")
        assert "single word" not in first.question
        assert {a.target["category"] for a in answers} <= {"adversarial", "popular", "random"}
        assert record.scores["llava"]["documents"] == 3
        assert set(record.scores) == {"llava", "lmms-eval", "vlmevalkit"}
        assert record.provenance["device"] == "cpu"
        if chosen:
            assert len(first.kept["0"]) == 36
            assert (record.path / first.image).exists()
    assert len(generated) == 6  # nothing came from a cache although model and documents are the same
    assert check(store) == []
    assert backbone().model.device is not None  # the model serves the next cell


def test_a_cell_prints_nothing(store, capfd):
    """Stock bars and metrics among them, which no variable silences."""
    evaluate(store, cell("ai2d", limit=2))
    assert capfd.readouterr() == ("", "")


def test_greedy_with_pinned_length(store, generated):
    evaluate(store, cell("mmvet", limit=1, tokens=4))
    for options in generated:
        decoding = options["generation_config"]
        assert decoding.do_sample is False
        assert decoding.num_beams == 1
        assert decoding.max_new_tokens == 4
        assert decoding.temperature is decoding.top_p is decoding.top_k is None
        assert not {"temperature", "top_p", "top_k"} & set(options)


@pytest.mark.parametrize("name", ["none", "tops", "fastv", "sparsevlm", "text_only"])
def test_batches_give_the_answers_of_batch_1(tmp_path, name):
    """Tokens kept by every cut included; long and short questions, answers that end early and late."""
    budget = {} if name == "text_only" else {"budget": Budget(36)}
    method = None if name == "none" else build(name, **budget)
    of = cell("scienceqa_img", method, limit=7, tokens=6)
    rows = []
    for size in (1, 3):
        store = Store(tmp_path / str(size), "miniature")
        assert evaluate(store, of, method, record_kept=True, batch_size=size) is CellStatus.SCORED
        record = store.read(of.key)
        assert record.provenance["batch_size"] == size
        rows.append([replace(answer, seconds=0.0) for answer in record.answers()])
    assert rows[0] == rows[1]


def test_a_batch_size_from_the_free_memory_changes_no_answer(tmp_path):
    of, rows = cell("scienceqa_img", limit=7, tokens=3), []
    for size in (1, "auto"):
        store = Store(tmp_path / str(size), "miniature")
        assert evaluate(store, of, batch_size=size) is CellStatus.SCORED
        record = store.read(of.key)
        rows.append([replace(answer, seconds=0.0) for answer in record.answers()])
    assert rows[0] == rows[1]
    assert record.provenance["batch_size"] == ON_CPU


def test_the_next_prompt_is_prepared_while_the_model_runs(store, monkeypatch):
    """At batch 1 too: the model of the first document ends only once the second one's prompt is there."""
    model, prepare, second = backbone().model, Asking.prepare, threading.Event()
    stock, waited, ready = type(model).generate, [], []

    def prepared(self, number):
        question = prepare(self, number)
        ready.append(number)
        if len(ready) == 2:
            second.set()
        return question

    def generate(self, **options):
        waited.append(second.wait(timeout=20))
        return stock(self, **options)

    monkeypatch.setattr(Asking, "prepare", prepared)
    monkeypatch.setattr(type(model), "generate", generate)
    assert evaluate(store, cell("pope", limit=3)) is CellStatus.SCORED
    assert waited == [True] * 3


def test_the_next_cell_is_prepared_while_the_last_document_is_answered(store, monkeypatch):
    """The model of the only document ends once the next cell's first prompt is there; that is then not made again."""
    model, make, made, there = backbone().model, Asking._prepared, [], threading.Event()
    stock, waited = type(model).generate, []
    first, second = cell("pope", limit=1, seed=1), cell("textvqa", limit=2)

    def prepared(self, number):
        question = make(self, number)
        made.append(self._benchmark.name)
        if self._benchmark.name == "textvqa":
            there.set()
        return question

    def generate(self, **options):
        waited.append(there.wait(timeout=20))
        return stock(self, **options)

    monkeypatch.setattr("tops.evaluation.asking.QUESTIONS", WeakKeyDictionary())
    monkeypatch.setattr(Asking, "_prepared", prepared)
    monkeypatch.setattr(type(model), "generate", generate)
    following = Following(second, None, load_benchmark("textvqa"))
    assert evaluate(store, first, following=following) is CellStatus.SCORED
    assert made == ["pope", "textvqa"]
    assert evaluate(store, second) is CellStatus.SCORED
    assert made == ["pope", "textvqa", "textvqa"]
    assert waited == [True] * 3


def test_a_next_cell_that_cannot_be_prepared_says_so_in_its_turn(store):
    broken = cell("textvqa", limit=2)
    broken = replace(broken, benchmark=replace(broken.benchmark, data_hash="0" * 64))
    assert evaluate(store, cell("pope"), following=Following(broken, None, load_benchmark("textvqa"))).done
    with pytest.raises(DataError):
        evaluate(store, broken)


def test_one_bad_document_takes_no_batch_mates_down(store, monkeypatch):
    """Neither one that cannot be prepared nor one on which the model fails."""
    model, of = backbone().model, cell("pope", limit=6)
    stock, asked, sizes = type(model).generate, [], []

    def generate(self, **options):
        rows = zip(options["input_ids"], options["attention_mask"], strict=True)
        prompts = [row[real.bool()].tolist() for row, real in rows]
        asked.append(prompts[0])
        sizes.append(len(prompts))
        if asked[0] in prompts:
            raise RuntimeError("this one")
        return stock(self, **options)

    monkeypatch.setattr(type(model), "generate", generate)
    evaluate(store, of, batch_size=4)
    rows = {answer.error for answer in store.read(of.key).answers()}
    assert rows == {None, "RuntimeError: this one"}
    assert sizes[:5] == [4, 1, 1, 1, 1]
    monkeypatch.setattr(type(model), "generate", stock)
    assert evaluate(store, of, batch_size=4) is CellStatus.SCORED


def test_judged_benchmark_without_judge_has_no_number(store):
    of = cell("mmvet", limit=2)
    assert evaluate(store, of) is CellStatus.ANSWERED
    record = store.read(of.key)
    assert record.scores == {}
    assert "step by step" not in next(record.answers()).prompt
    assert "0.0" not in (record.path / "scores.json").read_text()


def test_an_error_in_one_document_is_no_wrong_answer(store, failing):
    of = cell()
    failing({1}, RuntimeError("CUDA error: device-side assert"))
    assert evaluate(store, of) is CellStatus.INCOMPLETE
    record = store.read(of.key)
    assert record.scores == {}
    assert "device-side assert" in record.failure["error"]
    assert len(record.failure["failed_documents"]) == 1
    assert [a.error for a in record.answers() if a.error] == ["RuntimeError: CUDA error: device-side assert"]


def test_out_of_memory_is_recorded(store, failing):
    import torch

    failing({0}, torch.OutOfMemoryError("tried to allocate 2 GiB"))
    of = cell(limit=3)
    assert evaluate(store, of) is CellStatus.INCOMPLETE
    assert "tried to allocate 2 GiB; free the GPU" in store.read(of.key).failure["error"]


def test_resuming_asks_only_what_failed(store, failing, generated, monkeypatch):
    of = cell()
    failing({1}, RuntimeError("x"))
    evaluate(store, of)
    monkeypatch.undo()
    calls = []
    model = type(backbone().model)
    stock = model.generate
    monkeypatch.setattr(model, "generate", lambda self, **o: calls.append(1) or stock(self, **o))
    assert evaluate(store, of) is CellStatus.SCORED
    assert len(calls) == 1
    assert store.read(of.key).provenance["resumed_documents"] == 2


def test_when_everything_fails_it_stops_early(store, failing):
    of = cell(limit=30)
    failing(set(range(100)), RuntimeError("no"))
    evaluate(store, of)
    failure = store.read(of.key).failure
    assert len(failure["failed_documents"]) == 5
    assert "every document fails" in failure["error"]


def test_empty_answers_fail_unless_allowed(store, monkeypatch):
    stock = type(backbone().model).generate
    monkeypatch.setattr(
        type(backbone().model), "generate", lambda self, **o: stock(self, **{**o, "max_new_tokens": 1})[:, :-1]
    )
    of = cell(limit=3)
    strict = replace(of, benchmark=replace(of.benchmark, generation={"max_new_tokens": 3, "allow_empty": False}))
    assert evaluate(store, strict) is CellStatus.INCOMPLETE
    assert "profile.allow_empty=true" in store.read(strict.key).failure["error"]
    assert evaluate(store, of) is CellStatus.SCORED
    assert store.read(of.key).scores["lmms-eval"]["invalid_rate"] == 1.0


def test_a_wrapper_that_says_nothing_is_no_wrong_answer(store, monkeypatch):
    """Stock scores ``None`` as 0."""
    from lmms_eval.models.chat import llava_hf

    stock = llava_hf.LlavaHf.generate_until

    def silent(self, requests):
        return [replace(result, text=None) for result in stock(self, requests)]

    monkeypatch.setattr(llava_hf.LlavaHf, "generate_until", silent)
    of = cell(limit=2)
    assert evaluate(store, of) is CellStatus.INCOMPLETE
    assert "gave no answer and no error" in store.read(of.key).failure["error"]


def test_ctrl_c_keeps_the_answers(store, failing, caplog):
    of = cell()
    failing({2}, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        evaluate(store, of)
    assert "stopped; 2 documents" in caplog.text
    assert "the same command goes on" in caplog.text
    assert store.status(of.key) is CellStatus.INCOMPLETE
    assert len(list(store.read(of.key).answers())) == 2


class TimeUp(Exception):
    pass


def test_a_schedulers_notice_is_no_failed_document(store, failing):
    of = cell()
    failing({1}, TimeUp())
    with pytest.raises(TimeUp):
        evaluate(store, of, let_through=(TimeUp,))
    assert all(a.error is None for a in store.read(of.key).answers())


def test_text_only_takes_image_and_placeholder_out(store):
    method = build("text_only")
    of = cell(method=method, limit=2)
    evaluate(store, of, method)
    for answer in store.read(of.key).answers():
        assert "<image>" not in answer.prompt
        assert set(answer.visual_tokens_per_layer) == {0}


def test_prompt_conventions_are_in_the_prompt_and_the_key(store):
    plain = cell("textvqa", limit=1)
    no_ocr = replace(plain, benchmark=replace(plain.benchmark, prompt={"convention": "no_ocr", "ocr": False}))
    spec = replace(plain.backbone, options={"system_prompt": "vicuna", "image_padding": "square"})
    vicuna = replace(plain, backbone=spec)
    prompts = {}
    for name, of in {"plain": plain, "no_ocr": no_ocr, "vicuna": vicuna}.items():
        evaluate(store, of)
        prompts[name] = next(store.read(of.key).answers()).prompt
    assert "Reference OCR token" in prompts["plain"]
    assert "Reference OCR token" not in prompts["no_ocr"]
    assert prompts["vicuna"].startswith("A chat between a curious user")
    assert prompts["vicuna"].endswith(prompts["plain"])


def test_unknown_option_value_and_prompt_setting(store):
    of = cell(limit=1)
    with pytest.raises(ConfigurationError, match="Did you mean 'vicuna'"):
        evaluate(store, replace(of, backbone=replace(of.backbone, options={"system_prompt": "vicunna"})))
    with pytest.raises(ConfigurationError, match="no prompt setting orc"):
        evaluate(store, replace(of, benchmark=replace(of.benchmark, prompt={"orc": True})))


@pytest.mark.parametrize(("name", "limit", "documents"), [("mme", 3, 2), ("mme", 5, 4), ("mmbench_en", 5, 4)])
def test_limit_keeps_groups_whole(store, name, limit, documents):
    of = cell(name, limit=limit, tokens=1)
    assert evaluate(store, of) is CellStatus.SCORED
    assert len(list(store.read(of.key).answers())) == documents


def test_other_data_than_planned_is_refused(store):
    of = cell(limit=1)
    other = replace(of, benchmark=replace(of.benchmark, data_hash="0" * 64))
    with pytest.raises(DataError, match="planned on 000000000000"):
        evaluate(store, other)
    with pytest.raises(ConfigurationError, match="no data hash"):
        evaluate(store, replace(of, benchmark=replace(of.benchmark, data_hash="")))
    with pytest.raises(DataError, match="tops fetch benchmark=pope"):
        evaluate(store, replace(of, seed=1), data_root=str(store.root))


def test_video_without_video_processor_fails_by_name(store):
    of = cell("videomme", limit=2)
    with pytest.raises(UnsupportedModelError, match="frames_as_images"):
        evaluate(store, of)
    assert "no video processor" in store.read(of.key).failure["error"]


def test_frames_as_images(store):
    of = cell("videomme", limit=1, tokens=1)
    of = replace(of, backbone=replace(of.backbone, options={"frames": 3, "frames_as_images": True}))
    assert evaluate(store, of) is CellStatus.SCORED
    answer = next(store.read(of.key).answers())
    assert answer.prompt.count("<image>") == 3
    assert set(answer.visual_tokens_per_layer) == {3 * 144}


def damaged_copy(tmp_path: Path, rows: set[int]):
    """POPE with truncated pictures."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    source = data().mirror / "lmms-lab-encoder" / "POPE"
    target = tmp_path / "data" / "mirror" / "lmms-lab-encoder" / "POPE"
    (target / "data").mkdir(parents=True)
    (target / "README.md").write_bytes((source / "README.md").read_bytes())
    (tmp_path / "data" / "hf_home").mkdir()
    table = pq.read_table(next((source / "data").glob("*.parquet")))
    images = table.column("image").to_pylist()
    for row in rows:
        images[row]["bytes"] = images[row]["bytes"][:60]
    place = table.schema.get_field_index("image")
    table = table.set_column(place, table.schema.field("image"), pa.array(images, table.schema.field("image").type))
    pq.write_table(table, target / "data" / "test-00000-of-00001.parquet")
    return tmp_path / "data"


def test_truncated_image_fails_alone_and_document_0_is_not_needed(store, tmp_path):
    from tops.benchmarks.data import data_hash
    from tops.benchmarks.tasks import load_task

    of = cell(limit=2)
    asked = load_task(load_benchmark("pope"), of.benchmark, data()).numbers(2)
    root = damaged_copy(tmp_path, {0, asked[0]})
    of = replace(of, benchmark=replace(of.benchmark, data_hash=data_hash("pope", root)))
    assert evaluate(store, of, data_root=str(root)) is CellStatus.INCOMPLETE
    failed = [a for a in store.read(of.key).answers() if a.error]
    assert [a.doc_id for a in failed] == asked[:1]
    assert "image" in failed[0].error


def test_environment_cannot_change_a_prompt(store, monkeypatch):
    of = cell("mmbench_en", limit=4, tokens=1)
    monkeypatch.setenv("NUM_IMAGE", "2")
    evaluate(store, of)
    assert next(store.read(of.key).answers()).prompt.count("<image>") == 1


def test_progress_is_told(store):
    seen = []

    class Told:
        def begin(self, label, total, done):
            seen.append((label, total, done))

        def advance(self, answer, score):
            seen.append(score)

        def end(self, status):
            seen.append(status)

    evaluate(store, cell(limit=3), progress=Told())
    assert seen[0] == (cell(limit=3).label, 3, 0)
    assert seen[-1] is CellStatus.SCORED
    assert set(seen[1:-1]) <= {0.0, 1.0}
    assert len(seen) == 5


def test_answers_do_not_depend_on_what_ran_before(store, tmp_path):
    method = pruned()
    of = cell(method=method, limit=2)
    evaluate(store, of, method)
    evaluate(store, cell(limit=1))
    again = Store(tmp_path / "again", "miniature")
    evaluate(again, of, method)

    def texts(s):
        return [(a.prompt_hash, a.answer) for a in s.read(of.key).answers()]

    assert texts(store) == texts(again)


def test_spec_of_the_record_is_the_cell(store):
    of = cell(limit=1)
    evaluate(store, of)
    assert json.loads((store.path(of.key) / "spec.json").read_text()) == of.as_dict()


@pytest.mark.slow
@pytest.mark.parametrize("name", BENCHMARKS)
def test_every_benchmark_runs(store, name):
    of = cell(name, limit=1, tokens=1)
    of = replace(of, backbone=replace(of.backbone, options={"frames": 2, "frames_as_images": True}))
    assert evaluate(store, of) is (CellStatus.ANSWERED if name == "mmvet" else CellStatus.SCORED)
    record = store.read(of.key)
    assert name == "mmvet" or load_benchmark(name).metric in record.scores[record.default_scorer]["metrics"]
    assert check(store) == []
