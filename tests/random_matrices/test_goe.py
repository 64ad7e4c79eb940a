"""GOE as users see it: predicted and published means, laws, tables, stability, and the sentences for wrong input."""

import math

import numba
import numpy as np
import pandas as pd
import pytest
from scipy import stats

import fasthop as fh
from fasthop.random_matrices import dead_directions
from fasthop.random_matrices import goe as rm

JIT = not numba.config.DISABLE_JIT
pytestmark = pytest.mark.skipif(not JIT, reason="samples are too large without a compiler")


@pytest.fixture
def threads():
    before = numba.get_num_threads()
    yield numba.set_num_threads
    numba.set_num_threads(before)


# --- means: an independent Monte Carlo, and exact ones --------------------------------------------------------------

# n, E λ_max and its standard error, E‖W‖ and its standard error, standard deviation of ‖W‖.
MEANS = [
    (2, 0.8860, 0.0019, 1.4503, 0.0014, None),
    (5, 2.3109, 0.0029, 2.7369, 0.0024, None),
    (10, 3.7538, 0.0025, 4.1160, 0.0021, 0.5196),
    (20, 5.7167, 0.0027, 6.0318, 0.0024, 0.4719),
    (50, 9.4967, 0.0033, 9.7660, 0.0029, 0.4068),
    (100, 13.7148, 0.0038, 13.9479, 0.0033, 0.3650),
    (200, 19.6188, 0.0048, 19.8322, 0.0042, 0.3268),
]
DRAWS = 100_000


@pytest.mark.parametrize("row", MEANS, ids=lambda row: f"n{row[0]}")
def test_means_are_those_of_another_monte_carlo(row):
    n, largest, largest_se, norm, norm_se, std = row
    got = fh.goe_extremes(n, DRAWS, seed=1)
    for values, mean, error in ((got.lambda_max, largest, largest_se), (got.norm, norm, norm_se)):
        assert abs(values.mean() - mean) < 4 * math.hypot(error, values.std() / math.sqrt(DRAWS))
    if std:
        assert abs(got.norm.std() / std - 1) < 0.02


def close_to(mean, values, share):
    """Whether the mean of a sample is within 4 standard errors and a share of a prediction."""
    return abs(values.mean() - mean) < 4 * values.std() / math.sqrt(values.size) + share * mean


@pytest.mark.parametrize("n", [5, 10, 20, 50, 100, 200, 1000, 10**4])
def test_means_are_the_predicted_ones(n):
    got, share = fh.goe_extremes(n, DRAWS if n <= 1000 else 20_000, seed=2), 0.01 if n == 5 else 0.002
    assert close_to(fh.random_matrices.expected_norm(n), got.norm, share)
    if n >= 20:
        assert close_to(fh.random_matrices.expected_lambda_max(n), got.lambda_max, share)


def test_the_prediction_for_the_largest_eigenvalue_is_none_for_the_norm():
    got = fh.goe_extremes(10, DRAWS, seed=2)
    assert not close_to(fh.random_matrices.expected_lambda_max(10), got.norm, 0.05)
    assert not close_to(math.sqrt(20), got.norm, 0.05)


def test_predictions_are_the_printed_ones():
    printed = [(2, 0.9249, 1.3699), (5, 2.3309, 2.7128), (10, 3.7700, 4.1102), (20, 5.7240, 6.0272)]
    printed += [(50, 9.5051, 9.7653), (100, 13.7114, 13.9432), (200, 19.6232, 19.8298)]
    n, largest, norm = np.array(printed).T
    np.testing.assert_allclose(fh.random_matrices.expected_norm(n), norm, atol=6e-5)
    # Those of λ_max are printed with the mean of TW1 rounded to -1.2.
    centre, width = fh.random_matrices.edge_scaling(n)
    np.testing.assert_allclose(centre - 1.2 * width, largest, atol=6e-5)
    np.testing.assert_array_equal(fh.random_matrices.expected_lambda_max(n), centre + rm.TW1_MEAN * width)


