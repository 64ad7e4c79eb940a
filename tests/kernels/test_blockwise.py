"""Softmax, layer norm and sphere against mpmath, and Λ against complex steps; Λ is applied and never formed."""

import mpmath as mp
import numba
import numpy as np
import pytest

from assembly import CALL, PACKED, hot_blocks
from fasthop.model.activations import LayerNorm, Softmax, Sphere, Tanh
from fasthop_kernels.dynamics import activations, blockwise

DTYPES = [np.float64, np.float32]

if numba.config.DISABLE_JIT:  # numpy then warns of overflows and NaN that are results here
    pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")
ALL = [
    *(Softmax(), Softmax(0.3), Softmax(20)),
    *(LayerNorm(), LayerNorm(2.5, 0.1), LayerNorm(0.5, 0)),
    *(Sphere(), Sphere(0.5)),
]
METHODS = ("g", "slope", "lagrangian", "legendre")


@pytest.fixture(autouse=True)
def digits():
    with mp.workdps(400):
        yield


# --- the definitions, for a list of mpf or a complex array -----------------------------------------------------------


def g_of(activation, dtype, y, sqrt, exp):
    """g(y) and L(y), by their definition, with the parameters as `dtype` holds them."""
    a, eps = (float(dtype(parameter)) for parameter in activation.parameters)
    if activation.name == "softmax":
        top = max(y, key=lambda v: v.real)
        e = [exp(a * (v - top)) for v in y]
        return [v / sum(e) for v in e], (top, sum(e), a)
    centre = sum(y) / len(y) if activation.name == "layer_norm" else 0
    n = len(y) if activation.name == "layer_norm" else 1
    s = sqrt(sum((v - centre) ** 2 for v in y) / n + eps)
    return [a * (v - centre) / s for v in y], (n, s, a)


def exact(activation, dtype, y):
    """g, the diagonal of Λ, L and φ, and Λ itself, from one block y of floats."""
    y = [mp.mpf(float(v)) for v in y]
    g, rest = g_of(activation, dtype, y, mp.sqrt, mp.exp)
    size = len(y)
    if activation.name == "softmax":
        top, total, a = rest
        lagrangian = top + mp.log(total) / a
        Lam = [[a * (g[i] * (i == j) - g[i] * g[j]) for j in range(size)] for i in range(size)]
    else:
        n, s, a = rest
        lagrangian = n * a * s
        mean = mp.mpf(activation.name == "layer_norm") / n
        Lam = [[a / s * ((i == j) - mean - g[i] * g[j] / (n * a * a)) for j in range(size)] for i in range(size)]
    phi = sum(v * w for v, w in zip(y, g, strict=True)) - lagrangian
    first = [1] + [0] * (size - 1)
    return (
        {
            "g": g,
            "slope": [Lam[i][i] for i in range(size)],
            "lagrangian": [lagrangian * i for i in first],
            "legendre": [phi * i for i in first],
        },
        Lam,
    )


def blocks(dtype):
    """Blocks that are mixed, spread, tied, far off, saturated or alone."""
    rng = np.random.default_rng(7)
    return [
        np.array(block, dtype)
        for block in (
            *(rng.normal(0, scale, size) for scale, size in [(1, 2), (1, 7), (0.01, 5), (20, 9), (200, 6)]),
            [700, -700, 699.5, 3],
            [-700, -700, -699, -690],
            [1.5, 1.5, 1.5, -2],
            [40, 1, 2, 3],
            [1e-3, 2e-3, -1e-3],
        )
    ]


def errors(values, due, dtype):
    """Errors in units of epsilon, relative to numbers above 1 and absolute below."""
    eps = float(np.finfo(dtype).eps)
    return max(float(abs(mp.mpf(float(v)) - d) / max(1, abs(d))) / eps for v, d in zip(values, due, strict=True))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("activation", ALL, ids=str)
