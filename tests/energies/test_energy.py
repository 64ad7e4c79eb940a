import warnings

import mpmath as mp
import numpy as np
import pytest
from scipy.integrate import quad
from scipy.optimize import brentq

import naive
from fasthop.dynamics.ensemble import simulate
from fasthop.energies.energy import energy
from fasthop.model.activations import LeakyReLU, ReLU, Sigmoid, SmoothLeakyReLU, Tanh
from fasthop.model.memory import Memory

ALL = [Tanh(), Tanh(3), Sigmoid(), Sigmoid(0.5), ReLU(), LeakyReLU(), LeakyReLU(0.3), SmoothLeakyReLU()]


def draw(neurons, batch, seed=0, count=None):
    rng = np.random.default_rng([neurons, batch, seed])
    shape = () if count is None else (count,)
    W = rng.normal(size=(*shape, neurons, neurons)) / 2
    W = (W + np.swapaxes(W, -1, -2)) / 2
    return W, rng.normal(size=(*shape, neurons)), 3 * rng.normal(size=(*shape, batch, neurons))


# --- the formula ----------------------------------------------------------------------------------------------------

G_AND_L = {
    "tanh": lambda y, a: (mp.tanh(a * y), mp.log(mp.cosh(a * y)) / a),
    "sigmoid": lambda y, a: (1 / (1 + mp.exp(-a * y)), mp.log(1 + mp.exp(a * y)) / a),
    "relu": lambda y, a: (max(y, mp.mpf(0)), max(y, mp.mpf(0)) ** 2 / 2),
    "leaky_relu": lambda y, a: (y if y > 0 else a * y, (1 if y > 0 else a) * y**2 / 2),
    "smooth_leaky_relu": lambda y, a: (
        y * (5 + 3 * mp.erf(3 * y / 8)) / 8,
        mp.quad(lambda t: t * (5 + 3 * mp.erf(3 * t / 8)) / 8, [0, y]),
    ),
}


def exact_energy(memory, y):
    """Energy (2) as it is printed, with fifty digits, of the numbers that the memory holds."""
    n = range(memory.neurons)
    a = mp.mpf(float(memory.dtype.type(memory.activation.parameter)))
    with mp.workdps(50):
        y, b = [mp.mpf(float(v)) for v in y], [mp.mpf(float(v)) for v in memory.b]
        g, L = zip(*(G_AND_L[memory.activation.name](v, a) for v in y), strict=True)
        quadratic = sum(g[i] * mp.mpf(float(memory.W[i, j])) * g[j] for i in n for j in n)
        return float(sum((y[i] - b[i]) * g[i] - L[i] for i in n) - quadratic / 2)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("activation", ALL, ids=str)
def test_energy_is_the_printed_one(activation, dtype):
    W, b, states = draw(5, 4)
    memory = Memory(W, b, activation, dtype=dtype)
    states = states.astype(dtype)
    values = energy(memory, states)
    assert values.dtype == dtype
    due = np.array([exact_energy(memory, y) for y in states])
    tolerance = 2e-15 if dtype == np.float64 else 1e-6
    scale = 1 + (np.abs(states) ** 2).sum(axis=1) * (1 + np.abs(W).sum())
    assert (np.abs(values - due) <= tolerance * scale).all()


@pytest.mark.parametrize("neurons", [1, 2, 3, 4, 7, 33, 70])
@pytest.mark.parametrize("batch", [1, 8, 9, 100])
def test_energy_is_naives_for_all_sizes(neurons, batch):
    W, b, states = draw(neurons, batch)
    g, L = np.tanh(states), naive.lagrangian("tanh", states)
    due = [naive.energy(W, b, *row) for row in zip(g, L, states, strict=True)]
    np.testing.assert_allclose(energy(Memory(W, b), states), due, rtol=1e-12, atol=1e-12)
    with pytest.raises(AssertionError):
        np.testing.assert_allclose(energy(Memory(W, b * (1 + 1e-9)), states), due, rtol=1e-12, atol=1e-12)


def test_one_state_many_memories_and_single_precision():
    W, b, states = draw(6, 21, count=4)
    together = energy(Memory(W, b), states)
    assert together.shape == (4, 21)
    for k in range(4):
        memory = Memory(W[k], b[k])
        np.testing.assert_array_equal(energy(memory, states[k]), together[k])
        assert energy(memory, states[k, 3]) == together[k, 3]
        assert np.shape(energy(memory, states[k, 3])) == ()
        np.testing.assert_array_equal(energy(memory, states[k, ::-1]), together[k, ::-1])


# --- a Lyapunov function --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("activation", ALL, ids=str)
def test_energy_falls_at_the_rate_of_the_identity(activation):
    """Claim C1: dE/dt = −hᵀ Λ h with h the right side of (1)."""
    W, b, states = draw(9, 50)
    states = states[np.abs(states).min(axis=1) > 0.02]  # away from kinks
    memory = Memory(W, b, activation)
    a = activation.parameter
    g = naive.ACTIVATIONS[activation.name]
    h = naive.slope(W, b, lambda y: g(y, a) if a else g(y), states)
    due = -(h**2 * naive.derivative(activation.name, states, a)).sum(axis=1)
    step = 1e-3 / np.abs(h).max(axis=1, keepdims=True)
    near, far = (energy(memory, states + k * step * h) - energy(memory, states - k * step * h) for k in (1, 2))
    rate = (8 * near - far) / (12 * step[:, 0])
    np.testing.assert_allclose(rate, due, rtol=1e-8, atol=1e-8 * np.abs(due).max())
    assert (due < 0).all()