def test_one_and_two_rows_are_exact():
    # One normal number; two: mean and half-difference are normal and Rayleigh, of variance 1/2 each coordinate.
    one, two = (fh.goe_extremes(n, DRAWS, seed=3) for n in (1, 2))
    assert close_to(math.sqrt(2 / math.pi), one.norm, 0)
    np.testing.assert_allclose(one.lambda_min, one.lambda_max, atol=4e-15)
    assert stats.kstest(one.lambda_max, stats.norm.cdf).pvalue > 1e-4
    assert close_to(math.sqrt(math.pi) / 2, two.lambda_max, 0)
    assert close_to(math.sqrt(1 / math.pi) + math.sqrt(math.pi) / 2, two.norm, 0)
    assert stats.kstest((two.lambda_max - two.lambda_min) / 2, stats.rayleigh(0, math.sqrt(0.5)).cdf).pvalue > 1e-4


# --- Proposition 3 --------------------------------------------------------------------------------------------------

# n, k, E‖W⊥‖/E‖W‖, unit of its last digit's error.
RATIOS = [
    (10, 5, 0.6650, 0.0007),
    (20, 10, 0.6824, 0.0004),
    (50, 30, 0.6176, 0.0003),
    (100, 50, 0.7002, 0.0003),
    (100, 90, 0.2951, 0.0002),
    (200, 100, 0.7033, 0.0002),
    (200, 150, 0.4924, 0.0002),
    (200, 180, 0.3041, 0.0001),
]


@pytest.mark.parametrize(("n", "k", "ratio", "error"), RATIOS)
def test_ratios_are_those_of_another_monte_carlo(n, k, ratio, error):
    row = fh.random_matrices.goe_table([n], [k / n], DRAWS, seed=4).iloc[0]
    assert row["k"] == k
    assert abs(row["ratio"] - ratio) < 4 * math.hypot(error, row["ratio_se"])
    # The correction is for n - k ≥ 10 what is left; the leading order is always too large, by far more.
    assert abs(row["ratio"] - row["ratio_predicted"]) < 4 * row["ratio_se"] + (0.002 if n - k >= 10 else 0.01) * ratio
    assert row["ratio_leading"] - row["ratio"] > 3 * abs(row["ratio_predicted"] - row["ratio"])


def test_the_standard_error_of_a_ratio_covers_correlated_draws():
    rng = np.random.default_rng(5)
    shared = rng.normal(size=(2000, 400))
    top, bottom = 2 + shared + 0.1 * rng.normal(size=shared.shape), 4 + 2 * shared
    found = np.array([dead_directions.ratio_of_means(*pair) for pair in zip(top, bottom, strict=True)])
    assert abs(found[:, 1].mean() / found[:, 0].std() - 1) < 0.1
    mixed = np.array([dead_directions.ratio_of_means(*pair) for pair in zip(top, bottom[::-1], strict=True)])
    assert mixed[:, 1].mean() > 5 * found[:, 1].mean()


def test_coordinates_and_random_directions_have_one_law():
    table = fh.random_matrices.projection_table(10, 5, 4000, seed=6).set_index("directions")
    expected = fh.goe_extremes(5, 4000, seed=6)
    for name in ("coordinates", "random"):
        row = table.loc[name]
        for values, column in ((expected.norm, "norm"), (expected.lambda_max, "lambda_max")):
            error = math.hypot(row[f"{column}_se"], values.std() / math.sqrt(values.size))
            assert abs(row[f"{column}_mean"] - values.mean()) < 4 * error
        assert abs(row["ratio"] - 0.6650) < 4 * row["ratio_se"] + 0.0028


