"""Accuracy and edges of log, the Gaussians, the Mills ratio and the dilogarithm, against mpmath."""

import mpmath as mp
import numba
import numpy as np
import pytest

from assembly import is_vectorised
from fasthop_kernels.machine.jit import FASTMATH
from fasthop_kernels.mathematics import elementary

JIT = not numba.config.DISABLE_JIT
SAMPLES = 1500 if JIT else 30
DTYPES = (np.float64, np.float32)

EXACT = {
    "log1p_unit": mp.log1p,
    "log": mp.log,
    "gaussian": lambda x: mp.exp(-x * x),
    "half_gaussian": lambda x: mp.exp(-x * x / 2),
    "mills": lambda x: mp.erfc(abs(x) / mp.sqrt(2)) * mp.exp(x * x / 2) / 2,
    "dilog": lambda u: -mp.polylog(2, -mp.expm1(u)),
    "gelu_tail": lambda x: (
        ((1 - x * x) * mp.erfc(abs(x) / mp.sqrt(2)) * mp.exp(x * x / 2) / 2 + abs(x) / mp.sqrt(2 * mp.pi)) / 2
    ),
    "gaussian_moment": lambda x: mp.sqrt(mp.pi) / 4 * mp.erf(x) - x * mp.exp(-x * x) / 2,
}
#: Largest error allowed, in units in the last place.
ULPS = {"log1p_unit": 1.4, "log": 1.1, "gaussian": 1.4, "half_gaussian": 1.5, "mills": 5.5, "dilog": 1.6}
ULPS |= {"gelu_tail": 6, "gaussian_moment": 3.5}
CASES = [pytest.param(name, dtype, id=f"{name}-{dtype.__name__}") for name in EXACT for dtype in DTYPES]

_loops = {}


def lane_loop(name):
    """Return the compiled loop out[i] = function(x[i])."""
    if name not in _loops:
        function = getattr(elementary, name)

        @numba.njit(fastmath=FASTMATH, error_model="numpy")
        def loop(x, out):
            for i in range(x.size):
                out[i] = function(x[i])

        _loops[name] = loop
    return _loops[name]


def evaluate(name, x):
    out = np.empty_like(x)
    with np.errstate(all="ignore"):  # without JIT numpy warns of each overflow
        lane_loop(name)(x, out)
    return out


def samples(name, dtype, seed=0):
    """Arguments of all sizes: dense where the function varies, and both edges of its range."""
    rng, finite = np.random.default_rng(seed), np.finfo(dtype)
    if name == "log":
        word = np.uint64 if dtype is np.float64 else np.uint32
        pattern = np.abs(rng.integers(0, np.iinfo(word).max, SAMPLES, dtype=word).view(dtype))
        edges = [finite.tiny, finite.smallest_subnormal, 3 * finite.smallest_subnormal, finite.max]
        parts = [pattern[np.isfinite(pattern)], edges, rng.uniform(0.2, 3, SAMPLES), 1 + rng.normal(0, 1e-3, SAMPLES)]
        return np.concatenate(parts).astype(dtype)
    if name == "log1p_unit":
        near = np.nextafter(dtype(2**0.5 - 1), np.array([0, 1], dtype))
        return np.concatenate([rng.uniform(0, 1, SAMPLES), 2.0 ** np.arange(-100, 1), near]).astype(dtype)
    if name == "dilog":
        return np.concatenate([rng.uniform(0, np.log(2), SAMPLES), 2.0 ** np.arange(-30, 0), [0.69314716]]).astype(
            dtype
        )
    most = {"gaussian": 27.4, "gaussian_moment": 27.4}.get(name, 38.7)
    most = most if dtype is np.float64 else most * 14.6 / 38.7
    x = np.concatenate([rng.uniform(-most, most, SAMPLES), rng.uniform(-2, 2, SAMPLES), 2.0 ** np.arange(-40, 3)])
    return x.astype(dtype)[np.abs(x.astype(dtype)) < dtype(most)]


