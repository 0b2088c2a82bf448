"""Each benchmark of 2026 runs on documents of its schema, of a repository of which only a part is staged."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from datasets import Dataset, Features, Image, List, Value
from evaluation_models import backbone, evaluate, pruned
from field_data import NAMES, ROWS, TEN, picture, scene, stage, stage_mvbench
from PIL import Image as Pillow

from tops.benchmarks.benchmark import load_benchmark
from tops.benchmarks.data import DataRoot, data_hash, missing
from tops.benchmarks.scorers.rule import stock
from tops.benchmarks.tasks import load_task
from tops.budget import Budget
from tops.errors import DataError
from tops.evaluation.media import Media
from tops.evaluation.messages import messages
from tops.methods import build
from tops.store.cell import BackboneSpec, Cell, MethodSpec
from tops.store.check import check
from tops.store.store import CellStatus, Store

WORD = "Answer the question using a single word or phrase."
LETTER = "Answer with the option's letter from the given choices directly."
# What the first document's prompt ends with, after the template's own words.
ENDS = {
    "ocrbench": "what is written in the image?",
    "chartqa": "How many shapes are there?\nAnswer the question with a single word.",
    "docvqa": f"What is the number?\n{WORD}",
    "infovqa": f"What is the number?\n{WORD}",
    "vizwiz": f"What is this?\nWhen the provided information is insufficient, respond with 'Unanswerable'.\n{WORD}",
    "vqav2": f"What is this?\n{WORD}",
    "seed_image": f"What color is it?\nA. red\nB. green\nC. blue\nD. white\n{LETTER}",
    "realworldqa": "Please answer directly with only the letter of the correct option and nothing else.",
    "mmmu": f"Which is larger?\nA. one\nB. the other\n\n{LETTER}",
    "refcoco": "Please provide the bounding box coordinate of the region this sentence describes: ",
    "mvbench": "Question:What happens?\nOption:\n(A) one\n(B) two\nOnly give the best option.",
}
DOCUMENTS = {"seed_image": 2, "refcoco": 20, "mvbench": 40}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("field")
    (folder / "hf_home").mkdir()
    for name in ROWS:
        stage(name, folder)
    from tops.miniature.videos import make_video, write_mp4

    write_mp4(folder / "one.mp4", make_video(np.random.default_rng(0), "evaluation"))
    stage_mvbench(folder, (folder / "one.mp4").read_bytes())
    return folder


def cell(name, root, method=None, limit=2):
    bench = load_benchmark(name)
    spec = bench.spec(data_hash(bench, str(root)), limit=limit)
    spec = replace(spec, generation={**spec.generation, "max_new_tokens": 3, "allow_empty": True})
    options = {"frames": 2, "frames_as_images": True} if bench.modality == "video" else {}
    model = BackboneSpec("llava-1.5-7b", "llava", "m", "random", trained=False, dtype="float32", options=options)
    return Cell("paper", model, MethodSpec(method.name if method else "none"), method and method.budget, spec)


@pytest.mark.parametrize("name", NAMES)
def test_it_is_asked_and_scored(name, root, tmp_path):
    store, bench = Store(tmp_path, "paper"), load_benchmark(name)
    task = load_task(bench, cell(name, root).benchmark, DataRoot.at(str(root)))
    assert len(task.documents) == DOCUMENTS.get(name, 4)
    for method in (None, pruned()):
        of = cell(name, root, method)
        assert evaluate(store, of, method, data_root=str(root)) is CellStatus.SCORED
        record = store.read(of.key)
        answers = list(record.answers())
        assert len(answers) == 2
        assert bench.metric in record.scores["lmms-eval"]["metrics"]
        assert set(answers[0].target) == set(bench.target)
        pictures = answers[0].prompt.count("<image>")
        assert set(answers[0].visual_tokens_per_layer) == {pictures * (36 if method else 144)}
    first = task.documents[0]
    prompt = task.text(first)
    assert ENDS[name] in prompt
    assert prompt.strip().endswith(first["answer"] if name == "refcoco" else ENDS[name])
    assert check(store) == []


def test_refcoco_asks_what_stock_asks(root):
    """A document a phrase, the box in shares of the picture."""
    bench = load_benchmark("refcoco")
    documents = load_task(bench, cell("refcoco", root).benchmark, DataRoot.at(str(root))).documents
    features = Features(
        {
            "image": Image(),
            "answer": List(Value("string")),
            "bbox": List(Value("float32")),
            "question_id": Value("string"),
        }
    )
    rows = [{name: ROWS["refcoco"](i)[name] for name in features} for i in range(4)]
    utils = stock("tasks/refcoco/utils_rec.py")
    exploded = utils.refcoco_bbox_rec_preprocess_dataset(Dataset.from_list(rows, features=features))
    assert len(documents) == 2 * len(exploded)
    for number, theirs in enumerate(exploded):
        ours = documents[number]
        assert (ours["answer"], ours["question_id"], ours["part"]) == (theirs["answer"], theirs["question_id"], "testA")
        x, y, w, h = ours["bbox"]
        assert theirs["bbox"] == pytest.approx([x / 96, y / 96, (x + w) / 96, (y + h) / 96])
        assert (ours["image_width"], ours["image_height"]) == (96, 96)
    assert documents[len(exploded)]["part"] == "testB"
    assert documents.plain(1)["answer"] == rows[0]["answer"][1]


def shown(content):
    return [part["text"] if part["type"] == "text" else part["url"] for part in content]


def test_mmmu_shows_pictures_where_the_question_names_them():
    utils = pytest.importorskip("lmms_eval.tasks.mmmu.utils")
    settings = {"prompt_type": "format", "multiple_choice_prompt": "Letter.", "open_ended_prompt": "Word."}

    def opened(i):
        row = ROWS["mmmu"](i)
        return {k: Pillow.open(io.BytesIO(v["bytes"])) if isinstance(v, dict) else v for k, v in row.items()}

    for i in (0, 1, 3):  # each picture once, in order: what stock makes of them
        document = opened(i)
        utils.config["metadata"]["interleaved_format"] = False
        text, pictures = utils.mmmu_doc_to_text(document, settings), utils.mmmu_doc_to_visual(document)
        ours = messages(text, Media(tuple(pictures)), interleaved=True)
        theirs = utils.mmmu_doc_to_messages(document, settings)
        assert shown(ours[0]["content"]) == [
            pictures[[p.tobytes() for p in pictures].index(x.tobytes())] if isinstance(x, Pillow.Image) else x
            for x in shown(theirs[0]["content"])
        ]
    one, two = Pillow.new("RGB", (4, 4)), Pillow.new("RGB", (5, 5))
    text = "See <image 2>, then <image 1>. Is <image 2> red?"
    mixed = messages(text, Media((one, two)), interleaved=True)[0]["content"]
    assert shown(mixed) == ["See", two, ", then", one, ". Is <image 2> red?"]
    blind = messages(text, Media(), interleaved=True)[0]["content"]
    assert shown(blind) == ["See , then . Is  red?"]
    with pytest.raises(DataError, match=r"names 2 picture\(s\) and shows 1"):
        messages(text, Media((one,)), interleaved=True)


def test_controls_and_methods_take_questions_with_several_pictures(root, tmp_path):
    store = Store(tmp_path, "paper")
    for name in ("downsampling", "tops", "text_only", "shuffled_image"):
        method = build(name, **({"budget": Budget(36)} if name in ("downsampling", "tops") else {}))
        of = replace(cell("mmmu", root, method, limit=4), budget=getattr(method, "budget", None))
        assert evaluate(store, of, method, data_root=str(root)) is CellStatus.SCORED, name
        questions = [a.question for a in store.read(of.key).answers()]
        assert questions[0] == "Compare with . Which is larger?"


def test_a_video_that_is_not_there_is_named(root, tmp_path):
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(root, copy, symlinks=True)
    bench = load_benchmark("mvbench")
    (copy / "hf_home/mvbench_video/star/Charades_segment/action_sequence.mp4").unlink()
    task = load_task(bench, cell("mvbench", copy).benchmark, DataRoot.at(str(copy)))
    with pytest.raises(DataError, match=r"action_sequence.mp4; run `tops fetch benchmark=mvbench`"):
        task.visuals(task.documents[0])
    shutil.rmtree(copy / "hf_home/mvbench_video")
    assert "no videos of mvbench" in missing(bench, DataRoot.at(str(copy)))


def test_the_made_up_rows_are_what_they_say():
    assert len(TEN) == 10
    assert picture(0)["bytes"][:4] == b"\x89PNG"
    assert scene(0).objects
    assert backbone().model is not None
