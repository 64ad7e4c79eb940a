"""Example 7 and Appendices A and D of arXiv 2410.13866: hierarchical memories, and memories of other papers."""

import warnings

import numpy as np
import pytest
from scipy import special
from scipy.integrate import quad

import fasthop as fh
import naive
from fasthop.model.activations import SmoothLeakyReLU

RNG = np.random.default_rng(22)


def rises(memory, starts, kind, t_end=8.0, dt=0.02):
    path = fh.simulate(memory, starts, t_end=t_end, dt=dt, save_at=np.arange(0, t_end + dt / 2, 0.1)).states
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        E = np.array([fh.energy(memory, states, kind) for states in path])
    return (np.diff(E, axis=0) / (1 + np.abs(E[1:]))).max(axis=0)


# --- Example 7 ------------------------------------------------------------------------------------------------------


def test_c43_the_smooth_leaky_relu_has_a_positive_slope_everywhere():
    x = np.linspace(-40, 40, 800_001)
    kind = SmoothLeakyReLU()
    slope = kind.slope(x)
    assert kind.max_slope == pytest.approx(1.09667810888887, abs=1e-14)
    assert slope.max() == pytest.approx(kind.max_slope, abs=1e-9)
    assert x[slope.argmax()] == pytest.approx(8 / 3, abs=1e-3)
    assert slope.min() == pytest.approx(0.15332189111113, abs=1e-9)
    assert x[slope.argmin()] == pytest.approx(-8 / 3, abs=1e-3)
    np.testing.assert_allclose(kind.g(x), x * (5 + 3 * special.erf(3 * x / 8)) / 8, rtol=1e-14, atol=1e-300)
    assert kind.g(np.zeros(1))[0] == 0


@pytest.mark.parametrize("layers", [2, 3, 6, 7, 12])
def test_c45_the_norm_of_a_chain_is_at_most_a_cosine(layers):
    for widths in ([1] * layers, [5, 3, 8, 2, 6, 4, 7, 3, 5, 4, 6, 2][:layers]):
        chain = fh.Blocks.chain(widths, tied=False, seed=3)
        paper = fh.models.hierarchical_memory(chain, normalisation="paper")
        bound = np.cos(np.pi / (layers + 1))
        slope = SmoothLeakyReLU().max_slope
        assert np.linalg.norm(paper.W, 2) <= bound + 1e-14
        if widths[0] == 1:
            signs = np.abs(paper.W)  # the bound is attained by equal signs
            assert np.linalg.norm(signs, 2) == pytest.approx(bound)
        assert (fh.models.contraction_bound(paper) < 1) or layers >= 7
        safe = fh.models.hierarchical_memory(chain)
        assert fh.models.contraction_bound(safe) <= bound + 1e-14
        assert fh.models.contraction_bound(safe) == pytest.approx(fh.models.contraction_bound(paper) / slope)
        for i, j in ((0, 1), (1, 0)):
            edges = np.concatenate([[0], np.cumsum(widths)])
            block = safe.W[edges[i] : edges[i + 1], edges[j] : edges[j + 1]]
            assert np.linalg.norm(block, 2) == pytest.approx(0.5 / slope)


def test_c45_from_seven_layers_on_the_papers_normalisation_lets_false_memories_attract():
    half = {(i, i + s): [[0.5]] for i in range(7) for s in (-1, 1) if 0 <= i + s < 7}
    W = fh.Blocks([1] * 7, half, tied=False)
    place = 2.1435540719
    kind = SmoothLeakyReLU()
    g = kind.g(np.full(7, place))
    v = np.sin(np.pi * np.arange(1, 8) / 8)
    for t, size in ((-0.3, 0.60), (-1.0, 2.0)):
        u = g + t * v
        memory = fh.models.hierarchical_memory(W, place - W.to_dense() @ u, normalisation="paper")
        np.testing.assert_allclose(memory.W, W.to_dense(), atol=1e-15)
        R = np.eye(7) - memory.W.T @ np.diag(kind.slope(memory.W @ u + memory.b))
        assert np.linalg.svd(R, compute_uv=False)[-1] < 1e-9
        assert np.linalg.norm(fh.residual(memory, u)) == pytest.approx(size, abs=0.01)
        ends = fh.settle(memory, [u + 1e-3 * RNG.standard_normal(7)], tolerance=1e-6)
        assert ends.kind.tolist() == ["false_memory"]
        np.testing.assert_allclose(ends.state[0], u, atol=0.05)
        # The safe normalisation has one memory and no false one, also with this bias and from here.
        safe = fh.models.hierarchical_memory(W, memory.b)
        both = fh.settle(safe, [u, 5 * RNG.standard_normal(7), -10 * np.ones(7)])
        assert both.settled.all()
        assert np.ptp(both.state, axis=0).max() < 1e-7


