"""The gradient through the equilibrium, against complex steps, differences, unrolled back-propagation, and exact cases.

The oracles are a NumPy transcription of the fixed-point map and of g; nothing in them knows of an adjoint.
"""

import warnings

import numpy as np
import pytest
from scipy import special

import fasthop as fh
from complex_g import EXAMPLES, G

RNG = np.random.default_rng(8)
STEP = 1e-30


def fixed_point_map(variable, g):
    """(x, W, b, parameters of g) → f(x) for one state."""
    if variable == "u":
        return lambda x, W, b, theta: g(W @ x + b, **theta)
    return lambda x, W, b, theta: W @ g(x, **theta) + b


def complex_jacobian(f, x):
    columns = [f(x + 1j * STEP * unit).imag / STEP for unit in np.eye(len(x))]
    return np.stack(columns, axis=1)


def fixed_point(f, x, J):
    """Newton's chord from a near x; the imaginary part, being infinitesimal, is then exact to rounding."""
    for _ in range(8):
        x = x - np.linalg.solve(np.eye(len(x)) - J, x - f(x))
    return x


def complex_steps(f, x, e, W, b, theta):
    """Derivatives of e · x*(W, b, θ), each by a complex step of the whole forward problem."""
    x = fixed_point(lambda z: f(z, W, b, theta), x + 0j, complex_jacobian(lambda z: f(z, W, b, theta), x)).real
    J = complex_jacobian(lambda z: f(z, W, b, theta), x)

    def slope(W, b, theta):
        return e @ fixed_point(lambda z: f(z, W, b, theta), x + 0j, J).imag / STEP

    n = len(x)
    db = [slope(W, b + 1j * STEP * unit, theta) for unit in np.eye(n)]
    dW = [slope(W + 1j * STEP * unit.reshape(n, n), b, theta) for unit in np.eye(n * n)]
    named = {k: slope(W, b, {**theta, k: v + 1j * STEP}) for k, v in theta.items() if k != "n"}
    return np.array(db), np.array(dW).reshape(n, n), named, x


def close(found, due, tolerance):
    return np.abs(found - due).max() <= tolerance * max(1.0, np.abs(due).max())


def settled(memory, starts, **options):
    ends = fh.settle(memory, starts, tolerance=1e-13, **options)
    assert ends.settled.all()
    return ends.state


# --- every activation, system and solver -----------------------------------------------------------------------------


@pytest.mark.parametrize("variable", ["y", "u"])
@pytest.mark.parametrize("name", G)
def test_complex_step(name, variable):
    n, rng = 6, np.random.default_rng(list(name.encode()))
    theta, g = EXAMPLES.get(name, {}), G[name]
    W, b = 0.15 * rng.standard_normal((n, n)), 0.4 * rng.standard_normal(n) + 0.2
    memory = fh.Memory(W, b, {"name": name, **theta}, variable=variable)
    starts, e = rng.standard_normal((2, n)) / 2, rng.standard_normal((2, n))
    f = fixed_point_map(variable, g)
    due = [complex_steps(f, x, e_row, W, b, theta) for x, e_row in zip(settled(memory, starts, dt=0.2), e, strict=True)]
    for solver in ("auto", "gmres", "lu", "iteration"):
        found = fh.gradient(memory, [x for *_, x in due], e, solver=solver, per_sample=True, tolerance=1e-13)
        assert (found.kind == "solved").all()
        for i, (db, dW, named, _) in enumerate(due):
            assert close(found.db[i], db, 1e-12)
            assert close(found.dW[i], dW, 1e-12)
            assert found.dparameters[0].keys() == named.keys()
            for key, value in named.items():
                assert close(found.dparameters[0][key][i], value, 1e-12)


