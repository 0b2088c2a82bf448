"""The published data and what the audit must find in it."""

from decimal import Decimal

import pytest

from tops.errors import DataError
from tops.paper.aggregation import printed_rule, proper_rule
from tops.paper.audit import audit
from tops.paper.audit_budgets import published_schedules
from tops.paper.claims import CLAIMS
from tops.paper.published import TABLES, published_rows, published_value, read_csv, text_number


@pytest.fixture(scope="module")
def findings():
    return audit()


def of(findings, section):
    return [f for f in findings if f.section == section]


def test_every_cell_is_there_once():
    rows = [row for table in TABLES for row in published_rows(table)]
    assert sum(len(row.values) for row in rows) == len(read_csv("results.csv")) == 1850
    assert sum(value is None for row in rows for value in row.values.values()) == 4


def test_a_published_value_keeps_its_digits():
    assert str(published_value("11", "llava-1.5-7b", "tops", 128, "rel")) == "98.3"
    assert published_value("1", "llava-1.5-7b", "sparsevlm", 32, "rel") is None
    assert text_number("prefill_speedup_tops") == Decimal("3.12")


def test_unknown_table_and_text_number_are_refused():
    with pytest.raises(DataError, match="'7'"):
        published_rows("7")
    with pytest.raises(DataError, match="prefill_speedup_tops"):
        text_number("prefill_speed_tops")


def test_acc_rules_reproduce_the_printed_rows(findings):
    exact = {f.where: f.recomputed.split(" rows")[0] for f in of(findings, "Acc rule")}
    assert exact == {
        "Table 2": "20 of 20",
        "Table 3": "16 of 16",
        "Table 5": "6 of 7",
        "Table 11": "27 of 28",
        "Table 12": "28 of 28",
        "Table 13": "26 of 28",
        "Table 14": "28 of 28",
        "Table 15": "12 of 14",
        "Table 17": "4 of 4",
    }


def test_acc_misses_are_split_into_real_ones_and_rounding(findings):
    misses = {(f.where.split(":")[0], f.printed): (f.recomputed, f.verdict) for f in of(findings, "Acc")}
    assert misses == {
        ("Table 5", "57.5"): ("57.684", "contradiction"),
        ("Table 11", "60.1"): ("60.046", "rounding"),
        ("Table 13", "64.4"): ("64.747", "contradiction"),
        ("Table 15", "59.3"): ("59.354", "rounding"),
        ("Table 15", "59.6"): ("59.431", "contradiction"),
    }


def test_rel_misses_only_three_rows_of_table_13(findings):
    rel = of(findings, "Rel")
    assert [f.recomputed for f in rel] == ["95.45", "95.76", "96.97"]
    assert all(f.where.startswith("Table 13") and f.verdict == "rounding" for f in rel)
    assert of(findings, "Rel rule")[0].recomputed.endswith("0.13")


def test_proper_mean_of_table_2_shrinks_every_margin(findings):
    margins = {f.where: f.recomputed for f in of(findings, "Table 2 proper mean")}
    assert margins == {
        "qwen2.5-vl-7b at 256": "tops 96.4, divprune 94.5 (+1.9)",
        "qwen2.5-vl-7b at 128": "tops 93.1, divprune 90.4 (+2.7)",
        "internvl3-8b at 256": "tops 96.9, fastv 95.4 (+1.5)",
        "internvl3-8b at 128": "tops 92.3, divprune 87.6 (+4.7)",
    }


def test_repeated_numbers(findings):
    wrong = {f.where: (f.printed, f.recomputed) for f in of(findings, "Repeated rows") if f.verdict == "contradiction"}
    assert wrong == {
        "Table 5 criteria=R+D+C against Table 15 alpha=0.5;lambda=1 at 32": ("textvqa 54.9", "textvqa 55.1"),
        "Table 15 alpha=0.5;lambda=1 against Table 11 at 32": ("textvqa 55.1", "textvqa 54.9"),
        "Table 9 against Table 17: the schedule of TOPS on llava-1.5-7b at 128": (
            "256>128>32",
            "256>64>32, with the scores of Table 11",
        ),
        "Table 4 F1 against Table 12 POPE: llava-next-7b / sparsevlm@320": (
            "85.3",
            "76.9; 85.3 is its value at 640 tokens",
        ),
    }
    assert [f.where for f in of(findings, "Suspicious copies")] == [
        "Table 5 criteria=R+D and Table 15 alpha=2;lambda=2 at 32"
    ]


