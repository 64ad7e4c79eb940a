import mpmath as mp
import numba
import numpy as np
import pytest

from assembly import is_vectorised
from fasthop.model.activations import (
    ACTIVATIONS,
    GELU,
    SELU,
    Exp,
    Gaussian,
    HardTanh,
    Identity,
    LeakyReLU,
    Power,
    RectifiedPower,
    ReLU,
    Sigmoid,
    SiLU,
    SmoothLeakyReLU,
    Softplus,
    SoftThreshold,
    Tanh,
)
from fasthop_kernels.dynamics import activations as kernels
from fasthop_kernels.machine.jit import FASTMATH
from fasthop_kernels.machine.lanes import wide_vectors

DTYPES = [np.float64, np.float32]

if numba.config.DISABLE_JIT:  # numpy then warns of overflows and NaN that are results here
    pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")
ALL = [
    *(Tanh(), Tanh(0.3), Tanh(8), Sigmoid(), Sigmoid(20), ReLU(), LeakyReLU(), LeakyReLU(0.5), SmoothLeakyReLU()),
    *(Identity(), Softplus(), Softplus(0.3), Softplus(20), Exp(), GELU(), SiLU(), SELU(), Gaussian()),
    *(RectifiedPower(n) for n in (2, 3, 4, 5, 8, 12)),
    *(Power(n) for n in (2, 3, 4, 7, 12)),
    *(HardTanh(), SoftThreshold(), SoftThreshold(0.3)),
]
METHODS = ("g", "slope", "lagrangian", "legendre")


@pytest.fixture(autouse=True)
def digits():
    """So many that y g − L keeps fifty of them where it is e^{−700}."""
    with mp.workdps(700):
        yield


with mp.workdps(40):
    LAMBDA, ALPHA = mp.mpf("1.0507009873554804934193349852946"), mp.mpf("1.6732632423543772848170429916717")


def dilogarithm(x):
    """−Li₂(−e^x), by a series where x is far below 0 and by reflection above."""
    if x > 0:
        return mp.pi**2 / 6 + x * x / 2 - dilogarithm(-x)
    with mp.workdps(60):
        q = mp.exp(x)
        return -mp.polylog(2, -q) if x > -40 else q - q**2 / 4 + q**3 / 9


