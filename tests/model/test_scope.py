"""Every public function that is given a memory takes it for what it is, or refuses it in one sentence.

Whatever the structure, what comes out is what the dense matrix gives, and of a memory with held layers what the smaller
memory of the others gives, whose bias has what the held ones send.
"""

import inspect
import warnings

import numpy as np
import pytest

import fasthop as fh
from fasthop.model.scope import SCOPES

RNG = np.random.default_rng(12)
N, FIRST = 7, 2
STARTS = 0.5 * RNG.standard_normal((4, N))
BIAS = 0.3 * RNG.standard_normal(N)
PATTERNS = 0.8 * RNG.standard_normal((2, N))
LAYERS = {
    "elementwise": [(2, "identity"), (3, "tanh"), (2, "softplus")],
    "blocks": [(2, "identity"), (3, "tanh"), (2, {"name": "softmax", "beta": 1.5})],
}
FULL = 0.15 * RNG.standard_normal((N, N))
WEIGHTS = {
    "dense": FULL,
    "symmetric": (FULL + FULL.T) / 2,
    "tied": fh.Blocks.chain([2, 3, 2], seed=1, scale=0.7),
    "free feedback": fh.Blocks.chain([2, 3, 2], tied=False, seed=1, scale=0.7),
    "low rank": fh.LowRank(PATTERNS),
    "low rank with self-coupling": fh.LowRank(PATTERNS, self_coupling=True),
}
SYSTEMS = {
    "(1)": {},
    "(1) with tau": {"tau": np.array([1.0, 2.0, 0.5, 1.5, 3.0, 0.7, 0.7])},
    "(9)": {"R": "gradient"},
    "(9) as printed": {"R": "gradient-as-printed"},
    "(9) by W": {"R": "weights"},
    "(9) by sign(W)": {"R": "polar"},
    "(9) by the Hessian": {"R": "hessian"},
    "(9) by a matrix": {"R": np.eye(N) + 0.1 * FULL},
    "(5)": {"variable": "u"},
    "(5) by W": {"variable": "u", "R": "weights"},
    "(5) by sign(W)": {"variable": "u", "R": "polar"},
    "(5) by the gradient": {"variable": "u", "R": "gradient"},
    "(5) by the Hessian": {"variable": "u", "R": "hessian"},
    "(5) by a matrix": {"variable": "u", "R": np.eye(N) + 0.1 * FULL},
    "(5) by a factor": {"variable": "u", "R": fh.OrthogonalFactor("E3")},
    "simplest": {"variable": "v"},
}
HOW = {"dt": 0.1, "t_max": 100}
KINDS = {"y": "10", "u": "E3", "v": "simplest"}

#: What is compared of every function. `y` are steady states, and `near` states beside them.
CALLS = {
    "alive_and_dead": lambda m, y: (lambda four: (four.W, four.b))(
        fh.models.alive_and_dead(m, np.zeros(N, bool), y[0])
    ),
    "basin_slice": lambda m, y: (
        fh.geometry.basin_slice(m, y[0], *np.eye(len(y[0]))[-2:], resolution=3, check=0, **HOW).labels
    ),
    "basins": lambda m, y: fh.basins(m, near(y), **HOW)[["kind", "hits"]].to_numpy(),
    "census": lambda m, y: fh.census(m, y).filter(regex="kind|attractor|verdict|under|^k$").to_numpy().astype(str),
    "clamp": lambda m, y: fh.settle(fh.clamp(m, [0]), near(y), **HOW).state,
    "contraction": lambda m, y: fh.equilibrium.contraction(m, y)[
        ["rho", "lambda_max", "forward_iterations"]
    ].to_numpy(),
    "contraction_bound": lambda m, y: fh.models.contraction_bound(m),
    "dead_neurons": lambda m, y: (fh.dead_neurons(m, y).neurons, fh.dead_neurons(m, y).k),
    "default_step": lambda m, y: fh.default_step(m),
    "faithful_step": lambda m, y: fh.faithful_step(m),
    "energy": lambda m, y: fh.energy(m, y),
    "energy_gradient": lambda m, y: fh.energy_gradient(m, near(y), KINDS[m.variable]),
    "energy_hessian": lambda m, y: fh.energy_hessian(m, y, KINDS[m.variable]),
    "gradient": lambda m, y: (lambda found: (found.adjoint, found.db, found.kind))(fh.gradient(m, y, np.cos(y))),
    "lyapunov_condition": lambda m, y: fh.lyapunov_condition(m, y, KINDS[m.variable]),
    "polish": lambda m, y: fh.states.polish(m, near(y)).state,
    "recover": lambda m, y: (lambda found: (found.state, found.consistent))(fh.states.recover(m, y)),
    "residual": lambda m, y: fh.residual(m, near(y)),
    "respond": lambda m, y: fh.training.respond(m, y[:, :FIRST], tolerance=1e-12).state,
    "settle": lambda m, y: fh.settle(m, near(y), **HOW).state,
    "simulate": lambda m, y: fh.simulate(m, near(y), t_end=1, dt=0.1).state,
    "stability": lambda m, y: (fh.stability(m, y).verdict, fh.stability(m, y).largest),
    "why_not_lyapunov": lambda m, y: fh.why_not_lyapunov(m, KINDS[m.variable]),
}
#: Those that build on these, or have tests of their own for each structure: only what they refuse is asked here.
REFUSING = {
    "Certificate": lambda m, y: fh.states.Certificate(m),
    "boundary_saddles": lambda m, y: fh.geometry.boundary_saddles(m, y[0], y[1:]),
    "count_steady_states": lambda m, y: fh.states.count_steady_states(m),
    "fit": lambda m, y: fh.training.fit(m, y[:, :FIRST], y[:, -2:], epochs=0),
    "jax_settle": lambda m, y: fh.jax_settle(m),
    "radii": lambda m, y: fh.geometry.radii(m, y[:1], rays=1),
    "steady_states": lambda m, y: fh.steady_states(m, n=10, dt=0.1),
    "torch_settle": lambda m, y: fh.torch_settle(m),
}


