"""Dead neurons and recovery, against NumPy and the claims of arXiv 2410.13866, sections 2 and 3."""

import numpy as np
import pytest

import fasthop as fh
import naive
from fasthop.model.activations import ACTIVATIONS

ELEMENTWISE = [name for name, kind in ACTIVATIONS.items() if not kind.blockwise]
RNG = np.random.default_rng(11)


def parts(memory):
    ends = np.cumsum([layer.neurons for layer in memory.layers])
    return [slice(end - layer.neurons, end) for end, layer in zip(ends, memory.layers, strict=True)]


# --- where activations are flat -------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", ELEMENTWISE)
def test_g_is_constant_to_the_last_bit_in_a_flat_part_and_not_beside_it(name, dtype):
    kind = ACTIVATIONS[name]()
    for low, high in kind.flat(dtype):
        start, stretch = (low, 1) if np.isinf(high) else (high, -1)
        far = start + stretch * (np.geomspace(1e-30, 1e30, 5000) if high - low == np.inf else np.linspace(0, 2, 5000))
        far = far.astype(dtype)
        ends = np.array([end for end in (low, high) if np.isfinite(end)], dtype)
        values = kind.g(np.concatenate([far, ends]))
        assert (values == values[0]).all()
        if np.isfinite(high):
            assert kind.g(np.array([np.nextafter(dtype(high), dtype(np.inf))]))[0] != values[0]
        if np.isfinite(low):
            assert kind.g(np.array([np.nextafter(dtype(low), dtype(-np.inf))]))[0] != values[0]


def test_which_activations_are_flat_and_where():
    assert fh.ReLU().flat() == ((-np.inf, 0.0),)
    assert fh.LeakyReLU(0.0).flat() == ((-np.inf, 0.0),)
    assert fh.HardTanh().flat() == ((-np.inf, -1.0), (1.0, np.inf))
    assert fh.SoftThreshold(0.5).flat() == ((-0.5, 0.5),)
    for kind in (fh.Identity(), fh.LeakyReLU(0.1), fh.SmoothLeakyReLU(), fh.Softmax(), fh.Sphere()):
        assert kind.flat() == ()
    (_, low), (high, _) = fh.Tanh(4.0).flat()
    assert -low == high
    assert 18 < 4 * high < 20  # 1 − 2e^{−2x} rounds to 1
    (_, low), (high, _) = fh.Sigmoid().flat()
    assert low == pytest.approx(-745.13, abs=0.01)  # the smallest positive number
    assert high == pytest.approx(36.74, abs=0.1)


# --- what is dead ---------------------------------------------------------------------------------------------------


def test_c8_the_dead_neurons_of_a_relu_memory_are_those_at_or_below_zero():
    y = RNG.standard_normal((50, 6))
    y[0, 2] = 0.0
    dead = fh.dead_neurons(fh.Memory(np.zeros((6, 6)), 0, "relu"), y)
    np.testing.assert_array_equal(dead.neurons, y <= 0)
    np.testing.assert_array_equal(dead.k, (y <= 0).sum(axis=1))
    np.testing.assert_array_equal(dead.ray, np.where(y <= 0, -1, 0))
    np.testing.assert_array_equal(dead.reference, np.zeros((50, 6)))


LAYERS = [(3, "softmax"), (4, {"name": "layer_norm", "epsilon": 0.0}), (3, "layer_norm"), (2, "sphere"), (3, "tanh")]


def blocks(rows=5):
    y = RNG.standard_normal((rows, 15))
    y[:, 13], y[:, 14] = 25.0, -30.0
    return fh.Memory(RNG.standard_normal((15, 15)), layers=LAYERS), y


def g_of(memory, y):
    pieces = zip(memory.layers, parts(memory), strict=True)
    return np.concatenate([layer.activation.g(y[..., s]) for layer, s in pieces], axis=-1)


def test_c8_block_directions():
    memory, y = blocks()
    dead = fh.dead_neurons(memory, y)
    assert (dead.k == 1 + 2 + 1 + 1 + 2).all()
    scales = np.array([name == "scale" for _, kind in memory.spans for name in kind.block_directions])
    for i, state in enumerate(y):
        V = dead.directions(i)
        assert V.shape == (15, 7)
        np.testing.assert_allclose(V.T @ V, np.eye(7), atol=1e-15)
        # Neurons come first; a block may be moved to both sides, scales only as far as they stay positive.
        moves = 0.3 * RNG.standard_normal(5)
        c = np.concatenate([RNG.uniform(0, 9, 2), np.where(scales, abs(moves), moves)])
        np.testing.assert_allclose(g_of(memory, state + V @ c), g_of(memory, state), atol=1e-14)


def test_projectors_are_those_of_the_directions():
    memory, y = blocks()
    dead = fh.dead_neurons(memory, y)
    x = RNG.standard_normal(y.shape)
    for i in range(len(y)):
        V = dead.directions(i)
        np.testing.assert_allclose(dead.project_dead(x)[i], V @ (V.T @ x[i]), atol=1e-14)
        np.testing.assert_allclose(dead.project_alive(x)[i], x[i] - V @ (V.T @ x[i]), atol=1e-14)


def test_c11_the_dead_cone_needs_a_reference_point():
    memory, y = blocks()
    dead = fh.dead_neurons(memory, y)
    np.testing.assert_allclose(g_of(memory, dead.at_reference()), g_of(memory, y), atol=1e-14)
    # As printed, g(y_a + y_d) = g(y_a), it fails where a neuron saturates away from 0.
    sigmoid = fh.Memory(np.zeros((1, 1)), 0, "sigmoid")
    dead = fh.dead_neurons(sigmoid, [[50.0]])
    assert fh.Sigmoid().g(dead.project_alive(np.array([[50.0]])))[0, 0] == 0.5
    assert fh.Sigmoid().g(dead.at_reference())[0, 0] == 1.0


