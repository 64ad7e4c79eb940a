"""Sections 4 and 5 of arXiv 2410.13866: the simplest model, systems (5) and (9), Proposition 5, Examples 5 and 6."""

import warnings

import numpy as np
import pytest

import fasthop as fh
import naive

RNG = np.random.default_rng(21)
N = 7


def symmetric(n=N, scale=1.0):
    A = RNG.standard_normal((n, n))
    return scale * (A + A.T) / 2


def positive(n=N, low=0.2):
    A = RNG.standard_normal((n, n))
    return A @ A.T / n + low * np.eye(n)


def jacobian(memory, state, h=1e-6):
    """∂ẏ/∂y by differences of one tiny Euler step."""

    def velocity(y):
        return (fh.simulate(memory, y, t_end=1e-3, dt=1e-3, method="euler").state - y) / 1e-3

    steps = h * np.eye(len(state))
    return ((velocity(state + steps) - velocity(state - steps)) / (2 * h)).T


def never_rises(memory, starts, kind, t_end=4.0, dt=0.01):
    path = fh.simulate(memory, starts, t_end=t_end, dt=dt, save_at=np.arange(0, t_end + dt / 2, 0.1)).states
    E = np.array([fh.energy(memory, states, kind) for states in path])
    return bool((np.diff(E, axis=0) <= 1e-12 * (1 + np.abs(E[1:]))).all())


def settled(memory, starts):
    ends = fh.settle(memory, starts)
    assert ends.settled.all()
    return ends.state


# --- the simplest model ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("activation", ["tanh", "gaussian", "softmax", fh.LayerNorm(1.0, 0.5)], ids=str)
def test_c27b_the_simplest_model_is_a_gradient_flow_for_any_w_and_g(activation):
    W, b, starts = RNG.standard_normal((N, N)) / 2, RNG.standard_normal(N), RNG.standard_normal((9, N))
    memory = fh.Memory(W, b, activation, variable="v")
    kind = memory.activation
    due = naive.rk4(lambda v: kind.g(v @ W.T + b) @ W - v, starts, 0.05, 40)
    np.testing.assert_allclose(fh.simulate(memory, starts, t_end=2, dt=0.05).state, due, atol=1e-13)
    E = 0.5 * (starts**2).sum(axis=1) - kind.lagrangian(starts @ W.T + b).sum(axis=1)
    np.testing.assert_allclose(fh.energy(memory, starts), E, rtol=1e-13)
    np.testing.assert_allclose(fh.energy_gradient(memory, starts, "simplest"), -fh.residual(memory, starts))
    assert fh.why_not_lyapunov(memory, "simplest") == []
    assert never_rises(memory, starts, "simplest")


def test_c27b_its_steady_states_are_those_of_w_w_transposed():
    W, b = RNG.standard_normal((N, N)), RNG.standard_normal(N)
    v = settled(fh.Memory(W, b, variable="v"), RNG.standard_normal((30, N)))
    other = fh.Memory(W @ W.T, b)
    assert np.abs(fh.residual(other, v @ W.T + b)).max() < 1e-8
    hessian = fh.energy_hessian(fh.Memory(W, b, variable="v"), v[:3], "simplest")
    for k in range(3):
        x = W @ v[k] + b
        np.testing.assert_allclose(hessian[k], np.eye(N) - W.T @ np.diag(1 / np.cosh(x) ** 2) @ W, atol=1e-12)


def test_the_simplest_model_decays_at_most_with_rate_one():
    W = 3 * RNG.standard_normal((N, N))
    memory = fh.Memory(W, 0.1, variable="v")
    assert fh.default_step(memory) == pytest.approx(0.5 * 2.785293563405282, rel=2e-3)
    v = settled(memory, RNG.standard_normal((5, N)))
    assert np.linalg.eigvalsh(jacobian(memory, v[0])).min() >= -1 - 1e-6


