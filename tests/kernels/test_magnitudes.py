"""Every function of every activation over the whole range of the numbers and of the gains, against mpmath.

A result is right to some units in the last place, or to as many of its gain, wherever it can be represented; it is an
infinity where the true one is too large, and never NaN for finite arguments.
"""

import mpmath as mp
import numba
import numpy as np
import pytest

from fasthop.model.activations import (
    GELU,
    SELU,
    Exp,
    Gaussian,
    HardTanh,
    Identity,
    LayerNorm,
    LeakyReLU,
    Power,
    RectifiedPower,
    ReLU,
    Sigmoid,
    SiLU,
    SmoothLeakyReLU,
    Softmax,
    Softplus,
    SoftThreshold,
    Sphere,
    Tanh,
)

if numba.config.DISABLE_JIT:  # numpy then warns of overflows and NaN that are results here
    pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")

DTYPES = [np.float64, np.float32]
METHODS = ("g", "slope", "lagrangian", "legendre")
GAINS = [1e-8, 1e-3, 0.3, 1, 7, 1e3, 1e8]
ELEMENTWISE = [
    *(kind(gain) for kind in (Tanh, Sigmoid, Softplus, SoftThreshold) for gain in GAINS),
    *(LeakyReLU(slope) for slope in (0, 1e-8, 0.01, 1, 1e8)),
    *(ReLU(), SmoothLeakyReLU(), Identity(), Exp(), GELU(), SiLU(), SELU(), Gaussian(), HardTanh()),
    *(kind(n) for kind in (RectifiedPower, Power) for n in (2, 3, 4, 7, 12, 63, 64)),
]
BLOCKS = [
    *(Softmax(gain) for gain in GAINS),
    *(LayerNorm(gain, epsilon) for gain in (1e-8, 1, 1e8) for epsilon in (0, 1e-5)),
    *(LayerNorm(2.5, 1e-300), LayerNorm(2.5, 1e10)),
    *(Sphere(epsilon) for epsilon in (0, 1e-300, 1e-5, 0.5, 1e10)),
]

#: Units in the last place that a result may be off.
ULPS = 12

with mp.workdps(40):
    LAMBDA, ALPHA = mp.mpf("1.0507009873554804934193349852946"), mp.mpf("1.6732632423543772848170429916717")


#: Digits of the exact numbers, of which the forms below lose few.
DIGITS = 60


def dilogarithm(x):
    """−Li₂(−e^x)."""
    if x > 0:
        return mp.pi**2 / 6 + x * x / 2 - dilogarithm(-x)
    q = mp.exp(x)
    return q if x < -200 else -mp.polylog(2, -q) if x > -20 else mp.nsum(lambda k: -((-q) ** k) / k**2, [1, 20])


def log_cosh(x):
    return mp.log1p(2 * mp.sinh(x / 2) ** 2) if abs(x) < 1 else abs(x) + mp.log1p(mp.exp(-2 * abs(x))) - mp.log(2)


def tanh(y, a):
    x = abs(a * y)
    q = mp.exp(-2 * x)
    phi = x * mp.tanh(x) - log_cosh(x) if x < 9 else mp.log(2) - mp.log1p(q) - 2 * x * q / (1 + q)
    return mp.tanh(a * y), 4 * a * q / (1 + q) ** 2, log_cosh(x) / a, phi / a


def sigmoid(y, a):
    x = a * y
    q = mp.exp(-abs(x))
    phi = -(abs(x) * q / (1 + q) + mp.log1p(q)) / a
    return (q if x < 0 else 1) / (1 + q), a * q / (1 + q) ** 2, (max(x, 0) + mp.log1p(q)) / a, phi


def softplus(y, a):
    x = a * y
    u, d = mp.log1p(mp.exp(-abs(x))), dilogarithm(-abs(x))
    if x < 0:
        return u / a, mp.exp(x) / (1 + mp.exp(x)), d / a**2, (x * u - d) / a**2
    return (
        y + u / a,
        1 / (1 + mp.exp(-x)),
        y**2 / 2 + (mp.pi**2 / 6 - d) / a**2,
        y**2 / 2 + (x * u + d - mp.pi**2 / 6) / a**2,
    )


