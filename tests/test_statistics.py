import numpy as np
import pytest
from scipy import stats

from fasthop.statistics import (
    bootstrap,
    clopper_pearson,
    over_realisations,
    ratio_interval,
    t_interval,
    wilson,
    with_undecided,
)


@pytest.mark.parametrize("method", ["wilson", "exact"])
@pytest.mark.parametrize(("k", "n"), [(0, 10), (10, 10), (3, 17), (614, 1000), (1, 1)])
def test_intervals_of_independent_trials_equal_scipy(k, n, method):
    low, high = {"wilson": wilson, "exact": clopper_pearson}[method](k, n)
    due = stats.binomtest(k, n).proportion_ci(0.95, method=method)
    assert (float(low), float(high)) == pytest.approx((due.low, due.high), abs=1e-12)


@pytest.mark.parametrize(("interval", "least"), [(wilson, 0.91), (clopper_pearson, 0.95)])
def test_exact_coverage_of_a_rare_failure(interval, least):
    n, p = 100, 0.01
    low, high = interval(np.arange(n + 1), np.full(n + 1, n))
    covered = stats.binom.pmf(np.arange(n + 1), n, p)[(low <= p) & (p <= high)].sum()
    assert covered >= least


def test_the_t_interval_is_scipy_s():
    values = np.array([4.0, -5.5, 50, 0])
    assert t_interval(values) == pytest.approx(stats.t.interval(0.95, 3, values.mean(), stats.sem(values)), abs=1e-12)
    assert t_interval([2.0, 2.0]) == (2.0, 2.0)
    assert np.isnan(t_interval([2.0])).all()


def test_the_interval_of_a_ratio_is_that_of_a_mean_where_all_are_equal_in_number_and_covers_where_not():
    values = np.array([1.0, 2.5, 2.0, 4.0])
    assert ratio_interval(3 * values, np.full(4, 3)) == pytest.approx(t_interval(values), rel=1e-12)
    assert np.isnan(ratio_interval([2.0], [1])).all()
    rng, covered = np.random.default_rng(0), 0
    for _ in range(2000):
        sizes = rng.integers(5, 15, 30)
        low, high = ratio_interval(sizes * rng.normal(7.0, 1.0, 30), sizes)
        covered += low < 7 < high
    assert covered / 2000 == pytest.approx(0.95, abs=0.015)


def test_over_realisations_equals_the_t_interval():
    rates = np.array([0.4, 0.55, 0.5, 0.62])
    due = stats.t.interval(0.95, 3, rates.mean(), stats.sem(rates))
    assert over_realisations(rates) == pytest.approx(due, abs=1e-14)
    assert over_realisations(100 * rates, 100) == pytest.approx(due, abs=1e-14)


def test_pooled_counts_weigh_realisations_by_their_trials():
    k, n = np.array([1, 40, 18]), np.array([2, 100, 30])
    rate = 59 / 132
    residual = k - rate * n
    error = np.sqrt(3 / 2 * sum(residual**2)) / 132  # Cochran 1977, (6.13) without the finite population
    half = stats.t.ppf(0.975, 2) * error
    assert over_realisations(k, n) == pytest.approx((max(rate - half, 0), min(rate + half, 1)), abs=1e-14)


def test_rates_without_spread_leave_an_honest_interval():
    due = stats.binomtest(20, 20).proportion_ci(0.95, method="exact")
    assert over_realisations(np.ones(20)) == pytest.approx((due.low, due.high))
    assert over_realisations(np.zeros(20)) == pytest.approx((1 - due.high, 1 - due.low))
    assert over_realisations([0.3]) == (0.0, 1.0)
    # Equal rates between 0 and 1 are no certainty, either.
    for k, n, trials in ((2, 4, [10, 10, 10, 10]), (1, 4, [4, 8, 4, 12])):
        due = stats.binomtest(k, n).proportion_ci(0.95, method="exact")
        assert over_realisations(np.array(trials) * k / n, trials) == pytest.approx((due.low, due.high))
        assert bootstrap(np.array(trials) * k / n, trials) == pytest.approx((due.low, due.high))
    assert bootstrap(np.ones(20)) == over_realisations(np.ones(20))


