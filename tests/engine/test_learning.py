import numpy as np
import pytest

import fasthop as fh
from fasthop.learning import projector

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


@pytest.mark.parametrize("rule", [fh.hebb, fh.pseudo_inverse])
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
