"""Numbers that follow the dtype of their argument: constants, polynomials and powers of two made from bits.

A float64 literal would promote a float32 formula and halve its speed, and `int64(k)` has no vector instruction before
AVX-512; what stands here lets one formula serve both dtypes with neither.

An integer k in [-2**21, 2**21] (float64: [-2**50, 2**50]) is carried as t = SHIFTER + k, where SHIFTER = 1.5 * 2**23
(1.5 * 2**52). The spacing of floats there is 1, so `x + SHIFTER` rounds x to an integer, and the low bits of t are k
in two's complement: no conversion between floats and integers is needed, and none that could be undefined for NaN.

Every function is plain Python, with a twin of LLVM that numba takes instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic, overload


class Format(NamedTuple):
    """One IEEE binary format: its dtype, width, fraction bits and exponent bias."""

    real: Any
    word: Any
    width: int
    fraction: int
    bias: int

    @property
    def shifter(self) -> Any:
        """1.5 * 2**fraction: adding it rounds to an integer."""
        return self.real(1.5 * 2**self.fraction)

    def bits(self, value: float) -> int:
        """Return the bit pattern of `value` in this format."""
        return int(self.real(value).view(self.word))

    def value(self, bits: int) -> Any:
        """Return the number whose bit pattern is `bits` modulo 2**width."""
        return self.word(bits % 2**self.width).view(self.real)


DOUBLE = Format(np.float64, np.uint64, 64, 52, 1023)
SINGLE = Format(np.float32, np.uint32, 32, 23, 127)
_FORMATS = {types.float64: DOUBLE, types.float32: SINGLE}


def _format(x: Any) -> Format:
    return SINGLE if isinstance(x, np.float32) else DOUBLE


# --- constants ------------------------------------------------------------------------------------------------------


def like(c: Any, x: Any) -> Any:
    """Return the constant `c` in the dtype of `x`, float64 or float32."""
    return _format(x).real(c)


@overload(like, inline="always")
def _like(c, x):  # type: ignore[no-untyped-def]
    if x == types.float64:
        return lambda c, x: np.float64(c)
    if x == types.float32:
        return lambda c, x: np.float32(c)
    return None


# --- polynomials ----------------------------------------------------------------------------------------------------


@intrinsic
def _horner(typingctx: Any, x: Any, coefficients: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        terms = [builder.extract_value(args[1], i) for i in range(coefficients.count)]
        total = terms.pop()
        while terms:
            total = builder.fadd(builder.fmul(total, args[0]), terms.pop())
        return total

    return x(x, coefficients), codegen


def horner(x: Any, coefficients: Sequence[Any]) -> Any:
    """Return the polynomial sum(coefficients[i] * x**i); the coefficients are a tuple of numbers of x's dtype."""
    total = coefficients[-1]
    for term in coefficients[-2::-1]:
        total = total * x + term
    return total


@overload(horner, inline="always")
def _horner_overload(x, coefficients):  # type: ignore[no-untyped-def]
    if isinstance(coefficients, types.UniTuple) and coefficients.dtype == x and x in _FORMATS:
        return lambda x, coefficients: _horner(x, coefficients)
    return None


# --- powers of two --------------------------------------------------------------------------------------------------


def _llvm(x: Any) -> tuple[Format, ir.IntType, ir.Type]:
    form = _FORMATS[x]
    return form, ir.IntType(form.width), ir.DoubleType() if form is DOUBLE else ir.FloatType()


@intrinsic
def _power_of_two(typingctx: Any, t: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        form, word, real = _llvm(t)
        exponent = builder.add(builder.bitcast(args[0], word), word(form.bias))
        return builder.bitcast(builder.shl(exponent, word(form.fraction)), real)

    return t(t), codegen


def power_of_two(t: Any) -> Any:
    """Return 2**k for t = SHIFTER + k, where 2**k is a normal number."""
    form = _format(t)
    return form.value((form.bits(t) + form.bias) << form.fraction)


@overload(power_of_two, inline="always")
def _power_of_two_overload(t):  # type: ignore[no-untyped-def]
    return (lambda t: _power_of_two(t)) if t in _FORMATS else None


@intrinsic
def _scale(typingctx: Any, x: Any, t: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        form, word, real = _llvm(x)
        both = builder.sub(builder.bitcast(args[1], word), word(form.bits(form.shifter) - 2 * form.bias))
        one = builder.lshr(both, word(1))
        other = builder.sub(both, one)
        for exponent in (one, other):
            factor = builder.bitcast(builder.shl(exponent, word(form.fraction)), real)
            args = (builder.fmul(args[0], factor), args[1])
        return args[0]

    return x(x, t), codegen


def scale(x: Any, t: Any) -> Any:
    """Return x * 2**k for t = SHIFTER + k, with overflow and subnormal results as in one rounding of the product.

    |x| lies in [1/2, 2] or the result is normal; |k| is at most twice the largest exponent. The power is applied in
    two halves, each a normal number even where 2**k is not one.
    """
    form = _format(x)
    both = (form.bits(t) - form.bits(form.shifter) + 2 * form.bias) % 2**form.width
    one = both >> 1
    with np.errstate(all="ignore"):  # compiled code does not warn either
        return x * form.value(one << form.fraction) * form.value((both - one) << form.fraction)


@overload(scale, inline="always")
def _scale_overload(x, t):  # type: ignore[no-untyped-def]
    return (lambda x, t: _scale(x, t)) if x == t and x in _FORMATS else None


@intrinsic
def _binade(typingctx: Any, x: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        form, word, real = _llvm(x)
        lifted = builder.add(builder.bitcast(args[0], word), word((form.bias << form.fraction) - form.bits(0.5**0.5)))
        exponent = builder.lshr(lifted, word(form.fraction))
        whole = builder.bitcast(builder.or_(exponent, word(form.bits(2.0**form.fraction))), real)
        return builder.fsub(whole, real(2.0**form.fraction + form.bias))

    return x(x), codegen


def binade(x: Any) -> Any:
    """Return the integer k, as a float, for which x * 2**-k lies in [sqrt(1/2), sqrt(2)); x is positive and normal."""
    form = _format(x)
    exponent = (form.bits(x) + (form.bias << form.fraction) - form.bits(0.5**0.5)) % 2**form.width >> form.fraction
    return form.real(exponent - form.bias)


@overload(binade, inline="always")
def _binade_overload(x):  # type: ignore[no-untyped-def]
    return (lambda x: _binade(x)) if x in _FORMATS else None