# --- Proposition 5 --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["E1", "E2", "E3"])
@pytest.mark.parametrize("activation", ["tanh", "softplus", "softmax", fh.LayerNorm(1.0, 0.5)], ids=str)
def test_c28_c30_gradients_also_where_lambda_is_not_diagonal(activation, kind):
    W = symmetric() if kind != "E3" else RNG.standard_normal((N, N))
    memory = fh.Memory(W, RNG.standard_normal(N), activation, variable="u")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for u in RNG.standard_normal((3, N)):
            differences = [
                [float(fh.energy(memory, u + e, kind) - fh.energy(memory, u - e, kind)) for e in h * np.eye(N)]
                for h in (1e-3, 2e-3)
            ]
            due = (8 * np.array(differences[0]) - differences[1]) / 0.012
            np.testing.assert_allclose(fh.energy_gradient(memory, u[None], kind)[0], due, atol=1e-8)


@pytest.mark.parametrize(("kind", "R"), [("E1", None), ("E2", "weights"), ("E3", "hessian"), ("E3", "gradient")])
def test_c29_c32_the_energy_falls_at_half_of_condition_7(kind, R):
    memory = fh.Memory(symmetric(), RNG.standard_normal(N), fh.Tanh(1.5), variable="u", R=R)
    rates = []
    for u in RNG.standard_normal((20, N)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            steps = [
                float(fh.energy(memory, fh.simulate(memory, [u], t_end=k * 1e-4, dt=1e-4).state[0], kind))
                for k in range(5)
            ]
        rates.append(np.dot([-25, 48, -36, 16, -3], steps) / 12e-4)
        f = fh.residual(memory, u)
        if fh.lyapunov_condition(memory, u[None], kind)[0] >= 0:
            assert rates[-1] <= 1e-9
            assert rates[-1] <= -fh.lyapunov_condition(memory, u[None], kind)[0] / 2 * f @ f + 1e-8


def test_c31_c35_condition_8_is_twice_the_hessian():
    memory = fh.Memory(positive(), RNG.standard_normal(N), variable="u", R="weights")
    u = settled(memory, RNG.standard_normal((1, N)))[0]
    for kind in ("E1", "E2", "E3"):
        hessian = fh.energy_hessian(memory, u[None], kind)[0]
        np.testing.assert_allclose(hessian, hessian.T, atol=1e-9)
        d = 1e-3 * RNG.standard_normal(N)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            both = [float(fh.energy(memory, u + s * d, kind) - fh.energy(memory, u, kind)) for s in (1, -1)]
        assert sum(both) / 2 == pytest.approx(0.5 * d @ hessian @ d, rel=1e-4)


def orthogonal_flow(W, b, alpha, beta, gamma, S):
    def velocity(states):
        out = np.empty_like(states)
        for k, u in enumerate(states):
            g = np.tanh(W @ u + b)
            F = W.T @ np.diag(1 - g * g) @ (alpha * W - gamma * S) + beta * W + gamma * S
            left, _, right = np.linalg.svd(F)
            out[k] = left @ right @ (g - u)
        return out

    return velocity


@pytest.mark.parametrize("shares", [(1, 0, 0), (0, 1, 0), (0, 0, 1), (0.3, -1.0, 2.0)], ids=str)
@pytest.mark.parametrize("method", ["rk4", "euler"])
def test_c33_the_orthogonal_factor_is_numpys(shares, method):
    W, b, S = symmetric(), RNG.standard_normal(N), positive()
    R = fh.OrthogonalFactor(fh.Energy(*shares, S=S))
    memory = fh.Memory(W, b, variable="u", R=R)
    starts = RNG.standard_normal((11, N))
    due = naive.METHODS[method](orthogonal_flow(W, b, *shares, S), starts, 0.01, 20)
    found = fh.simulate(memory, starts, t_end=0.2, dt=0.01, method=method).state
    np.testing.assert_allclose(found, due, atol=1e-11)
    # A lane's bits do not depend on its neighbours, and many memories are each alone.
    np.testing.assert_array_equal(
        fh.simulate(memory, starts[3:4], t_end=0.2, dt=0.01, method=method).state[0], found[3]
    )
    many = fh.Memory(np.array([W, 2 * W]), b, variable="u", R=R)
    both = fh.simulate(many, np.array([starts, starts]), t_end=0.2, dt=0.01, method=method).state
    np.testing.assert_array_equal(both[0], found)


@pytest.mark.parametrize("activation", ["tanh", "relu", "softmax"])
@pytest.mark.parametrize("kind", ["E1", "E2", "E3"])
def test_c33_proposition_5_2_the_energy_it_is_made_for_never_rises(kind, activation):
    W = symmetric(5, 0.4) if kind != "E3" else 0.4 * RNG.standard_normal((5, 5))
    memory = fh.Memory(W, RNG.standard_normal(5), activation, variable="u", R=fh.OrthogonalFactor(kind))
    assert fh.why_not_lyapunov(memory, kind) == []
    others = [other for other in ("E1", "E2", "E3") if other != kind]
    assert all("R was made for another energy." in fh.why_not_lyapunov(memory, other) for other in others)
    starts = RNG.standard_normal((8, 5))
    assert (fh.lyapunov_condition(memory, starts, kind) >= -1e-12).all()
    # det F changes its sign along some paths, where a step of any method jumps over the discontinuity.
    path = fh.simulate(memory, starts, t_end=1, dt=1e-3, save_at=np.arange(0, 1.001, 0.05)).states
    E = np.array([fh.energy(memory, states, kind) for states in path])
    assert (np.diff(E, axis=0) <= 1e-3 * (1 + np.abs(E[1:]))).all()
    smooth = (np.diff(E, axis=0) <= 1e-12 * (1 + np.abs(E[1:]))).all(axis=0)
    assert smooth.mean() >= 0.5


def test_c33_on_the_null_space_the_factor_is_one_and_the_flow_settles():
    # F = W for E2; +I on the null space converges, where −I diverges and a rotation orbits.
    start = [[0.5, 1.0, -1.0]]
    for R in (fh.OrthogonalFactor("E2"), "polar"):
        memory = fh.Memory(np.diag([0.5, 0, 0]), [0.1, 0.2, 0.3], variable="u", R=R)
        assert fh.settle(memory, start).kind.tolist() == ["settled"]
    for other in (np.diag([1.0, -1, -1]), np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])):
        memory = fh.Memory(np.diag([0.5, 0, 0]), [0.1, 0.2, 0.3], variable="u", R=other)
        assert fh.settle(memory, start, t_max=100, dt=0.05).kind[0] in ("unsettled", "diverged")