@pytest.mark.parametrize("solver", ["auto", "iteration", "ode", "gmres", "minres", "preconditioned", "cholesky", "lu"])
@pytest.mark.parametrize("variable", ["y", "u"])
@pytest.mark.parametrize("n", [5, 70])
def test_every_solver_finds_the_adjoint_of_symmetric_weights(n, variable, solver):
    W = RNG.standard_normal((n, n))
    W = 0.8 * (W + W.T) / np.linalg.norm(W + W.T, 2)
    memory = fh.Memory(W, 0.5 * RNG.standard_normal(n), "relu" if n == 5 else "tanh", variable=variable)
    states, e = settled(memory, RNG.standard_normal((21, n))), RNG.standard_normal((21, n))
    x = states if variable == "y" else states @ W + memory.b
    Lam = np.where(x > 0, 1.0, 0.0) if n == 5 else 1 / np.cosh(x) ** 2
    found = fh.gradient(memory, states, e, solver=solver, tolerance=1e-14)
    for i in range(21):
        J = W * Lam[i] if variable == "y" else Lam[i][:, None] * W
        assert close(found.adjoint[i], np.linalg.solve(np.eye(n) - J.T, e[i]), 1e-11)
        values = np.linalg.eigvals(J)
        assert found.lambda_max[i] == pytest.approx(values.real.max(), abs=1e-12 if n == 5 else 0.02)
        assert found.rho[i] == pytest.approx(np.abs(values).max(), abs=1e-12 if n == 5 else 0.02)
    assert (found.kind == "solved").all()
    assert found.backward_residual.max() <= 1e-13
    if variable == "y" and n == 5:
        dead = x <= 0
        assert dead.any()
        assert (found.adjoint[dead] == e[dead]).all() or close(found.adjoint[dead], e[dead], 1e-14)


def test_unrolled_back_propagation_tends_to_it():
    n = 12
    W = RNG.standard_normal((n, n)) / np.sqrt(n)
    b, start, e = RNG.standard_normal(n) / 2, RNG.standard_normal(n), RNG.standard_normal(n)
    memory = fh.Memory(0.8 * W, b)
    found = fh.gradient(memory, settled(memory, start[None]), e[None], tolerance=1e-14)
    steps = int(np.ceil(30 / (1 - found.rho[0])))
    path = [start]
    for _ in range(steps):
        path.append(memory.W @ np.tanh(path[-1]) + b)
    back, db, dW = e, np.zeros(n), np.zeros((n, n))
    for y in path[-2::-1]:
        db, dW = db + back, dW + np.outer(back, np.tanh(y))
        back = (memory.W.T @ back) / np.cosh(y) ** 2
    assert close(found.db, db, 1e-10)
    assert close(found.dW, dW, 1e-10)
    assert np.abs(back).max() <= 1e-10  # what is left for the start
    assert not found.dstart.any()


# --- every structure -------------------------------------------------------------------------------------------------


def differences(loss, parts):
    """Central differences of loss(parts) in every entry of every part."""
    found = []
    for at, part in enumerate(parts):
        slopes = np.empty(part.size)
        for i in range(part.size):
            ends = []
            for sign in (1, -1):
                moved = [p.copy() for p in parts]
                moved[at].flat[i] += sign * 1e-6
                ends.append(loss(*moved))
            slopes[i] = (ends[0] - ends[1]) / 2e-6
        found.append(slopes.reshape(part.shape))
    return found


def random_symmetric(n):
    A = RNG.standard_normal((n, n)) / np.sqrt(n)
    return 0.35 * (A + A.T)


def symmetric_part(A):
    return (A + np.swapaxes(A, -1, -2)) / 2


def off_diagonal(W):
    return W - np.diag(np.diag(W))


