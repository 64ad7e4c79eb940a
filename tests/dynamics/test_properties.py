"""Whatever the shape, the activation and the dtype: what `settle` says of an end is what the equations say of it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import naive
from fasthop.dynamics.ensemble import settle, simulate
from fasthop.energies.energy import energy
from fasthop.model.activations import LeakyReLU, ReLU, Sigmoid, SmoothLeakyReLU, Tanh
from fasthop.model.memory import Memory

activations = st.one_of(
    st.builds(Tanh, st.floats(0.1, 12)),
    st.builds(Sigmoid, st.floats(0.1, 12)),
    st.just(ReLU()),
    st.builds(LeakyReLU, st.floats(0, 1)),
    st.just(SmoothLeakyReLU()),
)


@st.composite
def problems(draw):
    neurons, batch = draw(st.integers(1, 24)), draw(st.integers(1, 40))
    count = draw(st.one_of(st.none(), st.integers(1, 3)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    shape = () if count is None else (count,)
    W = draw(st.floats(0, 1.5)) * rng.normal(size=(*shape, neurons, neurons)) / np.sqrt(neurons)
    if draw(st.booleans()):
        W = (W + np.swapaxes(W, -1, -2)) / 2
    dtype = draw(st.sampled_from([np.float64, np.float32]))
    memory = Memory(W, rng.normal(size=neurons), draw(activations), dtype=dtype)
    scale = 10 ** draw(st.floats(-3, 3))
    return memory, scale * rng.normal(size=(*shape, batch, neurons)).astype(dtype)


def true_residual(memory, states):
    """By naive, in float64, of the numbers that the memory holds; with the size of what is added up in it."""
    a = float(memory.dtype.type(memory.activation.parameter))
    formula = naive.ACTIVATIONS[memory.activation.name]
    W, b, y = (array.astype(float) for array in (memory.W, memory.b, states))
    residual, size = np.empty(y.shape[:-1]), np.empty(y.shape[:-1])
    for k in np.ndindex(y.shape[:-2]):
        g = formula(y[k], a) if a or memory.activation.name == "leaky_relu" else formula(y[k])
        scale = np.maximum(1, np.abs(y[k]))
        residual[k] = (np.abs(g @ W[k].T - y[k] + b[k]) / scale).max(axis=1)
        size[k] = ((np.abs(g) @ np.abs(W[k]).T + np.abs(y[k]) + np.abs(b[k])) / scale).max(axis=1)
    return residual, size


def assert_ends_are_true(memory, starts, ends, tolerance, t_max):
    residual, size = true_residual(memory, ends.state)
    eps = np.finfo(memory.dtype).eps
    gain = max(1.0, memory.activation.max_slope)
    error = eps * (memory.neurons + 8) * size * gain
    assert (np.abs(ends.residual - residual) <= error).all()
    assert (residual[ends.settled] <= tolerance + error[ends.settled]).all()
    # What is out of time though it meets the tolerance does so because it is large, and is not slowing down.
    near = ~ends.settled & ~(ends.residual > memory.dtype.type(tolerance))
    assert (np.abs(ends.state[near]).max(axis=-1) > 1).all()
    most = np.ceil(t_max / ends.dt * (1 - 1e-12))
    assert (ends.steps <= (most if memory.count is None else most[:, None])).all()
    assert ends.paid >= ends.steps.sum() + ends.steps.size
    np.testing.assert_array_equal(ends.state[ends.steps == 0], starts[ends.steps == 0])


@settings(max_examples=80, deadline=None, derandomize=True)
@given(problems(), st.sampled_from(["euler", "rk4"]), st.floats(-5, -1))
def test_ends_are_what_the_equations_say(problem, method, digits):
    memory, starts = problem
    ends = settle(memory, starts, method=method, tolerance=10**digits, t_max=30)
    assert_ends_are_true(memory, starts, ends, 10**digits, 30)
    kinds = set(np.unique(ends.kind))
    assert kinds <= {"settled", "unsettled", "diverged"}


def test_a_wrong_end_is_noticed():
    memory, starts = Memory(np.eye(3) / 2, 0.1), np.ones((4, 3))
    ends = settle(memory, starts, t_max=30)
    assert_ends_are_true(memory, starts, ends, 1e-10, 30)
    ends.state[2, 1] += 1e-8
    with pytest.raises(AssertionError):
        assert_ends_are_true(memory, starts, ends, 1e-10, 30)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(problems())
def test_a_settled_end_is_its_own_end(problem):
    memory, starts = problem
    ends = settle(memory, starts, tolerance=1e-4, t_max=30)
    again = settle(memory, ends.state, tolerance=1e-4, t_max=30)
    # One more step is needed where the residual is within the tolerance of a large |y| alone: is it still falling?
    assert (again.steps[ends.settled] <= 1).all()
    stays = ends.settled & (again.steps == 0)
    np.testing.assert_array_equal(again.state[stays], ends.state[stays])
    assert (again.settled | ~ends.settled).all()


@settings(max_examples=40, deadline=None, derandomize=True)
@given(problems(), st.integers(0, 6), st.integers(0, 6))
def test_time_adds_up(problem, first, second):
    memory, starts = problem
    h = 0.0625
    half = simulate(memory, starts, t_end=first * h, dt=h).state
    whole = simulate(memory, starts, t_end=(first + second) * h, dt=h).state
    np.testing.assert_array_equal(simulate(memory, half, t_end=second * h, dt=h).state, whole)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(problems())
def test_energy_falls_or_w_is_not_symmetric(problem):
    memory, starts = problem
    if memory.symmetric:
        h = float(np.min(0.1 / memory.fastest_rate))
        end = simulate(memory, starts, t_end=h, dt=h).state
        before, after = energy(memory, starts), energy(memory, end)
        g = np.abs(starts).astype(float)
        size = 1 + (g**2).sum(axis=-1) * (1 + np.abs(memory.W).sum())
        assert (after - before <= 10 * np.finfo(memory.dtype).eps * size).all()