def test_no_schedule_of_tables_9_and_10_meets_its_budget():
    over = {(s.table, round(s.over_percent, 2)) for s in published_schedules() if s.table in ("9", "10")}
    assert over == {("9", 18.75), ("10", 14.29)}
    assert all(abs(s.over_percent) < 0.4 for s in published_schedules() if s.table == "17")


def test_one_pair_of_divisors_alone_gives_table_2(findings):
    rule = [f.recomputed for f in of(findings, "Table 2 rule")]
    assert rule[0] == "MME / 20 and POPE / 10 misses by 0.050 at most, the next pair by 0.067"
    assert [text.rsplit(" ", 1)[1] for text in rule[1:]] == ["6.3", "10.1", "6.2"]


def test_schedules_that_would_meet_the_budgets_do(findings):
    matched = of(findings, "Schedules that meet the budget")
    assert len(matched) == 18
    assert {f.verdict for f in matched} == {"agrees"}
    assert "512>139>39 at 12/16 averages 256" in [f.recomputed for f in matched]


def test_budgets_below_what_full_layers_cost_are_named(findings):
    reach = {f.where: f for f in of(findings, "Budgets out of reach")}
    assert reach["Table 6, stage 2 alone, cuts at 12/24"].recomputed.endswith("average 216; 576>64>32 averages 248")
    floors = {where: f.recomputed for where, f in reach.items() if where.endswith("cut at layer 2")}
    assert [text.rsplit(" ", 1)[1] for text in floors.values()] == ["36", "180"]
    assert {f.verdict for where, f in reach.items() if where.endswith("DART")} == {"contradiction"}


def test_the_excess_is_worth_a_part_of_the_margins(findings):
    worth = [f.recomputed.split(" points")[0] for f in of(findings, "Worth of the excess tokens")]
    assert worth == [f"about {pair}" for pair in ("0.30 / 0.62", "0.22 / 0.67", "0.40 / 0.64", "0.37 / 0.62")]


def test_every_claim_that_the_numbers_speak_to_is_listed(findings):
    claims = of(findings, "Claims in the text")
    assert len(claims) == sum(claim.published is not None for claim in CLAIMS)
    (speed,) = [f for f in claims if "Comparable or better" in f.printed]
    assert speed.verdict == "contradiction"


def test_flops_of_table_4_fit_a_matched_schedule_only(findings):
    tflops = {f.where.split(",")[0]: f.recomputed for f in of(findings, "FLOPs of Table 4")}
    assert tflops["unpruned"].startswith("41.65 T")
    assert tflops["FastV averaging 320"].startswith("4.4")
    verdicts = {f.where.split(",")[0]: f.verdict for f in of(findings, "FLOPs of Table 4")}
    assert verdicts["TOPS of Table 9"] == "contradiction"
    assert verdicts["TOPS matched"] == "agrees"


def test_an_average_over_fewer_benchmarks_is_refused():
    scores = {name: 50.0 for name in printed_rule("11").divisors if name != "mmvet"}
    with pytest.raises(KeyError, match="mmvet"):
        printed_rule("11").acc(scores)


def test_proper_rules_scale_every_benchmark_to_100():
    full = {name: 2800.0 if name == "mme" else 100.0 for name in proper_rule("2").divisors}
    assert proper_rule("2").acc(full) == pytest.approx(100.0)
    assert printed_rule("2").acc(full) == pytest.approx(100 * (6 + 1.4 + 0.1) / 8)