FREE, SYMMETRIC = 0.5 * RNG.standard_normal((5, 5)) / np.sqrt(5), random_symmetric(5)
PATTERNS, BIAS = RNG.standard_normal((2, 5)) / 2, RNG.standard_normal(5) / 2
#: name → (shapes of the parts, the structure made of them, the matrix that it is, the gradients of the parts)
STRUCTURES = {
    "dense": ([(5, 5)], lambda W: W, lambda W: W, lambda found: [found.dW]),
    "symmetric": ([(5, 5)], symmetric_part, lambda A: (A + A.T) / 2, lambda found: [found.dW_symmetric]),
    "tied": (
        [(2, 3), (3, 3)],
        lambda B, C: fh.Blocks([2, 3], {(0, 1): B, (1, 1): symmetric_part(C)}),
        lambda B, C: np.block([[np.zeros((2, 2)), B], [B.T, (C + C.T) / 2]]),
        lambda found: [found.dW[0, 1], found.dW[1, 1]],
    ),
    "free feedback": (
        [(2, 3), (3, 2)],
        lambda B, C: fh.Blocks([2, 3], {(0, 1): B, (1, 0): C}, tied=False),
        lambda B, C: np.block([[np.zeros((2, 2)), B], [C, np.zeros((3, 3))]]),
        lambda found: [found.dW[0, 1], found.dW[1, 0]],
    ),
    "low rank": ([(2, 5)], fh.LowRank, lambda xi: off_diagonal(xi.T @ xi) / 5, lambda found: [found.dW]),
    "low rank with self-coupling": (
        [(2, 5)],
        lambda xi: fh.LowRank(xi, self_coupling=True),
        lambda xi: xi.T @ xi / 5,
        lambda found: [found.dW],
    ),
}
SYSTEMS = {
    "(1)": {},
    "(1) with tau": {"tau": np.array([1.0, 2.0, 0.5, 0.5, 0.5])},
    "(5)": {"variable": "u", "R": "gradient"},
    "(5) without R": {"variable": "u"},
    "(9)": {"R": "gradient"},
}
#: Two neurons and three; parameters other than those of G show that each layer has its own.
LAYERS = {
    "elementwise": [("tanh", {"beta": 1.5}), ("softplus", {"beta": 0.8})],
    "softmax": [("sigmoid", {"beta": 1.2}), ("softmax", {"beta": 2.0})],
    "layer norm": [("leaky_relu", {"slope_below": 0.3}), ("layer_norm", {"gamma": 0.8, "epsilon": 0.7})],
    "sphere": [("identity", {}), ("sphere", {"epsilon": 0.9})],
}


@pytest.mark.parametrize("count", [None, 2])
@pytest.mark.parametrize("layers", LAYERS)
@pytest.mark.parametrize("system", SYSTEMS)
@pytest.mark.parametrize("structure", STRUCTURES)
def test_every_structure_system_and_activation(structure, system, layers, count):
    """Against complex steps of the steady states themselves, for every number that a memory is made of."""
    rng = np.random.default_rng(len(structure) + len(system) + len(layers))
    shapes, make, dense, taken = STRUCTURES[structure]
    (first, theta), (second, phi) = LAYERS[layers]
    named = [*theta.items(), *phi.items()]
    size = 0.7 if "rank" in structure else 0.2
    numbers = [size * rng.standard_normal((2, *shape)) for shape in shapes] + [rng.standard_normal((2, 5)) / 2]
    starts, e = rng.standard_normal((2, 2, 3, 5)) / 2
    options = SYSTEMS[system]
    inside = options.get("variable") == "u"

    def flow(x, *given):
        (*parts, b), values = given[: len(numbers)], given[len(numbers) :]
        of_first = dict(zip(theta, values[: len(theta)], strict=True))
        of_second = dict(zip(phi, values[len(theta) :], strict=True))
        W, y = dense(*parts), x
        if inside:
            y = W @ x + b
        g = np.concatenate([G[first](y[:2], **of_first), G[second](y[2:], **of_second)])
        return g if inside else W @ g + b

    which = slice(None) if count else 0
    *parts, b = [part[which] for part in numbers]
    kinds = [(2, {"name": first, **theta}), (3, {"name": second, **phi})]
    memory = fh.Memory(make(*parts), b, layers=kinds, **options)
    states = settled(memory, starts[which], dt=0.1)
    found = fh.gradient(memory, states, e[which])
    mine = [*taken(found), found.db, *(part[name] for part in found.dparameters for name in part)]
    assert [name for part in found.dparameters for name in part] == [name for name, _ in named]
    assert (found.kind == "solved").all()
    for k in range(count or 1):
        given = [*(part[k] for part in numbers), *(np.array(value) for _, value in named)]
        due = [np.zeros(value.shape) for value in given]
        for x, e_row in zip(states.reshape(-1, 3, 5)[k], e[k], strict=True):
            J = complex_jacobian(lambda y, given=given: flow(y, *given), x)
            for at, part in enumerate(given):
                for i in np.ndindex(part.shape):
                    moved = [value.astype(complex) for value in given]
                    moved[at][i] += 1j * STEP
                    end = fixed_point(lambda y, moved=moved: flow(y, *moved), x + 0j, J)
                    due[at][i] += e_row @ end.imag / STEP
        for values, theirs in zip(mine, due, strict=True):
            assert close(values[k] if count else values, theirs, 1e-9)