def test_formulas_are_exact_to_rounding(activation, dtype):
    for y in blocks(dtype):
        due, _ = exact(activation, dtype, y)
        gain = float(activation.parameters[0])
        for method in METHODS:
            values = getattr(activation, method)(y)
            assert values.dtype == dtype
            assert values.shape == y.shape
            assert errors(values, due[method], dtype) < 12 * max(1, gain), (method, y)


def test_the_checker_sees_a_plain_softmax_and_a_plain_variance():
    y = blocks(np.float64)[7]
    due, _ = exact(Softmax(), np.float64, y)
    e = np.exp(y.astype(np.float32))
    assert errors(e / e.sum(), due["g"], np.float64) > 1e6
    y = 1e3 + blocks(np.float64)[2]
    due, _ = exact(LayerNorm(1, 0), np.float64, y)
    assert errors(LayerNorm(1, 0).g(y), due["g"], np.float64) < 12
    assert errors((y - y.mean()) / np.sqrt((y * y).mean() - y.mean() ** 2), due["g"], np.float64) > 1e6


@pytest.mark.parametrize("dtype", DTYPES)
def test_saturated_softmax_keeps_its_tails(dtype):
    y = np.array([60.0, 1.0, -3.0, 20.0], dtype)
    due, _ = exact(Softmax(), dtype, y)
    for method in METHODS:
        for value, exactly in zip(getattr(Softmax(), method)(y), due[method], strict=True):
            if exactly:
                assert abs(mp.mpf(float(value)) / exactly - 1) < 70 * np.finfo(dtype).eps, method
    p = np.exp(y - 60) / np.exp(y - 60).sum()
    assert p[0] * (1 - p[0]) == 0  # what the usual formula leaves


@pytest.mark.parametrize("activation", ALL, ids=str)
def test_slope_is_the_derivative_of_g(activation):
    """By a complex step, and applied to unit vectors; Λ is symmetric, and 0 or more where it must be."""
    rng = np.random.default_rng(1)
    y = rng.normal(size=6)
    columns = [
        np.imag(g_of(activation, np.float64, list(y + 1e-30j * unit), np.sqrt, np.exp)[0]) / 1e-30 for unit in np.eye(6)
    ]
    Lam = activation.apply_slope(np.broadcast_to(y, (6, 6)), np.eye(6)).T
    np.testing.assert_allclose(Lam, np.array(columns).T, rtol=0, atol=1e-14 * max(1, activation.parameters[0]))
    np.testing.assert_allclose(Lam, np.array(exact(activation, np.float64, y)[1], float), rtol=0, atol=1e-14)
    np.testing.assert_allclose(np.diag(Lam), activation.slope(y), rtol=0, atol=1e-15 * max(1, activation.parameters[0]))
    np.testing.assert_allclose(Lam, Lam.T, rtol=0, atol=1e-15 * max(1, activation.parameters[0]))
    assert activation.monotone
    assert np.linalg.eigvalsh(Lam).min() > -1e-14
    # Example of a matrix that this test refuses: an elementwise gain.
    gains = np.diag([1.0, 2, 1, 1, 1, 1]) @ Lam
    assert abs(gains - gains.T).max() > 1e-3


@pytest.mark.parametrize("activation", ALL, ids=str)
def test_g_is_the_gradient_of_the_lagrangian(activation):
    with mp.workdps(60):
        y = [mp.mpf(v) for v in (0.3, -1.2, 0.7)]
        h = mp.mpf("1e-20")
        for i in range(3):
            up, down = ([v + s * h * (i == j) for j, v in enumerate(y)] for s in (1, -1))
            values = []
            for point in (up, down):
                _, (first, second, a) = g_of(activation, np.float64, point, mp.sqrt, mp.exp)
                values.append(first + mp.log(second) / a if activation.name == "softmax" else first * second * a)
            due = g_of(activation, np.float64, y, mp.sqrt, mp.exp)[0][i]
            assert abs((values[0] - values[1]) / (2 * h) - due) < 1e-30


