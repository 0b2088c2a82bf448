"""Rules of the benchmarks of 2026 against the stock code that they name, on answers made to trip them."""

import ast
import importlib.util
import random
import statistics
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from tops.benchmarks.scorers import aggregate, rule_of, score_answers
from tops.benchmarks.scorers.grounding import named_box, overlap
from tops.benchmarks.scorers.rule import stock
from tops.benchmarks.scorers.written import edit_distance
from tops.store.answers import Answer

TASKS = Path(importlib.util.find_spec("lmms_eval").submodule_search_locations[0])
PIECES = (
    *("A", "B.", "(C)", "D)", "E:", "a", "b", "the answer is", "The best option is", "so x is", "= 4", "Answer:"),
    *("12", "12.0", "3,000", "3000", "0.05", "5%", "1e3", "-7", "two", "no", "Yes", "yes.", "unanswerable", "?", "!"),
    *(
        "cat",
        "a cat",
        "the Cat",
        "cats",
        "ＣＡＴ",
        "\n",
        "\t",
        "  ",
        "don't",
        "cant",
        "x,y",
        "'",
        '"red bird"',
        ".",
        ",",
    ),
    *("[0.1, 0.2, 0.5, 0.6]", "[0,0,1,1]", "[10, 20, 50, 60]", "[0.5, 0.5, 0.1, 0.1]", "(0.1, 0.2, 0.5, 0.6)"),
)


def said(seed, count=400):
    rng = random.Random(seed)
    return [" ".join(rng.choices(PIECES, k=rng.choice((1, 1, 2, 3, 7)))).strip() for _ in range(count)]


def pure(path, **given):
    """Functions and constants of a stock file whose imports would bring torch, with what it takes from elsewhere."""
    kept = []
    for node in ast.parse((TASKS / path).read_text()).body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names]
            if all(name.split(".")[0] in sys.stdlib_module_names for name in names):
                kept.append(node)
        elif isinstance(node, ast.FunctionDef | ast.Assign):
            node.decorator_list = []
            kept.append(node)
    space = {"VerificationPipeline": None, **given}
    exec(compile(ast.Module(kept, []), path, "exec"), space)
    return SimpleNamespace(**space)


def scores(bench, targets, texts):
    rows = score_answers(
        bench,
        None,
        [Answer(i, str(i), "p", "h", "q", x, t) for i, (t, x) in enumerate(zip(targets, texts, strict=True))],
    )
    return [row["score"] for row in rows.values()], aggregate(bench, None, list(rows.values())), list(rows.values())


@pytest.mark.parametrize("seed", range(2))
def test_ocrbench_is_stock(seed):
    stock_code = pure("tasks/ocrbench/utils.py")
    truths = (["cat"], ["3,000", "two"], ["Yes"], ["x,y"], ["= 4"])
    kinds = ("Regular Text Recognition", "Doc-oriented VQA", "Handwritten Mathematical Expression Recognition")
    targets = [
        {"answer": truths[i % 5], "dataset": ("HME100k", "IIIT5K")[i % 3 == 0], "question_type": kinds[i % 3]}
        for i in range(400)
    ]
    texts = said(seed)
    expected = [
        stock_code.ocrbench_process_results(t, [x])["ocrbench_accuracy"]["score"]
        for t, x in zip(targets, texts, strict=True)
    ]
    got, metrics, _ = scores("ocrbench", targets, texts)
    assert got == expected
    assert 0 < sum(expected) < 400
    assert metrics["score"] == pytest.approx(1000 * np.mean(expected))  # stock divides by 1000 whatever was asked
    assert set(kinds) <= set(metrics)


def test_stock_ocrbench_adds_up_over_runs_and_ours_does_not():
    stock_code = pure(
        "tasks/ocrbench/utils.py",
        generate_submission_file=lambda *a, **k: "/dev/null",
        logger=SimpleNamespace(info=print),
    )
    target = {"answer": ["cat"], "dataset": "IIIT5K", "question_type": "Regular Text Recognition"}
    result = stock_code.ocrbench_process_results(target, ["cat"])["ocrbench_accuracy"]
    assert [stock_code.ocrbench_aggregate_accuracy([result], None) for _ in range(2)] == [0.001, 0.002]
    assert [scores("ocrbench", [target], ["cat"])[1]["score"] for _ in range(2)] == [1000.0, 1000.0]