def test_many_memories_are_each_their_own():
    W, b = 0.3 * RNG.standard_normal((3, 6, 6)), RNG.standard_normal((3, 6))
    memory = fh.Memory(W, b)
    states, e = settled(memory, RNG.standard_normal((3, 11, 6))), RNG.standard_normal((3, 11, 6))
    for solver in ("gmres", "lu"):
        found = fh.gradient(memory, states, e, solver=solver)
        assert found.dW.shape == (3, 6, 6)
        for k in range(3):
            alone = fh.gradient(fh.Memory(W[k], b[k]), states[k], e[k], solver=solver)
            np.testing.assert_array_equal(found.dW[k], alone.dW)
            np.testing.assert_array_equal(found.db[k], alone.db)
            np.testing.assert_array_equal(found.adjoint[k], alone.adjoint)


EIGENVECTORS = np.linalg.qr(RNG.standard_normal((3, 6, 6)))[0]
#: A positive definite W, one with eigenvalues of both signs, and a negative definite one.
SIGNED = (EIGENVECTORS * np.linspace(0.3, 0.7, 6) * np.array([np.ones(6), [1, -1] * 3, -np.ones(6)])[:, None]) @ (
    np.swapaxes(EIGENVECTORS, 1, 2)
)
SIGNED = (SIGNED + np.swapaxes(SIGNED, 1, 2)) / 2
MATRICES = np.array([1, -1, 1])[:, None, None] * np.eye(6) + 0.1 * RNG.standard_normal((3, 6, 6))
DRIVES = [
    *(
        ("y", R)
        for R in ("identity", "tau", "weights", "polar", "gradient", "gradient-as-printed", "hessian", "matrix")
    ),
    *(("u", R) for R in ("identity", "weights", "polar", "gradient", "hessian", "matrix", "E1", "E2", "E3")),
]


@pytest.mark.parametrize(("variable", "R"), DRIVES)
def test_each_of_many_memories_is_judged_under_its_own_system(variable, R):
    """R = W and its polar factor, E2's too, keep the states of positive W alone; R = −I, nearly, keeps none."""
    b, layers = np.random.default_rng(3).standard_normal((3, 6)), [(3, {"name": "softmax", "beta": 2.0}), (3, "tanh")]
    y = settled(fh.Memory(SIGNED, b, layers=layers), np.random.default_rng(4).standard_normal((3, 4, 6)))
    g = np.concatenate([special.softmax(2 * y[..., :3], axis=-1), np.tanh(y[..., 3:])], axis=-1)
    states, e = g if variable == "u" else y, np.random.default_rng(5).standard_normal((3, 4, 6))
    tau = np.array([[0.1, 0.1, 0.1, 2, 1, 1], [5, 5, 5, 0.1, 1, 1], [1, 1, 1, 2, 3, 4]])

    def memory(k):
        drive = {"matrix": MATRICES[k], "tau": None}.get(R, fh.OrthogonalFactor(R) if R in ("E1", "E2", "E3") else R)
        return fh.Memory(SIGNED[k], b[k], layers=layers, variable=variable, R=drive, tau=tau[k] if R == "tau" else None)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        found = fh.gradient(memory(slice(None)), states, e)
        alone = [fh.gradient(memory(k), states[k], e[k]) for k in range(3)]
    for k, each in enumerate(alone):
        for name in ("status", "dW", "db", "adjoint", "lambda_max"):
            np.testing.assert_array_equal(getattr(found, name)[k], getattr(each, name))
        np.testing.assert_array_equal(found.dparameters[0]["beta"][k], each.dparameters[0]["beta"])
    due = {"weights": (0, 4, 4), "polar": (0, 4, 4), "E2": (0, 4, 4), "matrix": (0, 4, 0)}.get(R, (0, 0, 0))
    np.testing.assert_array_equal((found.kind == "unstable").sum(axis=1), due)
    np.testing.assert_array_equal((found.kind == "solved").sum(axis=1), 4 - np.array(due))