def test_directions_are_removed():
    w, v = fh.goe(7, seed=1), fh.random_matrices.random_directions(7, 3, seed=2)
    np.testing.assert_allclose(v.T @ v, np.eye(3), atol=1e-14)
    expected = np.linalg.eigvalsh((np.eye(7) - v @ v.T) @ w @ (np.eye(7) - v @ v.T))
    got = np.linalg.eigvalsh(fh.random_matrices.remove_directions(w, v))
    kept = np.delete(expected, np.argsort(abs(expected))[:3])
    np.testing.assert_allclose(got, kept, atol=1e-12)
    np.testing.assert_allclose(
        np.linalg.eigvalsh(fh.random_matrices.remove_directions(w, np.eye(7)[:, 5:])),
        np.linalg.eigvalsh(w[:5, :5]),
        atol=1e-12,
    )


# --- laws -----------------------------------------------------------------------------------------------------------


def distance(values, n, law):
    """Kolmogorov–Smirnov distance of scaled values times the root of their number: 1.95 once in a thousand samples."""
    centre, width = fh.random_matrices.edge_scaling(n)
    return stats.kstest((values - centre) / width, law).statistic * math.sqrt(values.size)


@pytest.fixture(scope="module")
def million():
    return fh.goe_extremes(10**4, 1_000_000, seed=7)


@pytest.fixture(scope="module")
def large():
    return fh.goe_extremes(10**6, 200_000, seed=8)


def test_a_million_norms_follow_the_larger_of_two(million):
    assert distance(million.norm, 10**4, fh.theory.larger_cdf) < 1.95
    assert distance(million.lambda_max, 10**4, fh.theory.tw1_cdf) < 1.95
    assert distance(-million.lambda_min, 10**4, fh.theory.tw1_cdf) < 1.95


def test_the_test_of_the_law_sees_a_shift_and_the_wrong_law(million):
    assert distance(million.norm, 10**4, fh.theory.tw1_cdf) > 100
    width = fh.random_matrices.edge_scaling(10**4)[1]
    assert distance(million.norm + 0.01 * width, 10**4, fh.theory.larger_cdf) > 1.95


def test_norms_at_a_million_rows_follow_the_law(large):
    assert distance(large.norm, 10**6, fh.theory.larger_cdf) < 1.95


def test_four_moments_at_a_million_rows(large):
    centre, width = fh.random_matrices.edge_scaling(10**6)
    for values, moments in ((large.lambda_max, fh.theory.tw1_moments()), (large.norm, fh.theory.larger_moments())):
        s = (values - centre) / width
        error = 4 / math.sqrt(s.size)
        assert abs(s.mean() - moments.mean) < error * math.sqrt(moments.variance)
        assert abs(s.var() / moments.variance - 1) < error * math.sqrt(2 + moments.kurtosis)
        # Standard deviations of the sample's skewness and kurtosis under these laws, about 1.3 times the normal ones.
        assert abs(stats.skew(s) - moments.skewness) < error * 1.3 * math.sqrt(6)
        assert abs(stats.kurtosis(s) - moments.kurtosis) < error * 1.6 * math.sqrt(24)
    assert abs(np.corrcoef(large.lambda_min, large.lambda_max)[0, 1]) < 4 / math.sqrt(large.norm.size)


@pytest.mark.parametrize("n", [2, 10, 30])
def test_dense_and_tridiagonal_agree(n):
    dense = fh.goe_extremes(n, 20_000, seed=9, method="dense")
    whole = fh.goe_extremes(n, 20_000, seed=9, method="tridiagonal")
    for name in ("lambda_min", "lambda_max", "norm"):
        a, b = getattr(dense, name), getattr(whole, name)
        assert stats.ks_2samp(a, b).pvalue > 1e-4
        assert stats.ks_2samp(a, 1.1 * b + 0.1).pvalue < 1e-4
        assert abs(a.mean() - b.mean()) < 4 * math.hypot(a.std(), b.std()) / math.sqrt(a.size)


def test_dense_entries_have_their_variances():
    w = fh.goe(30, 4000, seed=10)
    on, beside = w[:, range(30), range(30)], w[:, *np.tril_indices(30, -1)]
    assert abs(on.var() - 1) < 5 * math.sqrt(2 / on.size)
    assert abs(beside.var() - 0.5) < 5 * 0.5 * math.sqrt(2 / beside.size)
    assert abs(np.corrcoef(on.ravel(), np.roll(on.ravel(), 1))[0, 1]) < 5 / math.sqrt(on.size)
    np.testing.assert_allclose(fh.goe(30, 2, seed=10, scale=3.0), 3 * w[:2], rtol=1e-15)


