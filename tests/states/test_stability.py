"""Spectra at steady states, against NumPy's eigenvalues of Jacobians that share no code with fasthop."""

import numpy as np
import pytest

import fasthop as fh
import naive
from fasthop.states import stability as room

RNG = np.random.default_rng(21)
N = 6


def symmetric(n=N, scale=1.0, rng=RNG):
    M = rng.standard_normal((n, n))
    return scale * (M + M.T) / 2


def make_steady(W, y, activation, **options):
    """A memory for which y is a steady state: its bias is made to fit."""
    plain = {name: value for name, value in options.items() if name == "layers"}
    kinds = fh.Memory(W, 0, activation, **plain).layers
    ends = np.cumsum([layer.neurons for layer in kinds])
    g = np.concatenate([k.activation.g(y[e - k.neurons : e]) for k, e in zip(kinds, ends, strict=True)])
    return fh.Memory(W, y - W @ g, activation, **options), g


def numerical_jacobian(flow, y, eps=1e-6):
    return np.array([(flow(y + eps * e) - flow(y - eps * e)) / (2 * eps) for e in np.eye(len(y))]).T


def by_real_part(values):
    return values[np.lexsort((values.imag, values.real))]


def shown(found):
    return found.spectrum[0, : N - found.k[0]]


# --- system (1) -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tau", [None, np.linspace(0.5, 3, N)])
@pytest.mark.parametrize("kind", ["symmetric", "free"])
@pytest.mark.parametrize("name", ["relu", "tanh", "leaky_relu", "sigmoid"])
def test_c18_the_full_jacobian_has_the_spectrum_of_s_and_minus_one_for_what_is_dead(name, kind, tau):
    W = symmetric() if kind == "symmetric" else RNG.standard_normal((N, N))
    y = RNG.standard_normal(N)
    memory, _ = make_steady(W, y, name, tau=tau)
    found = fh.stability(memory, y)
    Lam = np.diag(naive.derivative(name, y, 0.01 if name == "leaky_relu" else 1.0))
    rate = np.ones(N) if tau is None else 1 / tau
    full = np.linalg.eigvals(rate[:, None] * (W @ Lam - np.eye(N)))
    assert found.k[0] == ((y <= 0).sum() if name == "relu" else 0)
    due = np.concatenate([shown(found), -rate[y <= 0] if name == "relu" else []])
    np.testing.assert_allclose(by_real_part(due.astype(complex)), by_real_part(full.astype(complex)), atol=1e-12)
    assert found.largest[0] == pytest.approx(shown(found).real.max())
    assert np.isnan(found.spectrum[0, N - found.k[0] :]).all()


@pytest.mark.parametrize("kind", ["symmetric", "free"])
@pytest.mark.parametrize(
    "layers",
    [
        [(3, "softmax"), (3, "relu")],
        [(4, {"name": "layer_norm", "epsilon": 0.0}), (2, "tanh")],
        [(3, "layer_norm"), (3, "sphere")],
    ],
)
def test_c18_with_blocks(layers, kind):
    W = symmetric() if kind == "symmetric" else RNG.standard_normal((N, N))
    y = RNG.standard_normal(N)
    memory, _ = make_steady(W, y, None, layers=layers)
    found = fh.stability(memory, y)

    def flow(x):
        return fh.residual(memory, x)

    full = by_real_part(np.linalg.eigvals(numerical_jacobian(flow, y)))
    due = np.concatenate([shown(found), np.full(found.k[0], -1.0)])
    np.testing.assert_allclose(by_real_part(due.astype(complex)), full, atol=1e-7)


def test_c25_stable_where_lambda_minus_lambda_w_lambda_is_positive():
    verdicts = []
    for _ in range(60):
        W, y = symmetric(scale=0.9), RNG.standard_normal(N)
        found = fh.stability(make_steady(W, y, "tanh")[0], y)
        Lam = np.diag(1 / np.cosh(y) ** 2)
        assert (found.verdict[0] == "stable") == (np.linalg.eigvalsh(Lam - Lam @ W @ Lam)[0] > 0)
        verdicts.append(found.verdict[0])
    assert {"stable", "unstable"} == set(verdicts)


