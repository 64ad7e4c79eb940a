"""Activations in which the neurons of a layer compete: softmax, and the normalisations of layer norm and sphere.

A layer is a flat array in rows, row i holding neuron i in `lanes` lanes. Every lane is reduced by itself, over neurons
in ascending order, so that its bits do not depend on the number of lanes. The sums of STRIP lanes at a time are kept
on the stack. `out` must not overlap the input.

Λ is diagonal plus rank one (softmax, sphere) or rank two (layer norm). It is never formed: `*_slope` writes its
diagonal and `*_apply` the product Λx. The Lagrangian and the Legendre term are those of the whole layer; they stand on
its first row, and the other rows are zero, so that a sum over neurons is right for every activation.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, overload
from numba.np import arrayobj

from fasthop_kernels.machine.bits import binade, like, power_of_two
from fasthop_kernels.machine.jit import formula, kernel
from fasthop_kernels.machine.lanes import LINE, wide_vectors
from fasthop_kernels.mathematics.elementary import constants, exp, log, log1p

#: Lanes that are reduced together: the widest tile of float32, 6 KiB of sums in float64 at most.
STRIP = 96


# --- sums of a strip, on the stack ----------------------------------------------------------------------------------


@intrinsic
def _strip(typingctx: Any, like_this: Any) -> Any:
    result = types.Array(like_this.dtype, 1, "C")

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        item = context.get_data_type(result.dtype)
        place = cgutils.alloca_once(builder, ir.ArrayType(item, STRIP))
        place.align = LINE
        array = context.make_array(result)(context, builder)
        size = context.get_abi_sizeof(item)
        arrayobj.populate_array(
            array,
            data=builder.bitcast(place, item.as_pointer()),
            shape=[context.get_constant(types.intp, STRIP)],
            strides=[context.get_constant(types.intp, size)],
            itemsize=context.get_constant(types.intp, size),
            meminfo=None,
        )
        return array._getvalue()

    return result(like_this), codegen


def strip(like_this: Any) -> Any:
    """Return STRIP numbers of the dtype of an array; their memory ends with the calling function."""
    return np.empty(STRIP, like_this.dtype)


@overload(strip, inline="always")
def _strip_overload(like_this):  # type: ignore[no-untyped-def]
    return lambda like_this: _strip(like_this)


# --- softmax, gain a: g = e^{a y} / Σ e^{a y} -----------------------------------------------------------------------
#
# With e = e^{a (y − top)} the sum is tops + tail: how often the top occurs, and the sum of the others. Apart they keep
# ln Σ and 1 − g to relative accuracy where one neuron has nearly all.


@kernel
def _softmax_sums(y: Any, a: Any, e: Any, at: int, lanes: int, top: Any, tops: Any, tail: Any) -> None:
    """Write e to its own rows, and the sums of the lanes from `at` on."""
    wide_vectors()
    x = y[at : at + top.size]
    for k in range(top.size):  # not top[:] = x, whose check of shapes takes a second to compile
        top[k] = x[k]
    for row in range(at + lanes, y.size, lanes):
        x = y[row : row + top.size]
        for k in range(top.size):
            top[k] = x[k] if x[k] > top[k] else top[k]
    tops[:] = 0
    tail[:] = 0
    for row in range(at, y.size, lanes):
        x, z = y[row : row + top.size], e[row : row + top.size]
        for k in range(top.size):
            # At the top also where it is infinite.
            q = exp(a * (like(0.0, a) if x[k] == top[k] else x[k] - top[k]))
            z[k] = q
            first = q == like(1.0, q)
            tops[k] += like(1.0, q) if first else like(0.0, q)
            tail[k] += like(0.0, q) if first else q


@kernel
def softmax_g(y: Any, a: Any, out: Any, lanes: int) -> None:
    """Write g."""
    wide_vectors()
    top, tops, tail = strip(y), strip(y), strip(y)
    for at in range(0, lanes, STRIP):
        width = min(STRIP, lanes - at)
        _softmax_sums(y, a, out, at, lanes, top[:width], tops[:width], tail[:width])
        for k in range(width):
            tail[k] = like(1.0, a) / (tops[k] + tail[k])
        for row in range(at, y.size, lanes):
            g = out[row : row + width]
            for k in range(width):
                g[k] *= tail[k]


@kernel
def softmax_slope(y: Any, a: Any, out: Any, lanes: int) -> None:
    """Write the diagonal a g (1 − g) of Λ = a (diag g − g gᵀ)."""
    wide_vectors()
    top, tops, tail = strip(y), strip(y), strip(y)
    for at in range(0, lanes, STRIP):
        width = min(STRIP, lanes - at)
        _softmax_sums(y, a, out, at, lanes, top[:width], tops[:width], tail[:width])
        for row in range(at, y.size, lanes):
            slope = out[row : row + width]
            for k in range(width):
                q, total = slope[k], tops[k] + tail[k]
                one = like(1.0, q)
                others = (tops[k] - one) + tail[k] if q == one else total - q
                slope[k] = a * (q / total) * (others / total)


@kernel
def softmax_apply(y: Any, a: Any, x: Any, out: Any, lanes: int) -> None:
    """Write Λx = a g (x − g·x)."""
    wide_vectors()
    top, tops, tail, mean, own = strip(y), strip(y), strip(y), strip(y), strip(y)
    for at in range(0, lanes, STRIP):
        width = min(STRIP, lanes - at)
        _softmax_sums(y, a, out, at, lanes, top[:width], tops[:width], tail[:width])
        mean[:width] = 0
        for k in range(width):
            tail[k] = like(1.0, a) / (tops[k] + tail[k])
        # From the x of a leading neuron, which the mean tends to.
        for row in range(at, y.size, lanes):
            g, v = out[row : row + width], x[row : row + width]
            for k in range(width):
                own[k] = v[k] if row == at or g[k] == like(1.0, a) else own[k]
        for row in range(at, y.size, lanes):
            g, v = out[row : row + width], x[row : row + width]
            for k in range(width):
                g[k] *= tail[k]
                mean[k] += g[k] * (v[k] - own[k])
        for row in range(at, y.size, lanes):
            g, v = out[row : row + width], x[row : row + width]
            for k in range(width):
                g[k] = a * g[k] * ((v[k] - own[k]) - mean[k])


@kernel
def softmax_lagrangian(y: Any, a: Any, out: Any, lanes: int) -> None:
    """Write L = ln(Σ e^{a y}) / a to the first row."""
    wide_vectors()
    top, tops, tail = strip(y), strip(y), strip(y)
    for at in range(0, lanes, STRIP):
        width = min(STRIP, lanes - at)
        _softmax_sums(y, a, out, at, lanes, top[:width], tops[:width], tail[:width])
        total = out[at : at + width]
        for k in range(width):
            total[k] = top[k] + log1p((tops[k] - like(1.0, a)) + tail[k]) / a
    out[lanes:] = 0


@kernel
def softmax_legendre(y: Any, a: Any, out: Any, lanes: int) -> None:
    """Write φ = Σ g ln(g) / a to the first row: Σ g (y − top), and −ln(Σ e)/a of the same sign."""
    wide_vectors()
    top, tops, tail, mean = strip(y), strip(y), strip(y), strip(y)
    for at in range(0, lanes, STRIP):
        width = min(STRIP, lanes - at)
        _softmax_sums(y, a, out, at, lanes, top[:width], tops[:width], tail[:width])
        mean[:width] = 0
        for row in range(at, y.size, lanes):
            e, x = out[row : row + width], y[row : row + width]
            for k in range(width):
                # Where e is 0 the difference may be infinite.
                mean[k] += e[k] * (like(0.0, a) if x[k] == top[k] or e[k] == like(0.0, a) else x[k] - top[k])
        total = out[at : at + width]
        for k in range(width):
            rest = (tops[k] - like(1.0, a)) + tail[k]
            total[k] = mean[k] / (tops[k] + tail[k]) - log1p(rest) / a
    out[lanes:] = 0


@kernel
def softmax_inverse(g: Any, a: Any, out: Any) -> None:
    """Write ln(g) / a, the one of all preimages y + c whose Lagrangian is 0."""
    wide_vectors()
    for e in range(g.size):
        out[e] = log(g[e]) / a


# --- layer norm and sphere: g = a z, z = (y − centre) / s, s² = Σ (y − centre)² / n + ε -------------------------------
#
# Layer norm: the centre is the mean, and n the number of neurons. Sphere: the centre is 0, and n and a are 1. Then
# L = n a s, Λ = (a/s) (1 − [layer norm] 1 1ᵀ/n − z zᵀ/n) and φ = −n a ε/s. The deviations from a mean are those from
# the first neuron less their mean, so that a common offset costs no accuracy. Lanes are multiplied by a power of two,
# `unit`, which changes no bit but makes subnormal numbers normal; one in which squares would overflow or underflow gets
# another one. The centre and s are those of the multiplied lane.


@formula
def _ordinary(square: Any) -> Any:
    """Whether the squares that sum up to `square` do not overflow or, if they count, underflow."""
    c = constants(square)
    return square > np.sqrt(c.least_normal) and square < c.unit_most


@kernel
def _choose_unit(y: Any, eps: Any, centred: bool, at: int, lanes: int, square: Any, unit: Any) -> None:
    """Write the unit of every lane, given its s²: the usual, or what brings the largest deviation, or √ε, near 1."""
    wide_vectors()
    c = constants(eps)
    unit[:] = np.sqrt(eps)
    first = y[at : at + unit.size]
    for row in range(at, y.size, lanes):
        x = y[row : row + unit.size]
        for k in range(unit.size):
            # Halves, because a difference can overflow; and no unit in which the number itself would.
            d, bound = abs(c.half * x[k] - (c.half * first[k] if centred else c.zero)), abs(x[k]) / c.unit_most
            d = d if d > bound else bound
            unit[k] = d if d > unit[k] else unit[k]
    for k in range(unit.size):
        most = unit[k] if unit[k] < c.unit_most else c.unit_most
        most = most if most > c.one / c.unit_most else c.one / c.unit_most
        unit[k] = c.lift if _ordinary(square[k]) else power_of_two(c.shifter - binade(most))


@kernel
def _spread(
    y: Any, eps: Any, centred: bool, at: int, lanes: int, unit: Any, origin: Any, mean: Any, square: Any
) -> None:
    """Write the centre, in two parts, and s² of the lanes from `at` on, all in the unit of the lane."""
    wide_vectors()
    n = like(y.size // lanes, eps) if centred else like(1.0, eps)
    origin[:] = 0
    mean[:] = 0
    square[:] = 0
    if centred:
        x = y[at : at + unit.size]
        for k in range(unit.size):
            origin[k] = x[k] * unit[k]
        for row in range(at, y.size, lanes):
            x = y[row : row + unit.size]
            for k in range(unit.size):
                mean[k] += x[k] * unit[k] - origin[k]
        for k in range(unit.size):
            mean[k] /= n
    for row in range(at, y.size, lanes):
        x = y[row : row + unit.size]
        for k in range(unit.size):
            d = (x[k] * unit[k] - origin[k]) - mean[k]
            square[k] += d * d
    for k in range(unit.size):
        square[k] = square[k] / n + eps * unit[k] * unit[k]


@kernel
def _normal_sums(
    y: Any, eps: Any, centred: bool, at: int, lanes: int, unit: Any, origin: Any, mean: Any, r: Any
) -> None:
    """Write the unit of the lanes from `at` on and, in it, the centre, in two parts, and 1/s."""
    wide_vectors()
    unit[:] = constants(eps).lift
    _spread(y, eps, centred, at, lanes, unit, origin, mean, r)
    ordinary = 0
    for k in range(unit.size):
        ordinary += 1 if _ordinary(r[k]) else 0
    if ordinary < unit.size:
        _choose_unit(y, eps, centred, at, lanes, r, unit)
        _spread(y, eps, centred, at, lanes, unit, origin, mean, r)
    for k in range(unit.size):
        r[k] = like(1.0, eps) / np.sqrt(r[k])


@kernel
def normal_g(y: Any, a: Any, eps: Any, centred: bool, out: Any, lanes: int) -> None:
    """Write g."""
    wide_vectors()
    unit, origin, mean, r = strip(y), strip(y), strip(y), strip(y)
    for at in range(0, lanes, STRIP):
        width = min(STRIP, lanes - at)
        _normal_sums(y, eps, centred, at, lanes, unit[:width], origin[:width], mean[:width], r[:width])
        for row in range(at, y.size, lanes):
            x, g = y[row : row + width], out[row : row + width]
            for k in range(width):
                g[k] = a * r[k] * ((x[k] * unit[k] - origin[k]) - mean[k])


@kernel
def normal_slope(y: Any, a: Any, eps: Any, centred: bool, out: Any, lanes: int) -> None:
    """Write the diagonal of Λ."""
    wide_vectors()
    unit, origin, mean, r = strip(y), strip(y), strip(y), strip(y)
    share = like(1.0, a) / like(y.size // lanes, a) if centred else like(1.0, a)
    most = like(1.0, a) - share if centred else like(1.0, a)
    for at in range(0, lanes, STRIP):
        width = min(STRIP, lanes - at)
        _normal_sums(y, eps, centred, at, lanes, unit[:width], origin[:width], mean[:width], r[:width])
        for row in range(at, y.size, lanes):
            x, slope = y[row : row + width], out[row : row + width]
            for k in range(width):
                z = ((x[k] * unit[k] - origin[k]) - mean[k]) * r[k]
                slope[k] = a * r[k] * (most - share * z * z) * unit[k]


@kernel
def normal_apply(y: Any, a: Any, eps: Any, centred: bool, x: Any, out: Any, lanes: int) -> None:
    """Write Λx."""
    wide_vectors()
    unit, origin, mean, r, middle, along = strip(y), strip(y), strip(y), strip(y), strip(y), strip(y)
    share = like(1.0, a) / like(y.size // lanes, a) if centred else like(1.0, a)
    for at in range(0, lanes, STRIP):
        width = min(STRIP, lanes - at)
        _normal_sums(y, eps, centred, at, lanes, unit[:width], origin[:width], mean[:width], r[:width])
        middle[:width] = 0
        if centred:
            for row in range(at, y.size, lanes):
                v = x[row : row + width]
                for k in range(width):
                    middle[k] += share * v[k]
        along[:width] = 0
        for row in range(at, y.size, lanes):
            u, v, z = y[row : row + width], x[row : row + width], out[row : row + width]
            for k in range(width):
                z[k] = ((u[k] * unit[k] - origin[k]) - mean[k]) * r[k]
                along[k] += share * z[k] * (v[k] - middle[k])
        for row in range(at, y.size, lanes):
            v, z = x[row : row + width], out[row : row + width]
            for k in range(width):
                z[k] = a * r[k] * ((v[k] - middle[k]) - along[k] * z[k]) * unit[k]


@kernel
def normal_total(y: Any, a: Any, eps: Any, centred: bool, legendre: bool, out: Any, lanes: int) -> None:
    """Write L or, where `legendre` is set, φ to the first row."""
    wide_vectors()
    unit, origin, mean, r = strip(y), strip(y), strip(y), strip(y)
    na = like(y.size // lanes, a) * a if centred else a
    for at in range(0, lanes, STRIP):
        width = min(STRIP, lanes - at)
        _normal_sums(y, eps, centred, at, lanes, unit[:width], origin[:width], mean[:width], r[:width])
        total = out[at : at + width]
        for k in range(width):
            total[k] = -na * eps * unit[k] * r[k] if legendre else na / r[k] / unit[k]
    out[lanes:] = 0


@kernel
def normal_inverse(g: Any, a: Any, eps: Any, centred: bool, out: Any, lanes: int) -> None:
    """Write the preimage y = s z with mean 0, where s² = ε / (1 − Σ z²/n); NaN where there is none.

    For ε = 0 the length is lost, too: z itself.
    """
    wide_vectors()
    zero, one = like(0.0, a), like(1.0, a)
    n = like(g.size // lanes, a) if centred else one
    square = strip(g)
    for at in range(0, lanes, STRIP):
        width = min(STRIP, lanes - at)
        square[:width] = 0
        for row in range(at, g.size, lanes):
            v = g[row : row + width]
            for k in range(width):
                square[k] += (v[k] / a) * (v[k] / a)
        for k in range(width):
            square[k] = np.sqrt(eps / (one - square[k] / n)) if eps > zero else one
        for row in range(at, g.size, lanes):
            v, y = g[row : row + width], out[row : row + width]
            for k in range(width):
                y[k] = square[k] * (v[k] / a)
