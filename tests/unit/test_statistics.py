"""Statistics against brute force, scipy, statsmodels, scikit-learn and simulation."""

import time

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import f1_score

from tops.statistics import metrics
from tops.statistics.comparison import compare, holm, mcnemar
from tops.statistics.intervals import minimum_detectable_effect, percentile_interval, share_interval
from tops.statistics.ranks import ranks
from tops.statistics.resampling import Clusters

RNG = np.random.default_rng(7)
DOCS = 240
IMAGES = [int(i) for i in RNG.integers(0, 40, DOCS)]
RIGHT = RNG.random(DOCS) < 0.6
TRUTH, SAID = RNG.random(DOCS) < 0.5, RNG.random(DOCS) < 0.5
SPLITS = ["random", "popular", "adversarial"] * (DOCS // 3)
TASKS = [f"t{i % 4}" for i in range(DOCS)]


def brute_mme(ids):
    total = 0.0
    for task in sorted(set(TASKS)):
        mine = [i for i in ids if TASKS[i] == task]
        pairs: dict = {}
        for n, i in enumerate(mine):
            pairs.setdefault((IMAGES[i], occurrence(ids, mine, n)), []).append(RIGHT[i])
        total += 100 * np.mean([RIGHT[i] for i in mine]) + 100 * np.mean([all(p) for p in pairs.values()])
    return total


def occurrence(ids, mine, n):
    """How many times this document stood before position n: copies of an image are images of their own."""
    return mine[:n].count(mine[n])


def brute_f1(ids):
    def one(split):
        mine = [i for i in ids if SPLITS[i] == split]
        return f1_score(TRUTH[mine], SAID[mine], zero_division=np.nan)

    return 100 * np.nanmean([one(s) for s in ("random", "popular", "adversarial")])


def brute_groups(ids):
    return 100 * np.mean([np.mean([RIGHT[i] for i in ids if TASKS[i] == t]) for t in sorted({TASKS[i] for i in ids})])


def brute_circular(ids):
    groups: dict = {}
    for n, i in enumerate(ids):
        groups.setdefault((IMAGES[i], ids[:n].count(i)), []).append(RIGHT[i])
    return 100 * np.mean([all(g) for g in groups.values()])


CASES = {
    "accuracy": (metrics.mean(RIGHT), lambda ids: 100 * RIGHT[ids].mean()),
    "pope": (metrics.f1(TRUTH, SAID, SPLITS), brute_f1),
    "pooled f1": (metrics.f1(TRUTH, SAID), lambda ids: 100 * f1_score(TRUTH[ids], SAID[ids])),
    "m-avg": (metrics.mean_of_groups(RIGHT, TASKS), brute_groups),
    "circular": (metrics.all_right(RIGHT, IMAGES), brute_circular),
    "mme": (metrics.mme(RIGHT, TASKS, IMAGES), brute_mme),
    "hallusionbench": (
        metrics.combined([metrics.mean(RIGHT), metrics.all_right(RIGHT, IMAGES)]),
        lambda ids: (100 * RIGHT[ids].mean() + brute_circular(ids)) / 2,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_resample_is_the_metric_of_the_copied_documents(name):
    metric, brute = CASES[name]
    clusters = Clusters.of(IMAGES, *metric.nested)
    assert metric.point == pytest.approx(brute(list(range(DOCS))))
    draws = clusters.draws(6, seed=3)
    for draw, value in zip(draws, metric.resampled(clusters, draws), strict=True):
        ids = [i for i in range(DOCS) for _ in range(int(draw[clusters.index[i]]))]
        assert value == pytest.approx(brute(ids))


def test_clusters_that_share_a_group_are_drawn_together():
    clusters = Clusters.of(["a", "a", "b", "c"], ["g", "h", "h", "i"])
    assert clusters.index.tolist() == [0, 0, 0, 1]
    assert Clusters.of([]).draws(3).shape == (3, 0)


def test_draws_repeat_with_the_seed_and_keep_the_sample_size():
    clusters = Clusters.of(IMAGES)
    draws = clusters.draws(50, seed=1)
    assert (draws.sum(axis=1) == clusters.count).all()
    assert (draws == clusters.draws(50, seed=1)).all()
    assert (draws != clusters.draws(50, seed=2)).any()


def test_a_group_missing_from_a_resample_does_not_count_as_zero():
    metric = metrics.mean_of_groups([1, 1, 0], ["a", "a", "b"])
    assert metric.value(np.array([2.0, 0.0, 2.0, 0.0])) == 100.0
    assert np.isnan(metric.value(np.zeros(4)))


def test_clustered_standard_error_is_that_of_statsmodels():
    sm = pytest.importorskip("statsmodels.api")
    rng = np.random.default_rng(0)
    images = np.repeat(np.arange(300), 5)
    right = (rng.random(300)[images] + rng.normal(0, 0.3, 1500)) > 0.5
    clusters, metric = Clusters.of(images.tolist()), metrics.mean(right)
    interval = percentile_interval(metric.point, metric.resampled(clusters, clusters.draws(4000)), clusters.count)
    fit = sm.OLS(100.0 * right, np.ones(1500)).fit(cov_type="cluster", cov_kwds={"groups": images})
    assert interval.se == pytest.approx(fit.bse[0], rel=0.05)
    low, high = fit.conf_int()[0]
    assert (interval.low, interval.high) == (pytest.approx(low, abs=0.4), pytest.approx(high, abs=0.4))


@pytest.mark.parametrize("kind", ["accuracy", "difference", "f1", "rel"])
def test_intervals_cover_the_truth_95_percent_of_the_time(kind):
    rng = np.random.default_rng(11)
    images, per, hits, trials = 60, 5, 0, 700
    index = np.repeat(np.arange(images), per).tolist()
    clusters = Clusters.of(index)
    draws = clusters.draws(600, seed=5)
    truth = _truth(kind)
    for _ in range(trials):
        a, b, positive = _answers(rng, images, per)
        first = metrics.f1(positive, positive == a) if kind == "f1" else metrics.mean(a)
        value, drawn = first.point, first.resampled(clusters, draws)
        if kind == "difference":
            second = metrics.mean(b)
            value, drawn = value - second.point, drawn - second.resampled(clusters, draws)
        if kind == "rel":
            value, drawn = _rel(rng, images, per, clusters, draws)
        interval = percentile_interval(value, drawn, clusters.count)
        hits += interval.low <= truth <= interval.high
    assert 0.93 <= hits / trials <= 0.97


def _answers(rng, images, per):
    """Two methods whose answers on an image hang together."""
    hard = rng.normal(0, 1, (images, 1))
    a = (hard + rng.normal(0, 1, (images, per)) < 0.6).ravel()
    b = (hard + rng.normal(0, 1, (images, per)) < 0.4).ravel()
    return a, b, (rng.random((images, per)) < 0.5).ravel()


def _rel(rng, images, per, clusters, draws):
    """Acc over three benchmarks, each with draws of its own, in percent of another method's on the same draws."""
    sums = {"mine": [], "base": []}
    for shift in range(3):
        base, mine, _ = _answers(rng, images, per)
        own = np.roll(draws, 1 + shift, axis=0)
        for name, answers in (("mine", mine), ("base", base)):
            metric = metrics.mean(answers)
            sums[name].append(np.append(metric.resampled(clusters, own), metric.point))
    ratio = 100 * np.mean(sums["mine"], axis=0) / np.mean(sums["base"], axis=0)
    return ratio[-1], ratio[:-1]


def _truth(kind):
    p, q = stats.norm.cdf(0.6 / np.sqrt(2)), stats.norm.cdf(0.4 / np.sqrt(2))
    # half the truths are yes, and a yes question is answered yes as often as any is answered right
    return {"accuracy": 100 * p, "difference": 100 * (p - q), "f1": 100 * p, "rel": 100 * q / p}[kind]


def test_mcnemar_equals_statsmodels():
    tables = pytest.importorskip("statsmodels.stats.contingency_tables")
    after = RIGHT ^ (RNG.random(DOCS) < 0.15)
    flips = mcnemar(RIGHT, after)
    square = [[(RIGHT & after).sum(), flips.lost], [flips.gained, (~RIGHT & ~after).sum()]]
    assert flips.p == pytest.approx(tables.mcnemar(square, exact=True).pvalue)
    assert mcnemar(RIGHT, RIGHT).p == 1.0
    with pytest.raises(ValueError, match="not paired"):
        mcnemar([True], [True, False])


def test_holm_equals_statsmodels_and_skips_nan():
    multitest = pytest.importorskip("statsmodels.stats.multitest")
    p = {"a": 0.01, "b": 0.04, "c": 0.03, "d": float("nan"), "e": 0.6}
    adjusted = holm(p)
    expected = multitest.multipletests([p[k] for k in "abce"], method="holm")[1]
    assert [adjusted[k] for k in "abce"] == pytest.approx(list(expected))
    assert np.isnan(adjusted["d"])


def test_minimum_detectable_effect_is_found_with_its_power():
    power = pytest.importorskip("statsmodels.stats.power")
    effect = minimum_detectable_effect(1 / np.sqrt(5000))
    assert power.tt_solve_power(effect, nobs=5000, alpha=0.05) == pytest.approx(0.8, abs=0.002)
    # a tenth of 2,017 answers flipping hides differences below about two points
    assert minimum_detectable_effect(100 * np.sqrt(0.1 / 2017)) == pytest.approx(1.97, abs=0.01)


def test_identical_methods_do_not_differ_and_few_units_prove_nothing():
    same = np.linspace(1, 2, 100)
    assert compare(1.5, 1.5, same, same, 40).p == 1.0
    assert compare(2.0, 1.0, same + 1, same, 3).p == 0.25
    assert compare(2.0, 1.0, same + 1, same, 3, pooled=11).p == 2.0**-10
    alone = percentile_interval(50.0, np.full(100, 50.0), 1)
    assert np.isnan(alone.low)
    assert not alone.excludes_zero


def test_p_values_are_uniform_when_nothing_differs():
    rng = np.random.default_rng(2)
    clusters = Clusters.of(list(range(150)))
    draws = clusters.draws(400, seed=9)
    found = []
    for _ in range(400):
        a, b = metrics.mean(rng.random(150) < 0.5), metrics.mean(rng.random(150) < 0.5)
        found.append(compare(a.point, b.point, a.resampled(clusters, draws), b.resampled(clusters, draws), 150).p)
    assert 0.02 < np.mean(np.array(found) < 0.05) < 0.085


def test_ranks_share_ties_and_state_their_uncertainty():
    drawn = np.array([[3.0, 3.0, 1.0, 3.0], [2.0, 4.0, 2.0, 3.0], [0.0, 0.0, 0.0, 0.0]])
    first, second, third = ranks(np.array([3.0, 2.0, 0.0]), drawn)
    assert (first.rank, second.rank, third.rank) == (1, 2, 3)
    assert (first.best, second.best, third.best) == (0.375, 0.625, 0.0)
    assert third.low == third.high == 3


def test_ranks_leave_out_resamples_without_a_value():
    drawn = np.array([[3.0, np.nan], [2.0, 4.0]])
    assert [r.best for r in ranks(np.array([3.0, 2.0]), drawn)] == [1.0, 0.0]
    assert np.isnan(ranks(np.array([3.0, 2.0]), drawn[:, 1:])[0].low)


def test_a_thousand_resamples_of_a_large_benchmark_take_a_moment():
    images = [i % 400 for i in range(12000)]
    start = time.perf_counter()
    clusters = Clusters.of(images)
    draws = clusters.draws(1000)
    for _ in range(20):
        metrics.mean(np.ones(12000)).resampled(clusters, draws)
    assert time.perf_counter() - start < 5


def test_a_share_at_the_edge_has_an_interval_that_covers():
    certain = share_interval(100.0, np.full(200, 100.0), 24)
    assert (round(certain.low, 1), certain.high) == (84.9, 100.0)
    rng, covered = np.random.default_rng(0), 0
    for _ in range(300):
        right = 100.0 * (rng.random(24) < 0.95)
        resampled = rng.multinomial(24, np.full(24, 1 / 24), size=100) @ right / 24
        interval = share_interval(right.mean(), resampled, 24)
        covered += interval.low <= 95 <= interval.high
    assert covered >= 0.93 * 300
