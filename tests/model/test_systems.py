"""Systems (5) and (9), weights of every structure, and the energies made for them, against NumPy and exact cases."""

import warnings

import numpy as np
import pytest

import fasthop as fh
import naive

RNG = np.random.default_rng(5)
N = 9
STATES = RNG.standard_normal((13, N))
BIAS = 0.3 * RNG.standard_normal(N)
FREE = 0.5 * RNG.standard_normal((N, N))
WEIGHTS = {"symmetric": (FREE + FREE.T) / 2, "free": FREE}
MATRIX = RNG.standard_normal((N, N))


def g(x):
    return np.tanh(2 * x)


def slope(x):
    return 2 / np.cosh(2 * x) ** 2


def flows(W):
    """(variable, R) → the right-hand side for states in rows, written out."""

    def f(u):
        return g(u @ W.T + BIAS) - u

    def h(y):
        return g(y) @ W.T - y + BIAS

    values, vectors = np.linalg.eigh((W + W.T) / 2)
    sign = (vectors * np.sign(values)) @ vectors.T
    return {
        ("y", "identity"): h,
        ("y", "gradient"): lambda y: h(y) - slope(y) * (h(y) @ W),
        ("y", "gradient-as-printed"): lambda y: h(y) - (slope(y) * h(y)) @ W.T,
        ("y", "hessian"): lambda y: slope(y) * h(y),
        ("y", "weights"): lambda y: h(y) @ W.T,
        ("y", "matrix"): lambda y: h(y) @ MATRIX.T,
        ("u", "identity"): f,
        ("u", "weights"): lambda u: f(u) @ W.T,
        ("u", "polar"): lambda u: f(u) @ sign.T,
        ("u", "gradient"): lambda u: f(u) - (slope(u @ W.T + BIAS) * f(u)) @ W,
        ("u", "hessian"): lambda u: slope(u @ W.T + BIAS) * f(u),
        ("u", "matrix"): lambda u: f(u) @ MATRIX.T,
    }


def memory(W, variable, R, **options):
    return fh.Memory(W, BIAS, fh.Tanh(2.0), variable=variable, R=MATRIX if R == "matrix" else R, **options)


@pytest.mark.parametrize("method", ["rk4", "euler"])
@pytest.mark.parametrize("kind", WEIGHTS)
@pytest.mark.parametrize(("variable", "R"), flows(FREE))
def test_every_flow_is_what_numpy_finds(kind, variable, R, method):
    if (kind, R) == ("free", "polar"):
        with pytest.raises(ValueError, match="W must be symmetric"):
            memory(WEIGHTS[kind], variable, R)
        return
    W = WEIGHTS[kind]
    due = naive.METHODS[method](flows(W)[variable, R], STATES, 0.02, 25)
    found = fh.simulate(memory(W, variable, R), STATES, t_end=0.5, dt=0.02, method=method).state
    assert np.abs(found - due).max() <= 1e-12 * max(1, np.abs(due).max())


def test_c27_system_5_with_the_identity_is_system_1_in_other_coordinates():
    W = WEIGHTS["symmetric"]
    y = fh.simulate(fh.Memory(W, BIAS), STATES @ W.T + BIAS, t_end=10, dt=0.05).state
    u = fh.simulate(fh.Memory(W, BIAS, variable="u"), STATES, t_end=10, dt=0.05).state
    np.testing.assert_allclose(u @ W.T + BIAS, y, atol=1e-12)


def test_c41_a_false_memory_is_reached_and_named():
    # tanh, w = 2, b = −1: R vanishes at u = (atanh(1/√2) + 1)/2 with f = .23358; the only steady state is −.99495418.
    ends = fh.settle(fh.Memory([[2.0]], [-1.0], variable="u", R="gradient"), [[1.2], [-0.5]])
    assert ends.kind.tolist() == ["false_memory", "settled"]
    np.testing.assert_allclose(ends.state[:, 0], [0.9406867935, -0.99495418], atol=1e-5)
    assert ends.residual[0] == pytest.approx(0.23358, abs=1e-5)
    # Under system (1) there is no such end.
    assert fh.settle(fh.Memory([[2.0]], [-1.0], variable="u"), [[1.2]]).kind.tolist() == ["settled"]