# Every function by its definition: g, Λ and L with the parameter a.
EXACT = {
    "tanh": (
        lambda y, a: mp.tanh(a * y),
        lambda y, a: a / mp.cosh(a * y) ** 2,
        lambda y, a: mp.log(mp.cosh(a * y)) / a,
    ),
    "sigmoid": (
        lambda y, a: 1 / (1 + mp.exp(-a * y)),
        lambda y, a: a / (2 + 2 * mp.cosh(a * y)),
        lambda y, a: mp.log(1 + mp.exp(a * y)) / a,
    ),
    "relu": (
        lambda y, a: max(y, mp.mpf(0)),
        lambda y, a: mp.mpf(y > 0),
        lambda y, a: max(y, mp.mpf(0)) ** 2 / 2,
    ),
    "leaky_relu": (
        lambda y, a: y if y > 0 else a * y,
        lambda y, a: mp.mpf(1) if y > 0 else a,
        lambda y, a: (1 if y > 0 else a) * y**2 / 2,
    ),
    "smooth_leaky_relu": (
        lambda y, a: y * (5 + 3 * mp.erf(3 * y / 8)) / 8,
        lambda y, a: (5 + 3 * mp.erf(3 * y / 8)) / 8 + 9 * y * mp.exp(-9 * y * y / 64) / (32 * mp.sqrt(mp.pi)),
        lambda y, a: (
            5 * y**2 / 16
            + (y**2 / 2 - mp.mpf(16) / 9) * 3 * mp.erf(3 * y / 8) / 8
            + y * mp.exp(-9 * y * y / 64) / (2 * mp.sqrt(mp.pi))
        ),
    ),
    "identity": (lambda y, a: y, lambda y, a: mp.mpf(1), lambda y, a: y * y / 2),
    "softplus": (
        lambda y, a: mp.log1p(mp.exp(a * y)) / a,
        lambda y, a: 1 / (1 + mp.exp(-a * y)),
        lambda y, a: dilogarithm(a * y) / a**2,
    ),
    "exp": (lambda y, a: mp.exp(y),) * 3,
    "gelu": (
        lambda y, a: y * mp.erfc(-y / mp.sqrt(2)) / 2,
        lambda y, a: mp.erfc(-y / mp.sqrt(2)) / 2 + y * mp.npdf(y),
        lambda y, a: ((y * y - 1) * mp.erfc(-y / mp.sqrt(2)) / 2 + y * mp.npdf(y)) / 2,
    ),
    "silu": (
        lambda y, a: y / (1 + mp.exp(-y)),
        lambda y, a: (1 + y / (1 + mp.exp(y))) / (1 + mp.exp(-y)),
        lambda y, a: y * mp.log1p(mp.exp(y)) - dilogarithm(y),
    ),
    "selu": (
        lambda y, a: LAMBDA * (y if y > 0 else ALPHA * mp.expm1(y)),
        lambda y, a: LAMBDA * (1 if y > 0 else ALPHA * mp.exp(y)),
        lambda y, a: LAMBDA * (y * y / 2 if y > 0 else ALPHA * (mp.expm1(y) - y)),
    ),
    "gaussian": (
        lambda y, a: mp.exp(-y * y),
        lambda y, a: -2 * y * mp.exp(-y * y),
        lambda y, a: mp.sqrt(mp.pi) / 2 * mp.erf(y),
    ),
    "rectified_power": (
        lambda y, a: y ** (a - 1) if y > 0 else mp.mpf(0),
        lambda y, a: (a - 1) * y ** (a - 2) if y > 0 else mp.mpf(0),
        lambda y, a: y**a / a if y > 0 else mp.mpf(0),
    ),
    "power": (lambda y, a: y ** (a - 1), lambda y, a: (a - 1) * y ** (a - 2), lambda y, a: y**a / a),
    "hard_tanh": (
        lambda y, a: min(max(y, mp.mpf(-1)), mp.mpf(1)),
        lambda y, a: mp.mpf(abs(y) < 1),
        lambda y, a: y * y / 2 if abs(y) < 1 else abs(y) - mp.mpf(1) / 2,
    ),
    "soft_threshold": (
        lambda y, a: mp.sign(y) * max(abs(y) - a, mp.mpf(0)),
        lambda y, a: mp.mpf(abs(y) > a),
        lambda y, a: max(abs(y) - a, mp.mpf(0)) ** 2 / 2,
    ),
}


def exact(activation, dtype, y):
    """g, Λ, L and φ at numbers of `dtype`, each with the parameter as that dtype holds it; shape (4, len(y))."""
    a = mp.mpf(float(dtype(activation.parameter)))
    g, slope, lagrangian = EXACT[activation.name]
    rows = []
    for value in map(mp.mpf, y.tolist()):
        at = [function(value, a) for function in (g, slope, lagrangian)]
        rows.append([*at, value * at[0] - at[2]])
    return np.array(rows, object).T


def points(dtype):
    tails = [8.5, 12.3, 17.9, 19.1, 30.25, 36.7, 40.0, 87.5, 200.0, 372.0, 500.0, 690.0, 700.0]
    near = [1e-30, 1e-12, 1e-5, 3e-3, 0.1, 0.3, 0.549, 0.7, 0.99, 1.0, 1.7, 8 / 3, 3.14, 4.4, 6.0, 7.2]
    y = np.array(near + tails, dtype)
    return np.concatenate([-y[::-1], np.zeros(1, dtype), y])