def silu(y, a):
    _, slope, _, lagrangian = softplus(y, mp.mpf(1))
    tail = mp.exp(-abs(y)) / (1 + mp.exp(-abs(y)))
    phi = y * y * slope - lagrangian if y < 0 else y * y * (mp.mpf(1) / 2 - tail) - (lagrangian - y * y / 2)
    return y * slope, slope * (1 + y / (1 + mp.exp(y))), lagrangian, phi


def gelu(y, a):
    with mp.workdps(mp.mp.dps + 20 if abs(y) < 1e9 else mp.mp.dps):
        if y < -1e9:
            return (mp.mpf(0),) * 4
        tail, p = (mp.erfc(abs(y) / mp.sqrt(2)) / 2, mp.npdf(y)) if y < 1e9 else (mp.mpf(0),) * 2
        whole = 1 - tail if y > 0 else tail
        return y * whole, whole + y * p, ((y * y - 1) * whole + y * p) / 2, ((y * y + 1) * whole - y * p) / 2


def moment(x):
    """∫ t² e^{−t²} from 0 to x."""
    if abs(x) < 1e-3:
        return sum((-1) ** k * x ** (2 * k + 3) / (mp.factorial(k) * (2 * k + 3)) for k in range(12))
    return mp.sqrt(mp.pi) / 4 * mp.erf(x) - x * bell(x) / 2


def bell(x):
    return mp.exp(-x * x) if abs(x) < 1e9 else mp.mpf(0)


def smooth_leaky_relu(y, a):
    x = 3 * y / 8
    g, square = y * (5 + 3 * mp.erf(x)) / 8, y * y * (5 + 3 * mp.erf(x)) / 16
    bend = 8 / (3 * mp.sqrt(mp.pi)) * moment(x)
    return g, (5 + 3 * mp.erf(x)) / 8 + 3 * x * bell(x) / (4 * mp.sqrt(mp.pi)), square - bend, square + bend


def gaussian(y, a):
    return bell(y), -2 * y * bell(y), mp.sqrt(mp.pi) / 2 * mp.erf(y), -2 * moment(y)


def selu(y, a):
    if y > 0:
        return LAMBDA * y, LAMBDA, LAMBDA * y * y / 2, LAMBDA * y * y / 2
    g, s = mp.expm1(y), mp.exp(y)
    bend, phi = g - y, y * s - g
    if y > -1e-3:
        bend = sum(y**k / mp.factorial(k) for k in range(2, 24))
        phi = sum(y**k * (k - 1) / mp.factorial(k) for k in range(2, 24))
    return tuple(LAMBDA * ALPHA * part for part in (g, s, bend, phi))


def leaky(y, a):
    slope = mp.mpf(1) if y > 0 else a
    return slope * y, slope, slope * y * y / 2, slope * y * y / 2


def power(y, a):
    n = int(a)
    return y ** (n - 1), (n - 1) * y ** (n - 2), y**n / n, y**n * (n - 1) / n


def rectified_power(y, a):
    return power(y, a) if y > 0 else (mp.mpf(0),) * 4


def hard_tanh(y, a):
    if abs(y) < 1:
        return y, mp.mpf(1), y * y / 2, y * y / 2
    return mp.sign(y), mp.mpf(0), abs(y) - mp.mpf(1) / 2, mp.mpf(1) / 2


def soft_threshold(y, a):
    over = max(abs(y) - a, mp.mpf(0))
    return mp.sign(y) * over, mp.mpf(over > 0), over**2 / 2, over * (abs(y) + a) / 2


def exp(y, a):
    e = mp.exp(y)
    return e, e, e, (y - 1) * e


EXACT = {
    "tanh": tanh,
    "sigmoid": sigmoid,
    "relu": lambda y, a: leaky(y, mp.mpf(0)),
    "leaky_relu": leaky,
    "identity": lambda y, a: leaky(y, mp.mpf(1)),
    "smooth_leaky_relu": smooth_leaky_relu,
    "softplus": softplus,
    "exp": exp,
    "gelu": gelu,
    "silu": silu,
    "selu": selu,
    "gaussian": gaussian,
    "rectified_power": rectified_power,
    "power": power,
    "hard_tanh": hard_tanh,
    "soft_threshold": soft_threshold,
}

#: Activations whose parameter multiplies y and is rounded there.
GAINED = ("tanh", "sigmoid", "softplus", "softmax")


