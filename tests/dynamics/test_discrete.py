"""The discrete rules against loops in Python, their energies, and cases that can be followed by hand."""

import numpy as np
import pytest

import fasthop as fh
from fasthop.dynamics.discrete import Attention, Energy, Signs

N = 23


def by_loops(field, cue, sweeps=200):
    """Set one neuron after the other to the sign of `field(σ, i)` until none changes."""
    sigma = np.sign(cue)
    for _ in range(sweeps):
        before = sigma.copy()
        for i in range(len(sigma)):
            h = field(sigma, i)
            if h != 0:
                sigma[i] = np.sign(h)
        if (sigma == before).all():
            return sigma, True
    return sigma, False


def cues_of(patterns, kind, count=40):
    if kind == "flipped":
        return fh.flip(patterns, 0.2, cues=count, seed=2)
    return fh.storage.hide(patterns, 9, cues=count, seed=2)


@pytest.mark.parametrize("kind", ["flipped", "hidden"])
@pytest.mark.parametrize("made", ["hebb", "one-way", "biased"])
def test_signs_end_where_a_loop_over_neurons_ends(made, kind):
    xi = fh.random_patterns(4, N, seed=1)
    W, b = fh.hebb(xi), np.zeros(N)
    if made == "one-way":
        W = fh.storage.dilute_one_way(W, 0.6, seed=3)
    if made == "biased":
        b = np.linspace(-0.3, 0.2, N)
    # Whole numbers, so that a loop knows a field of 0 when it sees one; the rule is given the rounded quotients.
    whole = np.rint(W * N * 1000) if made != "biased" else W
    cues = cues_of(xi, kind)
    states, done = Signs(np.array(W), b).settle(cues)
    for cue, state, ends in zip(cues, states, done, strict=True):
        expected, still = by_loops(lambda sigma, i: whole[i] @ sigma + b[i], cue, 1000)
        assert still == ends
        if still:
            np.testing.assert_array_equal(state, expected)
    assert made == "one-way" or done.all()


@pytest.mark.parametrize("kind", ["flipped", "hidden"])
@pytest.mark.parametrize("b", [0.0, -0.2])
@pytest.mark.parametrize(
    "F",
    [
        lambda k: k**3,
        lambda k: np.maximum(k, 0) ** 4,
        lambda k: np.exp(k - N),
    ],
    ids=["cube", "rectified", "exponential"],
)
def test_energies_end_where_a_loop_over_flips_ends(F, b, kind):
    xi = fh.random_patterns(30, N, seed=1)
    cues = cues_of(xi, kind)
    states, done = Energy(F, xi, b).settle(cues)
    assert done.all()
    unit = F(np.array(N)) - F(np.array(N - 2))  # what the memory of a pattern says to its neurons

    def field(sigma, i):
        up, down = sigma.copy(), sigma.copy()
        up[i], down[i] = 1, -1
        return (F(xi @ up) - F(xi @ down)).sum() + b * unit

    for cue, state in zip(cues, states, strict=True):
        expected, _ = by_loops(field, cue)
        np.testing.assert_array_equal(state, expected)


def hebb_rule(xi):
    return Signs(np.array(fh.hebb(xi)), np.zeros(xi.shape[1]))


# For N = 40 and nine patterns N times a field is an odd number, never 0.
@pytest.mark.parametrize(
    ("count", "made"), [(9, hebb_rule), (90, lambda xi: Energy(lambda k: k**3, xi, 0.1))], ids=["signs", "energy"]
)
def test_what_one_step_leaves_is_what_settling_leaves(count, made):
    xi = fh.random_patterns(count, 40, seed=5)
    rule = made(xi)
    fixed = rule.fixed(xi)
    assert 0 < fixed.sum() < count
    states, done = rule.settle(xi)
    assert done.all()
    np.testing.assert_array_equal((states == xi).all(axis=1), fixed)
    assert rule.fixed(states).all()


def test_a_cycle_has_no_end():
    states, done = Signs(np.array([[0.0, 1.0], [-1.0, 0.0]]), np.zeros(2)).settle(np.array([[1.0, 1.0]]))
    assert not done.any()
    assert (np.abs(states) == 1).all()


def test_fields_of_zero_change_nothing_though_their_sums_are_rounded():
    # .1 + .2 − .3 is 5.6e-17 in floating point: a neuron that heeded it would turn.
    W = np.zeros((4, 4))
    W[0, 1:] = 0.1, 0.2, -0.3
    cue = np.array([[-1.0, 1.0, 1.0, 1.0]])
    assert (W @ cue[0])[0] > 0
    states, done = Signs(W, np.zeros(4)).settle(cue)
    np.testing.assert_array_equal(states, cue)
    assert done.all()


def test_a_field_of_zero_leaves_no_pattern_whatever_its_rounding():
    xi = fh.random_patterns(24, 100, seed=2)
    whole = xi.T @ xi
    np.fill_diagonal(whole, 0)
    fields = (xi @ whole) * xi  # whole numbers
    assert (fields == 0).any(axis=1).sum() > 0
    np.testing.assert_array_equal(hebb_rule(xi).fixed(xi), (fields > 0).all(axis=1))


def test_hidden_entries_are_set_and_those_that_nothing_speaks_to_stay_hidden():
    xi = np.ones((1, 6))
    W = np.array(fh.hebb(xi))
    W[5] = W[:, 5] = 0
    states, _ = Signs(W, np.zeros(6)).settle(np.array([[1.0, 1, 0, 0, -1, 0]]))
    np.testing.assert_array_equal(states, [[1, 1, 1, 1, 1, 0]])


@pytest.mark.parametrize("draw", [fh.random_patterns, fh.storage.spherical_patterns])
def test_attention_takes_steps_of_a_weighted_mean(draw):
    xi, beta, b = draw(20, N, seed=4), 0.25, 0.01
    cues = fh.add_noise(xi, 0.8, cues=30, seed=1)
    states, done = Attention(beta, xi, b).settle(cues)
    assert done.all()
    for cue, state in zip(cues, states, strict=True):
        for _ in range(1000):
            weight = np.exp(beta * xi @ cue - (beta * xi @ cue).max())
            cue = weight @ xi / weight.sum() + b
        np.testing.assert_allclose(state, cue, rtol=1e-10, atol=1e-12)


def test_the_order_and_company_of_cues_do_not_matter():
    xi = fh.random_patterns(30, N, seed=1)
    cues = fh.flip(xi, 0.25, cues=50, seed=1)
    for rule in (Energy(lambda k: k**3, xi), Signs(np.array(fh.hebb(xi[:5])), np.zeros(N))):
        states, _ = rule.settle(cues)
        alone = np.concatenate([rule.settle(cue[None])[0] for cue in cues[::-1]])[::-1]
        np.testing.assert_array_equal(states, alone)