def within(activation, dtype, y):
    """The points at which e^y and powers, and their products, are finite."""
    most = {"exp": np.log(float(np.finfo(dtype).max)) - 8}.get(activation.name, np.inf)
    if activation.name in ("rectified_power", "power"):
        most = float(np.finfo(dtype).max) ** (1 / activation.n) / 2
    return y[(y if activation.name != "power" else np.abs(y)) < most]


def errors(values, due, dtype):
    """Errors in units of epsilon, relative to numbers above 1 and absolute below; then relative to all."""
    eps = float(np.finfo(dtype).eps)
    gap = [abs(mp.mpf(float(value)) - exactly) for value, exactly in zip(values, due, strict=True)]
    absolute = [float(e / max(1, abs(exactly))) / eps for e, exactly in zip(gap, due, strict=True)]
    relative = [float(e / abs(exactly)) / eps if exactly else float(e) for e, exactly in zip(gap, due, strict=True)]
    return np.array(absolute), np.array(relative)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("activation", ALL, ids=str)
def test_formulas_are_exact_to_rounding(activation, dtype):
    y = within(activation, dtype, points(dtype))
    for method, due in zip(METHODS, exact(activation, dtype, y), strict=True):
        values = getattr(activation, method)(y)
        assert values.dtype == dtype
        absolute, _ = errors(values, due, dtype)
        assert absolute.max() < 12, method  # 2.7e-15, 1.4e-6
        if method == "slope":
            assert absolute.max() * np.finfo(dtype).eps < (1e-14 if dtype == np.float64 else 1e-6)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("activation", [Tanh(), Tanh(0.3), Sigmoid(), Sigmoid(20)], ids=str)
def test_tails_keep_their_relative_accuracy(activation, dtype):
    a = activation.parameter
    y = points(dtype)
    y = y[(np.abs(a * y) < (350 if dtype == np.float64 else 40)) & (np.abs(a * y) > 1)]
    _, slope, _, phi = exact(activation, dtype, y)
    if activation.name == "tanh":  # φ tends to ln 2 / a
        phi = [mp.mpf(0)] * len(y)
    for method, due in (("slope", slope), ("legendre", phi)):
        if not any(due):
            continue
        _, relative = errors(getattr(activation, method)(y), due, dtype)
        # e^{−x} cannot be better than x is: its relative error is the absolute one of x = a y.
        assert (relative <= 8 + 2 * np.abs(a * y)).all(), method


@pytest.mark.parametrize("activation", ALL, ids=str)
def test_formulas_fit_each_other(activation):
    """Λ = g′ and L = ∫g of the very functions above, which are written by hand, too."""
    g, slope, lagrangian = EXACT[activation.name]
    a = mp.mpf(activation.parameter)
    with mp.workdps(50):
        for y in map(mp.mpf, ("-3.2", "-.4", ".7", "2.9")):
            h = mp.mpf("1e-18")
            assert abs((g(y + h, a) - g(y - h, a)) / (2 * h) - slope(y, a)) < 1e-29 * max(1, abs(g(y, a)))
            kinks = [t for t in (-1, -a, 0, a, 1) if min(y, 0.25) < t < max(y, 0.25)]
            pieces = sorted({mp.mpf(0.25), y, *kinks}, reverse=bool(y < 0.25))
            integral = mp.quad(lambda t: g(t, a), pieces)
            due = lagrangian(y, a) - lagrangian(mp.mpf(0.25), a)
            assert abs(due - integral) < 1e-18 * max(1, abs(due))


def test_naive_formulas_lose_the_tails():
    y = np.array([30.25])
    _, slope, _, phi = exact(Sigmoid(), np.float64, y)
    g = 1 / (1 + np.exp(-y))
    assert errors(g * (1 - g), slope, np.float64)[1] > 1e6
    assert errors(y * g - np.logaddexp(0, y), phi, np.float64)[1] > 1e6


# --- saturation -----------------------------------------------------------------------------------------------------


def constant_from(values):
    """Index from which all values are the same to the last bit."""
    return int(np.flatnonzero(values != values[-1])[-1]) + 1