def test_chartqa_is_stock():
    process = stock("tasks/chartqa/utils.py").chartqa_process_results
    truths = ("12", "0", "5%", "Yes", "3000", "cat", "0.05", "-7")
    targets = [{"answer": truths[i % 8], "type": ("human_test", "augmented_test")[i % 2]} for i in range(400)]
    texts = said(3)
    expected = [process(t, [x])["relaxed_overall"] for t, x in zip(targets, texts, strict=True)]
    got, metrics, _ = scores("chartqa", targets, texts)
    assert got == expected
    assert metrics["human"] == pytest.approx(100 * np.mean(expected[::2]))
    row = rule_of("chartqa").row
    assert [row(x, targets[0])["score"] for x in ("12.6", "12.61", "11.4", "1200%", "12 ", "twelve")] == [
        1,
        0,
        1,
        1,
        1,
        0,
    ]
    assert row("0.0", targets[1])["score"] == 0  # stock compares with a truth of 0 as text


@pytest.mark.parametrize("name", ["docvqa", "infovqa"])
def test_anls_is_stock(name):
    anls = pure("api/metrics.py").anls
    truths = (["cat"], ["3,000", "3000"], ["the  Cat", "cats"], ["red bird"], ["Yes"], ["  two "])
    targets = [{"answers": truths[i % 6]} for i in range(400)]
    texts = [*said(5, 394), "", "ca", "cbt", "CAT", "red  bird", "reddish"]
    expected = [anls(t["answers"], [x])["anls"] for t, x in zip(targets, texts, strict=True)]
    got, metrics, _ = scores(name, targets, texts)
    assert got == pytest.approx(expected)
    assert metrics["anls"] == pytest.approx(100 * np.mean(expected))
    row = rule_of(name).row
    assert row("cbt", {"answers": ["cat"]})["score"] == pytest.approx(2 / 3)
    assert row("ab", {"answers": ["cd", "ax"]})["score"] == 0.5
    assert row("abc", {"answers": ["axy"]})["score"] == 0.0  # one third is another answer
    assert edit_distance("kitten", "sitting") == 3


def annotators(rng, words):
    return [rng.choice(words) for _ in range(10)]


def test_vizwiz_is_stock():
    processor = stock("tasks/_task_utils/vqa_eval_metric.py").EvalAIAnswerProcessor
    process = pure("tasks/vizwiz_vqa/utils.py", EvalAIAnswerProcessor=processor).vizwiz_vqa_process_results
    rng = random.Random(0)
    words = ("unanswerable", "cat", "the Cat", "two", "2", "don't", "Yes", "3,000")
    targets = [{"answers": annotators(rng, words), "category": ("other", "unanswerable")[i % 2]} for i in range(400)]
    texts = said(6)
    expected = [
        process({"question_id": "1", "answers": list(t["answers"])}, [x])["exact_match"]
        for t, x in zip(targets, texts, strict=True)
    ]
    got, metrics, _ = scores("vizwiz", targets, texts)
    assert got == pytest.approx(expected)
    assert metrics["unanswerable"] == pytest.approx(100 * np.mean(expected[1::2]))