def test_c19_a_zero_eigenvalue_decides_nothing():
    y = np.arctanh(1 / np.sqrt(2))
    memory = fh.Memory([[2.0]], [y - np.sqrt(2)])
    found = fh.stability(memory, [[y]])
    assert found.verdict.tolist() == ["undecided"]
    assert abs(found.largest[0]) < 1e-12
    # It attracts from one side and repels on the other.
    below = fh.settle(memory, [[y - 0.05]]).state[0, 0]
    assert below == pytest.approx(-2.5064071892393397, abs=1e-8)  # fixed-point iteration
    above = fh.simulate(memory, [[y + 0.05]], t_end=2000, dt=0.5).state[0, 0]
    assert 0 < above - y < 0.01


def test_a_state_that_is_not_steady_has_no_verdict():
    found = fh.stability(fh.Memory(symmetric()), np.ones((1, N)))
    assert found.verdict.tolist() == ["not_steady"]


def test_states_on_a_jump_of_the_slope():
    # At 0 a ReLU neuron may count as alive: with λ_max(W) < 1 that is stable too, beyond it nothing is decided.
    W = np.array([[0.0, 0.9], [0.9, 0.0]])
    assert fh.stability(fh.Memory(W, 0, "relu"), [[0.0, 0.0]]).verdict.tolist() == ["stable"]
    assert fh.stability(fh.Memory(2 * W, 0, "relu"), [[0.0, 0.0]]).verdict.tolist() == ["undecided"]
    free = np.array([[0.0, 0.9], [0.1, 0.0]])
    assert fh.stability(fh.Memory(free, 0, "relu"), [[0.0, 0.0]]).verdict.tolist() == ["undecided"]


def test_c20_dead_neurons_can_make_an_unstable_w_stable():
    W = np.array([[0.5, 0.0], [0.0, 3.0]])
    found = fh.stability(fh.Memory(W, [1.0, -1.0], "relu"), [[2.0, -1.0]])
    assert found.verdict.tolist() == ["stable"]
    assert found.largest.tolist() == [-0.5]


# --- other systems --------------------------------------------------------------------------------------------------

FLOWS = [
    *(("u", R) for R in ("identity", "weights", "polar", "gradient", "hessian")),
    *(("y", R) for R in ("gradient", "gradient-as-printed", "hessian", "weights")),
]


@pytest.mark.parametrize("name", ["tanh", "relu"])
@pytest.mark.parametrize(("variable", "R"), FLOWS)
def test_the_jacobians_of_the_systems(variable, R, name):
    W, y = symmetric(), RNG.standard_normal(N)
    memory, u = make_steady(W, y, name, variable=variable, R=R)
    b, state = memory.b, u if variable == "u" else y
    g, values = naive.ACTIVATIONS[name], np.linalg.eigh(W)
    sign = values[1] @ np.diag(np.sign(values[0])) @ values[1].T

    def flow(x):
        argument = W @ x + b if variable == "u" else x
        left = g(argument) - x if variable == "u" else W @ g(x) - x + b
        Lam = np.diag(naive.derivative(name, argument))
        gradient = np.eye(N) - (W.T @ Lam if variable == "u" else Lam @ W.T)
        drives = {"identity": np.eye(N), "weights": W, "polar": sign, "gradient": gradient, "hessian": Lam}
        return (drives | {"gradient-as-printed": np.eye(N) - W @ Lam})[R] @ left

    due = by_real_part(np.linalg.eigvals(numerical_jacobian(flow, state)))
    found = fh.stability(memory, state)
    # What is dead is -1 under R = I, and is not shown.
    found_values = np.where(np.isnan(found.spectrum[0]), -1.0, found.spectrum[0])
    np.testing.assert_allclose(by_real_part(found_values.astype(complex)), due, atol=2e-8)


def test_c37_the_gradient_flow_attracts_to_saddles():
    W, origin = [[0.0, 2.0], [2.0, 0.0]], [[0.0, 0.0]]
    one = fh.stability(fh.Memory(W), origin)
    np.testing.assert_allclose(one.spectrum[0], [-3, 1], atol=1e-14)
    assert one.verdict.tolist() == ["unstable"]
    for variable in "uy":
        other = fh.stability(fh.Memory(W, variable=variable, R="gradient"), origin)
        np.testing.assert_allclose(other.spectrum[0], [-9, -1], atol=1e-14)
        assert other.verdict.tolist() == ["stable"]


