"""What the printed numbers say about each claim, and the verdicts from a store."""

import numpy as np
import pytest
from synthetic_store import fill

from tops.paper import propositions
from tops.paper.claims import CLAIMS
from tops.paper.contrasts import Contrast
from tops.reporting.build import write_claims
from tops.reporting.data.evidence import findings
from tops.reporting.tables.claims import Stores, _outcome, claims_table, evidence, overall
from tops.settings.choices import choice_names
from tops.statistics.comparison import Comparison
from tops.statistics.intervals import Interval
from tops.statistics.verdict import lies_in

BORNE_OUT = {"kept", "scope-margins", "advanced", "video", "flops", "speed"}
UNTOLD = {"mmbench"}
SAID = {
    "superior": ("19 of 19", "26/32 (Table 2), 20/24 (Table 3), 11/24 (Table 11), 14/24 (Table 12)", "12/24", "10/24"),
    "margin": ("llava-1.5-13b 1.2, 0.9, 1.4", "llava-next-13b 1.2, 0.9, 0.8"),
    "loss64": ("fastv 28.1, pdrop 29.5, sparsevlm 13.8, visionzip 7.0, tops 2.9", "128 tokens: 1.2"),
    "advanced": ("qwen2.5-vl-7b at 256: +2.0", "128: +3.3", "256: +1.6", "128: +5.7"),
    "flops": ("9.93",),
    "speed": ("3.12", "1.9 GB"),
    "efficiency": ("prumerge_plus 54, visionzip 60, pdrop 67, fastv 77",),
    "f1": ("86.5 against 86.3",),
    "rater": ("4 of 6", "mme at 128 to last_token, mmbench_en at 64 to all_mean"),
    "weights": ("1.5 %", "3.8 %", "15.0 %"),
    "scope-margins": ("128: 0.5", "32: 1.1", "320: 1.3", "160: 2.0"),
    "video": ("FastV 78.6",),
    "optima": (
        "mme at 32: alpha=1;lambda=2",
        "mmbench_en at 32: alpha=2;lambda=1",
        "gqa at 64: alpha=0.5;lambda=0.5 and",
    ),
    "small-lambda": ("0.5",),
    "acc-share": ("73.1", "74.9"),
    "qwen": ("36 x 36", "1008 x 1008"),
    "one-alpha": ("alpha 0.2, lambda 0.2", "alpha 0.3, lambda 0.2"),
    "seven": ("8 columns",),
    "pope": ("9000",),
    "internvl": ("256 tokens", "5 tiles"),
    "budgets": ("+14.3 %", "+18.8 %"),
}


@pytest.mark.parametrize("claim", [c for c in CLAIMS if c.published], ids=lambda c: c.name)
def test_what_the_printed_numbers_say(claim):
    text, holds = claim.published()
    assert holds is (None if claim.name in UNTOLD else claim.name in BORNE_OUT)
    assert all(part in text for part in SAID.get(claim.name, ()))


def test_every_contrast_names_an_experiment_that_exists():
    assert {c.experiment for claim in CLAIMS for c in claim.contrasts} <= set(choice_names("experiment"))


BETTER, AS_GOOD = Contrast("e", ("tops", "")), Contrast("e", ("tops", ""), question="as good")


@pytest.mark.parametrize(
    ("contrast", "low", "high", "adjusted", "expected"),
    [
        (BETTER, 0.2, 2, 0.01, "supported"),
        (BETTER, 0.2, 2, 0.2, "cannot tell"),
        (BETTER, -2, -0.2, 0.01, "contradicted"),
        (BETTER, -1, 1, 0.9, "cannot tell"),
        (AS_GOOD, -1, 0.9, 0.9, "yes"),
        (AS_GOOD, 0.2, 3, 0.01, "no"),
        (AS_GOOD, -0.2, 3, 0.3, "cannot tell"),
    ],
)
def test_verdict_of_one_comparison(contrast, low, high, adjusted, expected):
    comparison = Comparison(Interval((low + high) / 2, low, high, 0.5, 100), adjusted, 1.0)
    assert _outcome(contrast, comparison, adjusted) == expected


ABOUT_THE_TEXT = {"budgets", "one-alpha", "global", "seven", "acc-share", "mmbench", "qwen", "pope", "internvl"}


def test_only_statements_about_the_text_have_no_experiment():
    assert {c.name for c in CLAIMS if not c.contrasts and c.numerical is None} == ABOUT_THE_TEXT


def test_no_printed_number_stands_beside_the_miniature(tmp_path):
    fill(tmp_path, "table11", documents=8, only=lambda p: p.row.role == "reference" or p.row.method == "tops")
    table = claims_table("miniature", tmp_path)
    assert not [line for line in table.lines if line.data[1].text or line.data[2].text]
    assert {line.data[5].text for line in table.lines} <= {"", "not run"}
    claim = next(c for c in CLAIMS if c.name == "loss64")
    assert evidence(claim, Stores("miniature", tmp_path, None)) == []


@pytest.mark.parametrize("level", ["77.8", "88.9"])
def test_a_value_is_held_against_a_region(tmp_path, level):
    fill(tmp_path, "table11", documents=12, only=lambda p: p.row.role == "reference" or p.row.method == "tops")
    stores = Stores("miniature", tmp_path, None)
    (wide,) = findings(stores.of("table11"), Contrast("table11", ("tops", ""), level=level, question="value", low=-1e9))
    (narrow,) = findings(
        stores.of("table11"), Contrast("table11", ("tops", ""), level=level, question="value", low=1e9)
    )
    assert (wide.outcome, narrow.outcome) == ("supported", "contradicted")


def test_propositions_hold_on_random_features_and_the_test_can_fail():
    assert propositions.coverage_is_submodular()[1]
    assert propositions.diversity_diminishes()[1]
    similarity = propositions.cosine(np.random.default_rng(0).normal(size=(20, 8)))
    growing = propositions.rising_gains(similarity, lambda s, chosen, token: len(chosen) ** 2, np.random.default_rng(1))
    assert growing > 300


def test_the_pages_rule_is_the_tables_rule():
    inside, across, outside = (Interval(x, x - 1, x + 1, 0.5, 100) for x in (5, 8.5, 20))
    assert [lies_in(i, 0, 9) for i in (inside, across, outside)] == ["supported", "cannot tell", "contradicted"]
    assert lies_in(Interval(1, float("nan"), float("nan"), float("nan"), 2), 0, 9) == "cannot tell"


def test_a_claim_without_runs_says_so(tmp_path):
    table = claims_table("miniature", tmp_path)
    assert {line.data[5].text for line in table.lines} == {"", "not run"}
    assert {p.name for p in write_claims(table, tmp_path, "miniature")} >= {"claims.md", "claims.html", "claims.tex"}


def test_evidence_comes_from_the_store_with_intervals(tmp_path):
    subsets = ("", "criteria=R", "criteria=D", "criteria=R+D+C")
    fill(
        tmp_path,
        "table5",
        documents=8,
        only=lambda p: p.row.role == "reference" or (p.row.method == "tops" and p.row.variant in subsets),
    )
    claim = next(c for c in CLAIMS if c.name == "subsets")
    (found,) = evidence(claim, Stores("miniature", tmp_path, None))
    assert found.rival.startswith("TOPS (criteria=")
    assert overall([found]) == found.outcome
    assert "against TOPS (criteria=" in found.text