def test_c34_e3_is_not_flat_along_dead_neurons_and_e2_can_be():
    W = np.array([[0, -2.0], [-2.0, 0]])
    u = np.array([1.0, 0.0])
    memory = fh.Memory(W, [1, 1], "relu", variable="u")
    np.testing.assert_allclose(fh.residual(memory, u), 0, atol=1e-15)
    V = np.array([0.0, -1.0])  # the second neuron is dead: W u + b = (1, −1)
    moved = u + np.array([[1.0], [5.0], [50.0]]) * np.linalg.solve(W, V)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        np.testing.assert_array_equal(fh.energy(memory, moved, "E2"), fh.energy(memory, u, "E2"))
        np.testing.assert_allclose(fh.energy(memory, moved, "E3"), 0.5 * (np.array([1, 5, 50]) / 2) ** 2)


def test_c36_with_e2_and_indefinite_w_every_steady_state_is_unstable():
    W = symmetric() - 0.8 * np.eye(N)
    assert np.linalg.eigvalsh(W)[0] < 0
    b = RNG.standard_normal(N)
    stable = settled(fh.Memory(W, b), RNG.standard_normal((40, N)))
    u = np.unique(np.tanh(stable).round(9), axis=0)
    for R in ("weights", "polar"):
        memory = fh.Memory(W, b, variable="u", R=R)
        for state in u:
            assert np.linalg.eigvals(jacobian(memory, state)).real.max() > 0
        assert np.linalg.eigvalsh(fh.energy_hessian(memory, u, "E2"))[:, 0].max() < 0


