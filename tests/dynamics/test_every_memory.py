"""Trajectories and stability over the product of the registries: activation, variable, R and size, against NumPy.

The sizes stand on both sides of the places, 32 and 48 neurons, at which the engine changes its way.
"""

import numpy as np
import pytest

import fasthop as fh
import naive
from complex_g import STEP, curvature, example, g_of
from fasthop.model import systems
from fasthop.model.activations import ACTIVATIONS
from fasthop.model.scope import SCOPES

SIZES = (6, 40, 60)
#: The orthogonal factor, which jumps, is held against SciPy in `test_orthogonal_factor`.
SYSTEMS = tuple((variable, R) for variable, R in systems.ALL if R != "orthogonal factor")
TRAJECTORIES = [(name, variable, R) for name in ACTIVATIONS for variable, R in SYSTEMS]
STABILITIES = [(name, variable, R) for name, variable, R in TRAJECTORIES if variable in SCOPES["stability"].variables]


def weights(n, seed, size=0.7):
    A = np.random.default_rng([n, seed]).normal(size=(n, n))
    return size * (A + A.T) / np.linalg.norm(A + A.T, 2)


def make(name, variable, R, n, dtype=np.float64):
    """A memory with W symmetric, as R = "polar" asks for, and the matrix that R is or stands for."""
    W, b = weights(n, 1), 0.3 * np.random.default_rng(n).normal(size=n)
    values, vectors = np.linalg.eigh(W)
    named = {"weights": W, "polar": (vectors * np.sign(values)) @ vectors.T, "matrix": np.eye(n) + weights(n, 2, 0.4)}
    given = named["matrix"] if R == "matrix" else R
    return fh.Memory(W, b, example(name)[0], variable=variable, R=given, dtype=dtype), named.get(R)


def residual(memory, x):
    W, b = memory.W.astype(float), memory.b.astype(float)
    if memory.variable == "y":
        return g_of(memory, x) @ W.T - x + b
    g = g_of(memory, x @ W.T + b)
    return (g if memory.variable == "u" else g @ W) - x


def flow(memory, matrix, R):
    """The right-hand side of states in rows."""
    W, b, one = memory.W.astype(float), memory.b.astype(float), np.eye(memory.neurons)

    def field(x):
        found = residual(memory, x)
        if R in ("identity", "weights", "polar", "matrix"):
            return found if matrix is None else found @ matrix.T
        Lam = curvature(memory, x if memory.variable == "y" else x @ W.T + b)
        if R == "hessian":
            turn = Lam
        elif R == "gradient":
            turn = one - (W.T @ Lam if memory.variable == "u" else Lam @ W.T)
        else:
            turn = one - W @ Lam
        return np.einsum("bij,bj->bi", turn, found)

    return field


@pytest.mark.parametrize(("name", "variable", "R"), TRAJECTORIES)
def test_every_trajectory_is_what_numpy_finds(name, variable, R):
    for n in SIZES:
        starts = 0.6 * np.random.default_rng([n, 3]).normal(size=(3, n))
        starts = np.where(np.abs(np.abs(starts) - 0.3) < 0.02, 0.25, starts)  # beside the kinks
        for dtype, tolerance in ((np.float64, 1e-12), (np.float32, 2e-5)):
            memory, matrix = make(name, variable, R, n, dtype)
            due = naive.rk4(flow(memory, matrix, R), starts.astype(dtype).astype(float), 0.01, 3)
            found = fh.simulate(memory, starts, t_end=0.03, dt=0.01).state
            assert np.abs(found - due).max() <= tolerance * max(1, np.abs(due).max())


@pytest.mark.parametrize(("name", "variable", "R"), STABILITIES)
def test_every_stability_is_that_of_the_linearised_flow(name, variable, R):
    """At steady states made by the choice of b, beside the eigenvalues of the flow differentiated by complex steps."""
    for n in SIZES:
        W = weights(n, 1)
        x = 0.8 * np.random.default_rng([n, 4]).normal(size=n)
        x = np.where(np.abs(np.abs(x) - 0.3) < 0.02, 0.25, np.where(np.abs(np.abs(x) - 1) < 0.02, 0.9, x))
        plain = fh.Memory(W, 0.0, example(name)[0])
        g = g_of(plain, x[None])[0].real
        b, state = x - W @ g, x if variable == "y" else g
        _, matrix = make(name, variable, R, n)
        memory = fh.Memory(W, b, example(name)[0], variable=variable, R=matrix if R == "matrix" else R)
        steps = state + 1j * STEP * np.eye(n)
        J = residual(memory, steps).imag.T / STEP  # R does not move at a steady state: f is 0 there
        Lam = curvature(memory, x[None])[0]
        turn = {
            "identity": np.eye(n),
            "hessian": Lam,
            "gradient": np.eye(n) - (W.T @ Lam if variable == "u" else Lam @ W.T),
            "gradient-as-printed": np.eye(n) - W @ Lam,
        }.get(R, matrix)
        due = np.linalg.eigvals(turn @ J).real.max()
        found = fh.stability(memory, state[None])
        alive = R != "identity" or not found.k[0]
        if alive:  # with R = I the dead directions, whose eigenvalue is −1, are not in the spectrum
            assert found.largest[0] == pytest.approx(due, abs=1e-8 * max(1, abs(due)))
        else:
            assert max(found.largest[0], -1.0) == pytest.approx(due, abs=1e-8)
        verdict = found.verdict[0]
        if abs(due) > 1e-7:
            assert verdict == ("unstable" if due > 0 else "stable")
        else:
            assert verdict == "undecided"
