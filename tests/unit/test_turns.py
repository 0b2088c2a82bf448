"""Questions of a picture as turns: which, in which order, how they are scored, keyed and reported."""

from __future__ import annotations

from dataclasses import replace

import pytest
import synthetic_store

from tops.benchmarks.benchmark import Turns, load_benchmark
from tops.benchmarks.scorers import aggregate, rule_code, rule_of
from tops.benchmarks.turns import conversations, in_order
from tops.errors import ConfigurationError, DataError
from tops.planning.plan import plan
from tops.planning.resolve import documents
from tops.reporting.build import make
from tops.reporting.data.results import collect
from tops.reporting.data.turns import conversations as talks
from tops.reporting.figures.figures import write_figures
from tops.settings.choices import load_profile
from tops.settings.schema import ColumnConfig, Experiment, RowConfig
from tops.store.cell import Cell

POPE = load_benchmark("pope_turns")
DOCUMENTS = [
    {"question": f"Is there a {thing}?", "answer": "yes" if place % 3 else "no", "image_source": picture}
    for picture, things in {"a": "123456", "b": "12", "c": "1234", "d": "112233", "e": "654321"}.items()
    for place, thing in enumerate(things)
]


def test_pictures_with_enough_different_questions_are_asked_balanced() -> None:
    found = conversations(POPE, DOCUMENTS, None)
    assert [len(group) for group in found] == [4, 4, 4]
    assert {DOCUMENTS[group[0]]["image_source"] for group in found} == {"a", "c", "e"}
    for group in found:
        assert len({DOCUMENTS[n]["question"] for n in group}) == 4
        assert [DOCUMENTS[n]["answer"] for n in group].count("no") == 2


def test_a_larger_limit_asks_all_that_a_smaller_one_does() -> None:
    sizes = [conversations(POPE, DOCUMENTS, limit) for limit in (1, 4, 11, 100)]
    assert [len(groups) for groups in sizes] == [1, 1, 2, 3]
    assert set(sizes[0]) <= set(sizes[2]) <= set(sizes[3])


def test_four_seeds_put_each_question_once_at_each_turn() -> None:
    for first in (0, 4):
        orders = [in_order((3, 5, 8, 9), seed) for seed in range(first, first + 4)]
        assert all(sorted(turn) == [3, 5, 8, 9] for turn in zip(*orders, strict=True))
    assert in_order((3, 5, 8, 9), 0) != in_order((3, 5, 8, 9), 4)


def test_a_plan_counts_whole_conversations() -> None:
    profile = load_profile("miniature")
    specs = [POPE.spec("hash", profile="miniature", limit=limit) for limit in (2, 11)]
    assert [documents(spec, profile) for spec in specs] == [4, 8]