def test_c38_a_singular_w_loses_the_residual():
    start = [[0.5, 1.0, -1.0]]
    network = fh.Memory(np.diag([0.5, 0, 0]), [0.1, 0.2, 0.3], variable="u", R="weights")
    ends = fh.settle(network, start)
    assert ends.kind.tolist() == ["false_memory"]
    assert ends.residual[0] == pytest.approx(1.29, abs=0.01)  # f = tanh(.3) + 1 in the worst coordinate


def test_c33_the_polar_factor_is_one_on_the_null_space():
    np.testing.assert_allclose(fh.model.polar(np.diag([0.5, 0.0, -2.0])), np.diag([1.0, 1.0, -1.0]), atol=1e-15)
    network = fh.Memory(np.diag([0.5, 0, 0]), [0.1, 0.2, 0.3], variable="u", R="polar")
    assert fh.settle(network, [[0.5, 1.0, -1.0]]).kind.tolist() == ["settled"]


def test_c40_the_lyapunov_solution():
    W = FREE @ FREE.T + np.eye(N)
    R = fh.lyapunov(W)
    np.testing.assert_allclose(R @ W + W @ R, np.eye(N), atol=1e-12)
    with pytest.raises(ValueError, match="W must be positive definite; its smallest eigenvalue"):
        fh.lyapunov(-W)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("R", "shares"), [("gradient", (0.414, 0.378, 0.209)), ("gradient-as-printed", (0.283, 0.280, 0.437))]
)
def test_c59_system_9_keeps_the_steady_states_and_changes_the_basins(R, shares):
    # Shares with standard error .008, measured beforehand with an independent script.
    network = fh.Memory([[0.2, -1.5], [-1.5, 0.1]], [1.0, 0.8], "relu", R=R)
    table = fh.basins(network, fh.Uniform(-3, 3), n=20_000, seed=1)
    steady = np.array([[1.25, -1.075], [-1 / 3, 8 / 9], [10 / 51, 86 / 153]])
    for state, share in zip(steady, shares, strict=True):
        [found] = [row for row in table.to_dict("records") if np.abs(row["state"] - state).max() < 1e-6]
        assert found["share"] == pytest.approx(share, abs=3 * 0.008)


# --- structures of W ------------------------------------------------------------------------------------------------


def layered(sizes=(13, 7, 5, 3)):
    weights = fh.Blocks.chain(sizes, seed=2)
    layers = [(13, "tanh"), (7, "relu"), (5, fh.LeakyReLU(0.1)), (3, "sigmoid")]
    return weights, layers


def test_c3_layers_blocks_and_time_constants_equal_the_dense_system():
    weights, layers = layered()
    W, tau = weights.to_dense(), RNG.uniform(0.5, 2, 28)
    np.testing.assert_array_equal(W, W.T)
    assert np.trace(W) == 0
    assert weights.stored.size == 13 * 7 + 7 * 5 + 5 * 3
    starts = RNG.standard_normal((33, 28))

    def act(y):
        parts = [
            np.tanh(y[:, :13]),
            naive.relu(y[:, 13:20]),
            naive.leaky_relu(y[:, 20:25], 0.1),
            naive.sigmoid(y[:, 25:]),
        ]
        return np.concatenate(parts, axis=1)

    due = naive.rk4(lambda y: (act(y) @ W.T - y + 0.2) / tau, starts, 0.05, 60)
    for given in (weights, W):
        found = fh.simulate(fh.Memory(given, 0.2, layers=layers, tau=tau), starts, t_end=3, dt=0.05).state
        np.testing.assert_allclose(found, due, atol=1e-13)


def test_free_blocks_equal_the_dense_system():
    parts = {key: RNG.standard_normal((4 + 2 * key[0], 4 + 2 * key[1])) for key in ((0, 1), (1, 0), (1, 1))}
    weights = fh.Blocks([4, 6], parts, tied=False)
    W = weights.to_dense()
    np.testing.assert_array_equal(W, np.block([[np.zeros((4, 4)), parts[0, 1]], [parts[1, 0], parts[1, 1]]]))
    starts = RNG.standard_normal((5, 10))
    due = naive.rk4(lambda y: np.tanh(y) @ W.T - y, starts, 0.05, 20)
    for R in (None, "gradient"):
        pair = [fh.simulate(fh.Memory(given, R=R), starts, t_end=1, dt=0.05).state for given in (weights, W)]
        np.testing.assert_allclose(*pair, atol=1e-13)
    np.testing.assert_allclose(fh.simulate(fh.Memory(weights), starts, t_end=1, dt=0.05).state, due, atol=1e-13)


