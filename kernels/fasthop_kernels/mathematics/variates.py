"""Normal and gamma variates from Philox words, without branches in lanes.

normal  The inverse of the distribution function: the lowest bit of a 64-bit word is the sign, the others make the
        probability p of a larger number, (2 k + 1) 2**-64 with k < 2**62, so that the steps of p are far below p itself
        out to 8 standard deviations. As in M. J. Wichura, Applied Statistics 37, 477 (1988), AS 241, there is a
        rational function of p around 1/2 and one of sqrt(-ln p) in the tail; the coefficients are new, because the
        words end where one tail suffices (relative errors 3e-18 and 4e-17, fitted in 60 digits). With rounding, the
        largest relative error found is 8e-16.

gamma   G. Marsaglia and W. W. Tsang, ACM TOMS 26, 363 (2000): with d = a - 1/3, y = x / sqrt(9 d) and x normal,
        d (1 + y)³ is a Gamma(a) variate if ln(1 - u) < h = x²/2 - d ((1 + y)³ - 1 - 3 ln(1 + y)). The series of the
        logarithm gives h = -3 d (y⁴/4 - y⁵/5 + …) >= -3/2 d y⁴ for |y| <= 1/2, and e**h >= 1 + h: the lanes accept
        where u > 3/2 d y⁴, without a logarithm, and that is all but 1/(18 d) of them. The others are settled one by
        one, by h itself and, where that rejects, from the next attempt. Below a = 1 a Gamma(a + 1) variate is
        multiplied by (1 - u)**(1/a).

A gamma variate takes one block of Philox an attempt: two words make x, two make u. The last attempt, 2**24 - 1, is the
u of the power. All is exact in law up to rounding and the 2**-64 steps of p; a is at most 5e8 in use here.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from fasthop_kernels.machine.bits import DOUBLE, binade, horner, power_of_two
from fasthop_kernels.machine.jit import formula, kernel
from fasthop_kernels.machine.lanes import wide_vectors
from fasthop_kernels.mathematics.elementary import constants, exp, log1p
from fasthop_kernels.mathematics.random import draw, philox, stamp

_LOW = np.uint64(0xFFFFFFFF)
_WORD = np.uint64(32)
_ONE = np.uint64(1)
_HALF = np.uint64(1 << 63)
_FRACTION = np.uint64(11)
_BOOST = 2**24 - 1

_SHIFTER = DOUBLE.shifter
_LN2 = float(np.log(2.0))

#: Half-width of the middle in p: it holds 80 % of all numbers.
_MIDDLE = 0.4
_MIDDLE_SQUARE = 0.16000000000000003
_TAIL_START = 1.5

# x / q in _MIDDLE² - q², with q = 1/2 - p.
_MIDDLE_TOP = (
    3.203878913861501,
    101.12616946584772,
    1213.3052652222707,
    6926.064130767855,
    19264.86584322778,
    23903.660375455693,
    10286.287733830906,
    685.1974742971964,
)
_MIDDLE_BOTTOM = (
    1.0,
    33.99644238711844,
    447.44263042681075,
    2877.85475953163,
    9403.283725648338,
    14728.787825807378,
    9291.29481622195,
    1494.3749419185579,
)
# x in sqrt(-ln p) - _TAIL_START, for p from 2**-64 to 0.1.
_TAIL_TOP = (
    1.2513729290570328,
    4.401927902650727,
    5.827656455172856,
    3.9091477149279825,
    1.4696009137273978,
    0.31686939154913374,
    0.037620651951591956,
    0.002147145524415363,
    4.1232695699735526e-05,
)
_TAIL_BOTTOM = (
    1.0,
    2.131880028816285,
    1.815779017658628,
    0.7944301606468686,
    0.19058314330014942,
    0.02447719877508857,
    0.0014746950135867607,
    2.91551229034517e-05,
)


class Stream(NamedTuple):
    """What is common to the counters of a panel: both words of the key, the realisation and the stamp; all uint64."""

    k0: Any
    k1: Any
    c2: Any
    c3: Any


class Panel(NamedTuple):
    """Buffers for numbers that are made side by side, each flat and of one length.

    Attributes
    ----------
    index, item : uint64 arrays
        Counters 0 and 1 of every number.
    high, low : uint64 arrays
        The two halves of its block.
    shape, slope : float64 arrays
        a and 1 / (3 sqrt(d)) of a gamma variate.
    normal, room : float64 arrays
    """

    index: Any
    item: Any
    high: Any
    low: Any
    shape: Any
    slope: Any
    normal: Any
    room: Any


@formula
def _minus_log(p: Any) -> Any:
    """Return -ln(p) for p from 2**-64 to 1/2, by the series of `elementary.log1p` without its care near 1."""
    k = binade(p)
    f = p * power_of_two(_SHIFTER - k) - 1.0
    s = f / (2.0 + f)
    z = s * s
    return -(k * _LN2 + (s + s + s * z * horner(z, constants(p).log_terms)))


@formula
def normal(word: Any) -> Any:
    """Return the normal number of a uint64: its lowest bit is the sign, the others are the tail probability."""
    k = word >> _ONE | _ONE
    p = np.float64(k) * 2.0**-64
    q = np.float64(_HALF - k) * 2.0**-64  # 1/2 - p would lose what makes x near 0
    z = _MIDDLE_SQUARE - q * q
    t = np.sqrt(_minus_log(p)) - _TAIL_START
    middle = q <= _MIDDLE
    top = q * horner(z, _MIDDLE_TOP) if middle else horner(t, _TAIL_TOP)
    bottom = horner(z, _MIDDLE_BOTTOM) if middle else horner(t, _TAIL_BOTTOM)
    x = top / bottom
    return x if word & _ONE == np.uint64(0) else -x


@formula
def uniform(word: Any) -> Any:
    """Return the uniform number in [0, 1) of the upper 53 bits of a uint64."""
    return np.float64(word >> _FRACTION) * 2.0**-53


@kernel
def stream(seed: Any, tag: Any, realisation: Any, attempt: Any) -> Stream:
    """Split the seed and join tag and attempt."""
    return Stream(np.uint64(seed) & _LOW, np.uint64(seed) >> _WORD, np.uint64(realisation), stamp(tag, attempt))


@kernel
def blocks(source: Stream, panel: Panel) -> None:
    """Fill `high` and `low` with the blocks of the counters."""
    wide_vectors()
    index, item, high, low = panel.index, panel.item, panel.high, panel.low
    k0, k1, c2, c3 = source.k0, source.k1, source.c2, source.c3
    for e in range(index.size):
        w0, w1, w2, w3 = philox(index[e], item[e], c2, c3, k0, k1)
        high[e] = np.uint64(w0) << _WORD | np.uint64(w1)
        low[e] = np.uint64(w2) << _WORD | np.uint64(w3)


@kernel
def normals_of(words: Any, out: Any) -> None:
    """Fill `out` with the normal numbers of words."""
    wide_vectors()
    for e in range(words.size):
        out[e] = normal(words[e])


@kernel
def gamma_slope(shape: float) -> float:
    """Return 1 / (3 sqrt(d)) for shapes from 1; below, infinity, which no lane accepts."""
    return 1.0 / (3.0 * np.sqrt(shape - 1.0 / 3.0)) if shape >= 1.0 else np.inf


@kernel
def _accept(panel: Panel, out: Any) -> int:
    """Fill `out` with d (1 + y)³ and `room`, above 0 where that is accepted; return how many are not."""
    wide_vectors()
    shape, slope, x, low, room = panel.shape, panel.slope, panel.normal, panel.low, panel.room
    left = 0
    for e in range(out.size):
        d = shape[e] - 1.0 / 3.0
        y = slope[e] * x[e]
        v = 1.0 + y
        out[e] = d * (v * v * v)
        s = uniform(low[e]) - 1.5 * d * ((y * y) * (y * y))
        s = s if abs(y) <= 0.5 else 0.0
        room[e] = s
        left += 0 if s > 0.0 else 1
    return left


@kernel
def _gamma_by_trial(source: Stream, index: Any, item: Any, shape: float) -> float:
    """Return a gamma variate from the first attempt that the exact test accepts."""
    lift = 1.0 if shape < 1.0 else 0.0
    d = shape + lift - 1.0 / 3.0
    slope = 1.0 / (3.0 * np.sqrt(d))
    power = 1.0
    if shape < 1.0:
        _, _, w2, w3 = philox(index, item, source.c2, source.c3 | np.uint64(_BOOST), source.k0, source.k1)
        power = exp(log1p(-uniform(np.uint64(w2) << _WORD | np.uint64(w3))) / shape)
    for attempt in range(_BOOST):
        c3 = source.c3 | np.uint64(attempt)
        w0, w1, w2, w3 = philox(index, item, source.c2, c3, source.k0, source.k1)
        x = normal(np.uint64(w0) << _WORD | np.uint64(w1))
        u = uniform(np.uint64(w2) << _WORD | np.uint64(w3))
        y = slope * x
        if y > -1.0:
            # (1 + y)³ - 1 without the 1, which would cost digits.
            h = 0.5 * x * x - d * (y * (3.0 + y * (3.0 + y)) - 3.0 * log1p(y))
            if log1p(-u) < h:
                v = 1.0 + y
                return d * (v * v * v) * power
    return np.nan


@kernel
def gammas_of(source: Stream, panel: Panel, out: Any) -> None:
    """Fill `out` with gamma variates; `index`, `item`, `shape` and `slope` of the panel are given.

    `source` has attempt 0, and `index` counts blocks, below 2**32.
    """
    blocks(source, panel)
    normals_of(panel.high, panel.normal)
    if _accept(panel, out) > 0:
        for e in range(out.size):
            if not panel.room[e] > 0.0:
                out[e] = _gamma_by_trial(source, panel.index[e], panel.item[e], panel.shape[e])


@kernel
def _normal_row(words: Any, out: Any) -> None:
    wide_vectors()
    for i in range(out.size):
        out[i] = normal(np.uint64(words[2 * i]) << _WORD | np.uint64(words[2 * i + 1]))


@kernel
def normals(seed: Any, tag: Any, realisations: Any, first: int, out: Any) -> None:
    """Fill `out` with normal numbers of mean 0 and variance 1.

    Parameters
    ----------
    seed : uint64
    tag : int
        What the numbers are for, as START.
    realisations : int64 array (R,)
    first : int
        Item of the first row.
    out : float64 array (R, C, N)
        Overwritten; out[r, c, i] takes the draws 2 i and 2 i + 1 of item first + c.
    """
    items = out.shape[1]
    for row in range(out.shape[0] * items):
        r, item = row // items, row % items
        _normal_row(draw(seed, tag, realisations[r], first + item, 2 * out.shape[2]), out[r, item])


@kernel
def _gamma_row(source: Stream, item: Any, shapes: Any, out: Any) -> None:
    words = np.empty((4, out.size), np.uint64)
    numbers = np.empty((3, out.size))
    panel = Panel(words[0], words[1], words[2], words[3], shapes, numbers[0], numbers[1], numbers[2])
    for i in range(out.size):
        panel.index[i] = np.uint64(i)
        panel.item[i] = np.uint64(item)
        panel.slope[i] = gamma_slope(shapes[i])
    gammas_of(source, panel, out)


@kernel
def gammas(seed: Any, tag: Any, realisations: Any, shapes: Any, out: Any) -> None:
    """Fill `out` with gamma variates of scale 1.

    A chi variate of g degrees of freedom is sqrt(2 x) with x of shape g / 2.

    Parameters
    ----------
    seed : uint64
    tag : int
    realisations : int64 array (R,)
    shapes : float64 array (N,)
        Above 0.
    out : float64 array (R, C, N)
        Overwritten; out[r, c, i], of shape shapes[i], takes block i of item c, and those of further attempts.
    """
    items = out.shape[1]
    for row in range(out.shape[0] * items):
        r, item = row // items, row % items
        _gamma_row(stream(seed, tag, realisations[r], 0), item, shapes, out[r, item])