def test_c24_where_the_slope_vanishes_nothing_need_be_dead():
    for name, place in (("silu", -1.278464542761), ("gelu", -0.751791524694), ("gaussian", 0.0)):
        memory = fh.Memory(np.zeros((2, 2)), 0, name)
        dead = fh.dead_neurons(memory, [[place, -800.0]])
        assert abs(ACTIVATIONS[name]().slope(np.array([place]))[0]) < 1e-12
        assert dead.neurons.tolist() == [[False, True]]
    bounded = fh.dead_neurons(fh.Memory(np.zeros((3, 3)), 0, "soft_threshold"), [[0.5, 2.0, -1.0]])
    assert bounded.neurons.tolist() == [[True, False, True]]
    assert bounded.ray.tolist() == [[0, 0, 0]]


def test_c10_the_energy_is_constant_on_the_dead_cone():
    W = RNG.standard_normal((6, 6))
    memory = fh.Memory(W + W.T, RNG.standard_normal(6), "relu")
    y = RNG.standard_normal((200, 6))
    ray = fh.dead_neurons(memory, y).ray
    moved = y + ray * RNG.uniform(0, 50, y.shape)
    np.testing.assert_array_equal(fh.energy(memory, moved), fh.energy(memory, y))


def test_the_argument_decides_for_variable_u_and_for_many_memories():
    W, u = RNG.standard_normal((3, 4, 4)), RNG.standard_normal((3, 5, 4))
    dead = fh.dead_neurons(fh.Memory(W, 0.2, "relu", variable="u"), u)
    np.testing.assert_array_equal(dead.neurons, np.einsum("kij,kbj->kbi", W, u) + 0.2 <= 0)
    assert dead.k.shape == (3, 5)


# --- recovery -------------------------------------------------------------------------------------------------------


def contracting(n, seed):
    """One steady state, by iteration of y ← W relu(y) + b."""
    rng = np.random.default_rng(seed)
    M = rng.standard_normal((n, n))
    W, b = 0.4 * (M + M.T) / np.abs(np.linalg.eigvalsh(M + M.T)).max(), rng.standard_normal(n)
    y = np.zeros(n)
    for _ in range(200):
        y = W @ naive.relu(y) + b
    return W, b, y


@pytest.mark.parametrize("seed", range(5))
def test_c26_recovery_puts_the_dead_part_of_a_minimiser_where_it_is_steady(seed):
    W, b, y = contracting(7, seed)
    dead = y <= 0
    assert dead.any()
    tilde = np.where(dead, -np.random.default_rng(seed).uniform(0, 20, (9, 7)), y)
    found = fh.states.recover(fh.Memory(W, b, "relu"), tilde)
    assert found.consistent.all()
    np.testing.assert_allclose(found.state, np.broadcast_to(y, (9, 7)), atol=1e-13)
    printed = tilde + np.where(dead, naive.relu(tilde) @ W.T + b, 0)  # ỹ in place of P_a ỹ
    assert np.abs(printed - y).max() > 1


def test_c26_recovery_far_out_in_the_cone_keeps_its_digits():
    W, b, y = contracting(7, 0)
    tilde = np.where(y <= 0, -1e12, y)
    np.testing.assert_allclose(fh.states.recover(fh.Memory(W, b, "relu"), tilde).state, y, atol=1e-13)


def test_c26_a_minimiser_that_belongs_to_no_steady_state_is_told():
    found = fh.states.recover(fh.Memory([[0.5]], [1.0], "relu"), [-3.0])
    assert found.state.tolist() == [1.0]
    assert not found.consistent


def test_c26_recovery_with_blocks():
    W = 0.3 * RNG.standard_normal((7, 7))
    options = {"layers": [(4, "softmax"), (3, "tanh")]}
    y = np.append(RNG.standard_normal(4), [22.0, 0.3, -0.2])
    memory = fh.Memory(W, y - W @ g_of(fh.Memory(W, **options), y), **options)
    tilde = y + np.array([5.0, 5, 5, 5, 3, 0, 0])
    found = fh.states.recover(memory, tilde)
    assert found.consistent
    np.testing.assert_allclose(found.state, y, atol=1e-13)


def test_c26b_the_flat_region_belongs_to_the_basin():
    W, b, y = contracting(7, 1)
    memory, c = fh.Memory(W, b, "relu"), np.where(y <= 0, 3.0, 0)
    h, steps = 0.01, 200
    path = fh.simulate(memory, [y - c], t_end=h * steps, dt=h)
    factor = 1 - h + h**2 / 2 - h**3 / 6 + h**4 / 24
    np.testing.assert_allclose(path.state[0] - y, -c * factor**steps, atol=1e-13)
    np.testing.assert_allclose(path.state[0] - y, -c * np.exp(-h * steps), atol=1e-9)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda m: fh.dead_neurons(m, np.zeros((2, 5))), r"states must have shape \(B, 3\); got \(2, 5\)"),
        (lambda m: fh.dead_neurons(m, [[0, np.nan, 0]]), r"states must be finite; states\[0, 1\] is nan"),
        (
            lambda m: fh.dead_neurons(m, np.zeros((2, 3))).project_dead(np.zeros(3)),
            "x must have the shape",
        ),
        (lambda _: fh.states.recover(fh.Memory([[1.0]], variable="u"), [[0.0]]), "memory must have variable = 'y'"),
    ],
)
def test_bad_input_is_one_sentence(call, words):
    with pytest.raises(ValueError, match=words):
        call(fh.Memory(np.zeros((3, 3)), 0, "relu"))
