"""Gradients of every activation of the registry, by every solver and under every R, against dense NumPy.

The oracle takes Jacobians by complex steps through a transcription of g, and solves with them as they are.
"""

import warnings

import numpy as np
import pytest

import fasthop as fh
from complex_g import example
from fasthop.equilibrium.adjoints import SOLVERS as NAMED_SOLVERS
from fasthop.model import systems
from fasthop.model.activations import ACTIVATIONS, as_activation
from fasthop.model.scope import SCOPES
from fasthop_kernels.dynamics import activations as kernels

STEP = 1e-30
SOLVERS = ("auto", *NAMED_SOLVERS)
SIZES = (6, 40, 60)
#: At the flow of an orthogonal factor looks `test_gradient`.
SYSTEMS = tuple(
    (variable, R)
    for variable, R in systems.ALL
    if variable in SCOPES["gradient"].variables and R != "orthogonal factor"
)
CASES = [(name, variable, n) for name in ACTIVATIONS for variable in SCOPES["gradient"].variables for n in SIZES]


def jacobian_of_g(name, x):
    return example(name)[1](x + 1j * STEP * np.eye(len(x))).imag.T / STEP


def problem(name, variable, n, symmetric):
    """A memory whose steady state is known, with ρ(J) = 0.6: its W and b, the state, Λ and J."""
    rng = np.random.default_rng([n, *name.encode(), *variable.encode()])
    _, g = example(name)
    x, W = 0.8 * rng.standard_normal(n), rng.standard_normal((n, n))
    W = W + W.T if symmetric else W
    Lam, output = jacobian_of_g(name, x), g(x)
    J = Lam @ W if variable == "u" else W @ Lam
    W *= 0.6 / np.abs(np.linalg.eigvals(J)).max()
    state = output if variable == "u" else x
    return W, x - W @ output, state, output, Lam, (Lam @ W if variable == "u" else W @ Lam)


def drive_matrix(R, variable, W, Lam, matrix):
    one = np.eye(len(W))
    values, vectors = np.linalg.eigh(W)  # of symmetric W, where R is polar
    return {
        "identity": one,
        "weights": W,
        "polar": (vectors * np.sign(values)) @ vectors.T,
        "gradient": one - (W.T @ Lam if variable == "u" else Lam @ W.T),
        "gradient-as-printed": one - W @ Lam,
        "hessian": Lam,
        "matrix": matrix,
    }[R]


def close(found, due, tolerance):
    return np.abs(found - due).max() <= tolerance * max(1.0, np.abs(due).max())