def test_data_without_conversations_is_refused() -> None:
    with pytest.raises(DataError, match=r"no picture has 4 different questions \(the most is 2\)"):
        conversations(POPE, DOCUMENTS[6:8], None)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"measure": "answers"}, "go together"),
        ({"turns": None}, "go together"),
        ({"interleaved": True}, "pictures before the words"),
        ({"cluster": ()}, "tell questions of one picture"),
        ({"cluster": ("image",)}, "tell questions of one picture"),
        ({"group": "judged"}, "a rule that scores each answer"),
    ],
)
def test_a_benchmark_that_has_no_turns_is_refused(changes: dict[str, object], told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        replace(POPE, **changes)  # type: ignore[arg-type]


def test_both_ways_of_cutting_ask_the_same() -> None:
    for source in ("gqa", "pope"):
        kept, anew = load_benchmark(f"{source}_turns"), load_benchmark(f"{source}_turns_anew")
        assert kept.turns == Turns(4, "first")
        assert anew.turns == Turns(4, "each")
        assert (kept.source, kept.strata, kept.cluster) == (anew.source, anew.strata, anew.cluster)


def test_the_rule_scores_by_turn() -> None:
    rule = rule_of(POPE)
    right = {1: "yes", 2: "no", 3: "yes", 4: "no"}
    targets = [{"answer": "yes", "category": "random", "turn": turn} for turn in (2, 1, 4, 3)]
    rows = [rule.row(right[t["turn"]], t) for t in targets]  # type: ignore[misc, index]
    metrics = aggregate(POPE, None, rows)
    assert [metrics[f"turn_{t}"] for t in range(1, 5)] == [100, 0, 100, 0]
    assert metrics["later"] == pytest.approx(100 / 3)
    assert metrics["accuracy"] == 50
    assert rule_code(POPE) != rule_code("pope")


def test_a_key_says_turns_and_older_keys_stay() -> None:
    spec = POPE.spec("hash", profile="miniature", limit=4)
    assert spec.turns == {"questions": 4, "cut": "first"}
    (planned, *_) = plan("smoke", "miniature", status=False).unique().values()
    assert planned.cell is not None
    assert "turns" not in planned.cell.as_dict()["benchmark"]
    turned = replace(planned.cell, benchmark=spec)
    assert Cell.from_dict(turned.as_dict()) == turned
    assert turned.key != replace(turned, benchmark=replace(spec, turns={"questions": 4, "cut": "each"})).key


BACKBONE = "qwen2.5-vl-7b"
EXPERIMENT = Experiment(
    "turns",
    "turns",
    (BACKBONE,),
    tuple(ColumnConfig(name, name) for name in ("gqa_turns", "gqa_turns_anew")),
    (
        RowConfig(("none",), "reference", levels=(), seeds=(0, 1, 2, 3)),
        RowConfig(("tops", "divprune"), seeds=(0, 1, 2, 3)),
    ),
    {"77.8": {BACKBONE: 288}},
)


@pytest.fixture(scope="module")
def report(tmp_path_factory):  # type: ignore[no-untyped-def]
    """16 pictures; DivPrune cannot read the question, TOPS loses half of the later turns unless it cuts anew."""
    root, stock = tmp_path_factory.mktemp("results"), synthetic_store.answers

    def in_turns(planned, documents, **more):  # type: ignore[no-untyped-def]
        method, cut = planned.cell.method.name, planned.cell.benchmark.turns["cut"]
        for answer in stock(planned, documents, **more):
            i, place = answer.doc_id, answer.doc_id // 4 * 4
            turn = 1 + in_order(range(place, place + 4), planned.cell.seed).index(i)
            lost = method == "tops" and cut == "first" and turn > 1 and i // 4 % 2
            target = {"answer": "left", "imageId": f"g{i // 4}", "turn": turn}
            said = "right" if lost or (method == "divprune" and turn == 4) else "left"
            words = f"{planned.cell.seed}, {i}"  # a prompt holds the questions before it, in the order of the seed
            yield synthetic_store.replace(answer, target=target, answer=said, cluster=f"g{i // 4}", prompt_hash=words)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(synthetic_store, "answers", in_turns)
        synthetic_store.fill(root, EXPERIMENT, documents=64)
    return make(collect(plan(EXPERIMENT, "miniature", results=root), root))


def test_scores_by_turn_and_against_a_cut_anew(report) -> None:  # type: ignore[no-untyped-def]
    assert not report.resamples.faults
    (talk,) = talks(report.resamples, BACKBONE)
    rows = {row.method: row for row in talk.kept}
    assert [talk.kept[rows["tops"]].at([turn]).point for turn in range(1, 5)] == [100, 50, 50, 50]
    assert [talk.kept[rows["divprune"]].at([turn]).point for turn in range(1, 5)] == [100, 100, 100, 0]
    (table,) = [t for t in report.more if t.name == f"turns_by_turn_{BACKBONE}_gqa"]
    lines = {line.label: [datum.text for datum in line.data] for line in table.lines}
    assert lines["Unpruned"][:4] == ["100.0"] * 4
    assert lines["TOPS"][5:7] == ["50.0", "100.0"]
    low, high = next((d.low, d.high) for line in table.lines if line.label == "TOPS" for d in line.data[7:8])
    assert low < -50 < high < 0
    assert lines["DivPrune"][7].startswith("+0.0 [-")
    assert lines["DivPrune"][8] == "1.000"
    assert lines["TOPS"][8] == "<0.001" or float(lines["TOPS"][8]) < 0.05


def test_the_figure_of_turns(report, tmp_path) -> None:  # type: ignore[no-untyped-def]
    files, pictures = write_figures(report.resamples, tmp_path)
    assert f"turns_by_turn_{BACKBONE}_gqa.svg" in {f.name for f in files}
    assert any("by turn of the conversation" in picture.title for picture in pictures)