def rises(memory, starts):
    """Largest rise of E in a step relative to 1 + |E|, for every trajectory."""
    times = np.arange(201) * 0.05
    states = simulate(memory, starts, t_end=10, dt=0.05, save_at=times).states
    E = energy(memory, states.reshape(-1, memory.neurons)).reshape(states.shape[:-1])
    return (np.diff(E, axis=0) / (1 + np.abs(E[1:]))).max(axis=0)


@pytest.mark.parametrize("activation", ALL, ids=str)
def test_energy_never_rises_along_trajectories(activation):
    W, b, starts = draw(12, 30)
    assert rises(Memory(W, b, activation), starts).max() <= 1e-12


def test_energy_rises_where_weights_are_not_symmetric_and_a_warning_says_so():
    rng = np.random.default_rng(1)
    memory = Memory(rng.normal(size=(12, 12)), rng.normal(size=12))
    with pytest.warns(RuntimeWarning, match="need not decrease here: W is not symmetric"):
        up = rises(memory, rng.normal(size=(50, 12)))
    assert (up > 1e-6).mean() > 0.5
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        energy(Memory((memory.W + memory.W.T) / 2, memory.b), np.zeros(12))


# --- dead neurons ---------------------------------------------------------------------------------------------------


def test_energy_is_flat_along_dead_neurons_to_the_last_bit():
    """Claims C4 and C10: lowering neurons that a ReLU has silenced changes nothing."""
    rng = np.random.default_rng(2)
    W, b, states = draw(8, 200)
    memory = Memory(W, b, "relu")
    dead = states <= 0
    expected = energy(memory, states)
    for size in (1e-3, 1.0, 5.0, 1e9):
        moved = states - dead * size * rng.random(states.shape)
        np.testing.assert_array_equal(energy(memory, moved), expected)
        assert (moved != states).any(axis=1).sum() > 190
    alive = states + (states > 0) * 1e-3
    assert (energy(memory, alive)[(~dead).any(axis=1)] != expected[(~dead).any(axis=1)]).all()


def test_energy_is_flat_where_sigmoids_saturate_and_the_printed_form_drifts():
    """Claim 0.2."""
    W, b, _ = draw(3, 1)
    b[0] = 0
    states = np.array([[40.0, 0.3, -1.2], [40.0 + 1e12, 0.3, -1.2]])
    E = energy(Memory(W, b, "sigmoid"), states)
    assert abs(E[1] - E[0]) <= 4 * np.spacing(abs(E[0]))
    g, L = naive.sigmoid(states), naive.lagrangian("sigmoid", states)
    printed = [naive.energy(W, b, *row) for row in zip(g, L, states, strict=True)]
    assert printed[0] == pytest.approx(E[0], rel=1e-13)
    assert abs(printed[1] - printed[0]) > 1e-6


# --- energy (3) -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("activation", [Tanh(), Tanh(3), Sigmoid(), LeakyReLU(0.3), SmoothLeakyReLU()], ids=str)
def test_energy_2_is_energy_3_up_to_a_constant(activation):
    """Claim C12: E(3) = Σ ∫₀^g g⁻¹ − b·g − ½ gᵀW g, with the integral of an inverse that is found by bisection."""
    W, b, states = draw(3, 6)
    a = activation.parameter
    formula = naive.ACTIVATIONS[activation.name]

    def g(y):
        return formula(y, a) if a else formula(y)

    def inverse(v):
        return brentq(lambda y: g(y) - v, -800, 800, xtol=1e-15, rtol=1e-15)

    def integral(y):
        # The interval begins where the range of g does; near there the inverse is infinite but integrable.
        return quad(inverse, 0, g(y), epsabs=1e-11, epsrel=1e-11, limit=200)[0]

    rest = [-b @ g(y) - g(y) @ W @ g(y) / 2 for y in states]
    third = np.array([sum(map(integral, y)) for y in states]) + rest
    second = energy(Memory(W, b, activation), states)
    assert np.ptp(third - second) < 1e-8
    assert np.ptp(second) > 0.1
    assert np.ptp(second - rest) > 0.1  # the integral is not the constant


@pytest.mark.parametrize(
    ("states", "words"),
    [
        (np.zeros((2, 4)), ["states", "(B, 3)", "(2, 4)"]),
        (np.zeros(4), ["states", "(B, 3)"]),
        ([[0, 0, np.inf]], ["states[0, 2] is inf", "finite"]),
    ],
)
def test_bad_states_are_refused(states, words):
    with pytest.raises(ValueError, match="states must") as caught:
        energy(Memory(np.zeros((3, 3))), states)
    assert all(word in str(caught.value) for word in words)
