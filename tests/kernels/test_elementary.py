"""Accuracy, edges and vectorisation of the elementary functions, against mpmath."""

import re

import mpmath
import numba
import numpy as np
import pytest

from fasthop_kernels.machine import bits
from fasthop_kernels.machine.jit import FASTMATH, formula
from fasthop_kernels.mathematics import elementary

JIT = not numba.config.DISABLE_JIT
SAMPLES = 3000 if JIT else 40

EXACT = {
    "exp": mpmath.exp,
    "expm1": mpmath.expm1,
    "log1p": mpmath.log1p,
    "tanh": mpmath.tanh,
    "sigmoid": lambda x: 1 / (1 + mpmath.exp(-x)),
    "erf": mpmath.erf,
}
#: Largest error allowed, in units in the last place.
ULPS = {"exp": 1.05, "expm1": 1.5, "log1p": 1.5, "tanh": 2.4, "sigmoid": 2.4, "erf": 1.4}
DTYPES = (np.float64, np.float32)
CASES = [pytest.param(name, dtype, id=f"{name}-{dtype.__name__}") for name in EXACT for dtype in DTYPES]

_loops = {}


def lane_loop(function):
    """Return the compiled loop out[i] = function(x[i]), one for each function."""
    if function not in _loops:

        @numba.njit(fastmath=FASTMATH, error_model="numpy")
        def loop(x, out):
            for i in range(x.size):
                out[i] = function(x[i])

        _loops[function] = loop
    return _loops[function]


def apply(function, x):
    x = np.asarray(x)
    out = np.empty_like(x)
    with np.errstate(all="ignore"):  # without JIT numpy warns of each overflow
        lane_loop(function)(x, out)
    return out


def evaluate(name, x):
    return apply(getattr(elementary, name), x)


def ulps(x, got, exact):
    """Errors of `got` in units in the last place of the correctly rounded exact(x); infinite for a wrong infinity."""
    errors = np.empty(x.size)
    with mpmath.workprec(300):
        for i, (argument, value) in enumerate(zip(x, got, strict=True)):
            truth = exact(mpmath.mpf(float(argument)))
            with np.errstate(over="ignore"):
                rounded = x.dtype.type(float(truth))
            if np.isfinite(rounded) and np.isfinite(value):
                errors[i] = abs(mpmath.mpf(float(value)) - truth) / mpmath.mpf(float(np.spacing(abs(rounded))))
            else:
                errors[i] = 0 if value == rounded else np.inf
    return errors