@pytest.mark.parametrize(
    ("dtype", "tanh_by", "sigmoid_by", "zero_by"), [(np.float64, 20, 38, 746), (np.float32, 10.5, 18, 105)]
)
def test_saturated_neurons_are_constant_to_the_last_bit(dtype, tanh_by, sigmoid_by, zero_by):
    y = np.concatenate([np.arange(0, 800, 1 / 64), np.geomspace(1e3, 1e38, 50)]).astype(dtype)
    tanh, sigmoid, below = Tanh().g(y), Sigmoid().g(y), Sigmoid().g(-y)
    assert (tanh[-1], sigmoid[-1], below[-1]) == (1, 1, 0)
    assert tanh_by / 1.3 < y[constant_from(tanh)] < tanh_by
    assert sigmoid_by / 1.2 < y[constant_from(sigmoid)] < sigmoid_by
    assert zero_by / 1.3 < y[constant_from(below)] <= zero_by  # far later than on the other side
    np.testing.assert_array_equal(Tanh().g(-y), -tanh)
    assert (ReLU().g(-y) == 0).all()
    for activation in (LeakyReLU(), SmoothLeakyReLU()):  # these have no dead neurons
        assert constant_from(activation.g(-y)) == y.size - 1


@pytest.mark.parametrize(
    ("activation", "side", "limit", "by"),
    [
        (Softplus(), -1, 0, (746, 105)),
        (Exp(), -1, 0, (746, 105)),
        (GELU(), -1, 0, (38.7, 14.6)),
        (SiLU(), -1, 0, (753, 109)),
        (SELU(), -1, -SELU().max_slope, (37.5, 17.4)),
        (Gaussian(), -1, 0, (27.4, 10.4)),
        (Gaussian(), 1, 0, (27.4, 10.4)),
        (HardTanh(), 1, 1, (1, 1)),
        (HardTanh(), -1, -1, (1, 1)),
        (RectifiedPower(3), -1, 0, (0, 0)),
    ],
    ids=str,
)
@pytest.mark.parametrize("dtype", DTYPES)
def test_flat_sides_are_constant_to_the_last_bit(activation, side, limit, by, dtype):
    due = by[DTYPES.index(dtype)]
    y = np.concatenate([np.arange(0, 800, 1 / 64), np.geomspace(1e3, 1e38, 50)]).astype(dtype)
    g = activation.g(dtype(side) * y)
    assert g[-1] == dtype(limit)
    assert y[constant_from(g) if (g != g[-1]).any() else 0] <= due
    assert (g != g[-1]).any() == (due > 0)


@pytest.mark.parametrize(("activation", "by"), [(GELU(), (8.4, 5.6)), (SiLU(), (38, 18)), (Softplus(), (37, 17))])
@pytest.mark.parametrize("dtype", DTYPES)
def test_linear_sides_are_exactly_linear(activation, by, dtype):
    y = np.concatenate([np.linspace(by[DTYPES.index(dtype)], 800, 10_001), np.geomspace(1e3, 1e30, 50)]).astype(dtype)
    np.testing.assert_array_equal(activation.g(y), y)
    assert (activation.g(y[:1] / dtype(2)) != y[:1] / dtype(2)).all()


# --- the inverse ----------------------------------------------------------------------------------------------------

INVERTIBLE = [activation for activation in ALL if activation.invertible]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("activation", INVERTIBLE, ids=str)
def test_inverse_undoes_g(activation, dtype):
    """Up to the rounding of v = g(y), which is worth |v| ε / Λ in y."""
    y = within(activation, dtype, points(dtype))
    v, slope = activation.g(y).astype(float), activation.slope(y).astype(float)
    keep = (slope > 1e-3) if dtype == np.float32 else (slope > 1e-9)
    keep &= abs(v) > (1e-300 if dtype == np.float64 else 1e-35)
    y, v, slope = y[keep], v[keep], slope[keep]
    assert y.size > 9
    back = activation.inverse(v.astype(dtype)).astype(float)
    assert back.dtype == np.float64
    eps = np.finfo(dtype).eps
    a = activation.parameter if activation.name in ("softplus", "sigmoid", "tanh") else 1.0
    assert (abs(back - y) <= 4 * eps * (abs(v) / slope + abs(y) + 1 / a)).all()


