"""λ_max of J beside `numpy.linalg.eigvals`, what bounds it, and what `auto` does when its solvers fail."""

import warnings

import numpy as np
import pytest

import fasthop as fh
from fasthop.equilibrium import adjoints, linearised


def random_states(rng, n, symmetric, count):
    """K memories of tanh neurons, a steady state of each, and J there: λ_max on both sides of 1."""
    A = rng.standard_normal((count, n, n)) / np.sqrt(n)
    A = (A + np.swapaxes(A, 1, 2)) / np.sqrt(8) if symmetric else A
    W = rng.uniform(0.5, 1.8, (count, 1, 1)) * A
    y = rng.choice([0.1, 0.5, 1.0], (count, 1)) * rng.standard_normal((count, n))
    b = y - np.einsum("kij,kj->ki", W, np.tanh(y))
    return fh.Memory(W, b), y[:, None], W / np.cosh(y[:, None]) ** 2


def quietly(*given, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return fh.gradient(*given, **options)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("n", [40, 60, 89])
def test_no_state_beyond_1_counts_as_solved(n, symmetric, dtype):
    memory, states, J = random_states(np.random.default_rng([n, symmetric]), n, symmetric, 120)
    memory = fh.Memory(memory.W, memory.b, dtype=dtype)
    due = np.linalg.eigvals(J).real.max(axis=1)
    rounding = 1e-9 if dtype == "float64" else 1e-5
    sure = np.abs(due - 1) > rounding
    assert 30 <= (due >= 1).sum() <= 90
    found = quietly(memory, states, np.ones_like(states))
    kind, largest, error = found.kind[:, 0], found.lambda_max[:, 0], found.lambda_max_error[:, 0]
    np.testing.assert_array_equal(kind[sure], np.where(due < 1, "solved", "unstable")[sure])
    assert (due <= largest + error + rounding).all()
    assert (largest + error < 1)[sure & (due < 1)].all()
    assert (1 - largest - error >= 0.1 * (1 - largest) - rounding)[due < 1].all()
    np.testing.assert_allclose(largest[error == 0], due[error == 0], rtol=0, atol=rounding)
    if symmetric:
        assert (largest <= due + rounding).all()


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("n", [20, 44, 70])
def test_nor_does_one_of_blocks(n, symmetric):
    """Two blocks of softmax beside neurons of tanh; Λ is whole."""
    rng, count, beta = np.random.default_rng([n, symmetric, 1]), 60, 5.0
    A = rng.standard_normal((count, n, n)) / np.sqrt(n)
    W = rng.uniform(0.3, 2.0, (count, 1, 1)) * ((A + np.swapaxes(A, 1, 2)) / 2 if symmetric else 2 * A)
    y = 0.5 * rng.standard_normal((count, n))
    Lam, g = np.zeros((count, n, n)), np.tanh(y)
    for first, last in ((0, 4), (4, 9)):
        p = np.exp(beta * y[:, first:last])
        g[:, first:last] = p = p / p.sum(axis=1, keepdims=True)
        Lam[:, first:last, first:last] = beta * (p[:, :, None] * np.eye(last - first) - p[:, :, None] * p[:, None])
    Lam[:, range(9, n), range(9, n)] = 1 / np.cosh(y[:, 9:]) ** 2
    due = np.linalg.eigvals(W @ Lam).real.max(axis=1)
    layers = [(4, {"name": "softmax", "beta": beta}), (5, {"name": "softmax", "beta": beta}), (n - 9, "tanh")]
    memory = fh.Memory(W, y - np.einsum("kij,kj->ki", W, g), layers=layers)
    found = quietly(memory, y[:, None], np.ones((count, 1, n)))
    assert 10 <= (due < 1).sum() <= 50
    np.testing.assert_array_equal(found.kind[:, 0], np.where(due < 1, "solved", "unstable"))
    upper = (found.lambda_max + found.lambda_max_error)[:, 0]
    assert (due <= upper + 1e-9).all()
    assert (upper < 1)[due < 1].all()


def test_an_eigenvalue_that_no_krylov_space_shows_is_found():
    """All Krylov spaces are orthogonal to v, a left and right eigenvector."""
    n = 89
    A = np.random.default_rng(1).standard_normal((n, n))
    W = 0.7 * A / np.sqrt(n)
    generic = np.modf((np.arange(n) + 1) * 0.6180339887498949)[0] - 0.5
    v = np.zeros(n)
    v[:2] = generic[1], -generic[0]
    v /= np.linalg.norm(v)
    P = np.eye(n) - np.outer(v, v)
    W = P @ W @ P + 1.05 * np.outer(v, v)
    memory = fh.Memory(W, activation="identity")
    for solver in ("auto", "gmres", "lu"):
        with pytest.warns(RuntimeWarning, match="1 unstable"):
            found = fh.gradient(memory, np.zeros((1, n)), generic[None], solver=solver)
        assert found.lambda_max[0] == pytest.approx(1.05)
        assert found.lambda_max_error[0] == 0


def test_what_is_far_below_1_needs_no_eigenvalues_of_a_state(monkeypatch):
    counted = []
    for name in ("_proven", "_exact"):
        own = getattr(linearised.Linearised, name)
        spy = lambda self, *given, own=own, name=name: (counted.append(name), own(self, *given))[1]  # noqa: E731
        monkeypatch.setattr(linearised.Linearised, name, spy)
    n, rng = 60, np.random.default_rng(2)
    W = rng.standard_normal((n, n)) / np.sqrt(n)
    for factor, size, due in ((0.4, 0.1, []), (0.9, 1.5, []), (0.9, 0.1, ["_proven", "_exact"])):
        counted.clear()
        y = size * rng.standard_normal(n)
        y[0] = 0  # of the largest slope, 1
        found = fh.gradient(fh.Memory(factor * W, y - factor * W @ np.tanh(y)), y, np.ones(n))
        assert counted == due
        assert np.linalg.eigvals(factor * W / np.cosh(y) ** 2).real.max() <= found.lambda_max + found.lambda_max_error
        assert found.kind == "solved"


@pytest.mark.parametrize("symmetric", [True, False])
def test_above_the_limit_it_is_called_an_estimate(monkeypatch, symmetric):
    monkeypatch.setattr(linearised, "LARGE", {True: 50, False: 50})
    memory, states, _ = random_states(np.random.default_rng(3), 60, symmetric, 5)
    found = quietly(fh.Memory(0.3 * memory.W), 0 * states, np.ones_like(states))
    assert np.isinf(found.lambda_max_error).all()
    assert np.isinf(found.largest_amplification).all()
    assert (found.kind == "solved").all()


@pytest.mark.slow
def test_large_and_not_symmetric_it_is_an_estimate_below_and_exact_near_1():
    n, rng = 120, np.random.default_rng(6)
    y = rng.standard_normal((12, n))
    W = rng.standard_normal((n, n)) / np.sqrt(n)
    for factor in (1.0, 1.7):
        due = [np.linalg.eigvals(factor * W / np.cosh(state) ** 2).real.max() for state in y]
        for state, largest in zip(y, due, strict=True):
            found = quietly(fh.Memory(factor * W, state - factor * W @ np.tanh(state)), state, np.ones(n))
            if np.isinf(found.lambda_max_error):
                assert found.lambda_max < 0.85
                assert found.kind == "solved"
                assert np.isinf(found.largest_amplification)
            else:
                assert largest <= found.lambda_max + found.lambda_max_error + 1e-9
                assert found.kind == ("solved" if largest < 1 else "unstable")


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("sizes", [(4, 5, 3), (20, 30, 14)])
def test_of_a_held_memory_it_is_that_of_the_others(sizes, tied):
    """Feedback to the held layer is not heard; J has 0 for each of its neurons."""
    rng, (first, *_), n = np.random.default_rng(4), sizes, sum(sizes)
    kinds = list(zip(sizes, ("identity", "tanh", "tanh"), strict=True))
    for scale in (0.6, 1.1, 2.5):
        blocks = fh.Blocks.chain(list(sizes), tied=tied, scale=scale, seed=5)
        W = blocks.to_dense()
        W[:first] = 0
        y = 0.4 * rng.standard_normal((6, n))
        g = np.concatenate([y[:, :first], np.tanh(y[:, first:])], axis=1)
        slope = np.where(np.arange(n) < first, 1, 1 / np.cosh(y) ** 2)
        for state, output, lam in zip(y, g, slope, strict=True):
            memory = fh.clamp(fh.Memory(blocks, state - W @ output, layers=kinds), [0])
            found = quietly(memory, state[None], np.ones((1, n)))
            due = np.linalg.eigvals(W * lam).real.max()
            assert found.kind[0] == ("solved" if due < 1 else "unstable")
            assert due <= found.lambda_max[0] + found.lambda_max_error[0] + 1e-9
            if due >= 1 or n <= linearised.EXACT:
                assert found.lambda_max[0] == pytest.approx(due, abs=1e-9)


# --- every fallback of auto ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("failing", [("first",), ("first", "second")])
@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize(("n", "count"), [(20, 8), (60, 3), (60, 24)])
def test_every_fallback_finds_what_lu_does(monkeypatch, n, count, symmetric, failing):
    """Every second row of a solver that `auto` tries is spoilt; all that is told must be as if lu had been asked."""
    rng = np.random.default_rng([n, count, symmetric])
    W = 0.8 * rng.standard_normal((n, n)) / np.sqrt(n)
    W = (W + W.T) / np.sqrt(2) if symmetric else W
    memory = fh.Memory(W, 0.3 * rng.standard_normal(n), fh.Tanh(0.9))
    ends = fh.settle(memory, rng.standard_normal((count, n)))
    assert ends.settled.all()
    e = rng.standard_normal((count, n))
    tried = []

    def spoilt(name, own):
        def solver(at, right, tolerance):
            found = own(at, right, tolerance)
            if name not in tried:
                tried.append(name)
            if name in tried[: len(failing)]:
                rows = np.arange(len(right)) % 2 == 0
                for values in found:
                    values[rows] = 7
                found.status[rows] = adjoints.UNSOLVED
            return found

        return solver

    due = fh.gradient(memory, ends.state, e, solver="lu")
    plain = fh.gradient(memory, ends.state, e)
    for name in list(adjoints.SOLVERS):
        if name != "lu":
            monkeypatch.setitem(adjoints.SOLVERS, name, spoilt(name, adjoints.SOLVERS[name]))
    found = fh.gradient(memory, ends.state, e)
    if n > 48:
        assert len(tried) >= min(len(failing), 2 if count > 8 else 1)
    elif symmetric:
        assert tried == ["cholesky"]
    assert (found.kind == "solved").all()
    np.testing.assert_allclose(found.adjoint, due.adjoint, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(found.dW, due.dW, rtol=1e-9, atol=1e-9)
    np.testing.assert_array_equal(found.lambda_max, plain.lambda_max)
    np.testing.assert_array_equal(found.lambda_max_error, plain.lambda_max_error)
    assert np.isfinite(found.lambda_max).all()


def test_a_stagnating_solver_leaves_the_spectrum_alone():
    """GMRES stagnates on 1 − 100 times a rotation; λ_max is that of a skew matrix, 0."""
    n = 49
    shift = np.roll(np.eye(n), 1, axis=0)
    memory = fh.Memory(100 * (shift - shift.T))
    for solver in ("auto", "lu"):
        found = fh.gradient(memory, np.zeros((1, n)), np.ones((1, n)), solver=solver)
        assert (found.kind[0], found.solver[0]) == ("solved", "lu")
        assert abs(found.lambda_max[0]) <= 1e-9
        assert found.lambda_max[0] + found.lambda_max_error[0] < 1