def test_per_sample_adds_up_and_float32_is_near():
    memory = fh.Memory(FREE, BIAS)
    states, e = settled(memory, RNG.standard_normal((40, 5))), RNG.standard_normal((40, 5))
    total, single = fh.gradient(memory, states, e), fh.gradient(memory, states, e, per_sample=True)
    assert single.dW.shape == (40, 5, 5)
    assert close(single.dW.sum(axis=0), total.dW, 1e-14)
    assert close(single.db.sum(axis=0), total.db, 1e-14)
    low = fh.gradient(fh.Memory(FREE, BIAS, dtype="float32"), states, e, solver="gmres")
    assert low.adjoint.dtype == np.float32
    assert close(low.dW, total.dW, 1e-4)
    one = fh.gradient(memory, states[0], e[0])
    np.testing.assert_array_equal(one.adjoint, single.adjoint[0])


def test_a_row_does_not_depend_on_its_neighbours():
    n = 50
    W = 0.5 * RNG.standard_normal((n, n)) / np.sqrt(n)
    memory = fh.Memory(W)
    states, e = settled(memory, RNG.standard_normal((30, n))), RNG.standard_normal((30, n))
    for solver in ("iteration", "ode", "gmres", "lu"):
        together = fh.gradient(memory, states, e, solver=solver)
        some = fh.gradient(memory, states[7:12], e[7:12], solver=solver)
        for name in ("adjoint", "products", "backward_residual", "lambda_max"):
            np.testing.assert_array_equal(getattr(together, name)[7:12], getattr(some, name))


# --- one factorisation for many states -------------------------------------------------------------------------------


@pytest.mark.parametrize("variable", ["y", "u"])
def test_many_states_share_a_factorisation(variable):
    n, k, rng = 60, 2, np.random.default_rng(8)
    W = 1.1 * rng.standard_normal((k, n, n)) / np.sqrt(n)
    layers = [(10, "identity"), (50, "tanh")]
    W[:, :10] = 0  # the first layer stays at its bias, which is another one in every memory
    memory = fh.Memory(W, 0.5 * rng.standard_normal((k, n)), layers=layers, variable=variable)
    states = settled(memory, rng.standard_normal((k, 20, n)))
    e, order = rng.standard_normal((k, 20, n)), rng.permutation(20)
    found = fh.gradient(memory, states, e, per_sample=True)
    plain = fh.gradient(memory, states, e, solver="gmres")
    assert (found.solver == "preconditioned").all()
    assert (found.kind == "solved").all()
    assert found.products.mean() < 0.8 * plain.products.mean()
    for i in range(k):
        x = states[i] if variable == "y" else states[i] @ W[i].T + memory.b[i]
        Lam = np.where(np.arange(n) < 10, 1, 1 / np.cosh(x) ** 2)
        for row in range(20):
            J = W[i] * Lam[row] if variable == "y" else Lam[row][:, None] * W[i]
            assert close(found.adjoint[i, row], np.linalg.solve(np.eye(n) - J.T, e[i, row]), 1e-10)
    again = fh.gradient(memory, states[:, order], e[:, order], per_sample=True)
    np.testing.assert_array_equal(again.adjoint, found.adjoint[:, order])