def magnitudes(dtype):
    """Numbers of every size, from the last subnormal to the largest finite one."""
    finite = np.finfo(dtype)
    step = 9 if dtype == np.float64 else 2
    low, high = int(np.log10(float(finite.smallest_subnormal))), int(np.log10(float(finite.max)))
    powers = [2.7 * 10.0**k for k in range(low + 2, high, step)]
    edges = [
        finite.smallest_subnormal,
        finite.tiny,
        np.sqrt(float(finite.tiny)),
        np.sqrt(float(finite.max)),
        finite.max,
    ]
    return np.array([*powers, *edges], dtype)


def around(activation, dtype):
    """Numbers where the activation bends and where its tail underflows, in units of its gain."""
    near = [1e-5, 0.01, 0.2, 0.35, 0.6, 0.99, 1.01, 2.3, 5.1, 7.9, 13.1, 17.9, 18.1, 26.1, 33.3, 37.7, 38.4, 39.9, 40.1]
    tails = [
        51.7,
        87.4,
        98.1,
        102.9,
        104.5,
        110.3,
        122.0,
        372.1,
        391.0,
        700.3,
        708.9,
        730.2,
        744.9,
        746.3,
        760.1,
        790.0,
    ]
    gain = activation.parameter if activation.name in GAINED else 1.0
    with np.errstate(over="ignore"):
        return (np.array(near + tails) / gain).astype(dtype)


def points(activation, dtype):
    y = np.concatenate([magnitudes(dtype), around(activation, dtype)])
    return np.concatenate([-y[::-1], np.zeros(1, dtype), y[np.isfinite(y)]])


def assert_right(got, due, slack, dtype, where, ulps=ULPS):
    """Check one number against the exact one; `slack` is allowed beside the units in the last place."""
    finite = np.finfo(dtype)
    largest, least, eps = (mp.mpf(float(x)) for x in (finite.max, finite.smallest_subnormal, finite.eps))
    allowed = ulps * eps * abs(due) + slack + 2 * least
    assert not np.isnan(got), where
    if np.isinf(got):
        assert abs(due) + allowed > largest, where
        assert abs(due) <= allowed or mp.sign(due) == np.sign(got), where
    else:
        assert abs(mp.mpf(float(got)) - due) <= allowed, (where, float(got), mp.nstr(due, 17))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("activation", ELEMENTWISE, ids=str)
def test_every_function_is_right_at_every_magnitude(activation, dtype):
    y = points(activation, dtype)
    a = mp.mpf(float(dtype(activation.parameter)))
    eps = mp.mpf(float(np.finfo(dtype).eps))
    ulps = max(ULPS, getattr(activation, "n", 0))  # a power has a rounding for every factor
    values = {method: getattr(activation, method)(y) for method in METHODS}
    applied = activation.apply_slope(y, np.full_like(y, 1.5))
    for i, at in enumerate(y.tolist()):
        with mp.workdps(DIGITS):
            due = EXACT[activation.name](mp.mpf(at), a)
            other = EXACT[activation.name](mp.mpf(at), a * (1 + eps)) if activation.name in GAINED else due
            for method, exactly, moved in zip(METHODS, due, other, strict=True):
                slack = 2 * abs(moved - exactly)
                assert_right(values[method][i], exactly, slack, dtype, (method, at), ulps)
                if method == "slope" and np.isfinite(values["slope"][i]):
                    slack = 1.5 * slack + 2 * mp.mpf(float(np.finfo(dtype).smallest_subnormal))
                    assert_right(applied[i], 1.5 * exactly, slack, dtype, ("apply_slope", at), ulps)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("activation", ELEMENTWISE, ids=str)
def test_at_infinity_stand_the_limits(activation, dtype):
    most = np.finfo(dtype).max
    for sign in (-1, 1):
        y = np.array([sign * np.inf, sign * most, sign * most / 2, np.nan], dtype)
        for method in METHODS:
            limit, last, before, undefined = getattr(activation, method)(y)
            assert np.isnan(undefined)
            grows = abs(last) > abs(before)
            assert limit == (np.sign(last) * np.inf if grows else last), (method, sign)


