"""Whatever the structure, the depth, the activations and the system: the tile does what the formulas say in NumPy."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fasthop as fh
import naive
from fasthop.model.activations import ACTIVATIONS, RectifiedPower, as_activation
from fasthop.model.systems import ALL

#: Without the R that are the same for every structure: they are dense matrices, or ask for symmetric W.
SYSTEMS = [(variable, R) for variable, R in ALL if R not in ("polar", "matrix", "orthogonal factor")]
kinds = st.one_of(
    st.sampled_from([name for name in ACTIVATIONS if name not in ("sphere", "layer_norm", "rectified_power", "power")]),
    st.builds(fh.Softmax, st.floats(0.2, 4)),
    st.builds(fh.LayerNorm, st.floats(0.5, 2), st.floats(0.1, 1)),
    st.builds(fh.Sphere, st.floats(0.1, 1)),
    st.builds(RectifiedPower, st.integers(2, 4)),
    st.builds(fh.Power, st.integers(2, 4)),
)


@st.composite
def memories(draw):
    """(W, b, layers, weights in their structure, variable, R)."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    sizes = draw(st.lists(st.integers(1, 9), min_size=1, max_size=4))
    n = sum(sizes)
    structure = draw(st.sampled_from(["dense", "tied", "free", "low rank"]))
    if structure in ("tied", "free") and len(sizes) > 1:
        weights = fh.Blocks.chain(sizes, tied=structure == "tied", seed=draw(st.integers(0, 99)))
    elif structure == "low rank":
        weights = fh.LowRank(rng.standard_normal((draw(st.integers(1, 5)), n)), self_coupling=draw(st.booleans()))
    else:
        weights = rng.standard_normal((n, n)) / (2 * np.sqrt(n))
    layers = [(size, as_activation(draw(kinds))) for size in sizes]
    return weights, 0.3 * rng.standard_normal(n), layers, *draw(st.sampled_from(SYSTEMS)), rng


def flow(W, b, layers, variable, R):
    edges = np.concatenate([[0], np.cumsum([size for size, _ in layers])])
    spans = [(slice(*pair), kind) for pair, (_, kind) in zip(np.c_[edges[:-1], edges[1:]], layers, strict=True)]

    def g(x):
        return np.concatenate([kind.g(x[:, span]) for span, kind in spans], axis=1)

    def Lam(x, v):
        return np.concatenate([kind.apply_slope(x[:, span], v[:, span]) for span, kind in spans], axis=1)

    def velocity(y):
        x = y if variable == "y" else y @ W.T + b
        r = {"y": lambda: g(x) @ W.T - y + b, "u": lambda: g(x) - y, "v": lambda: g(x) @ W - y}[variable]()
        return {
            "identity": lambda: r,
            "weights": lambda: r @ W.T,
            "hessian": lambda: Lam(x, r),
            "gradient": lambda: r - (Lam(x, r @ W) if variable == "y" else Lam(x, r) @ W),
            "gradient-as-printed": lambda: r - Lam(x, r) @ W.T,
        }[R]()

    return velocity


def assert_same_path(problem, method, batch):
    weights, b, layers, variable, R, rng = problem
    memory = fh.Memory(weights, b, layers=layers, variable=variable, R=R)
    starts = 0.4 * rng.standard_normal((batch, memory.neurons))  # powers blow up from afar
    due = naive.METHODS[method](flow(memory.W, b, layers, variable, R), starts, 0.02, 6)
    found = fh.simulate(memory, starts, t_end=0.12, dt=0.02, method=method).state
    np.testing.assert_allclose(found, due, rtol=1e-12, atol=1e-12)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(memories(), st.sampled_from(["euler", "rk4"]), st.integers(1, 60))
def test_every_structure_activation_and_system(problem, method, batch):
    assert_same_path(problem, method, batch)


def test_a_wrong_formula_is_noticed():
    rng = np.random.default_rng(0)
    problem = (rng.standard_normal((4, 4)) / 4, np.zeros(4), [(4, as_activation("tanh"))], "y", "gradient", rng)
    assert_same_path(problem, "rk4", 5)
    wrong = (*problem[:2], [(4, as_activation("tanh"))], "u", "gradient", rng)
    memory = fh.Memory(wrong[0], variable="y", R="gradient")
    starts = rng.standard_normal((5, 4))
    due = naive.rk4(flow(memory.W, wrong[1], wrong[2], "u", "gradient"), starts, 0.02, 6)
    with pytest.raises(AssertionError):
        np.testing.assert_allclose(fh.simulate(memory, starts, t_end=0.12, dt=0.02).state, due, rtol=1e-12, atol=1e-12)
