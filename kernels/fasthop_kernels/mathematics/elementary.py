"""Elementary functions without branches or calls, which LLVM vectorises in the lane loops that use them.

The functions of `math` are scalar library calls inside a kernel, 5 to 17 ns each. These cost .6 to 1.9 ns in float64
with 512-bit vectors and less than half of that in float32. Each formula is written once; its constants and the degrees
of its polynomials come from a table per dtype. Arguments are float64 or float32, and so is the result.

Largest error found, with and without FMA, in units in the last place over the whole range of the argument:

===============  =======  =======  ===================================================
function         float64  float32  at the edges
===============  =======  =======  ===================================================
exp              1.0      1.0      correct to the last subnormal; infinite above ln max
expm1            1.5      1.3      -1 below, infinite above, x near 0
log1p            1.3      1.4      -infinity at -1, NaN below
tanh             2.3      2.3      exactly ±1 beyond 18.7149 and 8.6643; x near 0
sigmoid          2.2      2.3      exactly 1 above; relative accuracy down to underflow
erf              1.3      1.3      exactly ±1 beyond 5.93 and 3.92
log1p_unit       1.3      1.4      log1p for 0 <= q <= 1
log              1.1      1.1      -infinity at 0, NaN below; subnormal numbers too
gaussian         1.4      1.4      e**(-x**2); correct to the last subnormal
half_gaussian    1.5      1.5      e**(-x**2/2), likewise
mills            5.5      5.5      up to the end of half_gaussian
gelu_tail        6.0      6.0      likewise
dilog            1.6      1.6      for 0 <= q <= 1
gaussian_moment  3.5      3.5      the integral of t**2 e**(-t**2); x**3/3 near 0
===============  =======  =======  ===================================================

NaN stays NaN, infinities give limits, and tanh and erf are exactly odd but for the sign of zero. Without JIT, numpy
warns where an argument overflows, as its own functions do.

The polynomials are minimax in the error of the function they serve (Remez exchange in 50 digits, then rounded), or
interpolate it at Chebyshev's nodes where that is as good. The range reductions are those of W. J. Cody and W. Waite,
*Software Manual for the Elementary Functions* (1980), and the series of log1p in s = f/(2 + f) is that of P. T. P.
Tang, ACM TOMS 16, 378 (1990).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import types
from numba.extending import overload

from fasthop_kernels.machine.bits import DOUBLE, SINGLE, binade, horner, like, power_of_two, scale
from fasthop_kernels.machine.jit import formula


class Constants(NamedTuple):
    """Constants of one dtype; polynomials from the lowest degree up."""

    zero: Any
    half: Any
    one: Any
    two: Any
    infinity: Any
    nan: Any
    #: 1.5 * 2**fraction: adding it rounds to an integer (see `bits`).
    shifter: Any
    #: 1 / ln 2, and ln 2 in two parts, the first so short that its product with any exponent is exact.
    log2e: Any
    ln2_high: Any
    ln2_low: Any
    #: Beyond ±reach e**x is 0 or infinite, also times any factor of use, and `scale` still knows the power of two.
    exp_reach: Any
    #: From here on ln(1 + e**-x) is e**-x, and 1 + e**-x is 1.
    exp_far: Any
    #: expm1 is -1 below the first, infinite above the second, and x within the third.
    expm1_least: Any
    expm1_most: Any
    expm1_tiny: Any
    #: From here on the result is 1. For tanh that is half a unit early, where 1 - tanh is 2**-53 (2**-24): beyond,
    #: the rounding of e + 2 would let the quotient alternate between 1 and its neighbour.
    tanh_most: Any
    erf_most: Any
    #: (e**r - 1 - r) / r**2 in r, for |r| <= ln(2)/2.
    exp_terms: Any
    #: (2 artanh(s) - 2 s) / s**3 in s**2, for |s| <= 3 - sqrt(8).
    log_terms: Any
    #: erf(x)/x - 1 in x**2, for x in [0, 1].
    erf_terms: Any
    #: -ln(1 - erf(x)) in x, for x in [1, erf_most].
    erfc_terms: Any
    #: The smallest normal number; a power of two that makes subnormal numbers normal, and its exponent.
    least_normal: Any
    lift: Any
    lifted: Any
    #: A power of two next to the largest number, whose inverse is normal, too.
    unit_most: Any
    #: Adding it rounds to a multiple of 1/16 (see `bits`).
    sixteenths: Any
    #: The Mills ratio is a quotient of two polynomials in t, up to the t from which e**(-t**2/2) is 0.
    mills_most: Any
    mills_above: Any
    mills_below: Any
    #: The quotient of `gelu_tail`, likewise.
    gelu_above: Any
    gelu_below: Any
    #: From here on e**(-t**2/2) is 0, also times any factor of use.
    half_gaussian_most: Any
    #: ln(cosh x) / x**2 in x**2, for x in [0, 1].
    log_cosh_terms: Any
    #: `gaussian_moment` / x**3 in x**2, for x in [0, 1].
    moment_terms: Any
    #: (D - u - u**2/4) / u**3 in u**2, with D = -Li2(-q), u = ln(1 + q) and q in [0, 1].
    dilog_terms: Any


def _constants(real: Any, **values: Any) -> Constants:
    """Round every constant to the dtype `real`."""
    return Constants(**{k: tuple(map(real, v)) if isinstance(v, tuple) else real(v) for k, v in values.items()})


_DOUBLE = _constants(
    np.float64,
    zero=0.0,
    half=0.5,
    one=1.0,
    two=2.0,
    infinity=np.inf,
    nan=np.nan,
    shifter=DOUBLE.shifter,
    log2e=1.4426950408889634,
    ln2_high=0.693147180559663,
    ln2_low=2.8235290563031577e-13,
    exp_reach=1400.0,
    exp_far=40.0,
    expm1_least=-50.0,
    expm1_most=710.0,
    expm1_tiny=2.0**-54,
    tanh_most=18.7149,
    erf_most=6.0,
    exp_terms=(
        0.5,
        0.16666666666666677,
        0.041666666666666505,
        0.008333333333321653,
        0.0013888888888962591,
        0.00019841269886073504,
        2.4801587172247254e-05,
        2.755724425418437e-06,
        2.7557402769666916e-07,
        2.5109024457547e-08,
        2.087532833901966e-09,
    ),
    log_terms=(
        0.6666666666666683,
        0.39999999999687263,
        0.2857142869087218,
        0.2222220323633547,
        0.18183345425770797,
        0.15319192083743055,
        0.14748160218651665,
    ),
    erf_terms=(
        0.12837916709551256,
        -0.3761263890318352,
        0.112837916709442,
        -0.026866170643113415,
        0.005223977606130842,
        -0.0008548325929766244,
        0.0001205529358693695,
        -1.4924712439534814e-05,
        1.6447132699786621e-06,
        -1.6206318752969208e-07,
        1.3710988704190523e-08,
        -7.779462971561597e-10,
    ),
    erfc_terms=(
        5.132860456522872e-07,
        1.1283739912848658,
        0.6366440569912006,
        0.10270228462246671,
        -0.018988032256764445,
        -0.0004135501055203449,
        0.001918959844755255,
        -0.0007730546587493895,
        0.0001365615852942984,
        1.952008350978372e-05,
        -2.253177719570738e-05,
        8.578437914693172e-06,
        -2.114715966259298e-06,
        3.695498127376459e-07,
        -4.593107447390745e-08,
        3.889811080168063e-09,
        -2.0202250254567316e-10,
        4.86478299928728e-12,
    ),
    least_normal=2.0**-1022,
    lift=2.0**54,
    lifted=54.0,
    unit_most=2.0**1000,
    sixteenths=DOUBLE.shifter / 16,
    mills_most=38.7,
    mills_above=(
        0.5,
        0.7758577209030002,
        0.5954446719693803,
        0.2903132931433541,
        0.0981308959658345,
        0.023751350888201746,
        0.004115983017212425,
        0.0004941506706428816,
        3.757916535870989e-05,
        1.3993048118643565e-06,
    ),
    mills_below=(
        1.0,
        2.349600002608859,
        2.5655989100829704,
        1.718839864814702,
        0.7848013162542371,
        0.2561065130662715,
        0.06076744505109421,
        0.010411436397331716,
        0.0012421595801411335,
        9.419699842335464e-05,
        3.5075370062550256e-06,
    ),
    gelu_above=(
        0.25,
        0.6378815551656337,
        0.6383776180436931,
        0.38100551083225453,
        0.15505759919565956,
        0.04552395899219631,
        0.009837209718331545,
        0.0015554846147977559,
        0.00017372482779716466,
        1.2532199431894018e-05,
        4.5367898851285733e-07,
    ),
    gelu_below=(
        1.0,
        2.551526220662529,
        3.05351047217501,
        2.2678621131212133,
        1.1647700476020146,
        0.4358474342343089,
        0.12175261212322126,
        0.025523469339094294,
        0.00396184884207266,
        0.00043773797460448853,
        3.1413565438482514e-05,
        1.137204580216009e-06,
    ),
    half_gaussian_most=41.0,
    log_cosh_terms=(
        0.5,
        -0.08333333333333313,
        0.022222222222204716,
        -0.006746031745439467,
        0.002186948843058455,
        -0.0007386028466072547,
        0.00025657975920948954,
        -9.09856096555369e-05,
        3.276489941653655e-05,
        -1.1918687623522829e-05,
        4.331402571628952e-06,
        -1.5281848212875655e-06,
        4.924539882543482e-07,
        -1.3068157325434964e-07,
        2.4268051367700383e-08,
        -2.2764198082727952e-09,
    ),
    moment_terms=(
        0.3333333333333333,
        -0.19999999999999996,
        0.0714285714285694,
        -0.01851851851847368,
        0.0037878787873648332,
        -0.0006410256375164088,
        9.259257719272645e-05,
        -1.1671289833353212e-05,
        1.305254967800116e-06,
        -1.3109740748003458e-07,
        1.1860014100980693e-08,
        -9.2647604792917e-10,
        4.8757094599638294e-11,
    ),
    dilog_terms=(
        0.027777777777777773,
        -0.000277777777777,
        4.724111848068676e-06,
        -9.185756263412959e-08,
        1.8972101230122907e-09,
        -3.9387150755986724e-11,
    ),
)

_SINGLE = _constants(
    np.float32,
    zero=0.0,
    half=0.5,
    one=1.0,
    two=2.0,
    infinity=np.inf,
    nan=np.nan,
    shifter=SINGLE.shifter,
    log2e=1.442695,
    ln2_high=0.693145751953125,
    ln2_low=1.4286068e-06,
    exp_reach=175.0,
    exp_far=18.0,
    expm1_least=-30.0,
    expm1_most=89.0,
    expm1_tiny=2.0**-25,
    tanh_most=8.6643,
    erf_most=4.0,
    exp_terms=(0.5000000044, 0.16666666369, 0.0416663604, 0.0083333895, 0.00139406683, 0.00019845857),
    log_terms=(0.66666758928, 0.39979186197, 0.29835316691),
    erf_terms=(
        0.12837916573,
        -0.37612625837,
        0.11283585249,
        -0.02685381458,
        0.00518833048,
        -0.00080102027,
        7.853849828e-05,
    ),
    erfc_terms=(
        0.00035373059,
        1.12703998926,
        0.63822575784,
        0.1030372962,
        -0.02180528231,
        0.0029395982,
        -0.00018557303,
    ),
    least_normal=2.0**-126,
    lift=2.0**25,
    lifted=25.0,
    unit_most=2.0**120,
    sixteenths=SINGLE.shifter / 16,
    mills_most=14.6,
    mills_above=(0.5, 0.44671342, 0.18969737, 0.04287545, 0.0044665462),
    mills_below=(1.0, 1.6913123, 1.2288569, 0.4865818, 0.10747746, 0.011195891),
    gelu_above=(0.25, 0.46205636, 0.24319374, 0.06609313, 0.008970958),
    gelu_below=(1.0, 1.84821837, 1.47287168, 0.65605345, 0.16559777, 0.022488367),
    half_gaussian_most=16.0,
    log_cosh_terms=(
        0.4999999963,
        -0.08333297333,
        0.02221635522,
        -0.00670951207,
        0.00207557843,
        -0.0005546655,
        8.6054102e-05,
    ),
    moment_terms=(
        0.33333333236,
        -0.19999990483,
        0.0714270395,
        -0.01850921536,
        0.00376072733,
        -0.00059964329,
        6.001097650e-05,
    ),
    dilog_terms=(0.02777777746, -0.00027776602, 4.6586435e-06),
)


def constants(x: Any) -> Constants:
    """Return the constants of the dtype of `x`."""
    return _SINGLE if isinstance(x, np.float32) else _DOUBLE


@overload(constants, inline="always")
def _constants_overload(x):  # type: ignore[no-untyped-def]
    if x == types.float64:
        return lambda x: _DOUBLE
    if x == types.float32:
        return lambda x: _SINGLE
    return None


@formula
def _reduce(y: Any, c: Any) -> Any:
    """Return t = SHIFTER + k and r with y = k ln 2 + r and |r| <= ln(2)/2."""
    t = y * c.log2e + c.shifter
    k = t - c.shifter
    return t, (y - k * c.ln2_high) - k * c.ln2_low


@formula
def clipped(x: Any, most: Any) -> Any:
    """Return x within ±most."""
    return -most if x < -most else (most if x > most else x)


@formula
def exp_parts(x: Any) -> Any:
    """Return m and t with e**x = scale(m, t): a factor that m gets before `scale` sees no underflow of e**x."""
    c = constants(x)
    t, r = _reduce(clipped(x, c.exp_reach), c)
    return c.one + (r + r * r * horner(r, c.exp_terms)), t


@formula
def exp(x: Any) -> Any:
    """Return e**x."""
    m, t = exp_parts(x)
    return scale(m, t)


@formula
def expm1(x: Any) -> Any:
    """Return e**x - 1, with full relative accuracy near 0."""
    c = constants(x)
    y = c.expm1_least if x < c.expm1_least else (c.expm1_most if x > c.expm1_most else x)
    t, r = _reduce(y, c)
    # Half of the result, because 2**1024 is no float64. Its largest part, p r + (p - 1/2), is rounded once.
    p = power_of_two(t - c.one)
    e = (p * r + (p - c.half)) + p * (r * r * horner(r, c.exp_terms))
    return x if abs(x) < c.expm1_tiny else e + e


@formula
def log1p(x: Any) -> Any:
    """Return ln(1 + x), with full relative accuracy near 0."""
    c = constants(x)
    k = binade(c.one + x)
    # f = (1 + x) 2**-k - 1 from x itself: exact for k = 0, and nearly so elsewhere, where 1 + x is not.
    t = c.shifter - k
    f = scale(x, t) + (scale(c.one, t) - c.one)
    s = f / (c.two + f)
    z = s * s
    square = c.half * f * f
    tail = s * (square + z * horner(z, c.log_terms)) + k * c.ln2_low
    g = k * c.ln2_high - ((square - tail) - f)
    g = g if x < c.infinity else x
    return g if x > -c.one else (-c.infinity if x == -c.one else c.nan)


@formula
def tanh(x: Any) -> Any:
    """Return tanh(x) = e / (e + 2) with e = expm1(2 x), which keeps relative accuracy near 0."""
    c = constants(x)
    a = abs(x)
    a = c.tanh_most if a > c.tanh_most else a
    t, r = _reduce(a + a, c)
    p = power_of_two(t)
    e = (p * r + (p - c.one)) + p * (r * r * horner(r, c.exp_terms))
    g = c.one if a == c.tanh_most else e / (e + c.two)
    return g if x >= c.zero else -g


@formula
def sigmoid(x: Any) -> Any:
    """Return 1 / (1 + e**-x), as e**x / (1 + e**x) below 0, which keeps relative accuracy in the tail."""
    c = constants(x)
    q = exp(-abs(x))
    return (c.one if x >= c.zero else q) / (c.one + q)


@formula
def erf(x: Any) -> Any:
    """Return the error function: an odd polynomial up to 1, beyond it 1 - e**-P with a polynomial P."""
    c = constants(x)
    a = abs(x)
    a = c.erf_most if a > c.erf_most else a
    small = a + a * horner(a * a, c.erf_terms)
    t, r = _reduce(-horner(a, c.erfc_terms), c)
    large = c.one - power_of_two(t) * (c.one + (r + r * r * horner(r, c.exp_terms)))
    g = small if a < c.one else large
    return g if x >= c.zero else -g


@formula
def log(x: Any) -> Any:
    """Return ln(x), for subnormal numbers too."""
    c = constants(x)
    small = x < c.least_normal
    y = x * c.lift if small else x
    k = binade(y)
    f = scale(y, c.shifter - k) - c.one
    s = f / (c.two + f)
    z = s * s
    square = c.half * f * f
    k = k - c.lifted if small else k
    tail = s * (square + z * horner(z, c.log_terms)) + k * c.ln2_low
    g = k * c.ln2_high - ((square - tail) - f)
    g = g if x < c.infinity else x
    return g if x > c.zero else (-c.infinity if x == c.zero else c.nan)


@formula
def log1p_unit(q: Any) -> Any:
    """Return ln(1 + q) for 0 <= q <= 1, in half the time."""
    c = constants(q)
    upper = q > like(2.0**0.5 - 1.0, q)
    f = c.half * q - c.half if upper else q
    s = f / (c.two + f)
    z = s * s
    square = c.half * f * f
    tail = s * (square + z * horner(z, c.log_terms)) + (c.ln2_low if upper else c.zero)
    return (c.ln2_high if upper else c.zero) - ((square - tail) - f)


@formula
def _exp_square_parts(a: Any, factor: Any, most: Any) -> Any:
    """Return m and t with e**(factor a**2) = scale(m, t), a >= 0, factor a power of two; a ends at `most`.

    a = h + l with h a multiple of 1/16, whose square is exact; the rest, factor l (a + h), is small and joins after
    the reduction. The rounding of a**2, which costs up to 2**9 units, is so avoided.
    """
    c = constants(a)
    a = most if a > most else a
    h = (a + c.sixteenths) - c.sixteenths
    y = factor * h * h
    rest = factor * (a - h) * (a + h)
    t = (y + rest) * c.log2e + c.shifter
    k = t - c.shifter
    r = ((y - k * c.ln2_high) + rest) - k * c.ln2_low
    return c.one + (r + r * r * horner(r, c.exp_terms)), t


@formula
def gaussian_parts(x: Any) -> Any:
    """Return m and t with e**(-x**2) = scale(m, t), as `exp_parts` does."""
    c = constants(x)
    return _exp_square_parts(abs(x), -c.one, like(0.7072, x) * c.half_gaussian_most)


@formula
def half_gaussian_parts(x: Any) -> Any:
    """Return m and t with e**(-x**2/2) = scale(m, t), as `exp_parts` does."""
    c = constants(x)
    return _exp_square_parts(abs(x), -c.half, c.half_gaussian_most)


@formula
def gaussian(x: Any) -> Any:
    """Return e**(-x**2), with full relative accuracy down to underflow."""
    m, t = gaussian_parts(x)
    return scale(m, t)


@formula
def half_gaussian(x: Any) -> Any:
    """Return e**(-x**2/2), with full relative accuracy down to underflow."""
    m, t = half_gaussian_parts(x)
    return scale(m, t)


@formula
def mills(x: Any) -> Any:
    """Return m for which the normal distribution's tail beyond t = |x| is m e**(-t**2/2); t ends where that is 0."""
    c = constants(x)
    t = abs(x)
    t = c.mills_most if t > c.mills_most else t
    return horner(t, c.mills_above) / horner(t, c.mills_below)


@formula
def gelu_tail(x: Any) -> Any:
    """Return l for which the Lagrangian of GELU at -|x| is -l e**(-x**2/2); |x| ends where that is 0."""
    c = constants(x)
    t = abs(x)
    t = c.mills_most if t > c.mills_most else t
    return horner(t, c.gelu_above) / horner(t, c.gelu_below)


@formula
def gaussian_moment(x: Any) -> Any:
    """Return the integral of t**2 e**(-t**2) from 0 to x: an odd polynomial up to 1, beyond it by parts."""
    c = constants(x)
    a = abs(x)
    most = like(0.7072, x) * c.half_gaussian_most
    a = most if a > most else a
    z = a * a
    small = a * (z * horner(z, c.moment_terms))
    large = like(0.25 * np.pi**0.5, x) * erf(a) - c.half * a * gaussian(a)
    g = small if a < c.one else large
    return g if x >= c.zero else -g


@formula
def dilog(u: Any) -> Any:
    """Return -Li2(-q) for u = ln(1 + q), 0 <= q <= 1; Li2 is the dilogarithm."""
    c = constants(u)
    z = u * u
    return u + like(0.25, u) * z + u * z * horner(z, c.dilog_terms)