def test_realisations_without_a_trial_count_for_nothing():
    assert np.isnan(over_realisations([0, 0], [0, 0])).all()
    assert over_realisations([3, 0, 0], [10, 0, 0]) == (0.0, 1.0)
    assert bootstrap([3, 0, 0], [10, 0, 0]) == (0.0, 1.0)
    assert np.isnan(ratio_interval([3.0, 0, 0], [10, 0, 0])).all()
    assert np.isnan(ratio_interval([0.0, 0], [0, 0])).all()
    for k in (0, 10):
        due = stats.binomtest(2 if k else 0, 2).proportion_ci(0.95, method="exact")
        assert over_realisations([k, k, 0], [10, 10, 0]) == pytest.approx((due.low, due.high))


@pytest.mark.parametrize("count", [1, 2, 5])
@pytest.mark.parametrize("rate", [0.0, 0.2, 0.5, 1.0])
def test_no_rate_is_told_without_a_width(rate, count):
    trials = np.full(count, 10)
    for low, high in (
        over_realisations(rate * trials, trials),
        bootstrap(rate * trials, trials),
        with_undecided(rate * trials, 0 * trials, trials),
        wilson(rate * 10, 10),
        clopper_pearson(rate * 10, 10),
    ):
        assert high - low > 0.1
        assert low <= rate <= high


def test_undecided_trials_widen_the_interval_to_both_bounds():
    k, n = np.array([40, 55, 50, 62]), np.full(4, 100)
    assert with_undecided(k, np.zeros(4), n) == over_realisations(k, n)
    low, high = with_undecided(k, [10, 0, 20, 5], n)
    assert low == over_realisations(k, n)[0]
    assert high == over_realisations([50, 55, 70, 67], n)[1]
    # No success at all is no certainty, and one undecided trial does not make it one.
    assert with_undecided(np.zeros(4), [0, 1, 0, 0], n)[1] == over_realisations(np.zeros(4), n)[1] > 0.5
    assert with_undecided(n - [0, 1, 0, 0], [0, 1, 0, 0], n)[0] == over_realisations(n, n)[0] < 0.5


def beta_binomial(mean, correlation, repeats, trials):
    """Matrices × cues whose success probabilities differ between matrices; shape (repeats, matrices)."""
    rng = np.random.default_rng(0)
    shape = (1 - correlation) / correlation
    rates = rng.beta(mean * shape, (1 - mean) * shape, (repeats, len(trials)))
    return rng.binomial(trials, rates)


def coverage(intervals, mean):
    low, high = np.transpose(intervals)
    return np.mean((low <= mean) & (mean <= high))


@pytest.mark.parametrize("correlation", [0.01, 0.1])
@pytest.mark.parametrize("trials", [np.full(20, 500), np.repeat([250, 500, 750, 1000], 5)], ids=["equal", "unequal"])
def test_the_interval_over_realisations_covers_and_the_pooled_one_does_not(correlation, trials):
    counts = beta_binomial(0.6, correlation, 2000, trials)
    assert 0.93 <= coverage([over_realisations(row, trials) for row in counts], 0.6) <= 0.97
    assert coverage(np.transpose(wilson(counts.sum(axis=1), trials.sum())), 0.6) < 0.7


def test_the_bootstrap_covers():
    trials = np.full(40, 200)
    counts = beta_binomial(0.7, 0.05, 500, trials)
    assert 0.92 <= coverage([bootstrap(row, trials, draws=1000) for row in counts], 0.7) <= 0.97


def test_bootstrap_agrees_with_scipy_and_repeats_itself():
    counts, trials = np.array([2, 9, 1, 0, 4, 3, 1, 2, 8, 30, 5, 1, 0, 2, 6, 3, 2, 1, 4, 2]), np.full(20, 50)
    ours = bootstrap(counts, trials, draws=20_000)
    theirs = stats.bootstrap(
        (counts / trials,), np.mean, n_resamples=20_000, method="BCa", rng=np.random.default_rng(1)
    ).confidence_interval
    assert ours == pytest.approx(tuple(theirs), abs=0.004)
    assert bootstrap(counts, trials, draws=20_000) == ours
    assert bootstrap(counts, trials, draws=20_000, seed=1) != ours