@pytest.mark.parametrize("self_coupling", [False, True])
@pytest.mark.parametrize("R", [None, "gradient", "weights"])
def test_low_rank_weights_equal_hebb(self_coupling, R):
    patterns = fh.random_patterns(7, 50, seed=1)
    weights, W = fh.LowRank(patterns, self_coupling=self_coupling), fh.hebb(patterns, self_coupling=self_coupling)
    np.testing.assert_allclose(weights.to_dense(), W, atol=1e-15)
    starts = RNG.standard_normal((20, 50))
    pair = [
        fh.simulate(fh.Memory(given, 0.1, fh.Tanh(4.0), R=R), starts, t_end=2, dt=0.05).state for given in (weights, W)
    ]
    np.testing.assert_allclose(*pair, atol=1e-13)
    np.testing.assert_allclose(*(fh.default_step(fh.Memory(given)) for given in (weights, W)), rtol=2e-3)


def test_many_memories_of_a_structure_are_each_alone():
    patterns = fh.random_patterns(3, 20, seed=1, realisations=range(4))
    starts = RNG.standard_normal((4, 10, 20))
    together = fh.settle(fh.Memory(fh.LowRank(patterns), R="gradient"), starts)
    for k in range(4):
        alone = fh.settle(fh.Memory(fh.LowRank(patterns[k]), R="gradient"), starts[k])
        np.testing.assert_array_equal(together.state[k], alone.state)


# --- energies -------------------------------------------------------------------------------------------------------


def numeric_gradient(function, state, h=1e-6):
    return np.array([(function(state + h * e) - function(state - h * e)) / (2 * h) for e in np.eye(len(state))])


def quiet_energy(network, states, kind):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return fh.energy(network, states, kind)


def printed(W, kind, states):
    """The energies of (6) and (10) as the paper prints them, for tanh of gain 2."""
    if kind == "10":
        h = g(states) @ W.T - states + BIAS
        return 0.5 * (h * h).sum(axis=1)
    x = states @ W.T + BIAS
    lagrangian = (np.log(np.cosh(2 * x)) / 2).sum(axis=1)
    if kind == "E1":
        return ((states @ W.T) * g(x)).sum(axis=1) - lagrangian - 0.5 * ((g(x) @ W.T) * g(x)).sum(axis=1)
    if kind == "E2":
        return 0.5 * ((states @ W.T) * states).sum(axis=1) - lagrangian
    f = states - g(x)
    return 0.5 * (f * f).sum(axis=1)


@pytest.mark.parametrize(("variable", "kind"), [("u", "E1"), ("u", "E2"), ("u", "E3"), ("y", "10")])
def test_c28_energies_and_gradients(variable, kind):
    W = WEIGHTS["symmetric"]
    network = memory(W, variable, None)
    np.testing.assert_allclose(quiet_energy(network, STATES, kind), printed(W, kind, STATES), rtol=1e-12)
    gradients = fh.energy_gradient(network, STATES, kind)
    for state, gradient in zip(STATES, gradients, strict=True):
        due = numeric_gradient(lambda s: printed(W, kind, s[None])[0], state)
        np.testing.assert_allclose(gradient, due, atol=1e-7)


def test_c30_the_gradient_of_e3_takes_the_transpose():
    for variable, kind in (("u", "E3"), ("y", "10")):
        network = memory(FREE, variable, "gradient")
        gradient = fh.energy_gradient(network, STATES, kind)
        due = numeric_gradient(lambda s, kind=kind: printed(FREE, kind, s[None])[0], STATES[0])
        np.testing.assert_allclose(gradient[0], due, atol=1e-7)
        # And the flow with R = 'gradient' is minus that gradient.
        np.testing.assert_allclose(flows(FREE)[variable, "gradient"](STATES), -gradient, atol=1e-12)


def test_a_combination_is_the_sum_of_its_parts_and_s_weighs():
    W, S = WEIGHTS["symmetric"], np.diag(np.arange(1.0, N + 1))
    network = memory(W, "u", None)
    mixed = quiet_energy(network, STATES, fh.Energy(alpha=0.5, beta=-1, gamma=2, S=S))
    f = STATES - g(STATES @ W + BIAS)
    due = 0.5 * printed(W, "E1", STATES) - printed(W, "E2", STATES) + ((f @ S) * f).sum(axis=1)
    np.testing.assert_allclose(mixed, due, rtol=1e-11)
    form = fh.Energy(alpha=0.5, beta=-1, gamma=2, S=S)
    due = numeric_gradient(lambda s: float(quiet_energy(network, s, form)), STATES[0])
    np.testing.assert_allclose(fh.energy_gradient(network, STATES, form)[0], due, atol=1e-6)