def test_a_wrong_inverse_is_seen():
    y = np.array([1.0])
    assert abs(Tanh(2).inverse(Tanh().g(y)) - y)[0] > 0.1


INVERSE = {
    "tanh": lambda v, a: mp.atanh(v) / a,
    "sigmoid": lambda v, a: mp.log(v / (1 - v)) / a,
    "smooth_leaky_relu": lambda v, a: mp.findroot(
        lambda y: EXACT["smooth_leaky_relu"][0](y, a) - v, v if v > 0 else 4 * v
    ),
    "softplus": lambda v, a: mp.log(mp.expm1(a * v)) / a,
    "exp": lambda v, a: mp.log(v),
    "selu": lambda v, a: v / LAMBDA if v > 0 else mp.log1p(v / (LAMBDA * ALPHA)),
    "rectified_power": lambda v, a: v ** (1 / (a - 1)),
    "power": lambda v, a: mp.sign(v) * abs(v) ** (1 / (a - 1)),
}


@pytest.mark.parametrize(
    ("activation", "values"),
    [
        (Tanh(0.3), [1e-20, 1e-3, -0.5, 0.99, -0.9999]),
        (Sigmoid(), [1e-300, 0.1, 0.2499, 0.25, 0.4999, 0.51, 0.9, 0.99999]),
        (SmoothLeakyReLU(), [-50.0, -3.3, -1e-3, 1e-9, 0.4, 2.0, 7.0, 49.0]),
        (Softplus(2.0), [1e-200, 1e-3, 0.3, 2.0, 80.0]),
        (Exp(), [1e-310, 0.9999, 1.0001, 1e300]),
        (SELU(), [-1.0, -0.3, -1e-12, 2.0]),
        (RectifiedPower(3), [5e-324, 1e-300, 0.3, 1e300]),
        (RectifiedPower(12), [5e-324, 1e-300, 0.3, 7.0, 1e300]),
        (Power(12), [-5e-324, 1e-300, -0.3, 7.0, -1e300]),
    ],
    ids=str,
)
def test_inverse_is_exact_to_rounding(activation, values):
    with mp.workdps(350):
        for v in values:
            due = INVERSE[activation.name](mp.mpf(v), mp.mpf(activation.parameter))
            assert abs(mp.mpf(float(activation.inverse(v))) - due) < 6e-16 * max(1, abs(due)), v
            if activation.name in ("rectified_power", "power"):
                assert abs(mp.mpf(float(activation.inverse(v))) / due - 1) < 6e-16, v


def test_inverse_at_and_beyond_the_range():
    nan, inf = np.nan, np.inf
    for activation, values, due in [
        (Tanh(), [-1, 1, 1.1, -2], [-inf, inf, nan, nan]),
        (Sigmoid(), [0, 1, -0.1, 1.1], [-inf, inf, nan, nan]),
        (ReLU(), [0, -1, 3], [nan, nan, 3]),
        (LeakyReLU(0.5), [0, -1, 3], [0, -2, 3]),
        (LeakyReLU(0), [0, -1, 3], [nan, nan, 3]),
        (Softplus(), [0, -1], [-inf, nan]),
        (Exp(), [0, -1, 1], [-inf, nan, 0]),
        (SELU(), [-1.8, 0], [nan, 0]),
        (RectifiedPower(4), [0, -1, 1, inf], [nan, nan, 1, inf]),
        (Power(4), [0, -1, 1, inf, -inf], [0, -1, 1, inf, -inf]),
        (HardTanh(), [1, -1, 0.5, 2], [nan, nan, 0.5, nan]),
        (SoftThreshold(2), [0, 1, -1], [nan, 3, -3]),
        (Identity(), [0, -5], [0, -5]),
    ]:
        np.testing.assert_array_equal(activation.inverse([*values, nan]), [*due, nan], err_msg=str(activation))