def test_c36_with_e2_and_positive_w_stability_is_that_of_system_1():
    W = positive() * 1.2
    b = 0.1 * RNG.standard_normal(N)
    memory = fh.Memory(W, b)
    y = settled(memory, RNG.standard_normal((40, N)))
    smallest = np.linalg.eigvalsh(fh.energy_hessian(fh.Memory(W, b, variable="u"), np.tanh(y), "E2"))[:, 0]
    assert (smallest > 0).all()
    assert fh.why_not_lyapunov(fh.Memory(W, b, variable="u"), "E2") == []  # R = I will do


def test_c37_with_e3_saddles_attract():
    memory = fh.Memory([[0.0, 2.0], [2.0, 0.0]])
    origin = np.zeros(2)
    np.testing.assert_allclose(np.linalg.eigvalsh(jacobian(memory, origin)), [-3, 1], atol=1e-6)
    for variable in ("u", "y"):
        other = fh.Memory([[0.0, 2.0], [2.0, 0.0]], variable=variable, R="gradient")
        np.testing.assert_allclose(np.linalg.eigvalsh(jacobian(other, origin)), [-9, -1], atol=1e-6)
        ends = fh.settle(other, [[0.1, -0.05]])
        assert ends.kind.tolist() == ["settled"]
        np.testing.assert_allclose(ends.state, 0, atol=1e-9)


def test_c39_the_bound_over_all_orientations_is_sharp():
    for r, w in (((1.0, 4.0), (0.5, 3.0)), ((1.0, 40.0), (1.0, 20.0)), ((1.0, 1.2), (2.0, 2.1))):
        bound = fh.energies.orientation_bound(np.diag(r), np.diag(w))
        lowest = np.inf
        for angle in np.linspace(0, np.pi, 20001):
            c, s = np.cos(angle), np.sin(angle)
            R = np.array([[c, -s], [s, c]]) @ np.diag(r) @ np.array([[c, s], [-s, c]])
            product = R @ np.diag(w)
            half = (product[0, 1] + product[1, 0]) / 2
            mean = product[0, 0] + product[1, 1]
            lowest = min(lowest, mean - np.hypot(product[0, 0] - product[1, 1], 2 * half))
        assert bound == pytest.approx(lowest, abs=1e-6 * max(r) * max(w))
    # It is non-negative exactly where (√κ_R − 1)(√κ_W − 1) ≤ 2; equal κ: up to 3 + 2√2.
    for kappa, sign in ((5.82, 1), (5.84, -1)):
        assert np.sign(fh.energies.orientation_bound(np.diag([1, kappa]), np.diag([1, kappa]))) == sign


def test_c39_c40_a_matrix_r_is_judged_by_what_it_does_to_e2():
    W = positive()
    for R, fine in ((fh.lyapunov(W), True), (np.eye(N), True), (-np.eye(N), False), ("polar", True), ("weights", True)):
        memory = fh.Memory(W, variable="u", R=R)
        assert (fh.why_not_lyapunov(memory, "E2") == []) == fine
        if fine:
            assert never_rises(memory, RNG.standard_normal((5, N)), "E2", t_end=2)
    indefinite = fh.Memory(symmetric() - np.eye(N), variable="u")
    assert "negative eigenvalue" in fh.why_not_lyapunov(indefinite, "E2")[0]


def test_c40_lyapunovs_solution_makes_e2_fall_as_half_of_the_square():
    W, Q = positive(), np.diag(np.arange(1.0, N + 1))
    memory = fh.Memory(W, RNG.standard_normal(N), variable="u", R=fh.lyapunov(W, Q))
    found = fh.lyapunov_condition(memory, RNG.standard_normal((4, N)), "E2")
    np.testing.assert_allclose(found, 1.0, atol=1e-11)