# --- the same numbers -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["edge", "tridiagonal", "dense"])
def test_threads_and_more_draws_change_nothing(threads, method):
    results = []
    for count in (1, numba.config.NUMBA_NUM_THREADS):
        threads(count)
        results.append(fh.goe_extremes(60, 101, dead=3, seed=11, method=method))
    fewer = fh.goe_extremes(60, 17, dead=3, seed=11, method=method)
    for name in ("lambda_min", "lambda_max", "norm"):
        np.testing.assert_array_equal(getattr(results[0], name), getattr(results[1], name))
        np.testing.assert_array_equal(getattr(fewer, name), getattr(results[0], name)[:17])


def test_goe_is_nested_and_does_not_see_threads(threads):
    results = []
    for count in (1, numba.config.NUMBA_NUM_THREADS):
        threads(count)
        results.append(fh.goe(70, 5, seed=12))
    np.testing.assert_array_equal(*results)
    np.testing.assert_array_equal(fh.goe(70, seed=12), results[0][0])
    np.testing.assert_array_equal(fh.goe(33, 2, seed=12), results[0][:2, :33, :33])
    assert (fh.goe(70, seed=13) != results[0][0]).all()


@pytest.mark.parametrize("lanes", [8, 24, 48])
def test_edge_does_not_see_its_lanes(lanes):
    expected = rm.edge(500, 99, seed=1, rows=112)
    np.testing.assert_array_equal(rm.edge(500, 99, seed=1, rows=112, lanes=lanes), expected)


def test_dead_directions_leave_fewer_rows():
    got = fh.goe_extremes(10**9, 20, dead=10**9 - 100, seed=1)
    assert (got.n, got.dead) == (10**9, 10**9 - 100)
    np.testing.assert_array_equal(got.norm, fh.goe_extremes(100, 20, seed=1).norm)
    np.testing.assert_array_equal(got.norm, np.maximum(got.lambda_max, -got.lambda_min))
    frame = got.to_frame()
    assert list(frame) == ["n", "dead", "draw", "lambda_min", "lambda_max", "norm"]
    np.testing.assert_array_equal(frame["norm"], got.norm)


def test_a_billion_rows_are_at_their_edge():
    got = fh.goe_extremes(10**9, 400, seed=2)
    centre, width = fh.random_matrices.edge_scaling(10**9)
    assert stats.kstest((got.norm - centre) / width, fh.theory.larger_cdf).pvalue > 1e-4


# --- tables ---------------------------------------------------------------------------------------------------------


def test_goe_table_keeps_its_types_in_parquet(tmp_path):
    table = fh.random_matrices.goe_table([10, 20], [0.0, 0.5, 0.99], 100, seed=1)
    assert table["k"].tolist() == [0, 5, 9, 0, 10, 19]
    assert (table.dtypes.iloc[:3] == np.int64).all()
    assert (table.dtypes.iloc[3:] == np.float64).all()
    table.to_parquet(tmp_path / "goe.parquet")
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "goe.parquet"), table)
    row = table.iloc[1]
    got = fh.goe_extremes(10, 100, dead=5, seed=1)
    assert row["norm_mean"] == got.norm.mean()
    assert row["lambda_max_std"] == got.lambda_max.std(ddof=1)
    assert row["ratio_leading"] == math.sqrt(0.5)


@pytest.fixture(scope="module")
def stabilisation():
    return fh.random_matrices.stabilisation_table(40, [0.7, 0.95, 1.2, 1.6, 2.4], 60, 4, t_max=300, seed=1).set_index(
        "scale"
    )