def test_legendre_term_is_flat_where_the_neuron_is_saturated():
    phi = Sigmoid().legendre(np.array([40.0, 40.0 + 1e12, 800.0, 800.0 + 1e12]))
    assert abs(phi[1] - phi[0]) < 2e-16  # 41 e^−40, what is left of φ there
    assert phi[3] == phi[2]
    assert np.ptp(Tanh().legendre(np.array([40.0, 1e12, 1e300]))) == 0
    y = np.array([[40.0, 0.3, -1.2], [40.0 + 1e12, 0.3, -1.2]])
    naive = (y / (1 + np.exp(-y))).sum(axis=1) - np.logaddexp(0, y).sum(axis=1)
    assert 1e-6 < abs(naive[1] - naive[0]) < 1e-2


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("activation", ALL, ids=str)
def test_nan_stays_nan_and_harms_no_neighbour(activation, method, dtype):
    y = np.linspace(-3, 3, 37).astype(dtype)
    expected = getattr(activation, method)(y)
    y[::5] = np.nan
    expected[::5] = np.nan
    np.testing.assert_array_equal(getattr(activation, method)(y), expected)


# --- the largest slope ----------------------------------------------------------------------------------------------


def sampled_slopes(activation):
    steepest = [8 / 3, 2**0.5, -(0.5**0.5), 2.399357280515468, 400.0]
    return activation.slope(np.concatenate([np.linspace(-30, 30, 200_001), steepest]))


@pytest.mark.parametrize("activation", ALL, ids=str)
def test_max_slope_is_the_maximum(activation):
    slope = sampled_slopes(activation)
    if activation.max_slope < np.inf:
        assert slope.max() == pytest.approx(activation.max_slope, rel=2e-15)
        assert abs(slope).max() <= activation.max_slope * (1 + 1e-15)
    else:
        assert slope.max() > 100 * activation.slope(8 / 3)
    assert (slope.min() >= 0) == activation.monotone


@pytest.mark.parametrize(
    ("activation", "least", "at", "zero"),
    [
        (GELU(), -0.128904145, -(2**0.5), -0.751791524694),
        (SiLU(), -0.0998393201, -2.3993573, -1.278464542761),
        (Gaussian(), -((2 / np.e) ** 0.5), 0.5**0.5, 0.0),
    ],
    ids=str,
)
def test_where_slopes_are_negative(activation, least, at, zero):
    assert sampled_slopes(activation).min() == pytest.approx(least, rel=1e-7)
    assert activation.slope(at) == pytest.approx(least, rel=1e-8)
    assert abs(activation.slope(zero)) < 1e-12
    with pytest.raises(ValueError, match=f"{activation.name} has no inverse"):
        activation.inverse(0.1)


def test_slopes_of_the_smooth_leaky_relu():
    smooth = SmoothLeakyReLU()
    assert smooth.max_slope == pytest.approx(1.09667810888887, abs=1e-14)
    assert smooth.slope([8 / 3, -8 / 3]) == pytest.approx([1.09667810888887, 0.15332189111113], abs=1e-14)
    assert smooth.slope(np.linspace(-30, 30, 10_001)).min() == pytest.approx(0.15332189111113, abs=1e-6)


ELEMENTWISE = [kind for kind in ACTIVATIONS.values() if not kind.blockwise]


@pytest.mark.parametrize("kind", ELEMENTWISE)
def test_the_kink_and_zero_are_on_the_lower_side(kind):
    lower = {"relu": 0.0, "leaky_relu": 0.01, "selu": 1.0507009873554805 * 1.6732632423543772}
    assert kind().slope(0.0) == pytest.approx(lower.get(kind.name, kind().slope(1e-300)), rel=1e-15, abs=1e-299)
    at_zero = {"sigmoid": 0.5, "softplus": np.log(2), "exp": 1.0, "gaussian": 1.0}
    assert kind().g(0.0) == pytest.approx(at_zero.get(kind.name, 0.0), rel=1e-15)