@pytest.mark.parametrize("variable", ["u", "y"])
def test_example_7_is_a_gradient_flow_in_both_variables(variable):
    memory = fh.models.hierarchical_memory(fh.Blocks.chain([6, 4, 3], tied=False, seed=1), 0.3, variable=variable)
    kind = "E3" if variable == "u" else "10"
    assert fh.why_not_lyapunov(memory, kind) == []
    assert not memory.symmetric
    assert rises(memory, 3 * RNG.standard_normal((10, 13)), kind).max() <= 1e-12


def test_free_blocks_of_a_chain_begin_as_the_tied_ones():
    tied, free = (fh.Blocks.chain([4, 3, 2], tied=tied, seed=5).to_dense() for tied in (True, False))
    np.testing.assert_array_equal(np.triu(tied), np.triu(free))
    assert not np.array_equal(np.tril(tied), np.tril(free))
    assert (np.tril(free)[4:, :4] != 0).sum() == 12


# --- other papers ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("memories", ["softmax", "relu", "tanh"])
def test_c55_two_groups_are_system_1_and_the_energies_are_equal(memories):
    xi, I = RNG.standard_normal((4, 6)), RNG.standard_normal(6)  # noqa: E741
    memory = fh.models.krotov_hopfield(xi, "tanh", memories, bias=I, tau_features=2.0, tau_memories=0.5)
    f = fh.Memory(np.eye(4), activation=memories).activation

    def two_groups(state):
        v, h = state[:, :6], state[:, 6:]
        return np.concatenate([(f.g(h) @ xi - v + I) / 2.0, (np.tanh(v) @ xi.T - h) / 0.5], axis=1)

    starts = RNG.standard_normal((9, 10))
    due = naive.rk4(two_groups, starts, 0.05, 40)
    np.testing.assert_allclose(fh.simulate(memory, starts, t_end=2, dt=0.05).state, due, atol=1e-13)
    v, h = starts[:, :6], starts[:, 6:]
    L_v, L_h = np.log(np.cosh(v)).sum(axis=1), f.lagrangian(h).sum(axis=1)
    energy = (
        ((v - I) * np.tanh(v)).sum(axis=1) - L_v + (h * f.g(h)).sum(axis=1) - L_h
        - ((f.g(h) @ xi) * np.tanh(v)).sum(axis=1)
    )  # fmt: skip
    np.testing.assert_allclose(fh.energy(memory, starts), energy, atol=1e-13)
    assert rises(memory, starts, "2").max() <= 1e-12


def test_c56_time_constants_within_a_softmax_let_the_energy_rise_and_are_refused():
    tau = np.array([1.0, 100.0])
    with pytest.raises(ValueError, match="tau must be constant within layers\\[0\\], a block of softmax"):
        fh.Memory(np.zeros((2, 2)), [1, 2], "softmax", tau=tau)

    def E(y):
        p = np.exp(y) / np.exp(y).sum()
        return (y - [1, 2]) @ p - np.log(np.exp(y).sum())

    y = naive.rk4(lambda y: (np.array([1, 2]) - y) / tau, np.zeros(2), 0.01, 400)
    assert E(np.zeros(2)) == pytest.approx(-2.193, abs=1e-3)
    assert E(y) > E(np.zeros(2)) + 0.2  # why it is refused
    # Elsewhere τ changes the way and neither the energy's descent nor what is stable.
    A = RNG.standard_normal((8, 8))
    memory = fh.Memory((A + A.T) / 2, RNG.standard_normal(8), tau=RNG.uniform(0.2, 5, 8))
    assert rises(memory, RNG.standard_normal((10, 8)), "2").max() <= 1e-12


def hopfield(T, current, C, R):
    def flow(u):
        return (np.tanh(1.5 * u) @ T.T - u / R + current) / C

    def energy(u):
        V = np.tanh(1.5 * u)
        inverse = np.array([[quad(lambda s: np.arctanh(s) / 1.5, 0, v)[0] for v in row] for row in V])
        return -0.5 * ((V @ T) * V).sum(axis=1) + (inverse / R).sum(axis=1) - V @ current

    return flow, energy