def test_c36_with_an_indefinite_w_no_state_is_stable_under_e2():
    found = {}
    for seed in range(10):
        rng = np.random.default_rng(seed)
        W, b = symmetric(5, 0.9, rng), rng.standard_normal(5)
        y = np.array(fh.steady_states(fh.Memory(W, b, "relu"))["state"].tolist()).reshape(-1, 5)
        u = naive.relu(y)
        found.setdefault("1", []).extend(fh.stability(fh.Memory(W, b, "relu"), y).verdict)
        for R in ("weights", "polar"):
            verdicts = fh.stability(fh.Memory(W, b, "relu", variable="u", R=R), u).verdict
            found.setdefault(R, []).extend(verdicts)
    assert "stable" in found["1"]
    assert set(found["weights"]) == set(found["polar"]) == {"unstable"}


def test_c36_for_positive_w_the_energy_e2_has_the_same_memories():
    W, y = np.array([[0.8, -0.5], [-0.5, 0.8]]), np.array([[5, -1.5], [-1.5, 5], [10 / 7, 10 / 7]])
    for memory, states in [
        (fh.Memory(W, 1.0, "relu"), y),
        (fh.Memory(W, 1.0, "relu", variable="u", R="weights"), naive.relu(y)),
    ]:
        assert fh.stability(memory, states).verdict.tolist() == ["stable", "stable", "unstable"]


def test_c42_where_r_is_singular_nothing_is_decided():
    memory = fh.Memory([[0.2, -1.5], [-1.5, 0.1]], [1, 0.8], "relu", R="hessian")
    assert fh.stability(memory, [[1.25, -1.075]]).verdict.tolist() == ["undecided"]


def test_a_null_direction_of_the_factor_is_none_in_float32_either():
    """Softmax does not feel a shift: F has a null space, on which the orthogonal factor is +1 and not its rounding."""
    W, b = symmetric(scale=0.9, rng=np.random.default_rng(3)), np.random.default_rng(4).standard_normal(N)
    options = {"layers": [(3, "softmax"), (3, "tanh")], "variable": "u", "R": fh.OrthogonalFactor("E1")}
    memory = fh.Memory(W, b, dtype="float32", **options)
    ends = fh.settle(memory, np.random.default_rng(5).standard_normal((20, N)))
    assert ends.settled.all()
    assert (fh.stability(memory, ends.state).verdict == "stable").all()


# --- size -----------------------------------------------------------------------------------------------------------


def test_a_state_does_not_feel_its_batch():
    W, b, states = symmetric(30, 0.2), RNG.standard_normal(30), RNG.standard_normal((40, 30))
    for name in ("relu", "tanh"):
        memory = fh.Memory(W, b, name)
        together = fh.stability(memory, states)
        for i in (0, 17, 39):
            np.testing.assert_array_equal(fh.stability(memory, states[i]).spectrum[0], together.spectrum[i])


@pytest.mark.parametrize("kind", ["symmetric", "free"])
def test_above_some_hundred_neurons_only_the_largest_is_computed(kind, monkeypatch):
    n = 60
    W, y = symmetric(n, 0.3) if kind == "symmetric" else 0.2 * RNG.standard_normal((n, n)), RNG.standard_normal((3, n))
    memory = fh.Memory(W, 0, "tanh")
    due = fh.stability(memory, y)
    monkeypatch.setattr(room, "LARGE", 20)
    found = fh.stability(memory, y)
    assert found.spectrum is None
    np.testing.assert_allclose(found.largest, due.largest, rtol=1e-9)


def test_all_dead_is_stable():
    found = fh.stability(fh.Memory(np.eye(2), -1.0, "relu"), [[-1.0, -1.0]])
    assert found.verdict.tolist() == ["stable"]
    assert found.k.tolist() == [2]
    assert found.largest.tolist() == [-np.inf]
    table = found.to_frame()
    assert table.columns.tolist() == ["verdict", "largest", "k"]


@pytest.mark.parametrize(
    ("memory", "states", "words"),
    [
        (fh.Memory(np.eye(2)), np.zeros((1, 3)), r"states must have shape \(B, 2\)"),
        (fh.Memory(np.eye(2)), [[np.inf, 0]], "states must be finite"),
        (fh.Memory(np.zeros((2, 3, 3))), np.zeros((2, 1, 3)), "memory must be one memory; got 2"),
    ],
)
def test_bad_input_is_one_sentence(memory, states, words):
    with pytest.raises(ValueError, match=words):
        fh.stability(memory, states)