def test_vqav2_is_stock():
    processor = stock("tasks/_task_utils/vqa_eval_metric.py").EvalAIAnswerProcessor
    process = pure("tasks/vqav2/utils.py", EvalAIAnswerProcessor=processor).vqav2_process_results_val
    rng = random.Random(1)
    words = ("cat", "the Cat", "two", "2", "cant", "Yes", "no", "x,y", " 3,000", "cat?")
    targets = [
        {
            "answers": [
                {"answer": w, "answer_confidence": "yes", "answer_id": j} for j, w in enumerate(annotators(rng, words))
            ],
            "answer_type": ("other", "number", "yes/no")[i % 3],
        }
        for i in range(400)
    ]
    texts = said(7)
    expected = [
        process({"question_id": 1, "answers": [dict(a) for a in t["answers"]]}, [x])["exact_match"]
        for t, x in zip(targets, texts, strict=True)
    ]
    got, metrics, _ = scores("vqav2", targets, texts)
    assert got == pytest.approx(expected)
    assert metrics["yes/no"] == pytest.approx(100 * np.mean(expected[2::3]))
    assert statistics.mean(expected) > 0


def test_seed_image_is_stock():
    utils = stock("tasks/seedbench/utils.py")
    targets = [{"answer": "ABCD"[i % 4], "question_type_id": 1 + i % 9} for i in range(400)]
    texts = said(8)
    results = [
        utils.seed_process_result({**t, "data_type": "image", "question_id": "1"}, [x])["seed_image"]
        for t, x in zip(targets, texts, strict=True)
    ]
    got, metrics, rows = scores("seed_image", targets, texts)
    assert metrics["accuracy"] == pytest.approx(100 * utils.seed_aggregation_result(results))
    assert got == [float(r["pred"].lower() == r["answer"].lower()) for r in results]
    assert {row["valid"] for row in rows if row["prediction"] is None} == {False}


def test_realworldqa_is_stock(monkeypatch):
    extract = stock("tasks/_task_utils/mcq_extract.py")
    for name in ("", ".tasks", ".tasks._task_utils"):
        monkeypatch.setitem(sys.modules, f"lmms_eval{name}", SimpleNamespace())
    monkeypatch.setitem(sys.modules, "lmms_eval.tasks._task_utils.mcq_extract", extract)
    process = pure_of_realworldqa()
    truths = ("A", "b", "C", "D", "Yes", "12", "two", "cat")
    targets = [{"answer": truths[i % 8]} for i in range(400)]
    texts = said(9)
    expected = [process(t, [x])["exact_match"] for t, x in zip(targets, texts, strict=True)]
    got, metrics, _ = scores("realworldqa", targets, texts)
    assert got == expected
    assert metrics["open"] == pytest.approx(100 * np.mean([s for i, s in enumerate(expected) if i % 8 > 3]))


def pure_of_realworldqa():
    return pure("tasks/realworldqa/utils.py").realworldqa_process_results


def mmmu_stock(monkeypatch):
    choices = stock("tasks/_task_utils/mmmu_mcq_utils.py")
    monkeypatch.setattr(choices, "random", SimpleNamespace(choice=lambda options: "guessed"))
    return pure(
        "tasks/mmmu/utils.py",
        shared_get_multi_choice_info=choices.get_multi_choice_info,
        parse_mmmu_multi_choice_response=choices.parse_mmmu_multi_choice_response,
    )


@pytest.mark.parametrize("seed", range(3))
def test_mmmu_is_stock_but_for_its_guesses(seed, monkeypatch):
    utils = mmmu_stock(monkeypatch)
    options = "['cat', 'a red bird', 'two', 'B', 'none']"
    truths = ("12", "3000", "cat", "a", "0.05")
    targets = [
        {
            "id": f"validation_{('Art_Theory', 'Math')[i % 2]}_{i}",
            "question_type": "multiple-choice",
            "answer": "ABCDE"[i % 5],
            "options": options,
        }
        if i % 3
        else {"id": f"validation_Math_{i}", "question_type": "open", "answer": truths[i % 5], "options": "[]"}
        for i in range(400)
    ]
    texts = said(20 + seed)
    results = [utils.mmmu_process_results(t, [x])["mmmu_acc"] for t, x in zip(targets, texts, strict=True)]
    expected = [utils.evaluate_mmmu([r])[1]["acc"] for r in results]
    got, metrics, rows = scores("mmmu", targets, texts)
    assert got == expected
    assert metrics["accuracy"] == pytest.approx(100 * utils.mmmu_aggregate_results(results), abs=2e-3)
    assert {"art_and_design", "science", "open", "multiple-choice"} <= set(metrics)
    guessed = [r["parsed_pred"] == ["guessed"] for r in results]
    assert any(guessed)
    assert [row["prediction"] is None for row in rows] == guessed