def test_c57_c58_hopfields_amplifiers_with_their_capacities_and_resistances():
    A = RNG.standard_normal((6, 6))
    T, current = (A + A.T) / 2, RNG.standard_normal(6)
    C, R = RNG.uniform(0.3, 3, 6), np.repeat(RNG.uniform(0.3, 3, 3), 2)
    memory = fh.models.hopfield_1984(T, current, C, R, fh.Tanh(1.5))
    assert [layer.neurons for layer in memory.layers] == [2, 2, 2]
    flow, energy = hopfield(T, current, C, R)
    u = RNG.standard_normal((7, 6))
    due = naive.rk4(flow, u, 0.02, 100)
    np.testing.assert_allclose(fh.simulate(memory, u / R, t_end=2, dt=0.02).state * R, due, atol=1e-12)
    for kind in ("2", "3"):
        np.testing.assert_allclose(fh.energy(memory, u / R, kind), energy(u), atol=1e-9)
        assert rises(memory, u / R, kind).max() <= 1e-12
    # With + ΣI V, as the paper prints it, the energy rises.
    path = fh.simulate(memory, u / R, t_end=4, dt=0.02, save_at=np.arange(0, 4.01, 0.1)).states * R
    printed = np.array([energy(states) + 2 * np.tanh(1.5 * states) @ current for states in path])
    assert (np.diff(printed, axis=0) > 1e-6).any()


def test_c58_multiplying_t_by_r_keeps_the_flow_and_loses_the_energy():
    A = RNG.standard_normal((5, 5))
    T, R = (A + A.T) / 2, RNG.uniform(0.2, 5, 5)
    memory = fh.Memory(R[:, None] * T, R * RNG.standard_normal(5))
    assert fh.why_not_lyapunov(memory, "2") == ["W is not symmetric."]


def test_dense_memories_of_every_power_hold_their_patterns():
    patterns = fh.random_patterns(30, 40, seed=1)
    for power in (2, 3, 4):
        few = patterns[:2] if power == 2 else patterns
        memory = fh.models.dense_associative_memory(few, power)
        assert memory.neurons == 40 + len(few)
        # The pattern's own memory drives every feature with 1.
        scale = 40.0 ** (1 / power - 1)
        h = scale * (few[0] @ few[0])
        np.testing.assert_allclose(scale * few[0] * h ** (power - 1), few[0])
        np.testing.assert_allclose(memory.W[:40, 40:], scale * few.T)
        cues = fh.flip(few, 0.05, cues=2 * len(few), seed=2)
        starts = np.concatenate([cues, scale * cues @ few.T], axis=1)
        ends = fh.settle(memory, starts, t_max=200)
        good = (np.sign(ends.state[:, :40]) == few[np.arange(len(cues)) % len(few)]).all(axis=1)
        assert good.mean() > 0.9
    with pytest.raises(ValueError, match="dt must be given: the slope of identity, rectified_power is not bounded"):
        fh.settle(fh.models.dense_associative_memory(few, 3, "identity"), starts)


def test_dense_memories_that_are_not_rectified_and_exponential_ones():
    xi = fh.random_patterns(30, 16, seed=2)
    cubic = fh.models.dense_associative_memory(xi, 3, rectified=False)
    v = np.full(16, 0.4)
    h = 16.0 ** (-2 / 3) * xi @ np.tanh(8 * v)
    field = fh.residual(cubic, np.concatenate([v, h])[None])[0]
    np.testing.assert_allclose(field[:16], 16.0 ** (-2 / 3) * xi.T @ h**2 - v, atol=1e-13)
    np.testing.assert_allclose(field[16:], 0, atol=1e-13)
    exponential = fh.models.exponential_memory(xi)
    start = np.concatenate([xi, np.tanh(8 * xi) @ xi.T - 16], axis=1)
    h = xi @ np.tanh(8 * xi[3]) - 16
    field = fh.residual(exponential, np.concatenate([xi[3], h])[None])[0]
    np.testing.assert_allclose(field[:16], xi.T @ np.exp(h) - xi[3], atol=1e-13)
    ends = fh.settle(exponential, start, t_max=200)
    assert ends.settled.all()
    assert (np.sign(ends.state[:, :16]) == xi).all()
    with pytest.raises(ValueError, match=r"memory_bias must be a number or have shape \(30,\), one for a memory"):
        fh.models.krotov_hopfield(xi, memory_bias=np.zeros(16))


def test_softmax_memories_take_the_attention_step():
    patterns = fh.random_patterns(20, 64, seed=1)
    beta = 0.5
    memory = fh.models.softmax_memory(patterns, beta, tau_memories=1e-3)
    v = patterns[3] + 0.5 * RNG.standard_normal(64)
    start = np.concatenate([v, patterns @ v])[None]
    end = fh.settle(memory, start)
    assert end.settled.all()
    attention = patterns.T @ special.softmax(beta * patterns @ end.state[0, :64])
    np.testing.assert_allclose(end.state[0, :64], attention, atol=1e-8)
    np.testing.assert_allclose(end.state[0, :64], patterns[3], atol=1e-6)
    assert rises(memory, start, "2", t_end=0.4, dt=1e-4 * 5).max() <= 1e-12


# --- the split (4) --------------------------------------------------------------------------------------------------


