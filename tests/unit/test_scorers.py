"""Every rule against the toolkit it names, and the traps of stock scoring."""

import json
import random
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tops.benchmarks.benchmark import benchmark_names, load_benchmark, load_suite
from tops.benchmarks.scorers import RULES, aggregate, metrics, rule_of, score_answers, summarise
from tops.benchmarks.scorers.parsing import inferred, llava_yes_or_no, yes_or_no
from tops.benchmarks.scorers.rule import stock
from tops.errors import ConfigurationError, DataError
from tops.statistics.resampling import Clusters
from tops.store.answers import Answer

WORDS = ["yes", "No", "no.", "Yes, it is", "There is not", "A", "B.", "(C)", "D: dog", "the answer is B", "", "y", "N"]
WORDS += ["a red cat", "E", "The best answer is C", "A cat is on A mat", "nothing", "B or C", "Dog", "42", "2 1/2"]


def answers(bench, targets, texts):
    return [Answer(i, str(i), "p", "h", "q", text, t) for i, (t, text) in enumerate(zip(targets, texts, strict=True))]


def drawn(targets, seed=0, words=WORDS):
    rng = random.Random(seed)
    return [rng.choice(words) for _ in targets]


def scored(bench, scorer, targets, texts):
    rows = score_answers(bench, scorer, answers(bench, targets, texts))
    return aggregate(bench, scorer, list(rows.values()))


def pope_targets(n=300):
    splits = ("random", "popular", "adversarial")
    return [{"answer": ("yes", "no")[i % 2], "category": splits[i % 3], "question_id": str(i)} for i in range(n)]


@pytest.mark.parametrize("seed", range(3))
def test_pope_is_stock(seed):
    targets = pope_targets()
    texts = drawn(targets, seed, ["yes", "no", "Yes", "No", "maybe", "yes."])
    utils = stock("tasks/pope/utils.py")
    results = [utils.pope_process_results(t, [x])["pope_f1_score"] for t, x in zip(targets, texts, strict=True)]
    ours = scored("pope", "lmms-eval", targets, texts)
    for name in ("accuracy", "precision", "recall", "f1_score"):
        assert ours[f"pope_{name}"] == pytest.approx(100 * getattr(utils, f"pope_aggregate_{name}")(results))


def test_stock_pope_forgives_garbage_and_the_default_does_not():
    targets = pope_targets(3000)
    rng = random.Random(0)
    texts = [t["answer"] if rng.random() < 0.7 else "the the the" for t in targets]
    assert scored("pope", "lmms-eval", targets, texts)["pope_f1_score"] == 100.0
    rows = score_answers("pope", "llava", answers("pope", targets, texts))
    entry = summarise("pope", "llava", answers("pope", targets, texts), rows)
    assert entry["metrics"]["f1"] == pytest.approx(87, abs=1)
    assert entry["invalid_rate"] == pytest.approx(0.3, abs=0.03)
    assert entry["yes_rate"] == pytest.approx(0.65, abs=0.03)  # of the predictions, not of the ground truth


def test_pope_of_papers_is_the_mean_of_three_splits():
    targets = pope_targets(12)
    texts = ["yes"] * 12
    values = scored("pope", "llava", targets, texts)
    assert values["f1"] == pytest.approx(np.mean([values[f"f1_{s}"] for s in ("random", "popular", "adversarial")]))


@pytest.mark.parametrize(
    ("text", "label", "said"),
    [
        ("No, there is not", "no", True),
        ("I do not see. Yes", "no", True),
        ("the the", "yes", False),
        ("Yes.", "yes", True),
    ],
)
def test_llava_rule(text, label, said):
    assert llava_yes_or_no(text) == (label, said)


@pytest.mark.parametrize(
    ("text", "label"),
    [("Yes.", "yes"), ("no, it isn't", "no"), ("yes and no", None), ("nope", None), ("yes/no", None), ("[No]", "no")],
)
def test_vlmevalkit_yes_no(text, label):
    assert yes_or_no(text) == label