def test_a_singular_mean_leaves_it_to_other_solvers():
    """Half of the neurons are alive, at slope 1, in each state, so that 1 − Λ̄w = 0 where w = 2."""
    n = 160
    w = np.linspace(1.05, 6, n)
    w[20] = 2
    states = np.tile(-np.ones(n), (20, 1))
    for first in (0, 1):
        states[first::2, first::2] = 1 / (w[first::2] - 1)
    memory = fh.Memory(np.diag(w), -np.ones(n), "relu", R="gradient")
    e = RNG.standard_normal((20, n))
    found = fh.gradient(memory, states, e)
    assert (found.solver == "minres").all()
    np.testing.assert_allclose(found.adjoint, np.where(states > 0, e / (1 - w), e), rtol=1e-9, atol=1e-9)


# --- held layers -----------------------------------------------------------------------------------------------------


def test_a_held_layer_keeps_its_state_and_gets_a_gradient():
    sizes = [3, 4, 2]
    blocks = {(0, 1): 0.5 * RNG.standard_normal((3, 4)), (1, 2): 0.5 * RNG.standard_normal((4, 2))}
    layers = [(3, "identity"), (4, "tanh"), (2, "softmax")]
    b, inputs, e = RNG.standard_normal(9) / 2, RNG.standard_normal((5, 3)), RNG.standard_normal((5, 9))
    e[:, :3] = 0

    def solved(inputs, U, V, b):
        memory = fh.Memory(fh.Blocks(sizes, {(0, 1): U, (1, 2): V}), b, layers=layers)
        states = settled(fh.clamp(memory, [0]), np.concatenate([inputs, np.zeros((5, 6))], axis=1))
        np.testing.assert_array_equal(states[:, :3], inputs)
        return memory, states

    memory, states = solved(inputs, *blocks.values(), b)
    hidden, out = np.tanh(states[:, 3:7]), special.softmax(states[:, 7:], axis=1)
    np.testing.assert_allclose(states[:, 3:7], inputs @ blocks[0, 1] + out @ blocks[1, 2].T + b[3:7], atol=1e-12)
    np.testing.assert_allclose(states[:, 7:], hidden @ blocks[1, 2] + b[7:], atol=1e-12)
    for solver in ("lu", "gmres"):
        found = fh.gradient(fh.clamp(memory, [0]), states, e, solver=solver)
        due = differences(lambda *given: (solved(*given)[1] * e).sum(), [inputs, *blocks.values(), b])
        assert close(found.dheld, due[0], 1e-6)
        assert close(found.dW[0, 1], due[1], 1e-6)
        assert close(found.dW[1, 2], due[2], 1e-6)
        assert close(found.db, due[3], 1e-6)
        assert not found.db[:3].any()


#: name → (parts, structure, the same matrix in NumPy, the gradients of the parts); layers end within the blocks.
HELD = {
    "dense": ([0.2 * RNG.standard_normal((7, 7))], lambda W: W, lambda W: W, lambda found: [found.dW]),
    "low rank": (
        [RNG.standard_normal((3, 7)) / 2],
        fh.LowRank,
        lambda xi: off_diagonal(xi.T @ xi) / 7,
        lambda found: [found.dW],
    ),
    "low rank with self-coupling": (
        [RNG.standard_normal((3, 7)) / 2],
        lambda xi: fh.LowRank(xi, self_coupling=True),
        lambda xi: xi.T @ xi / 7,
        lambda found: [found.dW],
    ),
    "tied": (
        [0.3 * RNG.standard_normal((3, 4)), random_symmetric(4) / 2],
        lambda B, C: fh.Blocks([3, 4], {(0, 1): B, (1, 1): (C + C.T) / 2}),
        lambda B, C: np.block([[np.zeros((3, 3)), B], [B.T, (C + C.T) / 2]]),
        lambda found: [found.dW[0, 1], found.dW[1, 1]],
    ),
}


