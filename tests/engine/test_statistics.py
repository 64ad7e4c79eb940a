import numpy as np
import pytest
from scipy import stats

from fasthop.statistics import over_realisations, wilson


@pytest.mark.parametrize(("k", "n"), [(0, 10), (10, 10), (3, 17), (614, 1000), (1, 1)])
def test_wilson_equals_scipy(k, n):
    low, high = wilson(k, n)
    due = stats.binomtest(k, n).proportion_ci(0.95, method="wilson")
    assert (float(low), float(high)) == pytest.approx((due.low, due.high), abs=1e-14)


def test_over_realisations_equals_the_t_interval():
    rates = np.array([0.4, 0.55, 0.5, 0.62])
    due = stats.t.interval(0.95, 3, rates.mean(), stats.sem(rates))
    assert over_realisations(rates) == pytest.approx(due, abs=1e-14)


def test_rates_without_spread_leave_an_honest_interval():
    due = stats.binomtest(20, 20).proportion_ci(0.95, method="exact")
    assert over_realisations(np.ones(20)) == pytest.approx((due.low, due.high))
    assert over_realisations(np.zeros(20)) == pytest.approx((1 - due.high, 1 - due.low))
    assert over_realisations([0.3]) == (0.0, 1.0)


def test_the_interval_over_realisations_covers_and_the_pooled_one_does_not():
    # 20 matrices × 500 cues whose success probabilities differ between matrices: beta-binomial, correlation 0.05.
    rng = np.random.default_rng(0)
    mean, correlation, repeats = 0.6, 0.05, 2000
    shape = (1 - correlation) / correlation
    rates = rng.beta(mean * shape, (1 - mean) * shape, (repeats, 20))
    counts = rng.binomial(500, rates)
    ours = np.array([over_realisations(row / 500) for row in counts])
    low, high = wilson(counts.sum(axis=1), 500 * 20)

    def coverage(lows, highs):
        return np.mean((lows <= mean) & (mean <= highs))

    assert 0.93 <= coverage(ours[:, 0], ours[:, 1]) <= 0.97
    assert coverage(low, high) < 0.5