def test_dead_neurons_stabilise(stabilisation):
    table = stabilisation
    ends = table[["settled", "unsettled", "diverged", "not_finite"]].sum(axis=1)
    assert (ends == table["trajectories"]).all()
    # Below norm 1 there is one state and it is stable; well above √2 even half of the neurons run away.
    assert (table.loc[[0.7, 0.95], "stable"] == 1).all()
    assert (table.loc[[0.7, 0.95], "diverged_share"] == 0).all()
    assert table.loc[2.4, "diverged_share"] > 0.9
    # At 1.2 the whole W is unstable, and nearly every state that is reached is stable all the same.
    assert table.loc[1.2, "lambda_max_whole"] > 0
    assert table.loc[1.2, "stable"] > 0.9
    assert table.loc[1.2, "lambda_max_S_most"] < 0
    assert (table["lambda_max_S"].dropna() < 0).all()
    assert table["dead"].dropna().between(0.35, 0.75).all()


def test_reached_states_are_as_random_ones_below_norm_1(stabilisation):
    # No selection effect can be seen there; above, reached states have smaller norms than independent V.
    for s in (0.7, 0.95):
        row = stabilisation.loc[s]
        assert abs(row["selected"] - row["independent"]) < 4 * math.hypot(row["selected_se"], row["independent_se"])
        assert abs(row["lambda_max_S"] - row["lambda_max_predicted"]) < 4 * row["lambda_max_S_se"] + 0.02
    assert stabilisation.loc[1.6, "selected"] < stabilisation.loc[1.6, "independent"]


def test_stability_is_that_of_the_jacobian():
    # One memory, its states found and looked at by hand.
    n, s, seed = 12, 1.1, 3
    table = fh.random_matrices.stabilisation_table(n, [s], 1, 8, seed=seed).iloc[0]
    w = s * fh.goe(n, seed=seed) / math.sqrt(2 * n)
    b = dead_directions._normals(seed, dead_directions.random.BIAS, [0], 1, n)[0]
    y0 = dead_directions._normals(seed, dead_directions.random.START, [0], 8, n)[0]
    ends = fh.settle(fh.Memory(w, b[0], "relu"), y0, t_max=1e3)
    tops, dead = [], []
    for y in ends.state[ends.settled]:
        np.testing.assert_allclose(w @ np.maximum(y, 0) + b[0], y, atol=1e-8)
        alive = y > 0
        tops.append(np.linalg.eigvals(w * alive - np.eye(n)).real[np.linalg.eigvals(w * alive).real != 0].max())
        dead.append(1 - alive.mean())
    assert abs(table["lambda_max_S"] - np.mean(tops)) < 1e-10
    assert abs(table["dead"] - np.mean(dead)) < 1e-12
    assert np.isnan(table["dead_se"])


def test_a_scale_at_which_nothing_settles():
    row = fh.random_matrices.stabilisation_table(30, [20.0], 3, 2, bias=0.5, seed=1).iloc[0]
    assert row["settled"] == 0
    assert row["diverged_share"] == 1
    assert row["stable"] == 0
    assert np.isnan(row[["dead", "lambda_max_S", "lambda_max_predicted", "selected"]].astype(float)).all()


# --- pictures -------------------------------------------------------------------------------------------------------


def test_pictures_are_drawn(tmp_path):
    from fasthop.plots import goe as plot_goe

    plot_goe.ratio(fh.random_matrices.goe_table([5, 50], [0.0, 0.5, 0.8], 200, seed=1), tmp_path / "ratio.png")
    plot_goe.density([fh.goe_extremes(n, 500, seed=1) for n in (3, 100)], tmp_path / "density.png")
    for path in tmp_path.iterdir():
        assert path.read_bytes()[:4] == b"\x89PNG"
        assert path.stat().st_size > 20_000


