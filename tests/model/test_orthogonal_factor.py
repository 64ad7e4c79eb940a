"""R = O(u) of Proposition 5.2: the one rule for its null space, as matrices and as the velocity of a memory."""

import warnings

import mpmath as mp
import numpy as np
import pytest
from scipy import linalg

import fasthop as fh
from complex_g import curvature, g_of
from fasthop.dynamics.evaluate import thin_curvature
from fasthop.dynamics.jacobians import factors
from fasthop.model.matrices import polar_factor
from fasthop_kernels.dynamics.polar import factorise
from fasthop_kernels.machine.lanes import LINE

RNG = np.random.default_rng(8)


# --- of a matrix ----------------------------------------------------------------------------------------------------


def by_kernel(F, floor):
    n, line = len(F), LINE // F.itemsize
    width = -(-n // line) * line
    matrix, rotation, known = np.zeros((3, n * width), F.dtype)
    matrix.reshape(n, width)[:, :n] = F
    factorise(
        n, width, F.dtype.type(floor), matrix, rotation, known, np.zeros(3 * line, F.dtype), np.zeros(1, np.int64)
    )
    V, U = matrix.reshape(n, width), rotation.reshape(n, width)
    assert not V[:, n:].any()
    assert not U[:, n:].any()
    return U[:, :n].T @ V[:, :n]


def by_numpy(F, floor):
    return polar_factor(F.astype(np.float64), np.float64(floor))


def nearest(F, rank):
    """The orthogonal factor of F, nearest to I between its null spaces, by SciPy."""
    F = F.astype(np.float64)
    left, _, right = linalg.svd(F / max(np.abs(F).max(), 1e-300))
    inner = np.eye(len(F))
    inner[rank:, rank:] = linalg.polar(left[:, rank:].T @ right[rank:].T)[0] if rank < len(F) else 0
    return left @ inner @ right


def of_rank(n, rank, kind):
    """A matrix of this rank: symmetric of either sign or both, or free."""
    A, B = RNG.standard_normal((2, n, rank))
    middle = {
        "positive": np.ones(rank),
        "negative": -np.ones(rank),
        "symmetric": np.where(np.arange(rank) % 2, 1.0, -1.0),
        "free": np.ones(rank),
    }
    F = (A * middle[kind]) @ (B if kind == "free" else A).T
    return F if kind == "free" else (F + F.T) / 2


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("factor", [by_numpy, by_kernel])
@pytest.mark.parametrize("kind", ["positive", "negative", "symmetric", "free"])
@pytest.mark.parametrize("n", [1, 2, 3, 6, 40, 60])
def test_the_factor_is_orthogonal_and_nearest_to_i_between_null_spaces(n, kind, factor, dtype):
    eps = np.finfo(dtype).eps
    scales = (1, 1e150, 1e-150, 1e-170) if dtype == np.float64 else (1, 1e18, 1e-18, 1e-30)
    for rank in sorted({0, 1, n // 2, n - 1, n} if n < 40 else {n // 2, n - 1}):
        F = of_rank(n, rank, kind).astype(dtype)
        due, size = nearest(F, rank), np.linalg.norm(F, 2)
        for scale in scales if n < 40 else scales[:1]:
            found = factor(F * dtype(scale), 8 * n * eps * size * scale)
            np.testing.assert_allclose(found.T @ found, np.eye(n), atol=20 * n * eps)
            # How far the null spaces turn by rounding, their cosines, and how much that turns the factor.
            sizes = linalg.svdvals(F.astype(float))[:rank]
            cosines = 1.0 if rank in (0, n) or kind != "free" else np.abs(linalg.det(null_overlap(F, rank)))
            apart = size / sizes[-1] if rank else 1.0
            np.testing.assert_allclose(found, due, atol=100 * n * eps * apart / cosines)
            assert np.linalg.eigvalsh(found.T @ F + F.T @ found)[0] >= -16 * n * eps * size
            if kind == "positive":
                np.testing.assert_allclose(found, np.eye(n), atol=100 * n * eps * apart)


def null_overlap(F, rank):
    left, _, right = linalg.svd(F.astype(float))
    return left[:, rank:].T @ right[rank:].T


@pytest.mark.parametrize("factor", [by_numpy, by_kernel])
def test_it_is_the_limit_of_regular_factors(factor):
    """Of F + δI with δ = 1e-30, in 80 digits."""
    for n, rank in ((2, 1), (3, 1), (3, 2), (4, 2)):
        for kind in ("positive", "symmetric", "free"):
            A, B = RNG.integers(-4, 5, (2, n, rank)).astype(float)
            F = A @ (B if kind == "free" else A).T * (1 if kind != "symmetric" else -1)
            if np.linalg.matrix_rank(F) < rank or abs(linalg.det(null_overlap(F, rank))) < 1e-3:
                continue
            with mp.workdps(80):
                U, _, V = mp.svd_r(mp.matrix(F.tolist()) + mp.mpf("1e-30") * mp.eye(n))
                due = np.array((U * V).tolist(), float)
            np.testing.assert_allclose(factor(F, 1e-12 * np.abs(F).max()), due, atol=1e-10)


@pytest.mark.parametrize("factor", [by_numpy, by_kernel])
@pytest.mark.parametrize(
    ("F", "due"),
    [
        ([[0.0]], [[1]]),
        ([[-1e-300]], [[-1]]),
        (np.zeros((3, 3)), np.eye(3)),
        (np.diag([1e-170, -1e-170]), np.diag([1, -1])),
        (np.diag([1e160, -1e160, 1.0]), np.diag([1, -1, 1])),
        (np.diag([1.0, -1e-17]), np.eye(2)),
        ([[0, 0], [1, 0]], None),  # the null spaces of F and Fᵀ are orthogonal: any rotation of one to the other
        ([[0, 0, 0, 1], [0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0]], None),
    ],
    ids=str,
)
def test_exact_cases(factor, F, due):
    F = np.array(F, float)
    found = factor(F, 8 * len(F) * 2.3e-16 * np.abs(F).max())
    np.testing.assert_allclose(found.T @ found, np.eye(len(F)), atol=1e-15)
    scale = max(np.abs(F).max(), 1e-300)
    assert np.linalg.eigvalsh(found.T @ (F / scale) + (F / scale).T @ found)[0] >= -1e-14
    if due is not None:
        np.testing.assert_allclose(found, due, atol=1e-15)


def test_polar_of_weights_is_the_same_rule():
    for W, due in (
        (np.diag([1e-170, -1e-170]), np.diag([1, -1])),
        (np.diag([1e160, -1e160]), np.diag([1, -1])),
        (np.ones((4, 4)), np.eye(4)),
        (-np.ones((4, 4)), np.eye(4) - np.ones((4, 4)) / 2),
        (np.zeros((2, 2)), np.eye(2)),
    ):
        np.testing.assert_allclose(fh.model.polar(W), due, atol=1e-14)
        np.testing.assert_allclose(fh.model.polar(np.array([W, -W]))[0], due, atol=1e-14)


def test_definite_is_one_rule_too():
    hebb = fh.hebb(fh.random_patterns(3, 8, seed=1), self_coupling=True)  # of rank 3
    for call in (lambda: fh.lyapunov(hebb), lambda: fh.energies.orientation_bound(np.eye(8), hebb)):
        with pytest.raises(ValueError, match="W must be positive definite; its smallest eigenvalue is"):
            call()
    with pytest.raises(ValueError, match="R must have shape"):
        fh.energies.orientation_bound(np.eye(2)[None], np.eye(2))
    np.testing.assert_allclose(fh.lyapunov(1e-200 * np.eye(2)), 5e199 * np.eye(2))


# --- of a memory ----------------------------------------------------------------------------------------------------


def velocity(memory, states):
    """One step of Euler's method of length 1."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "[0-9]+ of [0-9]+ trajectories did not stay finite")
        return fh.simulate(memory, states, t_end=1, dt=1, method="euler").state.astype(float) - states


def test_softmax_leaves_the_residual_as_it_is():
    """F of E1 is W Λ W ≥ 0, singular, and far smaller than what it is summed from."""
    W, b, u = [[1.4, -0.8], [-0.8, -0.4]], [0.5, -0.2], [[0.7, -2.0]]
    memory = fh.Memory(W, b, fh.Softmax(2.0), variable="u", R=fh.OrthogonalFactor("E1"))
    with mp.workdps(50):
        x = [mp.mpf(1.4) * mp.mpf(0.7) + mp.mpf(0.8) * 2 + mp.mpf(0.5), mp.mpf(0.8) * (1 - mp.mpf(0.7)) - mp.mpf(0.2)]
        p = 1 / (1 + mp.exp(2 * (x[1] - x[0])))
        due = [float(p - mp.mpf(0.7)), float(1 - p + 2)]
    np.testing.assert_allclose(velocity(memory, u)[0], due, rtol=1e-14)
    np.testing.assert_allclose(due, [0.29771705, 2.00228295], atol=1e-8)


ACTIVATIONS = [
    *("identity", "relu", "smooth_leaky_relu", "exp", "gelu", "silu", "selu", "gaussian", "hard_tanh"),
    *(fh.Tanh(1.4), fh.Sigmoid(3.0), fh.LeakyReLU(0.3), fh.Softplus(1.5), fh.SoftThreshold(0.7)),
    *(fh.RectifiedPower(3), fh.Power(3), fh.Power(4), fh.Softmax(1.0), fh.Softmax(4.0)),
    *(fh.LayerNorm(1.3, 0.5), fh.Sphere(0.4), fh.Sphere(0.0)),
]
FORMS = {
    "E1": (1, 0, 0),
    "E2": (0, 1, 0),
    "E3": (0, 0, 1),
    "less": (-1, 0, 0),
    "mixed": (0.4, -1.0, 2.0),
}


def memories(kind, dtype):
    """Memories of every size, form and signature of W, with states moderate, saturated and dead."""
    # One neuron on the sphere and two of layer norm have Λ = 0 but for its rounding.
    sizes = (3, 6) if isinstance(kind, (fh.LayerNorm, fh.Sphere)) else (1, 2, 3, 6)
    for n in sizes if dtype == np.float64 else sizes[1::2]:
        A, v = RNG.standard_normal((n, n)), RNG.standard_normal((n, 1))
        symmetric = [(A + A.T) / 2, A @ A.T / n, v @ v.T, 3 * (A + A.T) - 3 * np.diag(np.diag(A))]
        for index, (name, shares) in enumerate(FORMS.items()):
            W = A if name == "E3" else symmetric[(index + n) % 4]
            R = fh.OrthogonalFactor(fh.Energy(*shares))
            memory = fh.Memory(W, RNG.standard_normal(n), kind, variable="u", R=R, dtype=dtype)
            normal = RNG.standard_normal((2, n))
            yield memory, shares, np.concatenate([normal, 6 * normal, 50 * normal]).astype(dtype)


def regular(memory, shares, states):
    """f and R f in NumPy, and how far the latter is known: ∞ where rounding decides whether F is singular."""
    W, b = memory.W.astype(float), memory.b.astype(float)
    alpha, beta, gamma = shares
    x = states.astype(float) @ W.T + b
    f, Lam = g_of(memory, x + 0j).real - states, curvature(memory, x)
    one, eps = np.eye(len(W)), float(np.finfo(memory.dtype).eps)
    fixed = np.linalg.norm(beta * W + gamma * one, 2)
    moving = np.linalg.norm(W, 2) * np.linalg.norm(alpha * W - gamma * one, 2)
    due, room = np.full_like(f, np.nan), np.full(len(f), np.inf)
    for k in np.flatnonzero(np.isfinite(f).all(axis=1) & np.isfinite(Lam).all(axis=(1, 2))):
        F = W.T @ Lam[k] @ (alpha * W - gamma * one) + beta * W + gamma * one
        # What F is summed from, and the rounding of x, which moves Λ.
        size = np.linalg.norm(Lam[k], 2) * moving + fixed
        sizes = linalg.svdvals(F) if size else np.zeros(len(W))
        zero = sizes <= 4 * len(W) * eps * size
        least = sizes[~zero].min(initial=np.inf) / size if size else np.inf
        rank = int((~zero).sum())
        overlap = 1.0 if rank == len(W) or gamma == 0 else abs(linalg.det(null_overlap(F, rank)))
        seen = np.abs(Lam[k]).max() > max(1e6 * float(np.finfo(memory.dtype).tiny), 1e-270)  # in the dtype, by the step
        if least > 300 * len(W) * eps and (seen or not alpha):
            due[k] = nearest(F, rank) @ f[k]
            moved = eps * (1 + np.abs(x[k]).max())
            room[k] = 100 * len(W) * moved / min(least, 1) / overlap * np.linalg.norm(f[k])
            room[k] += 10 * eps * (np.abs(states[k]).max() + np.abs(f[k]).max())
    return f, due, room


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("kind", ACTIVATIONS, ids=str)
@np.errstate(all="ignore")
def test_every_velocity_is_that_of_the_rule(kind, dtype):
    compared = total = 0
    for memory, shares, states in memories(kind, dtype):
        f, due, room = regular(memory, shares, states)
        found = velocity(memory, states)
        fine = np.isfinite(found).all(axis=1) & (np.abs(f) < 1e30).all(axis=1)
        told = fine & (room < 0.1 * np.linalg.norm(f, axis=1))
        assert (np.abs(found - due).max(axis=1)[told] <= room[told]).all(), (memory, shares)
        compared, total = compared + told.sum(), total + len(f)
        # R is orthogonal: the velocity is as long as the residual.
        r = fh.residual(memory, states).astype(float)
        lengths, goal = np.linalg.norm(found[fine], axis=1), np.linalg.norm(r[fine], axis=1)
        size = goal + np.linalg.norm(states[fine], axis=1)
        assert (np.abs(lengths - goal) <= 200 * np.finfo(dtype).eps * size).all()
        # E1 of a monotone g: F ≥ 0, and R is I, but for a turn within directions that are nearly null.
        if shares == (1, 0, 0) and memory.activation.monotone:
            assert (np.linalg.norm(found - r, axis=1)[fine] <= 0.1 * lengths + 200 * np.finfo(dtype).eps * size).all()
    assert compared > (0.5 if dtype == np.float64 else 0.2) * total


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("power", [1, -1])
@pytest.mark.parametrize("form", ["E1", "E2", "E3"])
def test_the_scale_of_the_weights_is_no_matter(form, power, dtype):
    """W by 10^±150, in single precision by 10^±18, and u by its inverse: x is what it was, and F over a number, too."""
    eps, scale = np.finfo(dtype).eps, 10.0 ** (power * (150 if dtype == np.float64 else 18))
    A = RNG.standard_normal((5, 5))
    W, b = ((A + A.T) / 2).astype(dtype), RNG.standard_normal(5).astype(dtype)
    u = RNG.standard_normal((6, 5)).astype(dtype)
    for kind in ("tanh", "gelu", fh.Softmax(2.0)):
        R = fh.OrthogonalFactor(form)
        memory = fh.Memory(W * dtype(scale), b, kind, variable="u", R=R, dtype=dtype)
        states = (u / scale).astype(dtype)
        found, r = velocity(memory, states), fh.residual(memory, states).astype(float)
        Lam = curvature(memory, u.astype(float) @ W.T + b)
        one, turned = np.eye(5), W.T.astype(float) @ Lam
        F = {
            "E1": turned @ W,
            "E2": W + 0 * Lam,
            "E3": min(1.0, 1 / scale) * one - min(1.0, scale) * turned,
        }[form]
        sizes = np.array([linalg.svdvals(M) for M in F])
        for k, rank in enumerate((sizes > 1e-13 * sizes[:, :1]).sum(axis=1)):
            room = 300 * eps * sizes[k, 0] / sizes[k, rank - 1] * np.linalg.norm(r[k])
            np.testing.assert_allclose(found[k], nearest(F[k], rank) @ r[k], atol=room)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_a_flow_and_its_matrices_have_one_rule(dtype):
    """R of `factors`, for stability and condition (7), times the residual is the velocity."""
    compared = 0
    for kind in ("relu", "tanh", fh.Softmax(3.0)):
        for memory, shares, states in memories(kind, dtype):
            _, _, room = regular(memory, shares, states)
            x = (states @ memory.W.T + memory.b).astype(dtype)
            R = factors(memory, thin_curvature(memory, x), memory.W.astype(float))
            unit = np.broadcast_to(np.eye(memory.neurons), R.shape)
            np.testing.assert_allclose(np.matmul(np.swapaxes(R, 1, 2), R), unit, atol=1e-13)
            r = fh.residual(memory, states).astype(float)
            apart = np.abs(np.matmul(R, r[..., None])[..., 0] - velocity(memory, states)).max(axis=1)
            told = room < 0.1 * np.linalg.norm(r, axis=1)
            assert (apart <= 2 * room)[told].all()
            compared += told.sum()
    assert compared > 50