def test_slopes_at_the_flat_edges():
    assert HardTanh().slope([-1.0, 1.0, 1 - 1e-15]).tolist() == [0, 0, 1]
    assert SoftThreshold().slope([-1.0, 1.0, 1 + 1e-15]).tolist() == [0, 0, 1]
    assert RectifiedPower(2).slope([0.0, 1e-300]).tolist() == [0, 1]


def test_shape_is_kept_and_lists_are_taken():
    y = np.linspace(-2, 2, 24).reshape(2, 3, 4)
    np.testing.assert_allclose(Tanh(2).g(y), np.tanh(2 * y), rtol=1e-15)
    np.testing.assert_allclose(Tanh(2).g(y.T), np.tanh(2 * y.T), rtol=1e-15)
    assert ReLU().g([-1, 2]).tolist() == [0, 2]
    assert ReLU().g(3).shape == ()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("activation", ALL, ids=str)
def test_applying_the_slope_is_a_product_with_the_diagonal(activation, dtype):
    rng = np.random.default_rng(3)
    y, x = rng.normal(size=(2, 5, 7)).astype(dtype)
    product = activation.apply_slope(y, x)
    assert product.dtype == dtype
    np.testing.assert_array_equal(product, activation.slope(y) * x)
    with pytest.raises(ValueError, match=r"x must have the shape of y, \(5, 7\); got \(7,\)"):
        activation.apply_slope(y, x[0])


@pytest.mark.parametrize("activation", ALL, ids=str)
def test_legendre_is_the_difference_where_it_does_not_cancel(activation):
    y = np.linspace(-2, 2, 41)
    due = y * activation.g(y) - activation.lagrangian(y)
    np.testing.assert_allclose(activation.legendre(y), due, rtol=1e-13, atol=1e-14)


# --- machine code ---------------------------------------------------------------------------------------------------

FORMULAS = [
    name
    for name in vars(kernels)
    if "_" in name
    and name.rpartition("_")[2] in {"g", "slope", "lagrangian", "legendre", "inverse", "newton"}
    and not name.startswith(("softmax", "normal", "apply"))
]

if not numba.config.DISABLE_JIT:

    def lane_loop(function):
        @numba.njit(fastmath=FASTMATH, error_model="numpy")
        def loop(x, a, out):
            wide_vectors()
            for e in range(x.size):
                out[e] = function(x[e], a)

        return loop

    newton = kernels.smooth_leaky_relu_newton

    @numba.njit
    def with_math(x, a):
        return np.tanh(x) * 1.1

    @pytest.mark.parametrize("name", FORMULAS)
    def test_lane_loops_are_vectorised_and_not_promoted(name):
        loop = lane_loop(getattr(kernels, name) if not name.endswith("newton") else with_newton)
        for dtype in DTYPES:
            loop(np.ones(1, dtype), dtype(1), np.ones(1, dtype))
        double, single = loop.signatures
        assert is_vectorised(loop.inspect_asm(double))
        assert is_vectorised(loop.inspect_asm(single))
        llvm = loop.inspect_llvm(single)
        assert "fpext" not in llvm

    @numba.njit(fastmath=FASTMATH, error_model="numpy", inline="always")
    def with_newton(v, a):
        return newton(v, v, a)

    def test_a_call_and_a_promotion_are_seen():
        loop = lane_loop(with_math)
        loop(np.ones(1, np.float32), np.float32(1), np.ones(1, np.float32))
        assert not is_vectorised(loop.inspect_asm(loop.signatures[0]))
        assert "fpext" in loop.inspect_llvm(loop.signatures[0])

    def test_every_activation_has_its_formulas():
        assert len(FORMULAS) >= 14 * 4 - 6  # exp and the ReLUs share some, powers are a kernel