def inverse_of(activation):
    """The exact inverse, for mpf v and a."""
    square = lambda f: lambda v, a: mp.findroot(lambda y: f(y, a)[0] - v, v if v > 0 else 4 * v)  # noqa: E731
    return {
        "tanh": lambda v, a: mp.atanh(v) / a,
        "sigmoid": lambda v, a: (mp.log(v) - mp.log1p(-v)) / a,
        "relu": lambda v, a: v,
        "leaky_relu": lambda v, a: v if v > 0 else v / a,
        "identity": lambda v, a: v,
        "smooth_leaky_relu": square(smooth_leaky_relu),
        "softplus": lambda v, a: v + mp.log(-mp.expm1(-a * v)) / a,
        "exp": lambda v, a: mp.log(v),
        "selu": lambda v, a: v / LAMBDA if v > 0 else mp.log1p(v / (LAMBDA * ALPHA)),
        "rectified_power": lambda v, a: v ** (1 / (a - 1)),
        "power": lambda v, a: mp.sign(v) * abs(v) ** (1 / (a - 1)),
        "hard_tanh": lambda v, a: v,
        "soft_threshold": lambda v, a: v + mp.sign(v) * a,
    }[activation.name]


def values_of(activation, dtype):
    """Values of g of every magnitude."""
    v = magnitudes(dtype)
    low, high = activation.bounds
    v = np.concatenate([v, -v, np.array([0.3, 0.9, 1 - 1e-3, -0.3, -0.9], dtype)])
    positive = ("relu", "softplus", "exp", "rectified_power", "sigmoid")
    low = {"selu": -1.7}.get(activation.name, 0.0 if activation.name in positive else low)
    return v[(v > low) & (v < high)]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("activation", [kind for kind in ELEMENTWISE if kind.invertible], ids=str)
def test_the_inverse_is_right_at_every_magnitude(activation, dtype):
    v = values_of(activation, dtype)
    a = mp.mpf(float(dtype(activation.parameter)))
    if activation.name == "leaky_relu" and a == 0:
        v = v[v > 0]
    assert v.size > 20
    for at, got in zip(v.tolist(), activation.inverse(v), strict=True):
        with mp.workdps(DIGITS):
            due = inverse_of(activation)(mp.mpf(at), a)
            # Where two terms cancel it is their rounding that remains.
            slack = abs(mp.mpf(at)) * mp.mpf(float(np.finfo(dtype).eps)) if activation.name == "softplus" else 0
            assert_right(got, due, slack, dtype, at)


# --- blocks ----------------------------------------------------------------------------------------------------------


def softmax(y, a, eps):
    top = max(y)
    e = [mp.exp(a * (v - top)) for v in y]
    total, others = mp.fsum(e), [mp.fsum(e[:i] + e[i + 1 :]) for i in range(len(e))]
    rest = mp.fsum(sorted(e)[:-1])
    g = [v / total for v in e]
    Lam = [[a * g[i] * (others[i] / total if i == j else -g[j]) for j in range(len(y))] for i in range(len(y))]
    phi = mp.fsum(p * (v - top) for p, v in zip(g, y, strict=True)) - mp.log1p(rest) / a
    return g, Lam, top + mp.log1p(rest) / a, phi


def normal(y, a, eps, centred):
    n = mp.mpf(len(y) if centred else 1)
    centre = mp.fsum(y) / n if centred else mp.mpf(0)
    s = mp.sqrt(mp.fsum((v - centre) ** 2 for v in y) / n + eps)
    z = [(v - centre) / s for v in y]
    Lam = [
        [a / s * ((i == j) - (1 / n if centred else 0) - z[i] * z[j] / n) for j in range(len(y))] for i in range(len(y))
    ]
    return [a * v for v in z], Lam, n * a * s, -n * a * eps / s


def block(activation, y, dtype, gain=1):
    a, eps = (mp.mpf(float(dtype(x))) for x in activation.parameters)
    y = [mp.mpf(float(v)) for v in y]
    if activation.name == "softmax":
        return softmax(y, a * gain, eps)
    return normal(y, a, eps, activation.name == "layer_norm")


#: One has a common offset, one holds 0 and numbers far smaller than the others, one the largest difference there is.
SHAPES = [[0.7, -0.3, 0.9, 0.2, -0.55], [1, 1.0009765625, 1, 0.9990234375], [0.9, 0, 1e-20, -1e-9], [-1, 1, 0.5]]


def blocks(activation, dtype):
    sizes = magnitudes(dtype)
    if activation.name == "softmax":  # where it is not saturated
        with np.errstate(over="ignore"):
            sizes = np.concatenate([sizes, np.array([0.01, 1, 20, 80, 300, 700]) / activation.beta]).astype(dtype)
    for size in sizes[np.isfinite(sizes)]:
        for shape in SHAPES:
            y = (np.array(shape) / max(map(abs, shape)) * float(size)).astype(dtype)
            if (y != y[0]).any() or dtype(activation.parameters[1]) > 0 or activation.name == "softmax":
                yield y


