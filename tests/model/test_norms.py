import numpy as np
import pytest

from fasthop.dynamics.ensemble import METHODS, default_step, settle
from fasthop.model.memory import Memory
from fasthop.model.norms import norm, smallest_eigenvalue
from fasthop.model.weights import Dense
from fasthop.storage.rules import hebb, pseudo_inverse


def goe(n, rng):
    A = rng.normal(size=(n, n))
    return (A + A.T) / 2


def patterns(n, rng):
    return rng.choice([-1.0, 1.0], (max(1, n // 8), n))


KINDS = {
    "goe": goe,
    "minus goe square": lambda n, rng: -(A := goe(n, rng)) @ A,
    "hebb": lambda n, rng: hebb(patterns(n, rng)),
    "hebb with diagonal": lambda n, rng: hebb(patterns(n, rng), self_coupling=True),
    "minus hebb": lambda n, rng: -hebb(patterns(n, rng)),
    "projector": lambda n, rng: pseudo_inverse(patterns(n, rng)),
    "minus projector": lambda n, rng: -pseudo_inverse(patterns(n, rng), self_coupling=True),
    "one far eigenvalue": lambda n, rng: goe(n, rng) - 20 * np.sqrt(n) * np.outer(v := patterns(n, rng)[0], v) / n,
    "winner takes all": lambda n, rng: np.eye(n) - 1.0,
    "diagonal": lambda n, rng: np.diag(rng.normal(size=n)),
    "zero": lambda n, rng: np.zeros((n, n)),
    "identity": lambda n, rng: -np.eye(n),
}


def symmetric(kind, n, seed=0):
    W = KINDS[kind](n, np.random.default_rng([n, seed]))
    return (W + W.T) / 2


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n", [1, 2, 8, 32, 33, 64, 129, 300])
def test_smallest_eigenvalue_is_close_and_never_too_high(kind, n):
    W = np.array([symmetric(kind, n, seed) for seed in range(3)])
    eigenvalues = np.linalg.eigvalsh(W)
    size = np.abs(eigenvalues).max(axis=1)
    estimate = smallest_eigenvalue(Dense(W))
    assert estimate.shape == (3,)
    assert (estimate <= eigenvalues[:, 0] + 1e-12 * size).all()
    assert (estimate >= eigenvalues[:, 0] - 0.1 * size).all()
    if n > 1 and kind == "goe":  # a matrix with another spectrum does not pass
        assert (smallest_eigenvalue(Dense(W + 0.2 * size.mean() * np.eye(n))) > eigenvalues[:, 0] + 1e-12 * size).all()


def test_matrices_do_not_change_each_other():
    W = np.array([symmetric(kind, 60) for kind in ("goe", "zero", "hebb", "one far eigenvalue")])
    together = smallest_eigenvalue(Dense(W))
    np.testing.assert_allclose(together, [smallest_eigenvalue(Dense(w))[0] for w in W], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("n", [1, 5, 40, 200])
def test_the_norm_without_symmetry_is_close_and_never_too_low(n):
    A = np.random.default_rng(n).normal(size=(6, n, n))
    due = np.linalg.norm(A, 2, axis=(1, 2))
    bound = norm(Dense(A))
    assert (bound >= due * (1 - 1e-12)).all()
    assert (bound <= 1.1 * due).all()
    np.testing.assert_allclose(norm(Dense(np.eye(n) * -3)), 3)
    shift = np.roll(np.eye(n), 1, axis=0) * 2
    np.testing.assert_allclose(norm(Dense(shift)), 2)
    np.testing.assert_array_equal(norm(Dense(np.triu(np.zeros((n, n))))), 0)


@pytest.mark.parametrize("kind", KINDS)
def test_the_norm_of_symmetric_weights_comes_from_both_ends(kind):
    W = symmetric(kind, 129)
    for signed in (W, -W):
        due = np.linalg.norm(signed, 2)
        assert due * (1 - 1e-12) <= norm(Dense(signed))[0] <= 1.1 * due + 1e-12


# --- the step that follows ------------------------------------------------------------------------------------------


def stiff(kind, n):
    """Weights with eigenvalues down to −60."""
    W = symmetric(kind, n)
    return W * (-60 / np.linalg.eigvalsh(W)[0])


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("n", [10, 70])
@pytest.mark.parametrize("kind", ["minus goe square", "minus projector", "winner takes all"])
def test_default_step_is_stable_and_not_much_too_small(kind, n, method):
    """Without positive eigenvalues 0 is the only steady state of tanh, and the steepest place."""
    memory = Memory(stiff(kind, n))
    h = default_step(memory, method)
    assert METHODS[method].limit / 61 * 0.4 < h < METHODS[method].limit / 61 * 0.51
    starts = np.random.default_rng(0).normal(size=(20, n))
    ends = settle(memory, starts, method=method)
    assert ends.dt == h
    assert ends.settled.all()
    unstable = settle(memory, starts, method=method, dt=2.6 * h, t_max=20)
    assert not unstable.settled.any()


@pytest.mark.parametrize("name", ["tanh", "sigmoid", "relu", "leaky_relu", "smooth_leaky_relu"])
@pytest.mark.parametrize("method", METHODS)
def test_stiff_memories_settle(name, method):
    rng = np.random.default_rng(1)
    memory = Memory(stiff("minus goe square", 40), rng.normal(size=40), name)
    assert settle(memory, rng.normal(size=(10, 40)), method=method).settled.all()


def test_step_follows_the_gain_and_the_larger_bound_without_symmetry():
    W = stiff("minus projector", 10)
    step = default_step(Memory(W))
    assert default_step(Memory(W, activation={"name": "tanh", "beta": 4})) == pytest.approx(step * 61 / 241, rel=4e-3)
    assert default_step(Memory(W, activation="sigmoid")) == pytest.approx(step * 61 / 16, rel=4e-3)
    skew = np.array([[0.0, 50.0], [-50.0, 0.0]])
    assert default_step(Memory(skew), "euler") == pytest.approx(1 / 51, rel=2e-3)
    assert default_step(Memory(np.eye(3)), "euler") == 1.0  # positive eigenvalues do not lengthen it
    many = default_step(Memory(np.array([W, np.zeros((10, 10))])), "euler")
    assert many == pytest.approx([1 / 61, 1.0], rel=2e-3)
