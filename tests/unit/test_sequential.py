"""``stop=separable``: the test's error and what it spares, the rounds of a plan, and what a report says of them."""

import numpy as np
import pytest
import synthetic_store
from synthetic_store import fill

from scripts.simulate_statistics import DOCUMENTS, RANKED, rank_coverage, stopping
from tops.cli import carrying_out
from tops.errors import ConfigurationError
from tops.evaluation.code import answering_code
from tops.planning import staging
from tops.planning.comparison import comparison
from tops.planning.plan import plan
from tops.planning.request import request
from tops.planning.sequential import rounds
from tops.reporting.build import make
from tops.reporting.data.results import collect
from tops.running import run as running
from tops.running.rounds import take_over
from tops.settings.schema import ColumnConfig, Experiment, RowConfig, Stopping
from tops.statistics.sequential import Verdict, log_wealth, units_of, verdict
from tops.store.store import Store

BACKBONE = "llava-1.5-7b"


def experiment(name, rival="visionzip"):
    return Experiment(
        name=name,
        title=name,
        backbones=(BACKBONE,),
        benchmarks=(ColumnConfig("gqa", "gqa"),),
        rows=(RowConfig(("none",), "reference", levels=()), RowConfig(("tops", rival))),
        levels={"88.9": {BACKBONE: 64}},
    )


def test_wealth_is_that_of_a_gambler():
    units = np.array([1.0, 0.0, -1.0, 1.0])
    stakes = 0.9 * 0.5 ** np.arange(8)
    by_hand = np.mean([np.prod(1 + stake * units) for stake in stakes])
    assert np.exp(log_wealth(units, 0.0, 1)) == pytest.approx(by_hand)
    assert np.exp(log_wealth(units, 0.0, -1)) == pytest.approx(np.mean([np.prod(1 - s * units) for s in stakes]))
    assert log_wealth(np.zeros(0), 0.0, 1) == pytest.approx(0)


def test_verdicts():
    assert verdict(np.ones(20), 0.05) is Verdict.HIGHER
    assert verdict(-np.ones(20), 0.05) is Verdict.LOWER
    assert verdict(np.zeros(1000), 0.05) is Verdict.WITHIN
    assert verdict(np.zeros(1000), 0.0) is Verdict.OPEN
    assert verdict(np.zeros(0), 0.05) is Verdict.OPEN
    assert verdict(np.ones(10), 0.05) is Verdict.HIGHER
    assert verdict(np.ones(10), 0.05, alpha=0.0005) is Verdict.OPEN


def test_a_cluster_counts_once_with_the_documents_that_first_drew_it():
    gaps = {0: 1.0, 1: 0.0, 2: -1.0, 3: 1.0}
    clusters = {0: "a", 1: "a", 2: "b", 3: "a"}
    drawn = [frozenset({0, 1}), frozenset({0, 1, 2, 3})]
    assert units_of(gaps, clusters, drawn).tolist() == [0.5, -1.0]
    assert units_of(gaps, clusters, drawn[1:]).tolist() == [pytest.approx(2 / 3), -1.0]


def test_the_error_is_kept_and_clear_differences_spare_documents():
    equal = stopping(0.0, alpha=0.2, trials=60, margin=0)
    assert equal.shares[Verdict.HIGHER] + equal.shares[Verdict.LOWER] <= 0.2
    clear = stopping(0.12, trials=20)
    assert clear.shares[Verdict.HIGHER] == 1
    assert clear.documents <= DOCUMENTS / 4


@pytest.mark.slow
def test_the_error_is_kept_at_every_null_and_rank_intervals_hold_the_truth():
    equal = stopping(0.0, trials=200)
    assert equal.shares[Verdict.HIGHER] + equal.shares[Verdict.LOWER] <= 0.05
    assert stopping(0.05, trials=200).shares[Verdict.WITHIN] <= 0.05  # the margin itself
    assert stopping(0.08, trials=100).documents <= DOCUMENTS / 2
    for means in RANKED.values():
        assert rank_coverage(means, trials=200).min() >= 0.93


def test_rounds_double_up_to_what_the_run_would_ask():
    assert rounds(None, 300) == [32, 64, 128, 256, None]
    assert rounds(100, 300) == [32, 64, 100]
    assert rounds(24, 300) == [24]