def test_c41_a_contraction_has_one_steady_state():
    W = RNG.standard_normal((N, N))
    W *= 0.95 / np.linalg.norm(W, 2)
    memory = fh.Memory(W, RNG.standard_normal(N), variable="u", R="gradient")
    assert fh.models.contraction_bound(memory) == pytest.approx(0.95)
    ends = settled(memory, 5 * RNG.standard_normal((50, N)))
    assert np.ptp(ends, axis=0).max() < 1e-7


def test_c42_hessian_r_descends_up_to_a_numerical_abscissa_of_one():
    W = RNG.standard_normal((N, N))
    W *= 1 / fh.energies.numerical_abscissa(W)
    memory = fh.Memory(W, RNG.standard_normal(N), variable="u", R="hessian")
    assert (fh.lyapunov_condition(memory, 2 * RNG.standard_normal((200, N)), "E3") >= -1e-12).all()
    wider = fh.Memory(3 * W, RNG.standard_normal(N), variable="u", R="hessian")
    assert (fh.lyapunov_condition(wider, RNG.standard_normal((200, N)) / 3, "E3") < 0).any()


# --- system (9) -----------------------------------------------------------------------------------------------------


def test_c44_e3_of_system_5_is_10_of_system_9_where_w_is_regular():
    # h at y = W u + b is W (g − u): the two energies weigh one residual, by WᵀW and by I.
    W, b, u = RNG.standard_normal((N, N)), RNG.standard_normal(N), RNG.standard_normal((4, N))
    five = fh.Memory(W, b, variable="u", R="gradient")
    nine = fh.Memory(W, b, R="gradient")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        weighed = fh.energy(five, u, fh.Energy(gamma=1, S=(W.T @ W + (W.T @ W).T) / 2))
    np.testing.assert_allclose(weighed, fh.energy(nine, u @ W.T + b, "10"), rtol=1e-12)


def test_c46_the_printed_r_is_not_sign_definite_and_the_transpose_is():
    W = np.array([[0, -2.0], [-2.0, 0]])
    y = np.array([[1.0, -1.0]])  # Λ = diag(1, 0)
    printed = fh.Memory(W, [1, 1], "relu", R="gradient-as-printed")
    # dE/dt = −½ hᵀ(RᵀF + FᵀR) h with RᵀF = (I − ΛWᵀ)²: eigenvalues −1 and 3 of its symmetric part.
    assert fh.lyapunov_condition(printed, y, "10")[0] == pytest.approx(-2)
    assert fh.lyapunov_condition(fh.Memory(W, [1, 1], "relu", R="gradient"), y, "10")[0] >= 0


def test_c47_system_9_with_relus_ends_on_kinks_where_the_residual_stays():
    # A tenth of the trajectories of strong random weights; none where the radius is below 1.
    stuck = []
    for radius in (1.5, 0.95):
        total = 0
        for _ in range(20):
            W = symmetric(4)
            W *= radius / np.abs(np.linalg.eigvalsh(W)).max()
            b = RNG.standard_normal(4)
            if (
                radius > 1
                and not fh.settle(fh.Memory(W, b, "relu"), RNG.standard_normal((20, 4)), t_max=200).settled.any()
            ):
                continue
            ends = fh.settle(fh.Memory(W, b, "relu", R="gradient"), 2 * RNG.standard_normal((40, 4)), t_max=5000)
            total += int((ends.residual > 1e-2).sum())
        stuck.append(total)
    assert stuck[0] > 10
    assert stuck[1] == 0


def test_c48_gradient_flows_settle_at_the_square_of_the_smallest_singular_value():
    W, b = symmetric(N, 0.5), RNG.standard_normal(N)
    y = settled(fh.Memory(W, b), RNG.standard_normal((1, N)))[0]
    Lam = np.diag(1 / np.cosh(y) ** 2)
    smallest = np.linalg.svd(np.eye(N) - W @ Lam, compute_uv=False)[-1]
    values = np.linalg.eigvals(jacobian(fh.Memory(W, b, R="gradient"), y))
    assert -values.real.max() == pytest.approx(smallest**2, rel=1e-5)
