"""Section 2 of arXiv 2410.13866: system (1), energies (2) and (3), dead neurons, Proposition 1.

C1, C2, … count the paper's testable statements in order; where one is wrong as printed, the test is of what is right.
"""

import warnings

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.optimize import brentq

import fasthop as fh

RNG = np.random.default_rng(20)
MONOTONE = [
    *("identity", "relu", "leaky_relu", "smooth_leaky_relu", "tanh", "sigmoid", "softplus", "selu", "hard_tanh"),
    *("soft_threshold", "softmax", "sphere"),
    fh.LayerNorm(gamma=1.5, epsilon=0.1),
]
FLAT_TAILS = ["tanh", "sigmoid", "softplus", "gelu", "silu", "selu", "gaussian", "exp"]


def symmetric(n, scale=1.0, rng=RNG):
    A = rng.standard_normal((n, n))
    return scale * (A + A.T) / 2


def rises(memory, starts, kind=None, t_end=10.0, dt=0.05):
    """The largest step up of an energy along every trajectory, relative to 1 + |E|."""
    times = np.arange(round(t_end / dt) + 1) * dt
    states = fh.simulate(memory, starts, t_end=t_end, dt=dt, save_at=times).states
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        E = np.array([fh.energy(memory, each, kind) for each in states])
    return (np.diff(E, axis=0) / (1 + np.abs(E[1:]))).max(axis=0)


@pytest.mark.parametrize("activation", MONOTONE, ids=str)
def test_c1_energy_2_falls_for_every_monotone_activation(activation):
    memory = fh.Memory(symmetric(12, 0.5), RNG.standard_normal(12), activation)
    assert fh.why_not_lyapunov(memory, "2") == []
    assert rises(memory, 2 * RNG.standard_normal((30, 12))).max() <= 1e-12