@pytest.mark.parametrize("layers", [[0], [2], [0, 2]])
@pytest.mark.parametrize("structure", HELD)
def test_any_structure_can_be_held(structure, layers):
    """The oracle is a smaller memory, of the free neurons alone, whose bias has what the held ones send."""
    parts, make, dense, taken = HELD[structure]
    spans = [(0, 2), (2, 4), (4, 5), (5, 7)]
    held = np.isin(np.arange(7), np.concatenate([np.arange(*spans[layer]) for layer in layers]))
    b, starts, e = RNG.standard_normal((3, 4, 7))

    def g(y):
        soft = special.softmax(1.5 * y[:, 5:], axis=1)
        return np.concatenate([y[:, :2], np.tanh(y[:, 2:4]), y[:, 4:5], soft], axis=1)

    def solved(b, inputs, *parts):
        W, y = dense(*parts), inputs.copy()
        for _ in range(200):
            y[:, ~held] = (g(y) @ W.T + b)[:, ~held]
        return y

    kinds = ["identity", "tanh", "identity", {"name": "softmax", "beta": 1.5}]
    memory = fh.Memory(make(*parts), b[0], layers=list(zip([2, 2, 1, 2], kinds, strict=True)))
    states = settled(fh.clamp(memory, layers), starts)
    np.testing.assert_array_equal(states[:, held], starts[:, held])
    np.testing.assert_allclose(states, solved(b[0], starts, *parts), atol=1e-12)
    db, dinputs, *due = differences(lambda *given: (solved(*given) * e).sum(), [b[0], starts, *parts])
    one_by_one = memory
    for layer in layers:
        one_by_one = fh.clamp(one_by_one, [layer])
    for clamped, solver in ((fh.clamp(memory, layers), "lu"), (one_by_one, "gmres")):
        found = fh.gradient(clamped, states, e, solver=solver)
        assert close(found.db, np.where(held, 0, db), 1e-6)
        assert close(found.dheld, dinputs[:, held], 1e-6)
        for mine, theirs in zip(taken(found), due, strict=True):
            assert close(mine, theirs, 1e-6)


@pytest.mark.parametrize(
    ("memory", "layers", "message"),
    [
        (fh.Memory(FREE), [0], r"layers\[0\] must have the identity"),
        (fh.Memory(FREE, activation="identity"), [1], "layers must be at least -1 and at most 0"),
        (fh.Memory(SYMMETRIC, activation="identity", R="weights"), [0], "must have R = 'identity'"),
    ],
)
def test_what_cannot_be_held_is_refused(memory, layers, message):
    with pytest.raises(ValueError, match=message):
        fh.clamp(memory, layers)


# --- where it fails --------------------------------------------------------------------------------------------------


def test_minus_two_diverges_by_iteration_and_not_as_a_flow():
    memory = fh.Memory(-2 * np.eye(2))
    states, e = np.zeros((1, 2)), np.array([[1.0, -3.0]])
    with pytest.warns(RuntimeWarning, match="1 of 1 gradients are refused: 1 unsolved"):
        lost = fh.gradient(memory, states, e, solver="iteration")
    assert np.isnan(lost.adjoint).all()
    for solver in ("ode", "gmres", "minres", "preconditioned", "lu", "cholesky", "auto"):
        found = fh.gradient(memory, states, e, solver=solver)
        np.testing.assert_allclose(found.adjoint, e / 3, rtol=1e-11)
    assert (found.lambda_max[0], found.rho[0], found.amplification[0]) == pytest.approx((-2, 2, 1 / 3))


def test_near_a_fold_the_amplification_is_told():
    """N = 1, w = 2: λ = 2 (1 − y²/4 …) → 1 as the bias nears the fold, and the gradient is 1/(1 − λ)."""
    for lam in (0.9, 0.99, 0.999):
        y = np.arctanh(np.sqrt(1 - lam / 2))
        memory = fh.Memory([[2.0]], y - 2 * np.tanh(y))
        found = fh.gradient(memory, [[y]], [[1.0]])
        assert found.amplification[0] == pytest.approx(1 / (1 - lam), rel=1e-9)
        assert found.db[0] == pytest.approx(1 / (1 - lam), rel=1e-9)
        near = fh.settle(memory, [[2.0]], tolerance=1e-8).state
        loose = fh.gradient(memory, near, [[1.0]])
        tight = fh.gradient(memory, near, [[1.0]], tighten=1e-8)
        error = [abs(each.db[0] * (1 - lam) - 1) for each in (loose, tight)]
        assert tight.forward_residual[0] <= max(1e-8 * (1 - lam) ** 2, 2e-15)
        assert error[1] <= 1e-5 < 1e-2 or error[1] < error[0]