def near(y):
    """States beside others, but for the layer that may be held."""
    moved = y + 1e-5 * np.cos(np.arange(y.size).reshape(y.shape))
    moved[..., : y.shape[-1] - 5] = y[..., : y.shape[-1] - 5]
    return moved


def steady(weights, layers, b, options, starts=STARTS):
    plain = {key: value for key, value in options.items() if key == "variable"}
    ends = fh.settle(fh.Memory(weights, b, layers=layers, **plain), starts, tolerance=1e-14, dt=0.1)
    assert ends.settled.all()
    return ends.state


def same(found, due):
    """Compare results, arrays or tuples of them, numbers by their size and words as they are."""
    for mine, theirs in zip(*((x if isinstance(x, tuple) else (x,)) for x in (found, due)), strict=True):
        mine, theirs = np.asarray(mine), np.asarray(theirs)
        if mine.dtype.kind in "fc":
            np.testing.assert_allclose(mine, theirs, rtol=1e-7, atol=1e-7)
        else:
            np.testing.assert_array_equal(mine, theirs)


def takes(name, memory):
    scope = SCOPES[name]
    return (
        (memory.count is None or scope.many)
        and memory.variable in scope.variables
        and memory.system.factor.name in scope.factors
        and not (memory.weights.held.any() and not scope.held)
    )


def refused(name, memory, y):
    with pytest.raises(ValueError, match=r"^memory must (be|have) .*; got [^\n]*\.$"):
        (CALLS | REFUSING)[name](memory, y)