def ulps(x, got, exact):
    """Errors of `got` in units in the last place of the correctly rounded exact(x)."""
    with mp.workprec(200):
        truth = [exact(mp.mpf(float(argument))) for argument in x]
        unit = [mp.mpf(float(np.spacing(abs(x.dtype.type(float(t)))))) for t in truth]
        return np.array([abs(mp.mpf(float(g)) - t) / u for g, t, u in zip(got, truth, unit, strict=True)], float)


@pytest.mark.parametrize(("name", "dtype"), CASES)
def test_error_is_small_over_the_whole_range(name, dtype):
    x = samples(name, dtype)
    got = evaluate(name, x)
    errors = ulps(x, got, EXACT[name])
    worst = errors.argmax()
    assert got.dtype == dtype
    assert errors[worst] <= ULPS[name], (x[worst], got[worst])


def test_the_checker_sees_what_a_plain_square_loses():
    x = samples("gaussian", np.float64)
    assert ulps(x, np.exp(-x * x), EXACT["gaussian"]).max() > 100
    u = samples("dilog", np.float64)
    assert ulps(u, u + u**2 / 4 + u**3 / 36, EXACT["dilog"]).max() > 1e6


LIMITS = {
    "log1p_unit": {0: 0, np.nan: np.nan},
    "log": {-1: np.nan, -np.inf: np.nan, 0: -np.inf, 1: 0, np.inf: np.inf, np.nan: np.nan},
    "gaussian": {-np.inf: 0, 28: 0, 0: 1, np.inf: 0, np.nan: np.nan},
    "half_gaussian": {-np.inf: 0, 39: 0, 0: 1, np.inf: 0, np.nan: np.nan},
    "mills": {0: 0.5, np.nan: np.nan},
    "dilog": {0: 0, np.nan: np.nan},
    "gelu_tail": {0: 0.25, np.nan: np.nan},
    "gaussian_moment": {-np.inf: -(np.pi**0.5) / 4, 0: 0, np.inf: np.pi**0.5 / 4, np.nan: np.nan},
}


@pytest.mark.parametrize(("name", "dtype"), CASES)
def test_limits(name, dtype):
    x = np.array(list(LIMITS[name]), dtype)
    np.testing.assert_array_equal(evaluate(name, x), np.array(list(LIMITS[name].values()), dtype))


@pytest.mark.parametrize("dtype", DTYPES)
def test_gaussians_fall_to_zero_without_a_step(dtype):
    x = np.linspace(5, 28, 4000).astype(dtype)
    for name, most in (("gaussian", 0.7072), ("half_gaussian", 1.0)):
        y = evaluate(name, x * dtype(1.4 * most))
        assert (np.diff(y) <= 0).all()
        assert y[-1] == 0
        np.testing.assert_array_equal(evaluate(name, -x), evaluate(name, x))


if JIT:

    @pytest.mark.parametrize(("name", "dtype"), CASES)
    def test_the_lane_loop_is_vectorised_and_not_promoted(name, dtype):
        loop = lane_loop(name)
        loop(np.ones(1, dtype), np.ones(1, dtype))
        signature = next(s for s in loop.signatures if s[0].dtype == numba.from_dtype(np.dtype(dtype)))
        assert is_vectorised(loop.inspect_asm(signature))
        if dtype is np.float32:
            assert "fpext" not in loop.inspect_llvm(signature)

    @pytest.mark.parametrize(("name", "dtype"), CASES)
    def test_a_number_has_the_same_bits_wherever_it_stands(name, dtype):
        x = np.random.default_rng(2).uniform(0, 0.69, 80).astype(dtype)
        alone = np.concatenate([evaluate(name, x[i : i + 1]) for i in range(x.size)])
        for length in range(1, 71):
            for offset in range(9):
                part = slice(offset, offset + length)
                assert evaluate(name, x[part]).tobytes() == alone[part].tobytes(), (length, offset)