def mme_targets(n=40):
    kinds = ("existence", "OCR", "code_reasoning")
    return [
        {"answer": ("Yes", "No")[i % 2], "category": kinds[i // 2 % 3], "question_id": f"{i // 2}.png"}
        for i in range(n)
    ]


@pytest.mark.parametrize("seed", range(3))
def test_mme_is_stock(seed):
    targets = mme_targets()
    texts = drawn(targets, seed, ["Yes", "No", "Yes.", "y", "no way", "cat", ""])
    utils = stock("tasks/mme/utils.py")
    results = [utils.mme_process_results(t, [x]) for t, x in zip(targets, texts, strict=True)]
    ours = scored("mme", "lmms-eval", targets, texts)
    for kind in ("perception", "cognition"):
        rows = [r[f"mme_{kind}_score"] for r in results if f"mme_{kind}_score" in r]
        assert ours[kind] == pytest.approx(utils.mme_aggregate_results(rows))
    assert ours["total"] == pytest.approx(ours["perception"] + ours["cognition"])


def test_half_a_pair_of_mme_is_refused():
    with pytest.raises(ValueError, match="pairs"):
        scored("mme", "lmms-eval", mme_targets(3), ["Yes"] * 3)


def mmbench_targets(n=24):
    options = {"A": "cat", "B": "dog", "C": "red bird", "D": "nan"}
    return [
        {"index": i % 8 + 1_000_000 * (i // 8), "answer": "ABC"[i % 3], **options, "category": "c", "L2-category": "l"}
        for i in range(n)
    ]


@pytest.mark.parametrize("seed", range(4))
def test_mmbench_is_stock_static(seed):
    targets = mmbench_targets()
    rng = random.Random(seed)
    texts = [t["answer"] if rng.random() < 0.8 else rng.choice(WORDS) for t in targets]
    results = [{**t, "prediction": x, "question": "q", "hint": "nan"} for t, x in zip(targets, texts, strict=True)]
    overall, _, _ = stock("tasks/mmbench/mmbench_evals.py").MMBench_Evaluator().eval_result(results, "static")
    assert scored("mmbench_en", "lmms-eval", targets, texts)["accuracy"] == pytest.approx(100 * overall)


def test_unparsed_circular_answer_is_wrong_not_a_random_letter():
    targets = mmbench_targets(8)
    for scorer in ("lmms-eval", "vlmevalkit"):
        assert {scored("mmbench_cn", scorer, targets, ["?"] * 8)["accuracy"] for _ in range(5)} == {0.0}


def test_mmstar_is_stock():
    utils = stock("tasks/mmstar/utils.py")
    fine = [c for kinds in utils.eval_type_dict.values() for c in kinds]
    targets = [
        {
            "answer": "ABCD"[i % 4],
            "category": list(utils.eval_type_dict)[i % 6],
            "l2_category": fine[i % 18],
            "question": "Q?\nOptions: A: a cat, B: one dog, C: two, D: three",
        }
        for i in range(120)
    ]
    texts = drawn(targets)
    letters = stock("tasks/_task_utils/mcq_extract.py").extract_mcq_answer
    results = [
        {"l2_category": t["l2_category"], "score": float(letters(x, choices=list("ABCD")) == t["answer"])}
        for t, x in zip(targets, texts, strict=True)
    ]
    assert scored("mmstar", "lmms-eval", targets, texts)["average"] == pytest.approx(
        100 * utils.mmstar_aggregate_results(results)
    )
    assert rule_of("mmstar", "vlmevalkit").row("one dog", targets[1])["prediction"] == "B"


def test_scienceqa_is_stock():
    utils = stock("tasks/scienceqa/utils.py")
    targets = [{"choices": ["x", "y", "z", "w"], "answer": i % 4} for i in range(100)]
    texts = drawn(targets)
    expected = [utils.sqa_process_results(t, [x])["exact_match"] for t, x in zip(targets, texts, strict=True)]
    assert scored("scienceqa_img", "lmms-eval", targets, texts)["accuracy"] == pytest.approx(100 * np.mean(expected))


def test_scienceqa_llava_phrases():
    row = rule_of("scienceqa_img", "llava").row
    target = {"choices": ["x", "y"], "answer": 1}
    assert [row(t, target)["prediction"] for t in ("B", "B. y", "The answer is B.", "C", "dunno", "b")] == [
        "B",
        "B",
        "B",
        None,
        None,
        None,
    ]


def test_mlvu_is_stock_and_does_not_count_absent_tasks():
    utils = stock("tasks/mlvu/utils.py")
    tasks = ("anomaly_reco", "count", "ego", "needle", "order", "plotQA", "topic_reasoning")
    targets = [{"answer": "ABCD"[i % 4], "task_type": tasks[i % 7], "question": "q"} for i in range(140)]
    texts = drawn(targets)
    results = [utils.mlvu_process_results(t, [x])["mlvu_percetion_score"] for t, x in zip(targets, texts, strict=True)]
    assert scored("mlvu", "lmms-eval", targets, texts)["m_avg"] == pytest.approx(
        utils.mlvu_aggregate_results_dev(results)
    )
    one = [t for t in targets if t["task_type"] == "ego"]
    assert scored("mlvu", "lmms-eval", one, [t["answer"] for t in one])["m_avg"] == 100.0


def test_longvideobench_does_not_guess():
    targets = [{"correct_choice": i % 5, "duration_group": 15, "question_category": "S2E"} for i in range(50)]
    targets += [{"correct_choice": 0, "duration_group": 60, "question_category": "SSS"}]
    texts = ["no idea"] * 50 + ["The answer is A"]
    rows = score_answers("longvideobench", None, answers("longvideobench", targets, texts))
    entry = summarise("longvideobench", None, answers("longvideobench", targets, texts), rows)
    assert entry["metrics"]["perception"] == 0.0
    assert entry["metrics"]["relation"] == 100.0
    assert entry["invalid_rate"] == pytest.approx(50 / 51)


def test_vqa_accuracy_leaves_each_annotator_out():
    row = rule_of("textvqa", None).row
    target = {"answers": ["Stop", "stop!", "stop", "halt"] + ["go"] * 6}
    assert row("stop", target)["score"] == pytest.approx((3 * 2 / 3 + 7 * 1.0) / 10)
    assert row("wait", target)["score"] == 0.0


def test_ai2d_letters():
    row = rule_of("ai2d", "lmms-eval").row
    target = {"options": ["a", "b", "c", "d"], "answer": "1"}
    assert [row(t, target)["score"] for t in ("B", "B.", "b", "B. b", "(B)", "the B", "C")] == [1, 1, 1, 1, 1, 0, 0]
    assert not row("the B", target)["valid"]


def hallusion_targets():
    return [
        {
            "gt_answer": str(q % 2),
            "category": "VD",
            "subcategory": "chart",
            "set_id": "0",
            "figure_id": f,
            "question_id": q,
        }
        for f in range(2)
        for q in range(2)
    ]


def test_hallusionbench_groups():
    truth = ["no", "yes", "no", "yes"]
    assert scored("hallusionbench", None, hallusion_targets(), truth)["mean"] == pytest.approx(100)
    values = scored("hallusionbench", None, hallusion_targets(), ["no", "yes", "no", "no"])
    assert (values["aAcc"], values["fAcc"], values["qAcc"]) == (75.0, 50.0, 50.0)
    assert values["mean"] == pytest.approx(175 / 3)


def test_toolkits_read_confusing_answers_as_their_own_code_did():
    found = json.loads(
        (Path(__file__).parents[1] / "fixtures/scorers/toolkit_answers.json").read_text(encoding="utf-8")
    )
    science, pope = rule_of("scienceqa_img", "llava").row, rule_of("pope", "llava").row
    for case in found["answers"]:
        text, choices = case["text"], {"choices": ["x"] * case["choices"], "answer": 0}
        read = {
            "option": inferred(text, found["options"][case["options"]]),
            "yes_no": yes_or_no(text),
            "letter": science(text, choices)["prediction"],
            "pope": pope(text, {"answer": "yes", "category": "random"})["prediction"],
        }
        assert read == {name: case[name] for name in read}, text


@pytest.mark.parametrize(
    ("text", "option"),
    [("B", "B"), ("(B)", "B"), ("B. dog", "B"), ("A or B", None), ("dog", "B"), ("", None), ("cat and dog", None)],
)
def test_vlmevalkit_inference(text, option):
    assert inferred(text, {"A": "cat", "B": "dog"}) == option


def test_gqa_rules_differ_on_punctuation():
    target = {"answer": "t-shirt"}
    assert rule_of("gqa", "lmms-eval").row("T shirt", target)["score"] == 0.0
    assert rule_of("gqa", "lmms-eval").row("Tshirt!", target)["score"] == 1.0
    assert rule_of("gqa", "llava").row("T-shirt.", target)["score"] == 1.0


def test_a_stock_tasks_own_scoring_is_a_rule_without_code():
    def rule(name):
        bench = replace(load_benchmark("gqa"), scorers={"lmms-eval": name})
        return score_answers(bench, None, [Answer(0, "", "", "", "", "103", {"answer": "100", "type": "human_test"})])

    chartqa = "stock:chartqa/utils.py:chartqa_process_results"
    assert rule(f"{chartqa}:relaxed_overall")[0] == {"score": 1.0, "valid": True, "prediction": "103"}
    with pytest.raises(DataError, match="gives no 'overall', but relaxed_overall, relaxed_human_split"):
        rule(f"{chartqa}:overall")
    with pytest.raises(ConfigurationError, match="Did you mean 'chartqa_process_results'"):
        rule("stock:chartqa/utils.py:chartqa_proces_results:x")
    with pytest.raises(ConfigurationError, match="no tasks/chartq/utils"):
        rule("stock:chartq/utils.py:f:x")
    with pytest.raises(ConfigurationError, match="is not stock:FILE:FUNCTION:METRIC"):
        rule("stock:chartqa/utils.py")


def test_a_stock_function_that_rewrites_its_document_leaves_the_stored_target_alone():
    scorers = {"lmms-eval": "stock:ok_vqa/utils.py:ok_vqa_process_results:exact_match"}
    bench = replace(load_benchmark("gqa"), scorers=scorers)
    target = {"answers": ["Five", *["5"] * 9], "question_id": "1"}
    assert score_answers(bench, None, [Answer(0, "", "", "", "", "five", target)])[0]["score"] == 1.0
    assert target["answers"][0] == "Five"


def test_metrics_resample():
    targets = mme_targets(12)
    texts = ["Yes", "No", "Yes", "Yes"] * 3
    rows = list(score_answers("mme", None, answers("mme", targets, texts)).values())
    metric = metrics("mme", None, rows)["perception"]
    clusters = Clusters.of([r["question_id"] for r in rows], *metric.nested)
    assert metric.value(clusters.sums(metric.statistics).sum(axis=0)) == pytest.approx(metric.point)


@pytest.mark.parametrize("name", benchmark_names())
def test_every_benchmark_names_rules_that_exist(name):
    bench = load_benchmark(name)
    for scorer in bench.scorers:
        assert rule_of(bench, scorer) is RULES[bench.scorers[scorer]]
    assert bench.spec("hash", limit=4).generation["max_new_tokens"] > 0


def test_suites():
    assert len(load_suite("all")) == 14  # those of the paper
    assert set(load_suite("field")).isdisjoint(load_suite("all"))
    assert {*load_suite("all"), *load_suite("field")} == set(benchmark_names())
    assert load_suite("grounding") == ("refcoco",)
    assert set(load_suite("ocr")) | set(load_suite("general")) <= set(benchmark_names())
    assert load_suite("pope") == ("pope",)
    with pytest.raises(ConfigurationError, match="Did you mean 'video'"):
        load_suite("vidoe")


def test_unknown_names_and_failed_documents():
    with pytest.raises(ConfigurationError, match="Did you mean 'pope'"):
        load_benchmark("popo")
    with pytest.raises(ConfigurationError, match="Did you mean 'llava'"):
        rule_of("pope", "lava")
    with pytest.raises(ConfigurationError, match="judge"):
        score_answers("mmvet", None, [])
    with pytest.raises(DataError, match="document 0 failed"):
        score_answers("pope", None, [Answer(0, "", "", "", "", "", {}, error="boom")])
    with pytest.raises(DataError, match="cannot be scored"):
        score_answers("pope", None, [Answer(0, "", "", "", "", "yes", {})])
    with pytest.raises(DataError, match="nothing to score"):
        aggregate("pope", None, [])


def test_scoring_imports_neither_torch_nor_lmms_eval():
    code = (
        "import sys, json; from tops.benchmarks.scorers import rule_of;"
        "r = rule_of('videomme', None).row('(B)', dict(answer='B', duration='short', domain='x'));"
        "print(json.dumps([r['score'], 'torch' in sys.modules, 'lmms_eval' in sys.modules]))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(out.stdout) == [1.0, False, False]