def test_c17_the_split_is_system_1_while_the_dead_stay_dead():
    W = np.array([[0.3, -0.6], [-0.6, 0.2]])
    one = fh.Memory(W, [1.0, 0.2], "relu")  # one memory at (10/7, −23/35), its second neuron dead
    dead = np.array([False, True])
    four = fh.models.alive_and_dead(one, dead, [0.0, -1.0])
    starts = np.array([[2.0, -1.0], [1.0, -3.0]])
    for t in (1.0, 5.0):
        a, b = (fh.simulate(memory, starts, t_end=t, dt=0.05).state for memory in (one, four))
        np.testing.assert_array_equal(a, b)
    np.testing.assert_allclose(fh.settle(four, starts).state, np.tile([10 / 7, -23 / 35], (2, 1)), atol=1e-9)
    # From where it would come alive, (4) goes on as if it were dead.
    alive = np.array([[-1.0, 2.0]])
    a, b = (fh.simulate(memory, alive, t_end=0.5, dt=0.05).state for memory in (one, four))
    assert np.abs(a - b).max() > 0.1


@pytest.mark.parametrize("activation", ["tanh", "sigmoid", "selu", "hard_tanh"])
def test_c11_c17_the_dead_keep_the_output_of_their_reference(activation):
    A = RNG.standard_normal((6, 6)) / 3
    memory = fh.Memory((A + A.T) / 2, RNG.standard_normal(6), activation)
    kind = memory.activation
    dead = np.array([True, False, False, True, False, False])
    reference = np.where(dead, [50.0, 0, 0, -60.0, 0, 0] if activation != "selu" else [-50.0, 0, 0, -60.0, 0, 0], 0.0)
    if activation == "sigmoid":
        reference[3] = -800.0
    four = fh.models.alive_and_dead(memory, dead, reference)
    starts = RNG.standard_normal((5, 6))

    def flow(y):
        seen = np.where(dead, reference, y)  # y_a + y_d0
        return kind.g(seen) @ memory.W.T - y + memory.b

    due = naive.rk4(flow, starts, 0.05, 40)
    np.testing.assert_allclose(fh.simulate(four, starts, t_end=2, dt=0.05).state, due, atol=1e-13)
    with pytest.raises(ValueError, match="reference\\[0\\] = 0 is not dead: Λ = "):
        fh.models.alive_and_dead(memory, dead, np.zeros(6))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: fh.models.krotov_hopfield(np.ones(3)), "xi must have shape"),
        (
            lambda: fh.models.krotov_hopfield(np.ones((2, 3)), bias=np.ones(2)),
            "bias must be a number or have shape \\(3,\\)",
        ),
        (lambda: fh.models.krotov_hopfield(np.ones((2, 3)), tau_memories=0.0), "tau_memories must be finite, above 0"),
        (lambda: fh.models.dense_associative_memory(np.ones((2, 3)), 1), "power must be at least 2; got 1"),
        (lambda: fh.models.hopfield_1984(np.eye(2), resistance=[1.0, -1.0]), "resistance must be positive; got -1"),
        (
            lambda: fh.models.hopfield_1984(np.eye(2), capacitance=np.ones(3)),
            "capacitance must be a number or have shape",
        ),
        (lambda: fh.models.hopfield_1984(np.eye(2), gain="relu"), "gain must be tanh or sigmoid"),
        (
            lambda: fh.models.hierarchical_memory(fh.Blocks.chain([2, 2]), normalisation="none"),
            "normalisation must be one of",
        ),
        (
            lambda: fh.models.hierarchical_memory(fh.Blocks.chain([2, 2]), variable="v"),
            "variable must be one of 'u', 'y'",
        ),
        (lambda: fh.Blocks.chain([2, 2]).with_norm(0), "norm must be finite, above 0"),
        (lambda: fh.models.alive_and_dead(fh.Memory(np.eye(2), variable="u"), [True, False], [0, 0]), "variable = 'y'"),
        (lambda: fh.models.alive_and_dead(fh.Memory(np.eye(2)), [1, 0], [0, 0]), "dead must be 2 booleans"),
        (
            lambda: fh.models.alive_and_dead(fh.Memory(np.eye(2), activation="softmax"), [True, False], [0, 0]),
            "a block of softmax",
        ),
    ],
)
def test_what_does_not_fit_is_one_sentence(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_c45_a_matrix_is_no_hierarchy_and_a_gain_for_each_neuron_no_layer_norm():
    with pytest.raises(TypeError, match="weights must be Blocks between layers; got ndarray"):
        fh.models.hierarchical_memory(np.eye(2))
    with pytest.raises(ValueError, match="gamma must be one number: with a gain for each neuron Λ is not symmetric"):
        fh.LayerNorm(gamma=[1.0, 2.0])