# --- what Λ maps to 0 -----------------------------------------------------------------------------------------------


def test_null_vectors():
    y = np.random.default_rng(2).normal(size=(50, 9)) * 3
    ones = np.ones_like(y)
    for activation in (Softmax(), Softmax(5), LayerNorm(), LayerNorm(2, 0)):
        assert abs(activation.apply_slope(y, ones)).max() < 4e-15, activation
    centred = y - y.mean(axis=1, keepdims=True)
    assert abs(LayerNorm(1, 0).apply_slope(y, centred)).max() < 4e-15
    assert abs(Sphere().apply_slope(y, y)).max() < 4e-15
    # With ε these are not null vectors.
    s = np.sqrt(centred.var(axis=1, keepdims=True) + 0.1)
    np.testing.assert_allclose(LayerNorm(1, 0.1).apply_slope(y, centred), 0.1 * centred / s**3, rtol=0, atol=1e-14)
    assert abs(Sphere(0.5).apply_slope(y, y)).max() > 1e-4
    assert abs(Sphere().apply_slope(y, ones)).max() > 0.1


@pytest.mark.parametrize(
    ("activation", "y"),
    [
        (Softmax(3), [5.0, 5.0, -900.0, -900.0]),
        (LayerNorm(2, 0.1), [1.0, 1.0, 1.0, 1.0]),
        (Sphere(0.3), [0.0, 0.0, 0.0, 0.0]),
    ],
    ids=str,
)
def test_max_slope_is_the_largest_eigenvalue(activation, y):
    Lam = activation.apply_slope(np.broadcast_to(y, (4, 4)), np.eye(4))
    assert np.linalg.eigvalsh(Lam).max() == pytest.approx(activation.max_slope, rel=1e-14)
    rng = np.random.default_rng(5)
    for scale in (1e-3, 0.1, 1, 10):
        Lam = activation.apply_slope(np.broadcast_to(scale * rng.normal(size=4), (4, 4)), np.eye(4))
        assert np.linalg.eigvalsh(Lam).max() < activation.max_slope * (1 + 1e-14)
    assert LayerNorm(1, 0).max_slope == Sphere().max_slope == np.inf


# --- lanes and neighbours -------------------------------------------------------------------------------------------

KERNELS = ["activate", "slope", "lagrangian", "legendre", "invert", "apply_slope"]


def run(name, activation, y, x):
    """Run a kernel on y of shape (neurons, lanes), between two layers that must stay as they are."""
    neurons, lanes = y.shape
    layers = np.array([[2, 2 + neurons, activation.code]])
    around = np.full((2, lanes), 7, y.dtype)
    state, other, out = (np.concatenate([around, part, around]).ravel() for part in (y, x, np.zeros_like(y)))
    arrays = (state, other) if name == "apply_slope" else (state,)
    getattr(activations, name)(layers, np.array([activation.parameters], y.dtype), *arrays, out, lanes)
    out = out.reshape(-1, lanes)
    assert (out[:2] == 7).all()
    assert (out[-2:] == 7).all()
    return out[2:-2]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize("activation", [Softmax(2), LayerNorm(2, 0.1), Sphere(0.2)], ids=str)
def test_a_lane_has_the_same_bits_among_any_others(activation, name, dtype):
    rng = np.random.default_rng(4)
    y, x = rng.normal(size=(2, 11, 230)).astype(dtype)
    if name == "invert":
        y = activation.g(y.T).T
    whole = run(name, activation, y, x)
    assert np.isfinite(whole).all()
    assert len(np.unique(whole)) > 100
    for lanes in [*range(1, 40), 95, 96, 97, 193]:
        for at in (0, 5, 31):
            part = slice(at, at + lanes)
            np.testing.assert_array_equal(run(name, activation, y[:, part].copy(), x[:, part].copy()), whole[:, part])