@pytest.mark.parametrize(
    ("kind", "variable", "R", "W"),
    [
        ("E1", "u", None, "symmetric"),
        ("E2", "u", "weights", "symmetric"),
        ("E2", "u", "polar", "symmetric"),
        ("E3", "u", "gradient", "symmetric"),
        ("E3", "u", "gradient", "free"),
        ("10", "y", "gradient", "free"),
        ("2", "y", None, "symmetric"),
    ],
)
def test_energies_that_must_never_rise_do_not(kind, variable, R, W):
    network = memory(WEIGHTS[W], variable, R)
    assert fh.why_not_lyapunov(network, kind) == []
    path = fh.simulate(network, STATES, t_end=4, dt=0.01, save_at=np.arange(0, 4.01, 0.1)).states
    values = np.array([fh.energy(network, states, kind) for states in path])
    assert (np.diff(values, axis=0) <= 1e-12 * (1 + np.abs(values[1:]))).all()


def test_c46_the_printed_form_lets_its_energy_rise_and_says_so():
    network = fh.Memory([[0, -2.0], [-2.0, 0]], [1, 1], "relu", R="gradient-as-printed")
    assert "printed" in fh.why_not_lyapunov(network, "10")[0]
    starts = RNG.uniform(-3, 3, (60, 2))
    path = fh.simulate(network, starts, t_end=3, dt=0.01, save_at=np.arange(0, 3.01, 0.05)).states
    with pytest.warns(RuntimeWarning, match="need not decrease"):
        values = np.array([fh.energy(network, states, "10") for states in path])
    assert (np.diff(values, axis=0) > 1e-6).any(axis=0).sum() >= 20


def test_c29_condition_7_is_the_slope_of_the_energy():
    W = WEIGHTS["symmetric"]
    network = memory(W, "u", "weights")
    smallest = fh.lyapunov_condition(network, STATES, "E2")
    np.testing.assert_allclose(smallest, 2 * np.linalg.eigvalsh(W @ W)[0], atol=1e-12)
    assert (fh.lyapunov_condition(memory(W, "u", "hessian"), STATES, "E3") < 10).all()
    gradient = fh.lyapunov_condition(memory(FREE, "u", "gradient"), STATES, "E3")
    assert (gradient > -1e-12).all()


def test_condition_7_knows_the_time_constants():
    """Energy (2) falls at fᵀ Λ/τ f, and at no other rate."""
    W, tau = WEIGHTS["symmetric"], np.linspace(0.2, 3, len(WEIGHTS["symmetric"]))
    network, y = fh.Memory(W, 0.3, tau=tau), np.linspace(-1, 1, len(W))[None]
    Lam, f = 1 / np.cosh(y[0]) ** 2, y[0] - W @ np.tanh(y[0]) - 0.3
    np.testing.assert_allclose(fh.lyapunov_condition(network, y, "2"), 2 * (Lam / tau).min(), rtol=1e-12)
    h = 1e-5
    near = np.array([y[0] - h * f / tau, y[0] + h * f / tau])
    slope = np.subtract(*fh.energy(network, near, "2")) / (2 * h)
    assert slope == pytest.approx(-(f * Lam / tau) @ f, rel=1e-6)


def test_c42_the_numerical_abscissa_decides_and_the_spectrum_does_not():
    W = np.array([[-1.0, 10.0], [0.0, -1.0]])
    assert fh.energies.numerical_abscissa(W) == pytest.approx(4.0)
    network = fh.Memory(W, variable="u", R="hessian")
    assert fh.lyapunov_condition(network, np.zeros((1, 2)), "E3")[0] == pytest.approx(2 * (1 - 4), abs=1e-12)
    assert "ω(W)" in fh.why_not_lyapunov(network, "E3")[0]
    assert fh.why_not_lyapunov(fh.Memory(-np.eye(2), variable="u", R="hessian"), "E3") == []