def test_a_saddle_serves_lu_and_krylov_spaces_alone():
    W = np.array([[0.0, 2.0], [2.0, 0.0]])
    origin, e = np.zeros((1, 2)), np.array([[1.0, 0.5]])
    due = np.linalg.solve(np.eye(2) - W.T, e[0])
    for options in ({"R": "gradient"}, {"R": "gradient", "variable": "u"}):
        memory = fh.Memory(W, **options)
        for solver in ("auto", "lu", "gmres", "minres", "preconditioned"):
            found = fh.gradient(memory, origin, e, solver=solver)
            np.testing.assert_allclose(found.adjoint[0], due, rtol=1e-12)
            assert found.lambda_max[0] == pytest.approx(2)
        for solver in ("iteration", "ode", "cholesky"):
            with pytest.warns(RuntimeWarning, match="≥ 1 only lu, gmres, minres and preconditioned serve"):
                fh.gradient(memory, origin, e, solver=solver)
    with pytest.warns(RuntimeWarning, match="1 unstable"):  # system (1) does not stay there
        fh.gradient(fh.Memory(W), origin, e)


def test_time_constants_decide_stability_where_eigenvalues_are_complex():
    W = np.array([[1.5, -2.0], [2.0, -0.5]])  # J − I has trace −1 and determinant > 0; with unequal τ a positive trace
    for tau, kind in ((None, "solved"), ([0.2, 1.0], "unstable")):
        memory = fh.Memory(W, tau=tau)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = fh.gradient(memory, np.zeros((1, 2)), np.ones((1, 2)))
        assert found.kind[0] == kind


def test_one_bad_sample_stops_no_other():
    memory = fh.Memory([[0.0, 0.5], [0.3, 0.0]], activation="relu")
    states, e = np.zeros((5, 2)), np.ones((5, 2))
    memory = fh.Memory([[0.0, 0.5], [0.3, 0.0]], [1.0, -2.0], activation="relu")
    good = settled(memory, np.ones((1, 2)))[0]
    states[:] = good
    states[1] = np.nan
    states[2] = good + 0.1
    e[3, 0] = np.inf
    for solver in ("auto", "gmres", "iteration", "lu"):
        with pytest.warns(RuntimeWarning, match="3 of 5 gradients are refused: 2 not finite, 1 unsettled"):
            found = fh.gradient(memory, states, e, solver=solver)
        assert found.kind.tolist() == ["solved", "not_finite", "unsettled", "not_finite", "solved"]
        alone = fh.gradient(memory, good[None], np.ones((1, 2)), solver=solver)
        np.testing.assert_allclose(found.dW, 2 * alone.dW)
        assert np.isnan(found.adjoint[1:4]).all()
    kink = fh.Memory([[0.0, 0.5], [0.3, 0.0]], activation="relu")
    with pytest.warns(RuntimeWarning, match="1 kink"):
        fh.gradient(kink, np.zeros((1, 2)), np.ones((1, 2)))
    smooth = fh.Memory([[0.0, 0.5], [0.3, 0.0]], activation="rectified_power")
    assert fh.gradient(smooth, np.zeros((1, 2)), np.ones((1, 2))).kind[0] == "solved"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"solver": "newton"},
            "solver must be one of 'auto', 'iteration', 'ode', 'gmres', 'minres', 'preconditioned', ",
        ),
        ({"cotangent": np.ones((2, 5))}, r"cotangent must have the shape of states, \(3, 5\)"),
        ({"states": np.ones((3, 4))}, r"states must have shape \(B, 5\)"),
        ({"tolerance": 0.0}, "tolerance must be finite, above 0"),
    ],
)
def test_bad_input_is_named(change, message):
    given = {"states": np.zeros((3, 5)), "cotangent": np.ones((3, 5))} | change
    with pytest.raises(ValueError, match=message):
        fh.gradient(fh.Memory(FREE), **given)
