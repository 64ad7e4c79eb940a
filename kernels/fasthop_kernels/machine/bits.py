"""What follows the dtype of its argument: constants, polynomials, and powers of two made from bits.

A float64 literal would promote a float32 formula and halve its speed, and converting a float to an integer has no
vector instruction before AVX-512. What stands here lets one formula serve both dtypes with neither.

An integer k is carried as the float t = SHIFTER + k, where SHIFTER = 1.5 * 2**52 (float32: 1.5 * 2**23). Floats are 1
apart there, so that adding SHIFTER rounds any number to an integer, and the low bits of t are k in two's complement.
Nothing of this is undefined for NaN: a NaN gives a meaningless power of two, and its product with NaN is NaN.

Each function is plain Python beside an LLVM twin that numba takes in its place, so that all runs without JIT too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic, overload


class Format(NamedTuple):
    """One IEEE 754 binary format."""

    real: Any
    word: Any
    width: int
    fraction: int
    bias: int

    @property
    def shifter(self) -> Any:
        """The float to which an integer is added to be carried in the low bits."""
        return self.real(1.5 * 2**self.fraction)

    def bits(self, x: Any) -> int:
        """Return the bit pattern of `x`."""
        return int(self.real(x).view(self.word))

    def number(self, bits: int) -> Any:
        """Return the number whose bit pattern is `bits` modulo 2**width."""
        return self.word(bits % 2**self.width).view(self.real)


DOUBLE = Format(np.float64, np.uint64, 64, 52, 1023)
SINGLE = Format(np.float32, np.uint32, 32, 23, 127)

_FORMATS = {types.float64: DOUBLE, types.float32: SINGLE}
_REALS = {types.float64: ir.DoubleType(), types.float32: ir.FloatType()}


def _format(x: Any) -> Format:
    return SINGLE if isinstance(x, np.float32) else DOUBLE


# --- constants ------------------------------------------------------------------------------------------------------


def like(c: Any, x: Any) -> Any:
    """Return the constant `c` in the dtype of `x`, float64 or float32; compiled code holds it ready-made."""
    return _format(x).real(c)


@overload(like, inline="always")
def _like_overload(c, x):  # type: ignore[no-untyped-def]
    if x == types.float64:
        return lambda c, x: np.float64(c)
    if x == types.float32:
        return lambda c, x: np.float32(c)
    return None


# --- polynomials ----------------------------------------------------------------------------------------------------


@intrinsic
def _horner(typingctx: Any, x: Any, terms: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        value = builder.extract_value(args[1], terms.count - 1)
        for i in reversed(range(terms.count - 1)):
            value = builder.fadd(builder.fmul(value, args[0]), builder.extract_value(args[1], i))
        return value

    return x(x, terms), codegen


def horner(x: Any, terms: Sequence[Any]) -> Any:
    """Return the sum of terms[i] * x**i; `terms` is a tuple of numbers of the dtype of `x`."""
    value = terms[-1]
    for term in terms[-2::-1]:
        value = value * x + term
    return value


@overload(horner, inline="always")
def _horner_overload(x, terms):  # type: ignore[no-untyped-def]
    if x in _FORMATS and isinstance(terms, types.UniTuple) and terms.dtype == x:
        return lambda x, terms: _horner(x, terms)
    return None


# --- powers of two --------------------------------------------------------------------------------------------------


@intrinsic
def _power_of_two(typingctx: Any, t: Any) -> Any:
    form = _FORMATS[t]
    word = ir.IntType(form.width)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        exponent = builder.add(builder.bitcast(args[0], word), word(form.bias))
        return builder.bitcast(builder.shl(exponent, word(form.fraction)), _REALS[t])

    return t(t), codegen


def power_of_two(t: Any) -> Any:
    """Return 2**k for t = SHIFTER + k, where 2**k is a normal number."""
    form = _format(t)
    return form.number((form.bits(t) + form.bias) << form.fraction)


@overload(power_of_two, inline="always")
def _power_of_two_overload(t):  # type: ignore[no-untyped-def]
    return (lambda t: _power_of_two(t)) if t in _FORMATS else None


@intrinsic
def _scale(typingctx: Any, x: Any, t: Any) -> Any:
    form = _FORMATS[x]
    word = ir.IntType(form.width)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        both = builder.sub(builder.bitcast(args[1], word), word(form.bits(form.shifter) - 2 * form.bias))
        one = builder.lshr(both, word(1))
        value = args[0]
        for exponent in (one, builder.sub(both, one)):
            factor = builder.bitcast(builder.shl(exponent, word(form.fraction)), _REALS[x])
            value = builder.fmul(value, factor)
        return value

    return x(x, t), codegen


def scale(x: Any, t: Any) -> Any:
    """Return x * 2**k for t = SHIFTER + k, also where 2**k is no normal number.

    |k| is at most twice the largest exponent. Two factors of half the exponent are applied one after the other: from
    |x| near 1 only the second product can overflow or become subnormal, so that the result is rounded once.
    """
    form = _format(x)
    both = (form.bits(t) - form.bits(form.shifter) + 2 * form.bias) % 2**form.width
    one = both >> 1
    with np.errstate(all="ignore"):  # an overflow to infinity is a result here, as in compiled code
        return x * form.number(one << form.fraction) * form.number((both - one) << form.fraction)


@overload(scale, inline="always")
def _scale_overload(x, t):  # type: ignore[no-untyped-def]
    return (lambda x, t: _scale(x, t)) if x == t and x in _FORMATS else None


@intrinsic
def _binade(typingctx: Any, x: Any) -> Any:
    form = _FORMATS[x]
    word = ir.IntType(form.width)
    unit = 2.0**form.fraction

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        offset = word((form.bias << form.fraction) - form.bits(0.5**0.5))
        exponent = builder.lshr(builder.add(builder.bitcast(args[0], word), offset), word(form.fraction))
        whole = builder.bitcast(builder.or_(exponent, word(form.bits(unit))), _REALS[x])
        return builder.fsub(whole, _REALS[x](unit + form.bias))

    return x(x), codegen


def binade(x: Any) -> Any:
    """Return the integer k, as a float, for which x * 2**-k lies in [sqrt(1/2), sqrt(2)), for normal x > 0."""
    form = _format(x)
    offset = (form.bias << form.fraction) - form.bits(0.5**0.5)
    return form.real((((form.bits(x) + offset) % 2**form.width) >> form.fraction) - form.bias)


@overload(binade, inline="always")
def _binade_overload(x):  # type: ignore[no-untyped-def]
    return (lambda x: _binade(x)) if x in _FORMATS else None