def test_c31_and_c36_the_hessian_at_a_steady_state():
    # ReLU: u = (5, 0) and (0, 5) are stable, (10/7, 10/7) is a saddle, under E2 as under (1).
    network = fh.Memory([[0.8, -0.5], [-0.5, 0.8]], [1, 1], "relu", variable="u", R="weights")
    steady = np.array([[5.0, 0.0], [0.0, 5.0], [10 / 7, 10 / 7]])
    assert np.abs(fh.residual(network, steady)).max() < 1e-12
    smallest = np.linalg.eigvalsh(fh.energy_hessian(network, steady, "E2"))[:, 0]
    assert (smallest[:2] > 0.05).all()
    assert smallest[2] < -0.05


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: fh.Memory(FREE, R="gradients"), "R must be one of"),
        (lambda: fh.Memory(FREE, R=np.eye(3)), "R must be of the size of W"),
        (lambda: fh.Memory(FREE, variable="x"), "variable must be one of 'y', 'u', 'v'"),
        (
            lambda: fh.Memory(FREE, variable="v", R="weights"),
            "R = 'weights' must go with variable = 'y' or 'u'; got",
        ),
        (
            lambda: fh.Memory(FREE, variable="v", R=np.eye(N)),
            "R = 'matrix' must go with variable = 'y' or 'u'; got",
        ),
        (lambda: fh.Memory(FREE, variable="v", tau=2.0), "tau belongs to system \\(1\\)"),
        (
            lambda: fh.Memory(FREE, R=fh.OrthogonalFactor("E1")),
            "'orthogonal factor' must go with variable = 'u'; got",
        ),
        (lambda: fh.Memory(np.eye(513), variable="u", R=fh.OrthogonalFactor("E1")), "is for N ≤ 512; got 513"),
        (lambda: fh.OrthogonalFactor("2"), "must be one of 'E1', 'E2', 'E3'"),
        (lambda: fh.energy(fh.Memory(FREE, activation="relu"), STATES, "3"), "strictly monotone neurons"),
        (lambda: fh.energies.orientation_bound(np.eye(2), -np.eye(2)), "W must be positive definite"),
        (lambda: fh.energies.orientation_bound([[1, 2], [0, 1]], np.eye(2)), "R must be symmetric"),
        (
            lambda: fh.Memory(FREE, variable="u", R="gradient-as-printed"),
            "must go with variable = 'y'; got",
        ),
        (lambda: fh.Memory(FREE, R="polar"), "W must be symmetric"),
        (lambda: fh.Memory(FREE, tau=np.ones(N), R="gradient"), "tau belongs to system \\(1\\)"),
        (lambda: fh.Memory(FREE, tau=-1), "tau must be positive; got -1"),
        (lambda: fh.Memory(FREE, layers=[(4, "tanh")]), "layers must have 9 neurons together, as W has; got 4"),
        (
            lambda: fh.Memory(FREE, activation="relu", layers=[(9, "tanh")]),
            "activation must not be given beside layers",
        ),
        (lambda: fh.Blocks([2, 3], {(0, 1): np.ones((3, 2))}), "blocks\\[0, 1\\] must have shape \\(2, 3\\)"),
        (lambda: fh.Blocks([2, 3], {(0, 2): np.ones((3, 2))}), "pairs of layers 0 … 1"),
        (lambda: fh.Blocks([2, 2], {(0, 1): np.eye(2), (1, 0): np.eye(2)}), "must not both be given"),
        (lambda: fh.Blocks([2], {(0, 0): [[0, 1], [2, 0]]}), "must be symmetric where blocks are tied"),
        (lambda: fh.Blocks([2, 3], {}), "at least one block"),
        (lambda: fh.LowRank(np.ones(3)), "patterns must have shape"),
        (lambda: fh.energy(fh.Memory(FREE), STATES, "E2"), "must be one of '2', '3', '10'"),
        (lambda: fh.energy(fh.Memory(FREE, variable="u"), STATES, "2"), "must be one of 'E1', 'E2', 'E3'"),
        (lambda: fh.energy(fh.Memory(FREE), STATES, fh.Energy(beta=1)), "beta = 0"),
        (lambda: fh.Energy(S=[[0, 1], [2, 0]]), "S must be symmetric"),
        (lambda: fh.energy_hessian(fh.Memory(FREE), STATES, "10"), "variable = 'u'"),
    ],
)
def test_what_does_not_fit_is_one_sentence(call, message):
    with pytest.raises(ValueError, match=message):
        call()
