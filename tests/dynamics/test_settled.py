"""What counts as settled: neuron by neuron, above what rounding leaves, and never what grows."""

import numpy as np
import pytest

from fasthop.dynamics.ensemble import settle
from fasthop.model.memory import Memory


def test_a_large_neuron_does_not_settle_a_small_one():
    ends = settle(Memory(np.zeros((2, 2)), [1e8, 1.0]), [[1e8, 5.0], [1e8, 1.0], [3.0, 4.0]])
    assert ends.settled.all()
    np.testing.assert_allclose(ends.state[:, 1], 1, rtol=0, atol=1.1e-10)
    np.testing.assert_allclose(ends.state[:, 0], 1e8, rtol=1.1e-10)
    assert (ends.residual <= 1e-10).all()


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("tolerance", [1e-2, 1e-3, 1e-5])
def test_what_grows_for_ever_never_settles(tolerance, dtype):
    """W = 1, b = 1 and ReLU: y = 1 + t, whose ẏ = 1 is small beside y in the end."""
    ends = settle(Memory([[1.0]], 1.0, "relu", dtype=dtype), [[0.0], [2000.0]], tolerance=tolerance, t_max=5000)
    assert ends.kind.tolist() == ["unsettled", "unsettled"]
    np.testing.assert_allclose(ends.state[:, 0] - [0, 2000], ends.time, rtol=1e-3)
    out = settle(Memory([[1.0]], 1.0, "relu", dtype=dtype), [[0.0]], tolerance=tolerance, escape=1e4)
    assert out.kind.tolist() == ["diverged"]


@pytest.mark.parametrize("R", ["gradient", "hessian", "weights"])
def test_what_grows_for_ever_is_no_false_memory_either(R):
    """The same growth beside a neuron that settles, under systems (5) and (9) with an R of 1 along it."""
    grows = Memory([[1.0, 0.0], [0.0, 0.5]], [1.0, 1.0], "relu", R=None if R == "gradient" else R)
    ends = settle(grows, [[0.5, 0.5]], tolerance=1e-3, t_max=3000)
    assert ends.kind.tolist() == ["unsettled"]
    assert ends.state[0, 0] > 1000


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_terms_that_cancel_settle_to_what_rounding_leaves(dtype):
    """y₂ = g₀ − g₁ + 1 with g₀ = g₁ of 2²⁰ and more, beside a tolerance that such a sum cannot meet."""
    for large in (2.0**20, 2.0**29):
        W = np.array([[0.0, 0, 0], [0, 0, 0], [1, -1, 0]])
        W[2] *= 1 / 3  # so that the products are rounded
        ends = settle(Memory(W, [large, large, 1.0], "relu", dtype=dtype), [[0.0, 0.0, 0.0]])
        assert ends.settled.all()
        assert abs(ends.state[0, 2] - 1) <= 8 * np.finfo(dtype).eps * large


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("variable", ["y", "u", "v"])
@pytest.mark.parametrize("name", ["tanh", "relu", "gelu", "softmax", "sigmoid"])
def test_the_least_tolerance_is_reached_by_every_system(name, variable, dtype):
    rng = np.random.default_rng(3)
    for neurons in (1, 6, 40):
        W = rng.normal(size=(neurons, neurons))
        W = 0.6 * (W + W.T) / np.linalg.norm(W + W.T, 2)
        memory = Memory(W, rng.normal(size=neurons), name, variable=variable, dtype=dtype)
        ends = settle(memory, 3 * rng.normal(size=(20, neurons)), tolerance=8.1 * np.finfo(dtype).eps, t_max=500)
        assert ends.settled.all()


def test_a_neuron_decides_for_itself_when_it_has_settled():
    """Independent neurons settle when the last of them does, however large the others are."""
    sizes = 10.0 ** np.arange(-4, 9)
    memory = Memory(np.zeros((13, 13)), sizes)
    alone = [settle(Memory([[0.0]], size), [[size + 3.0]], dt=0.5).steps[0] for size in sizes]
    together = settle(memory, [sizes + 3.0], dt=0.5)
    assert together.steps[0] == max(alone)


def test_steps_of_each_memory():
    memory = Memory(np.stack([np.eye(2) / 2, np.eye(2) / 4]), 1.0)
    starts = np.ones((2, 3, 2))
    both = settle(memory, starts, dt=[0.25, 0.5])
    for k, dt in enumerate((0.25, 0.5)):
        alone = settle(Memory(memory.W[k], 1.0), starts[k], dt=dt)
        np.testing.assert_array_equal(both.state[k], alone.state)
        np.testing.assert_array_equal(both.time[k], alone.time)
    for wrong, message in [([0.1], "shape"), ([0.1, -1.0], "above 0"), (0.0, "above 0"), ([0.1, np.nan], "finite")]:
        with pytest.raises(ValueError, match=message):
            settle(memory, starts, dt=wrong)
