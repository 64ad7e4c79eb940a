import numpy as np
import pytest
from scipy import integrate, optimize, stats

import fasthop as fh
from fasthop.storage.rules import projector

PATTERNS = fh.random_patterns(12, 40, seed=4)


def test_hebb_equals_the_sum_over_patterns():
    due = sum(np.outer(xi, xi) for xi in PATTERNS) / 40
    np.testing.assert_array_equal(fh.hebb(PATTERNS, self_coupling=True), due)
    np.fill_diagonal(due, 0)
    np.testing.assert_array_equal(fh.hebb(PATTERNS), due)


def test_the_pseudo_inverse_equals_numpys_and_reproduces_the_patterns():
    W = fh.pseudo_inverse(PATTERNS, self_coupling=True)
    np.testing.assert_allclose(W, np.linalg.pinv(PATTERNS) @ PATTERNS, atol=1e-13)
    np.testing.assert_allclose(W @ PATTERNS.T, PATTERNS.T, atol=1e-13)
    np.testing.assert_array_equal(W, W.T)
    without = fh.pseudo_inverse(PATTERNS)
    assert (np.diag(without) == 0).all()
    np.testing.assert_array_equal(without + np.diag(np.diag(W)), W)


def test_dependent_patterns_are_refused_with_their_rank_and_projected():
    dependent = np.vstack([PATTERNS, PATTERNS[:2], -PATTERNS[5]])
    with pytest.raises(ValueError, match="15 of them have rank 12"):
        fh.pseudo_inverse(dependent)
    W, rank = projector(dependent, self_coupling=True)
    assert rank == 12
    np.testing.assert_allclose(W, fh.pseudo_inverse(PATTERNS, self_coupling=True), atol=1e-12)


def test_digits_span_as_much_as_they_do():
    images, _ = fh.digit_images()
    assert projector(images)[1] == np.linalg.matrix_rank(images) == 55


def test_storkeys_rule_is_the_sum_written_out():
    few = PATTERNS[:4, :11]
    W = np.zeros((11, 11))
    for xi in few:
        h = [[sum(W[i, k] * xi[k] for k in range(11) if k not in (i, j)) for j in range(11)] for i in range(11)]
        W = W + [[(xi[i] * xi[j] - xi[i] * h[j][i] - h[i][j] * xi[j]) / 11 for j in range(11)] for i in range(11)]
    found = fh.storkey(few, self_coupling=True)
    np.testing.assert_allclose(found, W, atol=1e-15)
    np.testing.assert_array_equal(found, found.T)
    np.testing.assert_array_equal(fh.storkey(few), found - np.diag(np.diag(found)))
    # The first pattern alone is Hebb's; at a load of .25 it holds what Hebb's rule loses.
    np.testing.assert_allclose(fh.storkey(few[:1]), fh.hebb(few[:1]), atol=1e-16)
    many = fh.random_patterns(50, 200, seed=2)
    stable = [(np.sign(many @ rule(many)) == many).mean() for rule in (fh.storkey, fh.hebb)]
    assert stable[0] > 0.99 > 0.98 > stable[1]


def test_covariance_takes_the_bias_out():
    np.testing.assert_allclose(fh.covariance(PATTERNS, activity=0.0), fh.hebb(PATTERNS), atol=1e-16)
    biased = fh.random_patterns(20, 300, bias=0.6, seed=1)
    a = biased.mean()
    due = sum(np.outer(xi - a, xi - a) for xi in biased) / (300 * (1 - a * a))
    np.testing.assert_allclose(fh.covariance(biased, self_coupling=True), due, atol=1e-14)
    sparse = (biased + 1) / 2
    f = sparse.mean()
    due = sum(np.outer(xi - f, xi - f) for xi in sparse) / (300 * f * (1 - f))
    np.testing.assert_allclose(fh.covariance(sparse, self_coupling=True), due, atol=1e-13)
    # With Hebb's rule every pattern turns into the all-one state.
    theta = [np.sign(biased @ W - (biased @ W).mean()) for W in (fh.covariance(biased), fh.hebb(biased))]
    right = [(each == biased).mean() for each in theta]
    assert right[0] > right[1] + 0.05


