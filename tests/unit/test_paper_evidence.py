"""What each question of a claim makes of a small store and of the benchmark's records."""

import json

import numpy as np
import pytest
from synthetic_store import fill

from tops.paper.contrasts import Contrast
from tops.reporting.data.evidence import findings
from tops.reporting.data.evidence_kept import _bottom, _pairs
from tops.reporting.data.evidence_records import record_findings, why_none
from tops.reporting.tables.claims import Stores

TOPS, SCOPE = ("tops", ""), (("scope", ""),)


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    root = tmp_path_factory.mktemp("evidence")
    methods = ("none", "tops", "scope", "fastv")
    fill(root, "table11", documents=24, only=lambda p: p.column.slug == "pope" and p.row.method in methods)
    return Stores("miniature", root, None).of("table11")


def asked(stored, **how):
    return findings(stored, Contrast("table11", TOPS, measure="pope", **how))


def score(stored, method, level):
    columns = [c for c in stored.results.columns("llava-1.5-7b") if c.slug == "pope"]
    rows = [r for r in stored.results.rows("llava-1.5-7b") if (r.method, r.level) == (method, level)]
    return stored.score(next(r for r in rows if r.protocol in ("", "layer_average")), columns[0]).point


def test_a_margin_that_widens_is_a_difference_of_differences(stored):
    (found,) = asked(stored, rivals=SCOPE, level="88.9", question="change", mild="77.8")
    gaps = [score(stored, "tops", level) - score(stored, "scope", level) for level in ("88.9", "77.8")]
    assert found.quantity.estimate == pytest.approx(gaps[0] - gaps[1])
    assert found.low == 0


def test_against_the_unpruned_model_flips_count_in_both_directions(stored):
    found = asked(stored, level="77.8", question="against unpruned")
    assert [f.rival for f in found] == ["Unpruned"]
    assert found[0].quantity.estimate == pytest.approx(score(stored, "tops", "77.8") - score(stored, "none", ""))
    assert "answers gained" in found[0].more
    assert "lost" in found[0].more


def test_the_best_rival_is_named_and_a_printed_margin_is_a_region(stored):
    (found,) = asked(stored, level="77.8", question="difference", low=-1e9, high=1e9)
    assert found.outcome == "supported"
    best = max(("scope", "fastv"), key=lambda m: score(stored, m, "77.8"))
    assert found.rival.lower().startswith(best)


def test_a_setting_without_its_rows_says_nothing(stored):
    assert asked(stored, rivals=(("visionzip", ""),), question="better") == []
    assert findings(stored, Contrast("table11", TOPS, question="value")) == []  # Rel needs all eight benchmarks


def test_place_and_agreement_of_kept_tokens():
    mask = np.zeros((4, 10), dtype=bool)
    mask[:, 8:] = True
    assert _bottom(mask) == 1.0
    assert _bottom(~mask) == pytest.approx(3 / 8)
    same = np.stack([mask, mask, mask], axis=1)
    assert _pairs(same) == 1.0
    assert _pairs(np.stack([mask, ~mask], axis=1)) == 0.0


def test_costs_come_from_a_gpu_record_of_the_papers_model_alone(tmp_path):
    rows = [
        {"method": m, "prefill_ms": {"median": t}, "peak_memory_bytes": b}
        for m, t, b in (("none", 300.0, 17e9), ("tops", 100.0, 15e9), ("fastv", 80.0, 15e9), ("visionzip", 90.0, 15e9))
    ]
    record = {"benchmark": "efficiency", "setting": {"model": "LLaVA-NeXT-7B"}, "rows": rows}

    def said(device, question):
        (tmp_path / "efficiency.json").write_text(json.dumps({**record, "machine": {"device": device}}))
        return [f.quantity.estimate for f in record_findings(tmp_path, Contrast("table4", TOPS, question=question))]

    assert said("cuda", "prefill") == [3.0]
    assert said("cuda", "memory") == [2.0]
    assert said("cuda", "fastest") == [pytest.approx(100 / 85)]
    assert said("cpu", "prefill") == []
    assert "make bench-efficiency" in why_none(Contrast("table4", TOPS, question="prefill"))


def test_growth_comes_from_the_record_of_scaling(tmp_path):
    series = {"axis": "n", "time_exponent": 1.53}
    record = {"benchmark": "scaling", "machine": {"device": "cpu"}, "tokens, K=64": series, "picks": {"axis": "k"}}
    (tmp_path / "scaling.json").write_text(json.dumps(record))
    (found,) = record_findings(tmp_path, Contrast("table4", TOPS, question="growth", high=1.1))
    assert (found.quantity.estimate, found.outcome) == (1.53, "contradicted")