def test_another_order_of_the_sum_is_seen():
    y = np.random.default_rng(4).normal(size=(11, 230))
    whole = run("lagrangian", Sphere(), y, y)
    assert (run("lagrangian", Sphere(), y[::-1].copy(), y) != whole).any()


@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize("activation", ALL, ids=str)
def test_nan_stays_in_its_lane(activation, name):
    y, x = np.random.default_rng(4).normal(size=(2, 5, 20)) / 3
    y = abs(y)
    clean = run(name, activation, y, x)
    y[3, ::4] = np.nan
    out = run(name, activation, y, x)
    expected = np.isnan(clean)
    mine = expected[:, ::4].copy()
    mine[{"lagrangian": 0, "legendre": 0}.get(name, slice(None))] = True
    if name == "invert" and (activation.name == "softmax" or not activation.parameters[1]):
        mine[:] = expected[:, ::4]
        mine[3] = True
    expected[:, ::4] = mine
    np.testing.assert_array_equal(np.isnan(out), expected)
    np.testing.assert_array_equal(out[~expected], clean[~expected])


def test_layers_of_several_kinds_stand_side_by_side():
    rng = np.random.default_rng(6)
    y, x = rng.normal(size=(2, 12, 8))
    kinds = [(0, 4, Softmax(2)), (4, 5, Tanh(3)), (5, 9, LayerNorm()), (9, 12, Sphere(0.1))]
    layers = np.array([[first, last, kind.code] for first, last, kind in kinds])
    parameters = np.array([kind.parameters for _, _, kind in kinds])
    for name, method in zip(KERNELS[:4], METHODS, strict=True):
        out = np.empty(96)
        getattr(activations, name)(layers, parameters, y.ravel(), out, 8)
        for first, last, kind in kinds:
            due = getattr(kind, method)(y[first:last].T).T
            np.testing.assert_array_equal(out.reshape(12, 8)[first:last], due)
    out = np.empty(96)
    activations.apply_slope(layers, parameters, y.ravel(), x.ravel(), out, 8)
    for first, last, kind in kinds:
        np.testing.assert_array_equal(
            out.reshape(12, 8)[first:last], kind.apply_slope(y[first:last].T, x[first:last].T).T
        )


# --- saturation, the inverse and shapes -----------------------------------------------------------------------------


def test_a_shift_of_the_block_changes_no_bit():
    y = np.array([0.5, -1.25, 2.0, 0.0])
    shifts = 2.0 ** np.arange(20)[:, None]
    for activation in (Softmax(), Softmax(4), LayerNorm(), LayerNorm(1, 0)):
        assert (activation.g(y + shifts) == activation.g(y)).all(), activation
        dead = activation == LayerNorm(1, 0)  # in the length, too
        assert (activation.g(y * shifts) == activation.g(y)).all() == dead
    assert (Sphere().g(y * shifts) == Sphere().g(y)).all()  # and the length is dead
    assert (Sphere(0.1).g(y * shifts) != Sphere(0.1).g(y)).any()


def test_a_leading_neuron_takes_all_to_the_last_bit():
    y = np.array([[lead, 0.0, -1.0] for lead in (760.0, 800.0, 1e300)])
    np.testing.assert_array_equal(Softmax().g(y), [[1, 0, 0]] * 3)
    np.testing.assert_array_equal(Softmax().slope(y), 0)
    assert (Softmax().g([30.0, 0, -1]) != [1, 0, 0]).any()