# --- wrong input ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "error", "sentence"),
    [
        (lambda: fh.goe(0), ValueError, "n must be at least 1 and at most 131071; got 0."),
        (lambda: fh.goe(2.0), TypeError, "n must be a whole number; got 2.0."),
        (lambda: fh.goe(2**17), ValueError, "n must be at least 1 and at most 131071; got 131072."),
        (lambda: fh.goe(3, 0), ValueError, "size must be at least 1 and at most 4294967296; got 0."),
        (lambda: fh.goe(3, seed=-1), ValueError, f"seed must be at least 0 and at most {2**64 - 1}; got -1."),
        (lambda: fh.goe(3, seed=2**64), ValueError, f"seed must be at least 0 and at most {2**64 - 1}; got {2**64}."),
        (lambda: fh.goe(3, scale=0), ValueError, "scale must be finite, above 0; got 0."),
        (lambda: fh.goe_extremes(0, 5), ValueError, "n must be at least 1 and at most 1000000000; got 0."),
        (
            lambda: fh.goe_extremes(10**9 + 1, 5),
            ValueError,
            "n must be at least 1 and at most 1000000000; got 1000000001.",
        ),
        (
            lambda: fh.goe_extremes(10**8, 5, method="tridiagonal"),
            ValueError,
            "n must be at least 1 and at most 10000000; got 100000000.",
        ),
        (lambda: fh.goe_extremes(10, 0), ValueError, "draws must be at least 1 and at most 4294967296; got 0."),
        (lambda: fh.goe_extremes(10, True), TypeError, "draws must be a whole number; got True."),
        (lambda: fh.goe_extremes(10, 5, dead=11), ValueError, "dead must be at least 0 and at most 9; got 11."),
        (lambda: fh.goe_extremes(10, 5, dead=10), ValueError, "dead must be at least 0 and at most 9; got 10."),
        (lambda: fh.goe_extremes(10, 5, dead=-1), ValueError, "dead must be at least 0 and at most 9; got -1."),
        (
            lambda: fh.goe_extremes(10, 5, method="lanczos"),
            ValueError,
            "method must be one of 'edge', 'tridiagonal', 'dense'; got 'lanczos'.",
        ),
        (
            lambda: fh.random_matrices.goe_table([0], [0.5], 10),
            ValueError,
            "ns must be at least 1 and at most 1000000000; got 0.",
        ),
        (lambda: fh.random_matrices.goe_table([10], [1.0], 10), ValueError, "dead_fractions must be below 1; got 1."),
        (
            lambda: fh.random_matrices.goe_table([10], [-0.1], 10),
            ValueError,
            "dead_fractions must be finite, at least 0; got -0.1.",
        ),
        (
            lambda: fh.random_matrices.goe_table([10], [0.5], 1),
            ValueError,
            "draws must be at least 2 and at most 4294967296; got 1.",
        ),
        (
            lambda: fh.random_matrices.projection_table(1, 1, 5),
            ValueError,
            "n must be at least 2 and at most 131071; got 1.",
        ),
        (
            lambda: fh.random_matrices.random_directions(3, 4),
            ValueError,
            "count must be at least 1 and at most 3; got 4.",
        ),
        (
            lambda: fh.random_matrices.remove_directions(np.eye(2), np.eye(2)),
            ValueError,
            "V must have fewer columns than rows; got shape (2, 2).",
        ),
        (
            lambda: fh.random_matrices.remove_directions(np.ones((2, 3)), np.eye(2)),
            ValueError,
            "W must be square; got shape (2, 3).",
        ),
        (
            lambda: fh.random_matrices.stabilisation_table(5, [0.0], 2, 2),
            ValueError,
            "scales must be finite, above 0; got 0.0.",
        ),
        (
            lambda: fh.random_matrices.stabilisation_table(5, [1.0], 0, 2),
            ValueError,
            "memories must be at least 1 and at most 4294967296; got 0.",
        ),
        (
            lambda: fh.random_matrices.stabilisation_table(5, [1.0], 2, 2, bias=-1),
            ValueError,
            "bias must be finite, at least 0; got -1.",
        ),
    ],
)
def test_wrong_input_is_one_sentence(call, error, sentence):
    with pytest.raises(error) as caught:
        call()
    assert str(caught.value) == sentence