def assert_close(got, due, slack, dtype, where):
    """Check a block: an error is measured by the largest number of the block, which sums are rounded to."""
    most = max(map(abs, due))
    for value, exactly, free in zip(got, due, slack, strict=True):
        room = 4 * mp.mpf(float(np.finfo(dtype).smallest_subnormal))
        assert_right(value, exactly, free + ULPS * mp.mpf(float(np.finfo(dtype).eps)) * most + room, dtype, where)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("activation", BLOCKS, ids=str)
def test_every_function_of_a_block_is_right_at_every_magnitude(activation, dtype):
    eps = mp.mpf(float(np.finfo(dtype).eps))
    for y in blocks(activation, dtype):
        got = {method: getattr(activation, method)(y) for method in METHODS}
        x = np.array([1.5, -0.25, 1, 0.5, 2][: len(y)], dtype)
        applied = activation.apply_slope(y, x)
        with mp.workdps(DIGITS):
            g, Lam, lagrangian, phi = block(activation, y, dtype)
            moved = block(activation, y, dtype, 1 + eps) if activation.name == "softmax" else (g, Lam, lagrangian, phi)
            product = [mp.fsum(p * mp.mpf(float(v)) for p, v in zip(row, x, strict=True)) for row in Lam]
            where = (activation, y.tolist())
            free = [2 * abs(p - q) for p, q in zip(g, moved[0], strict=True)]
            assert_close(got["g"], g, free, dtype, ("g", *where))
            free = [2 * abs(Lam[i][i] - moved[1][i][i]) for i in range(len(y))]
            assert_close(got["slope"], [Lam[i][i] for i in range(len(y))], free, dtype, ("slope", *where))
            largest = max(abs(p) for row in Lam for p in row) * 5
            if np.isfinite(got["slope"]).all() and largest < mp.mpf(float(np.finfo(dtype).max)):
                free = [ULPS * eps * largest + sum(free)] * len(y)
                assert_close(applied, product, free, dtype, ("apply_slope", *where))
            assert_right(got["lagrangian"][0], lagrangian, 0, dtype, ("lagrangian", *where))
            assert_right(got["legendre"][0], phi, 2 * abs(phi - moved[3]), dtype, ("legendre", *where))
            assert not got["lagrangian"][1:].any()
            assert not got["legendre"][1:].any()


def test_the_cases_that_were_wrong():
    np.testing.assert_allclose(Sphere().g(np.float32([3e-23, 4e-23])), [0.6, 0.8], rtol=2e-7)
    np.testing.assert_allclose(Sphere().g([3e160, 4e160]), [0.6, 0.8], rtol=2e-16)
    np.testing.assert_allclose(LayerNorm().g(np.float32([3e19, -3e19])), [1, -1], rtol=2e-7)
    assert GELU().lagrangian(np.float32(-1e25)) == GELU().legendre(np.float32(-1e25)) == 0
    assert SmoothLeakyReLU().lagrangian(-1e158) == np.inf
    np.testing.assert_allclose(SmoothLeakyReLU().lagrangian(-3e154), 1.125e308, rtol=1e-15)
    # ln cosh(βy)/β = βy²/2 for small βy.
    np.testing.assert_allclose(Tanh(1e-3).lagrangian(np.float32(0.5)), 1e-3 * 0.125, rtol=2e-7)
    np.testing.assert_allclose(Tanh(1e-8).legendre(3.0), 1e-8 * 4.5, rtol=1e-15)


def test_a_lane_of_another_scale_changes_no_bit():
    """Whether its neighbours are scaled or not, a lane has the same numbers."""
    rng = np.random.default_rng(1)
    for activation in (Sphere(), Sphere(0.5), LayerNorm(), LayerNorm(2, 0)):
        for dtype in DTYPES:
            y = rng.normal(size=(24, 7)).astype(dtype)
            far = y.copy()
            far[::3] *= np.sqrt(np.finfo(dtype).max)
            far[1::3] *= np.sqrt(np.finfo(dtype).tiny) / 100
            for method in METHODS:
                alone = getattr(activation, method)(y)
                np.testing.assert_array_equal(getattr(activation, method)(far)[2::3], alone[2::3])