def test_inverse_is_a_preimage():
    y = np.random.default_rng(8).normal(size=(20, 7))
    for activation in ALL:
        back = activation.inverse(activation.g(y))
        np.testing.assert_allclose(activation.g(back), activation.g(y), rtol=1e-12, atol=1e-14, err_msg=str(activation))
    np.testing.assert_allclose(Sphere(0.5).inverse(Sphere(0.5).g(y)), y, rtol=1e-13)
    centred = y - y.mean(axis=1, keepdims=True)
    np.testing.assert_allclose(LayerNorm(2, 0.3).inverse(LayerNorm(2, 0.3).g(y)), centred, rtol=1e-12, atol=1e-14)
    assert abs(Softmax(3).lagrangian(Softmax(3).inverse(Softmax(3).g(y)))).max() < 1e-15
    assert np.isnan(Sphere(0.5).inverse([1.0, 1.0])).all()
    assert np.isnan(LayerNorm(1, 0.5).inverse([2.0, -2.0])).all()
    assert np.isnan(Softmax().inverse([-0.1, 1.1])[0])


def test_neurons_are_on_the_last_axis():
    y = np.random.default_rng(9).normal(size=(2, 3, 4))
    for activation in ALL:
        for method in METHODS:
            values = getattr(activation, method)(y)
            assert values.shape == y.shape
            np.testing.assert_array_equal(values[1, 2], getattr(activation, method)(y[1, 2]))
        assert (activation.lagrangian(y)[..., 1:] == 0).all()
        with pytest.raises(ValueError, match=f"{activation.name} needs neurons on the last axis"):
            activation.g(1.0)
    np.testing.assert_allclose(Softmax().lagrangian(y).sum(axis=-1), np.log(np.exp(y).sum(axis=-1)), rtol=1e-13)


def test_block_of_one_neuron():
    assert Softmax(2).g([3.0]).tolist() == [1]
    assert Softmax(2).slope([3.0]).tolist() == [0]
    assert Softmax(2).lagrangian([3.0]).tolist() == [3]
    assert LayerNorm().g([3.0]).tolist() == [0]
    assert Sphere().g([-3.0]).tolist() == [-1]


# --- machine code ---------------------------------------------------------------------------------------------------

if not numba.config.DISABLE_JIT:
    ROWS = ["_softmax_sums", "softmax_g", "softmax_slope", "softmax_apply", "softmax_lagrangian", "softmax_legendre"]
    ROWS += ["softmax_inverse", "_choose_unit", "_spread", "normal_g", "normal_slope", "normal_apply", "normal_total"]
    ROWS += ["_normal_sums", "normal_inverse"]

    @pytest.mark.parametrize("dtype", DTYPES)
    @pytest.mark.parametrize("name", ROWS)
    def test_lane_loops_are_vectorised_and_not_promoted(name, dtype):
        kernel = compiled(getattr(blockwise, name), dtype)
        signature = kernel.signatures[0]
        loops = hot_blocks(kernel.inspect_asm(signature))
        packed = [loop for loop in loops if PACKED.search(loop)]
        assert packed
        assert not any(CALL.search(loop) for loop in packed)
        if dtype is np.float32:
            assert "fpext" not in kernel.inspect_llvm(signature)

    def compiled(kernel, dtype):
        """The same function, compiled anew: what came from the disk cache has no assembly to read."""
        names = kernel.py_func.__code__.co_varnames[: kernel.py_func.__code__.co_argcount]
        array, number = numba.types.Array(numba.from_dtype(np.dtype(dtype)), 1, "C"), numba.from_dtype(np.dtype(dtype))
        kinds = {"a": number, "eps": number, "lanes": numba.int64, "at": numba.int64}
        kinds |= {"centred": numba.boolean, "legendre": numba.boolean}
        anew = numba.njit(**{k: kernel.targetoptions[k] for k in ("fastmath", "error_model")})(kernel.py_func)
        anew.compile(tuple(kinds.get(name, array) for name in names))
        return anew

    def test_a_call_is_seen():
        @numba.njit
        def loop(y, out):
            for e in range(y.size):
                out[e] = np.tanh(y[e])

        loop(np.ones(3), np.ones(3))
        assert all(
            CALL.search(block) or not PACKED.search(block) for block in hot_blocks(loop.inspect_asm(loop.signatures[0]))
        )