def quietly(memory, *given, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return fh.gradient(memory, *given, **options)


@pytest.mark.parametrize(("name", "variable", "n"), CASES)
def test_every_activation_solver_and_system(name, variable, n):
    kind = as_activation(example(name)[0])
    rng = np.random.default_rng(n)
    e, matrix = rng.standard_normal((8, n)), np.eye(n) + 0.3 * rng.standard_normal((n, n)) / np.sqrt(n)
    for R in (R for of, R in SYSTEMS if of == variable):
        W, b, state, output, Lam, J = problem(name, variable, n, R in ("identity", "polar"))
        adjoint = np.linalg.solve(np.eye(n) - J.T, e.T).T
        q = adjoint @ Lam if variable == "u" else adjoint
        flow = drive_matrix(R, variable, W, Lam, matrix) @ (J - np.eye(n))
        stays = np.linalg.eigvals(flow).real.max() <= 1e-9
        memory = fh.Memory(W, b, kind, variable=variable, R=matrix if R == "matrix" else R)
        for solver in SOLVERS if R == "identity" else ("auto", "gmres"):
            found = quietly(memory, np.tile(state, (8, 1)), e, solver=solver, tolerance=1e-14)
            serves = {
                "minres": kind.monotone and not kind.blockwise,
                "cholesky": kind.monotone and not kind.blockwise,
                "preconditioned": not kind.blockwise,
            }.get(solver, True)
            if not (stays and serves):
                assert (found.kind == ("unsolved" if stays else "unstable")).all()
                assert not found.dW.any()
                continue
            assert (found.kind == "solved").all()
            assert close(found.adjoint, adjoint, 1e-10)
            assert close(found.db, q.sum(axis=0), 1e-10)
            assert close(found.dW, q.sum(axis=0)[:, None] * output, 1e-10)
            largest = np.linalg.eigvals(J).real.max()
            assert (found.lambda_max + found.lambda_max_error >= largest - 1e-9).all()
            assert (found.lambda_max + found.lambda_max_error < 1).all()


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_the_kernels_know_which_activations_are_blockwise(name):
    kind, x = as_activation(name), np.arange(1.0, 4.0)
    out = np.zeros(3)
    assert kernels.apply_blockwise(kind.code, *kind.parameters, x, x, out, 1) == kind.blockwise
    assert out.any() <= kind.blockwise


@pytest.mark.parametrize("variable", ["y", "u"])
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_every_backward_iteration_is_that_of_the_matrix(name, variable):
    W, b, state, _, _, J = problem(name, variable, 6, True)
    memory = fh.Memory(W, b, as_activation(example(name)[0]), variable=variable)
    table = fh.equilibrium.contraction(memory, state[None]).loc[0]
    assert table.rho == pytest.approx(0.6, rel=1e-12)
    e, a, steps = np.modf((np.arange(6) + 1) * 0.6180339887498949)[0] - 0.5, np.zeros(6), 0
    while np.abs(e + J.T @ a - a).max() > 1e-10 * max(np.abs(e).max(), np.abs(a).max()):
        a, steps = J.T @ a + e, steps + 1
    assert abs(table.backward_iterations - steps) <= 1


# --- what went wrong with powers, whose code stands behind those of the block-wise -----------------------------------


def test_powers_of_variable_u():
    W, y = np.array([[0, 0.3], [0.3, 0]]), np.array([0.8, 0.6])
    memory = fh.Memory(W, y - W @ y**3, fh.Power(4), variable="u")
    a = np.linalg.solve(np.eye(2) - (np.diag(3 * y**2) @ W).T, [1, 0])
    for solver in SOLVERS:
        found = fh.gradient(memory, y**3, [1.0, 0.0], solver=solver)
        np.testing.assert_allclose(found.db, 3 * y**2 * a, rtol=1e-10)
        np.testing.assert_allclose(found.db, [2.3605, 0.7648], rtol=1e-4)
        assert found.lambda_max == pytest.approx(0.432)


def test_an_unstable_state_of_powers_is_refused():
    W = 0.3 * np.eye(60)
    W[0, 0] = 1.5
    with pytest.warns(RuntimeWarning, match="1 unstable"):
        found = fh.gradient(fh.Memory(W, 1 - W.sum(axis=1), fh.Power(2)), np.ones(60), np.ones(60))
    assert found.lambda_max == pytest.approx(1.5)
    assert found.lambda_max_error == 0


def test_a_fit_of_the_power_2_is_that_of_the_identity():
    rng = np.random.default_rng(3)
    inputs, targets, found = rng.standard_normal((20, 3)), rng.standard_normal((20, 2)), []
    for kind in (fh.Power(2), "identity"):
        layers = [(3, "identity"), (6, kind), (2, "tanh")]
        memory = fh.Memory(fh.Blocks.chain([3, 6, 2], seed=1, scale=0.5), layers=layers)
        options = {"epochs": 1, "batch": 20, "optimiser": fh.training.SGD(0.5), "tolerance": 1e-12, "t_max": 1e4}
        found.append(fh.training.fit(memory, inputs, targets, **options))
    np.testing.assert_allclose(found[0].memory.W, found[1].memory.W, rtol=1e-9, atol=1e-9)
    assert found[0].history.lambda_max[0] == pytest.approx(found[1].history.lambda_max[0], rel=1e-9)
