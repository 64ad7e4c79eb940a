"""Elementary functions without branches or calls, so that LLVM vectorises the lane loops that use them.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import types
from numba.extending import overload

from fasthop_kernels.bits import DOUBLE, SINGLE, binade, horner, power_of_two, scale
from fasthop_kernels.jit import formula


class Constants(NamedTuple):
    zero: Any
    half: Any
    one: Any
    two: Any
    infinity: Any
    nan: Any
    shifter: Any
    log2e: Any
    ln2_high: Any
    ln2_low: Any
    exp_least: Any
    exp_most: Any
    expm1_least: Any
    tiny: Any
    tanh_most: Any
    erf_most: Any
    exp_terms: Any
    log_terms: Any
    erf_small_terms: Any
    erf_large_terms: Any


def _cast(real: Any, *values: Any) -> Constants:
    return Constants(*(tuple(map(real, v)) if isinstance(v, tuple) else real(v) for v in values))


_DOUBLE = _cast(
    np.float64, 0.0, 0.5, 1.0, 2.0, np.inf, np.nan, DOUBLE.shifter, 1.4426950408889634, 0.693147180559663, 2.8235290563031577e-13,
    -746.0, 710.0, -50.0, 2.0**-54, 18.7149, 6.0,
    (0.5, 0.16666666666666677, 0.041666666666666505, 0.008333333333321653, 0.0013888888888962591, 0.00019841269886073504, 2.4801587172247254e-05, 2.755724425418437e-06, 2.7557402769666916e-07, 2.5109024457547e-08, 2.087532833901966e-09),
    (0.6666666666666683, 0.39999999999687263, 0.2857142869087218, 0.2222220323633547, 0.18183345425770797, 0.15319192083743055, 0.14748160218651665),
    (0.12837916709551256, -0.3761263890318352, 0.112837916709442, -0.026866170643113415, 0.005223977606130842, -0.0008548325929766244, 0.0001205529358693695, -1.4924712439534814e-05, 1.6447132699786621e-06, -1.6206318752969208e-07, 1.3710988704190523e-08, -7.779462971561597e-10),
    (5.132860456522872e-07, 1.1283739912848658, 0.6366440569912006, 0.10270228462246671, -0.018988032256764445, -0.0004135501055203449, 0.001918959844755255, -0.0007730546587493895, 0.0001365615852942984, 1.952008350978372e-05, -2.253177719570738e-05, 8.578437914693172e-06, -2.114715966259298e-06, 3.695498127376459e-07, -4.593107447390745e-08, 3.889811080168063e-09, -2.0202250254567316e-10, 4.86478299928728e-12),
)
_SINGLE = _cast(
    np.float32, 0.0, 0.5, 1.0, 2.0, np.inf, np.nan, SINGLE.shifter, 1.4426950408889634, 0.693145751953125, 1.4286068e-06,
    -105.0, 89.0, -30.0, 2.0**-25, 8.6643, 4.0,
    (0.5000000044264279, 0.16666666369568736, 0.04166636043481429, 0.008333389504121682, 0.0013940668260675876, 0.00019845856551303307),
    (0.6666675892757947, 0.3997918619957641, 0.2983531669050897),
    (0.12837916572955937, -0.376126258374651, 0.11283585248605635, -0.02685381458207252, 0.005188330482592488, -0.0008010202699272506, 7.853849828429409e-05),
    (0.0003537305922964608, 1.1270399892583935, 0.6382257578403802, 0.1030372961301953, -0.021805282307646577, 0.0029395980015089937, -0.0001855730350644128),
)


def constants(x: Any) -> Constants:
    return _SINGLE if isinstance(x, np.float32) else _DOUBLE


@overload(constants, inline="always")
def _constants(x):  # type: ignore[no-untyped-def]
    if x == types.float64:
        return lambda x: _DOUBLE
    if x == types.float32:
        return lambda x: _SINGLE
    return None


@formula
def exp(x):
    c = constants(x)
    y = c.exp_least if x < c.exp_least else (c.exp_most if x > c.exp_most else x)
    t = y * c.log2e + c.shifter
    k = t - c.shifter
    r = (y - k * c.ln2_high) - k * c.ln2_low
    return scale(c.one + (r + r * r * horner(r, c.exp_terms)), t)


@formula
def expm1(x):
    c = constants(x)
    y = c.expm1_least if x < c.expm1_least else (c.exp_most if x > c.exp_most else x)
    t = y * c.log2e + c.shifter
    k = t - c.shifter
    r = (y - k * c.ln2_high) - k * c.ln2_low
    h = power_of_two(t - c.one)
    e = (h * r + (h - c.half)) + h * (r * r * horner(r, c.exp_terms))
    return x if abs(x) < c.tiny else e + e


@formula
def tanh(x):
    c = constants(x)
    a = abs(x)
    a = c.tanh_most if a > c.tanh_most else a
    y = a + a
    t = y * c.log2e + c.shifter
    k = t - c.shifter
    r = (y - k * c.ln2_high) - k * c.ln2_low
    p = power_of_two(t)
    e = (p * r + (p - c.one)) + p * (r * r * horner(r, c.exp_terms))
    g = c.one if a == c.tanh_most else e / (e + c.two)
    return g if x >= c.zero else -g


@formula
def sigmoid(x):
    c = constants(x)
    q = exp(-abs(x))
    return (c.one if x >= c.zero else q) / (c.one + q)


@formula
def log1p(x):
    c = constants(x)
    k = binade(c.one + x)
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
def erf(x):
    c = constants(x)
    a = abs(x)
    a = c.erf_most if a > c.erf_most else a
    y = -horner(a, c.erf_large_terms)
    t = y * c.log2e + c.shifter
    k = t - c.shifter
    r = (y - k * c.ln2_high) - k * c.ln2_low
    large = c.one - power_of_two(t) * (c.one + (r + r * r * horner(r, c.exp_terms)))
    small = a + a * horner(a * a, c.erf_small_terms)
    g = small if a < c.one else large
    return g if x >= c.zero else -g