@pytest.mark.parametrize("activation", [*MONOTONE, "gelu", "silu", "gaussian"], ids=str)
def test_c1_the_gradient_of_energy_2_is_minus_lambda_h(activation):
    memory = fh.Memory(symmetric(8), RNG.standard_normal(8), activation)
    for y in RNG.standard_normal((5, 8)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            near, far = (
                np.array([float(fh.energy(memory, y + k * e) - fh.energy(memory, y - k * e)) for e in 1e-3 * np.eye(8)])
                for k in (1, 2)
            )
        if np.abs(np.abs(y)[None] - np.array([0, 1])[:, None]).min() < 3e-3:
            continue  # on a kink
        np.testing.assert_allclose(fh.energy_gradient(memory, y[None], "2")[0], (8 * near - far) / 0.012, atol=2e-8)


def test_c2_energy_2_rises_where_w_is_not_symmetric_or_g_not_monotone():
    W, starts = RNG.standard_normal((12, 12)), RNG.standard_normal((50, 12))
    assert (rises(fh.Memory(W, RNG.standard_normal(12)), starts) > 1e-9).sum() >= 35
    gaussian = fh.Memory(symmetric(12), RNG.standard_normal(12), "gaussian")
    assert (rises(gaussian, starts) > 1e-9).sum() >= 40
    assert fh.why_not_lyapunov(gaussian, "2") == ["gaussian is not monotone."]
    for name in ("gelu", "silu"):
        assert fh.why_not_lyapunov(fh.Memory(symmetric(4), activation=name), "2") == [f"{name} is not monotone."]


def test_c2_a_point_where_any_asymmetry_makes_the_energy_rise():
    # dE/dt = −hᵀΛh + hᵀΛKg with K the antisymmetric part: choose b so that h = εKg.
    W, y = RNG.standard_normal((6, 6)), RNG.standard_normal(6)
    K, g = (W - W.T) / 2, np.tanh(y)
    h = 1e-3 * K @ g
    memory = fh.Memory(W, h - W @ g + y)
    np.testing.assert_allclose(fh.residual(memory, y), h, atol=1e-14)
    with pytest.warns(RuntimeWarning, match="W is not symmetric"):
        rate = float(fh.energy(memory, y + 1e-4 * h) - fh.energy(memory, y - 1e-4 * h)) / 2e-4
    assert rate == pytest.approx(float(-h * (1 - g * g) @ h + h * (1 - g * g) @ K @ g), rel=1e-3)
    assert rate > 0


def test_c4_a_dead_relu_leaves_the_energy_constant_and_not_zero():
    memory = fh.Memory(symmetric(3), [1.0, 2.0, -0.5], "relu")
    y = np.array([1.3, 0.8, -0.2])
    E = fh.energy(memory, y + np.array([[0.0], [-1.0], [-5.0]]) * [0, 0, 1])
    assert E[0] == E[1] == E[2] != 0
    assert fh.energy(memory, [-1.0, -2.0, 0.0]) == 0


def test_c5_a_saturated_sigmoid_is_flat_only_as_far_as_its_tail():
    memory = fh.Memory(symmetric(3), RNG.standard_normal(3), "sigmoid")
    y = np.array([3.0, 0.4, -1.0])
    g = 1 / (1 + np.exp(-y))
    E = fh.energy(memory, y)
    bound = (2 + y[0] + abs(memory.b[0]) + abs(memory.W @ g)[0] + abs(memory.W[0, 0])) * np.exp(-y[0])
    for step in (0.5, 5.0, 500.0):
        moved = fh.energy(memory, y + step * np.array([1, 0, 0]))
        assert 0 < abs(moved - E) <= bound + 4 * np.spacing(abs(E))
    low = fh.energy(memory, [[-800.0, 0.4, -1.0], [-9000.0, 0.4, -1.0]])
    assert low[0] == low[1]


@pytest.mark.parametrize(("beta", "shift"), [(1.0, 100.0), (3.0, -7.0)])
def test_c6_softmax_does_not_see_a_common_shift(beta, shift):
    memory = fh.Memory(symmetric(7), RNG.standard_normal(7), fh.Softmax(beta))
    states = RNG.standard_normal((20, 7))
    np.testing.assert_allclose(fh.energy(memory, states + shift), fh.energy(memory, states), rtol=1e-12, atol=1e-12)
    p = np.exp(beta * states) / np.exp(beta * states).sum(axis=1, keepdims=True)
    kind = fh.Softmax(beta)
    for row, each in zip(p, states, strict=True):
        Lam = np.array([kind.apply_slope(each, e) for e in np.eye(7)])
        np.testing.assert_allclose(Lam, beta * (np.diag(row) - np.outer(row, row)), atol=1e-15 * beta)
        values = np.linalg.eigvalsh(Lam)
        assert abs(values[0]) < 1e-15 * beta
        assert values[1] > 0


def test_c7_softmax_sums_to_one():
    values = fh.Softmax(2.0).g(10 * RNG.standard_normal((100, 33)))
    np.testing.assert_allclose(values.sum(axis=1), 1, atol=1e-15)


@pytest.mark.parametrize(
    ("activation", "directions"),
    [
        ("relu", lambda y: -np.eye(6)[y <= 0]),
        ("softmax", lambda y: np.array([np.ones(6), -np.ones(6)])),
        (fh.LayerNorm(epsilon=0.1), lambda y: np.array([np.ones(6), -np.ones(6)])),
        (fh.LayerNorm(epsilon=0.0), lambda y: np.array([np.ones(6), -np.ones(6), y - y.mean()])),
        (fh.Sphere(0.0), lambda y: y[None]),
        ("hard_tanh", lambda y: np.diag(np.sign(y))[np.abs(y) >= 1]),
    ],
    ids=lambda value: None if callable(value) else str(value),
)
def test_c8_g_is_the_same_on_the_whole_cone_of_a_dead_direction(activation, directions):
    kind = fh.Memory(np.eye(6), activation=activation).activation
    for y in 1.5 * RNG.standard_normal((20, 6)):
        V = directions(y)
        for c in RNG.uniform(0, 5, (4, len(V))):
            np.testing.assert_allclose(kind.g(y + c @ V), kind.g(y), atol=2e-15)
        if len(V):
            assert np.abs(kind.g(y - 5 * V[-1]) - kind.g(y)).max() > 1e-3 or (V[-1] == -V[0]).all()


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", FLAT_TAILS)
def test_c9_smooth_activations_are_flat_in_floating_point_alone(name, dtype):
    kind = fh.Memory(np.eye(1), activation=name).activation
    far = -np.array([800.0, 900.0, 3000.0], dtype)
    assert np.ptp(kind.g(far)) == 0  # to the last bit
    assert (kind.slope(far) == 0).all()
    near = -np.array([3.0, 3.1], dtype)
    assert np.ptp(kind.g(near)) > 0


@pytest.mark.parametrize("name", ["relu", "hard_tanh", "rectified_power"])
def test_c10_proposition_1_energy_2_is_constant_on_the_dead_cone(name):
    memory = fh.Memory(symmetric(8), RNG.standard_normal(8), name)
    states = RNG.standard_normal((200, 8)) * 2
    dead = (np.abs(states) >= 1) * np.sign(states) if name == "hard_tanh" else -1.0 * (states <= 0)
    moved = states + dead * RNG.uniform(0, 10, states.shape)
    change = fh.energy(memory, moved) - fh.energy(memory, states)
    # Hard tanh: φ = ½ beyond ±1, and g = ±1, whatever y is.
    np.testing.assert_array_equal(change, 0)


@pytest.mark.parametrize("name", ["identity", "tanh", "sigmoid", "softplus", "selu", "leaky_relu", "smooth_leaky_relu"])
def test_c12_energy_3_is_the_integral_of_the_inverse(name):
    W, b, states = symmetric(3), RNG.standard_normal(3), RNG.standard_normal((4, 3))
    memory = fh.Memory(W, b, name)
    kind = memory.activation

    def g(y):
        return float(kind.g(np.array([y]))[0])

    def integral(y):
        inverse = lambda v: brentq(lambda x: g(x) - v, -750, 750, xtol=1e-15, rtol=1e-15)  # noqa: E731
        return quad(inverse, 0, g(y), epsabs=1e-12, epsrel=1e-12, limit=200)[0]

    outputs = kind.g(states)
    due = [sum(map(integral, y)) - b @ v - v @ W @ v / 2 for y, v in zip(states, outputs, strict=True)]
    np.testing.assert_allclose(fh.energy(memory, states, "3"), due, atol=1e-9)


def test_c12_energy_3_is_for_strictly_monotone_neurons():
    for name in ("relu", "gelu", "softmax", "hard_tanh", "soft_threshold", "rectified_power", fh.LeakyReLU(0.0)):
        with pytest.raises(ValueError, match="kind = '3' needs strictly monotone neurons; layers\\[0\\] is"):
            fh.energy(fh.Memory(np.eye(2), activation=name), np.ones(2), "3")
