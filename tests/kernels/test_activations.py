import mpmath as mp
import numpy as np
import pytest

from fasthop.activations import ACTIVATIONS, LeakyReLU, ReLU, Sigmoid, SmoothLeakyReLU, Tanh

DTYPES = [np.float64, np.float32]
ALL = [Tanh(), Tanh(0.3), Tanh(8), Sigmoid(), Sigmoid(20), ReLU(), LeakyReLU(), LeakyReLU(0.5), SmoothLeakyReLU()]
METHODS = ("g", "slope", "lagrangian", "legendre")

# So many digits that y g − L keeps fifty of them where it is e^{−700}.
mp.mp.dps = 700

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
    y = points(dtype)
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
            assert abs((g(y + h, a) - g(y - h, a)) / (2 * h) - slope(y, a)) < 1e-30
            integral = mp.quad(lambda t: g(t, a), [0.25, 0, y] if y < 0 else [0.25, y])
            assert abs(lagrangian(y, a) - lagrangian(mp.mpf(0.25), a) - integral) < 1e-18


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


@pytest.mark.parametrize("activation", ALL, ids=str)
def test_max_slope_is_the_maximum(activation):
    y = np.concatenate([np.linspace(-30, 30, 200_001), [8 / 3]])
    slope = activation.slope(y)
    assert slope.max() == pytest.approx(activation.max_slope, rel=1e-15)
    assert (slope >= 0).all()


def test_slopes_of_the_smooth_leaky_relu():
    smooth = SmoothLeakyReLU()
    assert smooth.max_slope == pytest.approx(1.09667810888887, abs=1e-14)
    assert smooth.slope([8 / 3, -8 / 3]) == pytest.approx([1.09667810888887, 0.15332189111113], abs=1e-14)
    assert smooth.slope(np.linspace(-30, 30, 10_001)).min() == pytest.approx(0.15332189111113, abs=1e-6)


@pytest.mark.parametrize("kind", ACTIVATIONS.values())
def test_the_kink_and_zero_are_on_the_lower_side(kind):
    lower = {"relu": 0.0, "leaky_relu": 0.01}
    assert kind().slope(0.0) == lower.get(kind.name, kind().slope(1e-300))
    assert kind().g(0.0) == (0.5 if kind.name == "sigmoid" else 0.0)


def test_shape_is_kept_and_lists_are_taken():
    y = np.linspace(-2, 2, 24).reshape(2, 3, 4)
    np.testing.assert_allclose(Tanh(2).g(y), np.tanh(2 * y), rtol=1e-15)
    np.testing.assert_allclose(Tanh(2).g(y.T), np.tanh(2 * y.T), rtol=1e-15)
    assert ReLU().g([-1, 2]).tolist() == [0, 2]
    assert ReLU().g(3).shape == ()