@pytest.fixture(autouse=True)
def quiet():
    """Energies that need not decrease and gradients that are refused warn, and are equal all the same."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        yield


def test_the_table_has_every_function_that_is_given_a_memory():
    found = set()
    for room in (fh, *(getattr(fh, name) for name in fh._ROOMS)):
        for name in room.__all__:
            value = getattr(room, name)
            if callable(value) and next(iter(inspect.signature(value).parameters), None) == "memory":
                found.add(name)
    assert found - {"DeadNeurons", "Fit"} == SCOPES.keys() == CALLS.keys() | REFUSING.keys()


@pytest.mark.parametrize("count", [None, 2])
@pytest.mark.parametrize("system", SYSTEMS)
@pytest.mark.parametrize("structure", WEIGHTS)
def test_a_structure_is_what_its_matrix_is(structure, system, count):
    options, b = SYSTEMS[system], BIAS
    weights, layers = WEIGHTS[structure], LAYERS["blocks"]
    if system.endswith("sign(W)") and not fh.Memory(weights).symmetric:
        return  # refused
    y = steady(weights, layers, b, options)
    if count:
        if not isinstance(weights, np.ndarray):
            return  # K memories of other structures are K matrices to these functions, no more
        weights, y = np.stack([weights] * 2), np.stack([y] * 2)
        options = options | ({"R": np.stack([options["R"]] * 2)} if "matrix" in system else {})
    memory = fh.Memory(weights, b, layers=layers, **options)
    dense = fh.Memory(memory.weights.to_dense(), b, layers=layers, **options)
    for name in SCOPES:
        if not takes(name, memory):
            refused(name, memory, y)
        elif name in CALLS:
            same(CALLS[name](memory, y), CALLS[name](dense, y))


@pytest.mark.parametrize("kinds", LAYERS)
@pytest.mark.parametrize("system", ["(1)", "(1) with tau", "(5)"])
@pytest.mark.parametrize("structure", WEIGHTS)
def test_held_neurons_stay_and_the_others_are_a_memory_of_their_own(structure, system, kinds):
    options, layers, free = SYSTEMS[system], LAYERS[kinds], slice(FIRST, N)
    whole = fh.Memory(WEIGHTS[structure], BIAS, layers=layers, **options)
    held, W = fh.clamp(whole, [0]), whole.weights.to_dense()
    inputs = STARTS[0, :FIRST]
    tau = {"tau": options["tau"][free]} if "tau" in options else {}
    b = BIAS[free] + W[free, :FIRST] @ inputs
    others = fh.Memory(W[free, free], b, layers=layers[1:], **options | tau)
    x = steady(W[free, free], layers[1:], b, options, STARTS[:, free])
    y = np.concatenate([np.tile(inputs, (4, 1)), x], axis=1)

    for name in SCOPES:
        if not takes(name, held):
            refused(name, held, y)
    for name in ("basin_slice", "basins", "census", "contraction_bound", "stability"):
        same(CALLS[name](held, y), CALLS[name](others, x))
    for name in ("polish", "settle", "simulate"):
        found = CALLS[name](held, y)
        np.testing.assert_array_equal(found[:, :FIRST], y[:, :FIRST])
    left = fh.residual(held, near(y))
    assert not left[:, :FIRST].any()
    np.testing.assert_allclose(left[:, free], fh.residual(others, near(y)[:, free]), rtol=1e-9, atol=1e-14)
    np.testing.assert_allclose(fh.states.polish(held, near(y)).state[:, free], x, rtol=0, atol=1e-13)
    np.testing.assert_allclose(fh.settle(held, near(y), tolerance=1e-13).state[:, free], x, rtol=0, atol=1e-11)
    same(fh.dead_neurons(held, y).k, fh.dead_neurons(others, x).k)
    e = np.cos(y) * (np.arange(N) >= FIRST)
    found, due = fh.gradient(held, y, e), fh.gradient(others, x, e[:, free])
    same((found.adjoint[:, free], found.db[free]), (due.adjoint, due.db))
    same(found.lambda_max, np.maximum(due.lambda_max, 0))
    if others.variable == "y":
        same(fh.states.recover(held, y).state[:, free], fh.states.recover(others, x).state)


def test_what_is_held_is_not_moved_nor_judged():
    """Without its inputs' own 0 the memory is stable at one input and not at another."""
    W = [[0.0, 0.0, 0.0], [1.0, 2.0, 0.0], [0.0, 0.0, 0.5]]
    memory = fh.clamp(fh.Memory(W, layers=[(1, "identity"), (2, "tanh")]), [0])
    states = np.zeros((2, 3))
    states[1, :2] = 5 - 2 * np.tanh(5), 5  # saturated: λ = 2/cosh² 5
    found = fh.stability(memory, states)
    assert found.verdict.tolist() == ["unstable", "stable"]
    np.testing.assert_allclose(found.largest, [1.0, max(2 / np.cosh(5) ** 2, 0.5) - 1])
    table = fh.census(memory, states)
    assert table.verdict.tolist() == table.under_1.tolist() == ["unstable", "stable"]
    assert table.under_9.tolist() == ["stable", "stable"]


def test_the_simplest_model_cannot_be_held():
    memory = fh.Memory(FULL, layers=LAYERS["blocks"], variable="v")
    with pytest.raises(ValueError, match="memory must have variable = 'y' or 'u'; got 'v'"):
        fh.clamp(memory, [0])


def test_the_bound_of_the_simplest_model_is_that_of_its_map():
    """‖W‖ max Λ = 0.9, and yet three steady states, v = 2 tanh(2 β v) … of W Wᵀ."""
    memory = fh.Memory([[2.0]], 0.0, fh.Tanh(0.45), variable="v")
    assert fh.models.contraction_bound(memory) == pytest.approx(4 * 0.45)
    ends = fh.settle(memory, [[1.0], [-1.0]]).state
    assert ends[0, 0] > 0.5 > -0.5 > ends[1, 0]


def test_under_1_has_the_time_constants():
    W = np.array([[1.5, -2.0], [2.0, -0.5]])
    for tau, due in ((None, "stable"), ([0.2, 1.0], "unstable")):
        table = fh.census(fh.Memory(W, tau=tau), np.zeros((1, 2)))
        assert table.verdict[0] == table.under_1[0] == due


def test_only_the_gradient_of_a_matrix_can_be_made_symmetric():
    xi = 0.5 * RNG.standard_normal((N, N))  # as many patterns as neurons: dW is square, and yet of patterns
    for weights in (fh.LowRank(xi), fh.Blocks([N], {(0, 0): (xi + xi.T) / 2})):
        found = fh.gradient(fh.Memory(weights, activation=fh.Tanh(0.1)), np.zeros((1, N)), np.ones((1, N)))
        with pytest.raises(ValueError, match=r"dW_symmetric is of dense W; (LowRank|Blocks)\(N=7, .*\) keeps"):
            _ = found.dW_symmetric
    held = fh.clamp(fh.Memory(WEIGHTS["symmetric"], layers=LAYERS["blocks"]), [0])
    found = fh.gradient(held, np.zeros((1, N)), np.ones((1, N)), tolerance=1e-12)
    np.testing.assert_array_equal(found.dW_symmetric, (found.dW + found.dW.T) / 2)