@pytest.fixture
def three_hundred(monkeypatch):
    monkeypatch.setattr(staging, "documents", lambda benchmark, profile: 300)
    monkeypatch.setitem(synthetic_store.QUALITY, "visionzip", 0.2)  # clearly worse than TOPS


def ended(chosen, root):
    """All rounds of an experiment: the documents of each, and the plan at the end."""
    sizes = []
    while True:
        planned = plan(chosen, "miniature", results=root, full=True, stop=Stopping(margin=0))
        if not planned.todo():
            return sizes, planned
        (stop,) = planned.stops.values()
        sizes.append(stop.documents)
        assert len(planned.todo()) == 3  # every row asks the same documents
        fill(root, planned, documents=stop.documents)


def test_a_column_ends_when_its_methods_are_told_apart(tmp_path, three_hundred):
    sizes, planned = ended(experiment("clear"), tmp_path)
    (stop,) = planned.stops.values()
    assert sizes == [32, 64, 128][: len(sizes)]
    assert stop.done
    assert set(stop.verdicts.values()) == {Verdict.HIGHER}
    assert stop.documents <= stop.all / 2
    assert f"{stop.documents} of at most 300 documents a method" in planned.note
    report = make(collect(planned, tmp_path))
    (table,) = [t for t in report.more if t.name == "clear_stops"]
    assert [d.text for d in table.lines[0].data][:4] == [
        str(stop.documents),
        "300",
        table.lines[0].data[2].text,
        "told",
    ]
    assert "stop=separable" in report.warnings[0]


def test_methods_alike_are_asked_everything(tmp_path, three_hundred):
    sizes, planned = ended(experiment("alike", rival="divprune"), tmp_path)
    (stop,) = planned.stops.values()
    assert sizes == [32, 64, 128, 256, 300]
    assert stop.limit is None
    assert list(stop.verdicts.values()) == [Verdict.OPEN]


def test_a_run_goes_from_round_to_round(tmp_path, three_hundred, monkeypatch, capsys):
    asked = []

    def pretend(planned, launcher, results):
        (stop,) = planned.stops.values()
        asked.append(stop.documents)
        fill(results, planned, documents=stop.documents)
        return running.Summary(1, 1, 0)

    monkeypatch.setattr(running, "run", pretend)
    monkeypatch.setattr(staging, "prepare", lambda profile: None)
    words = ["method=tops", "against=visionzip", "benchmark=gqa", "budget=64", "profile=miniature", "full=true"]
    words += ["stop=separable", "margin=0", f"results={tmp_path}"]
    assert carrying_out.carried_out(lambda: comparison(words)) == 0
    assert asked == sorted(set(asked))
    assert len(asked) > 1


def test_a_round_takes_over_what_the_one_before_answered(tmp_path, three_hundred):
    chosen, store = experiment("taken"), Store(tmp_path, "miniature")
    small = plan(chosen, "miniature", results=tmp_path, limit=32)
    large = plan(chosen, "miniature", results=tmp_path, limit=64)
    first, second = (p.unique() for p in (small, large))
    fill(tmp_path, small, documents=32, coded=True, pictures=True)
    for before, cell in zip(first.values(), second.values(), strict=True):
        assert take_over(cell.cell, store) == 32
        with store.open_cell(cell.cell, answering_code(cell.cell)) as writer:
            assert writer.salvaged == 32
            said = {i: (a.answer, a.image) for i, a in writer.answers.items()}
        assert said == {a.doc_id: (a.answer, a.image) for a in store.read(before.cell.key).answers()}
        assert (store.path(cell.cell.key) / "images" / "0.png").exists()
        assert take_over(cell.cell, store) == 0  # begun already


def test_answers_of_other_code_are_not_taken_over(tmp_path, three_hundred):
    chosen, store = experiment("other"), Store(tmp_path, "miniature")
    fill(tmp_path, plan(chosen, "miniature", results=tmp_path, limit=32), documents=32)  # tells no code
    cell = next(iter(plan(chosen, "miniature", results=tmp_path, limit=64).unique().values())).cell
    assert take_over(cell, store) == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["experiment=smoke", "margin=2"], "margin=2 is that of stop=separable"),
        (["experiment=smoke", "stop=separable", "margin=-1"], "margin=-1 is no difference"),
        (["experiment=smoke", "stop=now"], "stop"),
        (["stop=separable"], "name one"),
    ],
)
def test_settings_that_do_nothing_are_refused(words, message):
    with pytest.raises(ConfigurationError, match=message):
        request([*words, "profile=miniature"])
