"""Saddles on the boundaries of basins, against exact ones and SciPy: its roots, its spectra and its integrator."""

import numpy as np
import pytest
from scipy import integrate, optimize

import fasthop as fh


def flow(W, b, beta):
    return lambda _, y: W @ np.tanh(beta * y) + b - y


def end_of(W, b, beta, start):
    """Where a trajectory is after a long time, by DOP853."""
    return integrate.solve_ivp(flow(W, b, beta), (0, 300), start, method="DOP853", rtol=1e-10, atol=1e-12).y[:, -1]


def test_the_saddle_of_figure_1_is_found_from_both_sides():
    memory = fh.Memory([[0.2, -1.5], [-1.5, 0.1]], [1.0, 0.8], "relu")
    centres, exact = np.array([[1.25, -1.075], [-1 / 3, 8 / 9]]), [[10 / 51, 86 / 153]]
    for home, other in ((0, 1), (1, 0)):
        found = fh.geometry.boundary_saddles(memory, centres[home], centres[[other]])
        assert found.found.tolist() == [True]
        np.testing.assert_allclose(found.state, exact, atol=1e-12)


def test_the_saddle_of_two_neurons_is_on_the_boundary():
    # Four attractors, near (±1, ±1); between two that are neighbours lies one saddle, on the boundary of both.
    W, b, beta = np.array([[0.9, 0.15], [0.15, 0.8]]), np.array([0.02, -0.01]), 4.0
    memory = fh.Memory(W, b, fh.Tanh(beta))
    home, *others = fh.settle(memory, [[1.0, 1.0], [-1.0, 1.0], [1.0, -1.0]]).state
    found = fh.geometry.boundary_saddles(memory, home, others)
    assert found.found.all()
    for saddle, guess in zip(found.state, ([0.0, 0.7], [0.7, 0.0]), strict=True):
        exact = optimize.root(lambda y: flow(W, b, beta)(0, y), guess, tol=1e-14).x
        np.testing.assert_allclose(saddle, exact, atol=1e-11)
        rates, vectors = np.linalg.eig(W * beta / np.cosh(beta * exact) ** 2 - np.eye(2))
        assert (rates > 0).sum() == 1
        # On either side of its unstable direction a trajectory falls home, or elsewhere.
        unstable = vectors[:, rates.argmax()]
        falls = [np.allclose(end_of(W, b, beta, exact + side * unstable), home, atol=1e-6) for side in (-1e-5, 1e-5)]
        assert sorted(falls) == [False, True]
    # The boundary is the stable manifold of its saddles: traced backward in time, it parts home from what is not home.
    saddle = found.state[0]
    rates, vectors = np.linalg.eig(W * beta / np.cosh(beta * saddle) ** 2 - np.eye(2))
    stable = vectors[:, rates.argmin()]
    for side in (-1e-6, 1e-6):
        back = integrate.solve_ivp(
            lambda t, y: -flow(W, b, beta)(t, y), (0, 6), saddle + side * stable, rtol=1e-12, atol=1e-14, max_step=0.05
        ).y.T
        back = back[(np.abs(back).max(axis=1) < 3) & (np.abs(back - saddle).max(axis=1) > 0.05)]
        for place in back[:: max(1, len(back) // 5)]:
            across = 1e-3 * np.array([1.0, 0.0])
            ends = fh.settle(memory, [place + across, place - across]).state
            assert np.abs(ends[0] - ends[1]).max() > 0.5


def test_saddles_of_a_hebb_memory():
    xi = fh.random_patterns(5, 60, seed=2)
    W = fh.hebb(xi)
    memory = fh.Memory(W, activation=fh.Tanh(8.0))
    home, *others = fh.settle(memory, xi).state
    found = fh.geometry.boundary_saddles(memory, home, others)
    assert found.found.all()
    for saddle in found.state:
        g = np.tanh(8 * saddle)
        np.testing.assert_allclose(W @ g, saddle, atol=1e-12)
        root = np.sqrt(8 * (1 - g**2))
        assert (np.linalg.eigvalsh(root[:, None] * W * root) > 1).sum() == 1
        values, vectors = np.linalg.eigh(root[:, None] * W * root)
        # W Λ has the eigenvectors Λ^{−1/2} v of the symmetric form, W Λ^{1/2} v times the eigenvalue's inverse.
        unstable = W @ (root * vectors[:, -1]) / values[-1]
        falls = [np.allclose(end_of(W, 0.0, 8.0, saddle + side * unstable), home, atol=1e-5) for side in (-1e-4, 1e-4)]
        assert any(falls)
    # One by one they are the same to the last bit.
    for number, other in enumerate(others):
        np.testing.assert_array_equal(
            fh.geometry.boundary_saddles(memory, home, other[None]).state[0], found.state[number]
        )


def test_a_boundary_that_rests_on_a_cycle_has_none():
    # y₃ decides which attractor it is; where it is 0, the other two neurons run in a cycle.
    memory = fh.Memory([[2.0, -2.0, 5.0], [2.0, 2.0, 5.0], [0.0, 0.0, 2.0]])
    ends = fh.settle(memory, [[5.0, 5.0, 2.0], [-5.0, -5.0, -2.0]])
    assert ends.settled.all()
    found = fh.geometry.boundary_saddles(memory, ends.state[0], ends.state[1:])
    assert found.found.tolist() == [False]
    assert np.isnan(found.state).all()


@pytest.mark.parametrize(
    ("home", "targets", "words"),
    [
        ([0.0, 0.0], [[-1.0, 1.0]], r"attractors\[0\] must be an attractor"),
        ([1.0, -1.0], [[-1.0, 1.0], [2.0, -2.0]], r"targets\[1\] must be outside the basin"),
        ([1.0, -1.0], [-1.0, 1.0], "targets must have shape"),
    ],
)
def test_bad_calls_are_one_sentence(home, targets, words):
    with pytest.raises(ValueError, match=words):
        fh.geometry.boundary_saddles(fh.Memory([[0.0, -2.0], [-2.0, 0.0]], 1.0, "relu"), home, targets)


def test_spectra_bound_the_size():
    with pytest.raises(ValueError, match="at most 400 neurons, for whole spectra; got 401"):
        fh.geometry.boundary_saddles(fh.Memory(np.zeros((401, 401))), np.zeros(401), np.ones((1, 401)))