def best_margin(z):
    """The largest min z·w over |w| = 1 by SciPy: the shortest w with z·w ≥ 1."""
    found = optimize.minimize(
        lambda w: w @ w / 2,
        np.linalg.pinv(z) @ np.ones(len(z)),
        jac=lambda w: w,
        constraints={"type": "ineq", "fun": lambda w: z @ w - 1, "jac": lambda w: z},
        method="SLSQP",
        options={"ftol": 1e-14, "maxiter": 1000},
    )
    assert found.success
    return 1 / np.linalg.norm(found.x)


@pytest.mark.parametrize("self_coupling", [False, True])
def test_maximal_stability_is_that_of_a_quadratic_programme(self_coupling):
    few = fh.random_patterns(9, 14, seed=3)
    W, kappa = fh.maximal_stability(few, self_coupling=self_coupling, tolerance=1e-6)
    fields = few * (few @ W.T)
    np.testing.assert_allclose(fields.min(axis=0), 1, atol=1e-12)
    np.testing.assert_allclose(kappa, 1 / np.linalg.norm(W, axis=1), rtol=2e-6)
    for i in range(14):
        inputs = few if self_coupling else np.delete(few, i, axis=1)
        assert kappa[i] == pytest.approx(best_margin(few[:, [i]] * inputs), rel=1e-5)
    assert self_coupling or (np.diag(W) == 0).all()


@pytest.mark.parametrize("load", [0.5, 1.0])
def test_maximal_stability_is_gardners(load):
    patterns = fh.random_patterns(round(200 * load), 200, seed=1)
    _, kappa = fh.maximal_stability(patterns)

    def gap(k):
        return 1 / integrate.quad(lambda t: stats.norm.pdf(t) * (t + k) ** 2, -k, 12)[0] - load

    assert kappa.mean() == pytest.approx(optimize.brentq(gap, 0, 20), abs=0.03)
    assert (kappa > 0).all()


def test_patterns_that_cannot_all_be_stable_have_no_stability():
    _, kappa = fh.maximal_stability(fh.random_patterns(150, 50, seed=1), most_sweeps=2000)
    assert (kappa <= 0).all()
    # Two opposite demands on one input.
    _, kappa = fh.maximal_stability([[1.0, 1.0], [1.0, -1.0]])
    assert (kappa <= 0).all()


@pytest.mark.parametrize(
    "rule",
    [fh.hebb, fh.pseudo_inverse, fh.storkey, fh.covariance, lambda xi: fh.maximal_stability(xi)[0]],
    ids=["hebb", "pseudo_inverse", "storkey", "covariance", "maximal_stability"],
)
def test_many_sets_at_once_are_each_alone(rule):
    sets = fh.random_patterns(5, 20, seed=1, realisations=range(4))
    for alone, together in zip(sets, rule(sets), strict=True):
        np.testing.assert_array_equal(rule(alone), together)


@pytest.mark.parametrize(
    ("patterns", "message"),
    [
        (np.ones(4), r"patterns must have shape \(P, N\)"),
        (np.empty((0, 4)), "P, N ≥ 1"),
        ([[1.0, np.nan]], r"patterns must be finite; patterns\[0, 1\] is nan"),
    ],
)
def test_bad_input_is_one_sentence(patterns, message):
    with pytest.raises(ValueError, match=message):
        fh.hebb(patterns)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: fh.covariance(np.ones((2, 3))), "patterns must differ from their activity"),
        (lambda: fh.maximal_stability(np.zeros((2, 3))), "patterns must be of ±1"),
        (lambda: fh.maximal_stability(np.ones((2, 1))), "at least 2 neurons without self_coupling; got 1"),
        (lambda: fh.maximal_stability(np.ones((2, 3)), tolerance=0.0), "tolerance must be finite, above 0"),
        (lambda: fh.maximal_stability(np.ones((2, 3)), most_sweeps=0), "most_sweeps must be at least 1; got 0"),
    ],
)
def test_what_a_rule_cannot_learn_is_one_sentence(call, message):
    with pytest.raises(ValueError, match=message):
        call()