def test_mvbench_is_stock_but_empty_answers_count():
    utils = stock("tasks/mvbench/utils.py")
    candidates = ["cat", "a red bird", "two", "cat", "none"]
    targets = [
        {"candidates": candidates, "answer": candidates[i % 5], "part": ("action_count", "state_change")[i % 2]}
        for i in range(400)
    ]
    texts = [text or "none" for text in said(12)]
    results = [utils.mvbench_process_results(t, [x])["mvbench_accuracy"] for t, x in zip(targets, texts, strict=True)]
    got, metrics, _ = scores("mvbench", targets, texts)
    assert got == [r["score"] for r in results]
    assert metrics["m_avg"] == pytest.approx(np.mean([utils.mvbench_aggregate_results(results[k::2]) for k in (0, 1)]))
    halves = [utils.mvbench_process_results(targets[0], [x])["mvbench_accuracy"] for x in ("A", "")]
    assert utils.mvbench_aggregate_results(halves) == 100.0
    assert scores("mvbench", [targets[0]] * 2, ["A", ""])[1]["m_avg"] == 50.0


def boxes(count=200):
    rng = np.random.default_rng(0)
    for _ in range(count):
        x, y, w, h = rng.uniform(1, 40, 4)
        yield [float(x), float(y), float(w), float(h)]


def test_refcoco_is_stock():
    utils = stock("tasks/refcoco/utils_rec.py")
    rng = np.random.default_rng(1)
    targets = [
        {"answer": "the cat", "bbox": box, "image_width": 96, "image_height": 80, "part": ("testA", "testB")[i % 2]}
        for i, box in enumerate(boxes())
    ]
    normal = [[x / 96, y / 80, (x + w) / 96, (y + h) / 80] for x, y, w, h in (t["bbox"] for t in targets)]
    texts = said(13, 100) + [
        f"It is at [{', '.join(f'{v + rng.normal(0, 0.05):.3f}' for v in box)}]." for box in normal[100:]
    ]
    results = [
        utils.refcoco_bbox_rec_process_result({"answer": "x", "question_id": 1, "bbox": box}, [x])["refcoco_IoU"]
        for box, x in zip(normal, texts, strict=True)
    ]
    _, metrics, rows = scores("refcoco", targets, texts)
    for ours, theirs in (
        *((f"accuracy_{t}", f"acc{str(t).replace('.', '')}") for t in (0.1, 0.3, 0.5, 0.7, 0.9)),
        ("accuracy", "acc05"),
        ("iou", "iou"),
        ("centre", "center_acc"),
    ):
        assert metrics[ours] == pytest.approx(100 * getattr(utils, f"refcoco_bbox_rec_{theirs}")(results)), ours
    assert 0 < metrics["accuracy"] < 100
    for row, text in zip(rows, texts, strict=True):
        assert row["valid"] == (named_box(text) is not None and all(0 <= v <= 1 for v in named_box(text)))


def test_boxes_in_pixels_are_wrong_and_in_the_invalid_rate():
    target = {"answer": "x", "bbox": [10, 20, 40, 40], "image_width": 100, "image_height": 100, "part": "testA"}
    row = rule_of("refcoco").row
    assert (row("[0.1, 0.2, 0.5, 0.6]", target)["score"], row("[0.1, 0.2, 0.5, 0.6]", target)["valid"]) == (1.0, True)
    for text in ("[10, 20, 50, 60]", "none", "[0.1, 0.2, 0.5]"):
        assert (row(text, target)["score"], row(text, target)["valid"]) == (0.0, False)
    assert overlap((0, 0, 0, 0), (0, 0, 0, 0)) == 0.0
    assert overlap((0, 0, 2, 2), (1, 1, 3, 3)) == pytest.approx(1 / 7)