def samples(name, dtype, seed=0):
    """Arguments of all sizes: dense where the function varies, every exponent, and both edges of its range."""
    rng = np.random.default_rng(seed)
    finite = np.finfo(dtype)
    word = np.uint64 if dtype is np.float64 else np.uint32
    low, high = (-745.5, 710.0) if dtype is np.float64 else (-104.5, 89.0)
    parts = [
        rng.uniform(-1, 1, SAMPLES),
        rng.uniform(-4, 4, SAMPLES),
        rng.uniform(low, high, SAMPLES),
        rng.uniform(low, low + (40 if dtype is np.float64 else 18), SAMPLES // 4),
        rng.uniform(high - 1, high, SAMPLES // 4),
        rng.uniform(15, 20, SAMPLES // 4),
        np.arange(-1100, 1100) * np.log(2) / 2,
        [0, finite.tiny, finite.smallest_subnormal, finite.eps, finite.eps / 2, finite.eps / 4, 1, finite.max],
        -np.array([finite.tiny, finite.smallest_subnormal, finite.eps, finite.eps / 2, 1, finite.max]),
    ]
    pattern = rng.integers(0, np.iinfo(word).max, SAMPLES, dtype=word).view(dtype)
    x = np.concatenate([np.concatenate(parts).astype(dtype), pattern[np.isfinite(pattern)]])
    if name == "log1p":
        near = rng.uniform(0, 1, SAMPLES) ** 8 - 1
        x = np.concatenate([abs(x), near.astype(dtype)])
        x = x[x > -1]
    return x


@pytest.mark.parametrize(("name", "dtype"), CASES)
def test_error_is_small_over_the_whole_range(name, dtype):
    x = samples(name, dtype)
    got = evaluate(name, x)
    errors = ulps(x, got, EXACT[name])
    worst = errors.argmax()
    assert got.dtype == dtype
    assert errors[worst] <= ULPS[name], (name, x[worst], got[worst])


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_checker_sees_a_bad_function(dtype):
    x = samples("tanh", dtype)
    x = x[(abs(x) < 5) & (x != 0)]
    e = np.exp(-2 * x)
    assert ulps(x, np.tanh(x), mpmath.tanh).max() < 4
    assert ulps(x, (1 - e) / (1 + e), mpmath.tanh).max() > 1000
    off = np.array([1], dtype)
    assert ulps(off, np.nextafter(off, dtype(2)), lambda x: x).max() == 1
    assert ulps(off, np.array([np.inf], dtype), lambda x: x).max() == np.inf


@pytest.mark.parametrize(("name", "dtype"), CASES)
def test_nan_stays_nan(name, dtype):
    assert np.isnan(evaluate(name, np.array([np.nan] * 9, dtype))).all()


LIMITS = {
    "exp": {-np.inf: 0, np.inf: np.inf, 0: 1},
    "expm1": {-np.inf: -1, np.inf: np.inf, 0: 0, -1000: -1},
    "log1p": {-1: -np.inf, np.inf: np.inf, 0: 0, -2: np.nan, -np.inf: np.nan},
    "tanh": {-np.inf: -1, np.inf: 1, 0: 0},
    "sigmoid": {-np.inf: 0, np.inf: 1, 0: 0.5},
    "erf": {-np.inf: -1, np.inf: 1, 0: 0},
}


@pytest.mark.parametrize(("name", "dtype"), CASES)
def test_limits(name, dtype):
    x = np.array(list(LIMITS[name]), dtype)
    np.testing.assert_array_equal(evaluate(name, x), np.array(list(LIMITS[name].values()), dtype))


@pytest.mark.parametrize(
    ("name", "dtype", "last", "beyond"),
    [
        ("exp", np.float64, 709.782712893384, 709.7827128933841),
        ("exp", np.float32, 88.72283, 88.72284),
        ("expm1", np.float64, 709.782712893384, 709.7827128933841),
        ("expm1", np.float32, 88.72283, 88.72284),
    ],
)
def test_overflow_begins_where_it_must(name, dtype, last, beyond):
    got = evaluate(name, np.array([last, beyond], dtype))
    assert np.isfinite(got[0])
    assert got[1] == np.inf


@pytest.mark.parametrize("dtype", DTYPES)
def test_underflow_of_exp_ends_at_the_last_subnormal(dtype):
    smallest = np.finfo(dtype).smallest_subnormal
    edge = dtype(np.log(float(smallest)) - np.log(2)) if dtype is np.float32 else dtype(-745.1332191019411)
    x = np.array([edge * dtype(1 - 1e-6), edge * dtype(1 + 1e-6)], dtype)
    np.testing.assert_array_equal(evaluate("exp", x), np.array([smallest, 0], dtype))
    np.testing.assert_array_equal(evaluate("sigmoid", x), np.array([smallest, 0], dtype))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["tanh", "erf"])
def test_odd(name, dtype):
    x = samples(name, dtype, seed=1)
    np.testing.assert_array_equal(evaluate(name, -x), -evaluate(name, x))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["expm1", "log1p", "tanh"])
def test_tiny_arguments_are_returned(name, dtype):
    tiny, smallest = np.finfo(dtype).tiny, np.finfo(dtype).smallest_subnormal
    x = np.array([smallest, 3 * smallest, tiny, 1e-30, 1e-20], dtype)
    np.testing.assert_array_equal(evaluate(name, np.concatenate([x, -x])), np.concatenate([x, -x]))


@pytest.mark.parametrize(
    ("name", "dtype", "least", "most"),
    [
        ("tanh", np.float64, 18, 19.2),
        ("tanh", np.float32, 8, 9.2),
        ("sigmoid", np.float64, 36, 37),
        ("sigmoid", np.float32, 16, 17),
        ("erf", np.float64, 5.5, 6.2),
        ("erf", np.float32, 3.5, 4.2),
    ],
)
def test_saturation_is_monotone_and_final(name, dtype, least, most):
    x = np.linspace(least, most, 20001 if JIT else 201).astype(dtype)
    g = evaluate(name, x)
    assert (np.diff(g) >= 0).all()
    assert g[0] < 1
    assert g[-1] == 1
    np.testing.assert_array_equal(evaluate(name, np.array([2 * most, 1e4, np.finfo(dtype).max], dtype)), 1)


@pytest.mark.parametrize(("name", "dtype"), CASES)
def test_a_number_has_the_same_bits_wherever_it_stands(name, dtype):
    x = np.random.default_rng(2).uniform(-0.9, 6, 80).astype(dtype)
    alone = np.concatenate([evaluate(name, x[i : i + 1]) for i in range(x.size)])
    for length in range(1, 71 if JIT else 4):
        for offset in range(9 if JIT else 2):
            part = slice(offset, offset + length)
            assert evaluate(name, x[part]).tobytes() == alone[part].tobytes(), (length, offset)


@pytest.mark.parametrize("dtype", DTYPES)
def test_constants_have_the_dtype_of_the_argument(dtype):
    table = elementary.constants(dtype(1))
    for name, value in table._asdict().items():
        for number in value if isinstance(value, tuple) else (value,):
            assert type(number) is dtype, name
    assert type(bits.like(0.1, dtype(1))) is dtype
    assert float(table.ln2_high) * 2**12 % 2**-29 == 0 if dtype is np.float64 else float(table.ln2_high) % 2**-15 == 0


@formula
def twice_the_constant(x):
    return bits.like(0.1, x) + bits.like(0.1, x)


@formula
def cubic(x):
    return bits.horner(x, (1.0, -2.0, 0.5, 3.0))


@formula
def halved_often(x):
    return bits.scale(x, bits.like(1.5 * 2**52, x) - bits.like(1074.0, x))


@formula
def eight(x):
    return bits.power_of_two(bits.like(1.5 * 2**52, x) + bits.like(3.0, x))


def test_bits_agree_with_numpy():
    x = np.array([0.7, 1.0, 1.4, 1.5, 2.0, 1e300, 1e-300, 0.75])
    np.testing.assert_array_equal(apply(twice_the_constant, x), 0.2)
    np.testing.assert_array_equal(apply(twice_the_constant, x[:5].astype("f4")), np.float32(0.1) * np.float32(2))
    np.testing.assert_array_equal(apply(cubic, x[:5]), np.polynomial.Polynomial([1.0, -2.0, 0.5, 3.0])(x[:5]))
    np.testing.assert_array_equal(apply(halved_often, x), np.ldexp(x, -1074))
    np.testing.assert_array_equal(apply(eight, x), 8.0)
    mantissa = np.ldexp(x, -apply(bits.binade, x).astype(int))
    assert ((mantissa >= 0.5**0.5) & (mantissa < 2**0.5)).all()


if JIT:

    @formula
    def literal(x):
        return x * 1.1

    @formula
    def branch_and_call(x):
        return np.tanh(x)

    PACKED = re.compile(r"\bv?(?:f?n?m?(?:add|sub|mul)|div)(?:132|213|231)?p[sd]\b|\bfml[as]\s+v\d+\.[24][sd]")
    CALL = re.compile(r"\s(?:callq?|bl|blr)\s")

    def compiled(function, dtype):
        """Return the LLVM and the assembly of the lane loop of `function` on arrays of `dtype`."""
        loop = lane_loop(function)
        loop(np.zeros(1, dtype), np.zeros(1, dtype))
        signature = next(s for s in loop.signatures if s[0].dtype == numba.from_dtype(np.dtype(dtype)))
        return loop.inspect_llvm(signature), loop.inspect_asm(signature)

    def hot_blocks(assembly):
        """Return the basic blocks that jump back to their own label: the innermost loops."""
        pieces = re.split(r"^(\.?\w+):.*$", assembly, flags=re.MULTILINE)
        blocks = zip(pieces[1::2], pieces[2::2], strict=True)
        return [body for label, body in blocks if "LBB" in label and re.search(rf"\s{re.escape(label)}\b", body)]

    def is_vectorised(assembly):
        loops = hot_blocks(assembly)
        return any(PACKED.search(loop) for loop in loops) and not any(CALL.search(loop) for loop in loops)

    @pytest.mark.parametrize(("name", "dtype"), CASES)
    def test_the_lane_loop_is_vectorised(name, dtype):
        _, assembly = compiled(getattr(elementary, name), dtype)
        assert is_vectorised(assembly)

    def test_a_call_in_the_loop_is_seen():
        _, assembly = compiled(branch_and_call, np.float64)
        assert not is_vectorised(assembly)

    @pytest.mark.parametrize("name", EXACT)
    def test_nothing_in_float32_is_promoted(name):
        llvm, _ = compiled(getattr(elementary, name), np.float32)
        assert "fpext" not in llvm
        assert not re.search(r"\bf(?:add|sub|mul|div)\b[^\n]*\bdouble\b", llvm)

    def test_a_promotion_is_seen():
        llvm, _ = compiled(literal, np.float32)
        assert "fpext" in llvm
