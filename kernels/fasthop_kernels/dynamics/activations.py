"""Activations g = ∇L, their derivative Λ, Lagrangian L and Legendre term φ = y·g − L, in closed form.

Each is written with q = e^{−|x|} or e^{−2|x|}, so that nothing overflows and the tails keep their relative accuracy.
The results are right, too, where an intermediate would overflow or underflow and they do not: gains multiply y last or
where they can do no harm, and what multiplies a q next to underflow joins before its power of two (`exp_parts`).
The code of an activation is looked up once per layer, outside the loop over lanes. Those in which the neurons of a
layer depend on each other are in `blockwise`.

Source of the definitions: arXiv 2410.13866, section 2 and Example 7; Krotov and Hopfield, arXiv 2008.06996.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fasthop_kernels.dynamics.blockwise import (
    normal_apply,
    normal_g,
    normal_inverse,
    normal_slope,
    normal_total,
    softmax_apply,
    softmax_g,
    softmax_inverse,
    softmax_lagrangian,
    softmax_legendre,
    softmax_slope,
)
from fasthop_kernels.machine.bits import binade, horner, like, scale
from fasthop_kernels.machine.jit import formula, kernel
from fasthop_kernels.machine.lanes import wide_vectors
from fasthop_kernels.mathematics.elementary import (
    clipped,
    constants,
    dilog,
    erf,
    exp,
    exp_parts,
    expm1,
    gaussian,
    gaussian_moment,
    gaussian_parts,
    gelu_tail,
    half_gaussian_parts,
    log,
    log1p,
    log1p_unit,
    mills,
    sigmoid,
    tanh,
)

TANH, SIGMOID, RELU, LEAKY_RELU, SMOOTH_LEAKY_RELU = range(5)
SOFTPLUS, EXP, GELU, SILU, SELU, GAUSSIAN, RECTIFIED_POWER, HARD_TANH, SOFT_THRESHOLD = range(5, 14)
SOFTMAX, LAYER_NORM, SPHERE, POWER = range(14, 18)

LN2 = float(np.log(2.0))
ROOT_PI = float(np.sqrt(np.pi))
ROOT_2PI = float(np.sqrt(2.0 * np.pi))
ZETA2 = float(np.pi**2 / 6.0)

#: λ and λα of SELU: Klambauer et al., arXiv 1706.02515.
SELU_ABOVE = 1.0507009873554805
SELU_BELOW = 1.0507009873554805 * 1.6732632423543772


# --- tanh, gain a: g = tanh(a y) ------------------------------------------------------------------------------------


@formula
def tanh_g(y: Any, a: Any) -> Any:
    return tanh(a * y)


@formula
def tanh_slope(y: Any, a: Any) -> Any:
    c = constants(y)
    x = like(-2.0, y) * abs(a * y)
    m, t = exp_parts(x)
    far = x < -c.exp_far
    q = scale(a * (like(4.0, y) * m) if far else m, t)
    r = like(1.0, y) + q
    return q if far else a * (like(4.0, y) * q / (r * r))


@formula
def tanh_lagrangian(y: Any, a: Any) -> Any:
    c = constants(y)
    x = a * y
    near = y * (x * horner(x * x, c.log_cosh_terms))
    far = (abs(y) + log1p(exp(like(-2.0, y) * abs(x))) / a) - like(LN2, y) / a
    return near if abs(x) < c.one else far


@formula
def tanh_legendre(y: Any, a: Any) -> Any:
    c = constants(y)
    x = abs(a * y)
    near = abs(y) * (tanh(x) - x * horner(x * x, c.log_cosh_terms))
    q = exp(like(-2.0, y) * x)
    far = (like(LN2, y) - log1p(q) - clipped(x, c.exp_reach) * (like(2.0, y) * q / (c.one + q))) / a
    return near if x < c.one else far


@formula
def tanh_inverse(v: Any, a: Any) -> Any:
    w = abs(v)
    x = like(0.5, v) * log1p(like(2.0, v) * w / (like(1.0, v) - w))
    x = x if w <= like(1.0, v) else like(np.nan, v)
    return (x if v >= like(0.0, v) else -x) / a


# --- logistic sigmoid, gain a: g = 1 / (1 + e^{−a y}) ---------------------------------------------------------------


@formula
def sigmoid_g(y: Any, a: Any) -> Any:
    return sigmoid(a * y)


@formula
def sigmoid_slope(y: Any, a: Any) -> Any:
    c = constants(y)
    x = -abs(a * y)
    m, t = exp_parts(x)
    far = x < -c.exp_far
    q = scale(a * m if far else m, t)
    r = like(1.0, y) + q
    return q if far else a * (q / (r * r))


@formula
def sigmoid_lagrangian(y: Any, a: Any) -> Any:
    c = constants(y)
    x, rest = a * y, like(1.0, y) / a
    m, t = exp_parts(-abs(x))
    far = x < -c.exp_far
    q = scale(m * rest if far else m, t)
    return q if far else (c.zero if y <= c.zero else y) + log1p_unit(q) * rest


@formula
def sigmoid_legendre(y: Any, a: Any) -> Any:
    c = constants(y)
    x, rest = clipped(abs(a * y), c.exp_reach), like(1.0, y) / a
    m, t = exp_parts(-x)
    far = x > c.exp_far
    q = scale((x + c.one) * m * rest if far else m, t)
    return -q if far else -(x * (q / (c.one + q)) + log1p_unit(q)) * rest


@formula
def sigmoid_inverse(v: Any, a: Any) -> Any:
    # ln(v/(1 − v)), near v = 1/2 from v − 1/2, which is exact.
    one = like(1.0, v)
    low = v < like(0.25, v)
    x = log1p(-v if low else (like(2.0, v) * v - one) / (one - v))
    x = log(v) - x if low else x
    return x / a if v <= one else like(np.nan, v)


# --- ReLU and leaky ReLU; a neuron at the kink y = 0 is on the lower side --------------------------------------------


@formula
def relu_g(y: Any, a: Any) -> Any:
    return like(0.0, y) if y <= like(0.0, y) else y


@formula
def relu_slope(y: Any, a: Any) -> Any:
    return like(1.0, y) if y > like(0.0, y) else (like(0.0, y) if y <= like(0.0, y) else y)  # NaN stays NaN


@formula
def relu_lagrangian(y: Any, a: Any) -> Any:
    r = relu_g(y, a)
    return like(0.5, y) * r * r


@formula
def leaky_relu_g(y: Any, a: Any) -> Any:
    # A slope of 0 keeps 0 where y is infinite.
    return (a * y if a > like(0.0, y) else like(0.0, y)) if y <= like(0.0, y) else y


@formula
def leaky_relu_slope(y: Any, a: Any) -> Any:
    return like(1.0, y) if y > like(0.0, y) else (a if y <= like(0.0, y) else y)


@formula
def leaky_relu_lagrangian(y: Any, a: Any) -> Any:
    half, below = like(0.5, y) * y, y <= like(0.0, y)
    return (half * (a * y) if a > like(0.0, y) else like(0.0, y)) if below else half * y


@formula
def relu_inverse(v: Any, a: Any) -> Any:
    return v if v > like(0.0, v) else like(np.nan, v)


@formula
def leaky_relu_inverse(v: Any, a: Any) -> Any:
    below = v / a if a > like(0.0, v) else like(np.nan, v)
    return below if v <= like(0.0, v) else v


# --- smooth leaky ReLU (Example 7): g = y (5 + 3 erf(3y/8)) / 8 -----------------------------------------------------


@formula
def smooth_leaky_relu_g(y: Any, a: Any) -> Any:
    return y * (like(0.625, y) + like(0.375, y) * erf(like(0.375, y) * y))


@formula
def smooth_leaky_relu_slope(y: Any, a: Any) -> Any:
    x = like(0.375, y) * y
    bump = like(0.75 / ROOT_PI, y) * clipped(x, constants(y).exp_reach) * exp(-x * x)
    return like(0.625, y) + like(0.375, y) * erf(x) + bump


@formula
def smooth_leaky_relu_square(y: Any) -> Any:
    """(L + φ)/2, half of y g."""
    return y * (y * (like(0.3125, y) + like(0.1875, y) * erf(like(0.375, y) * y)))


@formula
def smooth_leaky_relu_bend(y: Any) -> Any:
    """(φ − L)/2 = (8/3)/√π ∫ t² e^{−t²} dt from 0 to 3y/8, integrated by parts from L = ∫ g."""
    return like(8.0 / 3.0 / ROOT_PI, y) * gaussian_moment(like(0.375, y) * y)


@formula
def smooth_leaky_relu_lagrangian(y: Any, a: Any) -> Any:
    return smooth_leaky_relu_square(y) - smooth_leaky_relu_bend(y)


@formula
def smooth_leaky_relu_legendre(y: Any, a: Any) -> Any:
    return smooth_leaky_relu_square(y) + smooth_leaky_relu_bend(y)


@formula
def smooth_leaky_relu_guess(v: Any, a: Any) -> Any:
    return like(4.0, v) * v if v <= like(0.0, v) else v


@formula
def smooth_leaky_relu_newton(v: Any, y: Any, a: Any) -> Any:
    step = (smooth_leaky_relu_g(y, a) - v) / smooth_leaky_relu_slope(y, a)
    return y - step if abs(y) < like(np.inf, y) else y


# --- softplus, gain a: g = ln(1 + e^{a y}) / a ----------------------------------------------------------------------
#
# With x = a y, q = e^{−|x|}, u = ln(1 + q) and D = −Li₂(−q): a² L = D below 0 and π²/6 + x²/2 − D above.


@formula
def softplus_g(y: Any, a: Any) -> Any:
    return sigmoid_lagrangian(y, a)


@formula
def softplus_slope(y: Any, a: Any) -> Any:
    return sigmoid(a * y)


@formula
def softplus_lagrangian(y: Any, a: Any) -> Any:
    c = constants(y)
    x, rest = a * y, like(1.0, y) / a
    m, t = exp_parts(-abs(x))
    far = x < -c.exp_far
    q = scale(m * rest * rest if far else m, t)
    d = dilog(log1p_unit(q))
    near = d * rest * rest if x <= c.zero else like(0.5, y) * y * y + (like(ZETA2, y) - d) * rest * rest
    return q if far else near


@formula
def softplus_legendre(y: Any, a: Any) -> Any:
    c = constants(y)
    x, rest = clipped(a * y, c.exp_reach), like(1.0, y) / a
    m, t = exp_parts(-abs(x))
    far = x < -c.exp_far
    q = scale((x - c.one) * m * rest * rest if far else m, t)
    u = log1p_unit(q)
    xu, d = x * u, dilog(u)
    above = like(0.5, y) * y * y + (xu + (d - like(ZETA2, y))) * rest * rest
    return q if far else ((xu - d) * rest * rest if x <= c.zero else above)


@formula
def softplus_inverse(v: Any, a: Any) -> Any:
    x = a * v
    small = x < constants(v).least_normal
    return v + (log(v) + log(a) if small else log(-expm1(-x))) * (like(1.0, v) / a)


# --- exponential: g = L = Λ = e^y -----------------------------------------------------------------------------------


@formula
def exp_g(y: Any, a: Any) -> Any:
    return exp(y)


@formula
def exp_legendre(y: Any, a: Any) -> Any:
    c = constants(y)
    m, t = exp_parts(y)
    return scale((clipped(y, c.exp_reach) - c.one) * m, t)


@formula
def exp_inverse(v: Any, a: Any) -> Any:
    return log(v)


# --- GELU: g = y Φ(y), Φ the normal distribution ---------------------------------------------------------------------
#
# With e = e^{−y²/2} and p = e/√(2π): L = ((y² − 1) Φ + y p)/2. Below 0, Φ = e m with the Mills ratio m, and L = −e l.


@formula
def gelu_g(y: Any, a: Any) -> Any:
    c = constants(y)
    e, t = half_gaussian_parts(y)
    tail, above = e * mills(y), y > c.zero
    tail = scale(tail if above else clipped(y, c.half_gaussian_most) * tail, t)
    return y * (c.one - tail) if above else tail


@formula
def gelu_slope(y: Any, a: Any) -> Any:
    c = constants(y)
    e, t = half_gaussian_parts(y)
    m, above = mills(y), y > c.zero
    p = like(1.0 / ROOT_2PI, y) * clipped(y, c.half_gaussian_most)
    e = scale(e if above else e * m + p * e, t)
    return (c.one - e * m) + p * e if above else e


@formula
def gelu_lagrangian(y: Any, a: Any) -> Any:
    # e l above 0, too: L(y) + L(−y) = (y² − 1)/2.
    c = constants(y)
    e, t = half_gaussian_parts(y)
    tail = scale(e * gelu_tail(y), t)
    return (c.half * y * y - c.half) + tail if y > c.zero else -tail


@formula
def gelu_legendre(y: Any, a: Any) -> Any:
    c = constants(y)
    e, t = half_gaussian_parts(y)
    m, above = mills(y), y > c.zero
    x = clipped(y, c.half_gaussian_most)
    p = like(0.5 / ROOT_2PI, y) * x
    e = scale(e if above else (c.half * x * x + c.half) * (e * m) - p * e, t)
    return (c.half * y * y + c.half) * (c.one - e * m) - p * e if above else e


# --- SiLU: g = y σ(y), σ the logistic sigmoid; its L is the φ of softplus, whose Λ is σ ------------------------------


@formula
def silu_g(y: Any, a: Any) -> Any:
    c = constants(y)
    m, t = exp_parts(-abs(y))
    far = y < -c.exp_far
    q = scale(clipped(y, c.exp_reach) * m if far else m, t)
    return q if far else y * ((c.one if y >= c.zero else q) / (c.one + q))


@formula
def silu_slope(y: Any, a: Any) -> Any:
    c = constants(y)
    m, t = exp_parts(-abs(y))
    x, far, above = clipped(y, c.exp_reach), y < -c.exp_far, y > c.zero
    q = scale((x + c.one) * m if far else m, t)
    r = c.one / (c.one + q)
    return q if far else (r if above else q * r) * (c.one + x * (q * r if above else r))


@formula
def silu_lagrangian(y: Any, a: Any) -> Any:
    return softplus_legendre(y, like(1.0, y))


@formula
def silu_legendre(y: Any, a: Any) -> Any:
    # y² σ − L; above 0 the y²/2 of L is taken from σ.
    c = constants(y)
    m, t = exp_parts(-abs(y))
    x, far, above = clipped(y, c.exp_reach), y < -c.exp_far, y > c.zero
    q = scale((x * (x - c.one) + c.one) * m if far else m, t)
    u = log1p_unit(q)
    xu, d = x * u, dilog(u)
    r = c.one / (c.one + q)
    rest = (like(ZETA2, y) - d) - xu if above else d - xu
    return q if far else y * (y * (r - c.half if above else q * r)) + rest


# --- SELU: g = λ y above 0 and λα (e^y − 1) at or below it ------------------------------------------------------------


@formula
def selu_g(y: Any, a: Any) -> Any:
    return like(SELU_ABOVE, y) * y if y > like(0.0, y) else like(SELU_BELOW, y) * expm1(y)


@formula
def selu_slope(y: Any, a: Any) -> Any:
    return like(SELU_ABOVE, y) if y > like(0.0, y) else like(SELU_BELOW, y) * exp(y)


@formula
def selu_lagrangian(y: Any, a: Any) -> Any:
    c = constants(y)
    above = like(0.5 * SELU_ABOVE, y) * y * y
    near = (like(SELU_BELOW, y) * y) * (y * horner(y, c.exp_terms))
    below = near if y > like(-0.5 * LN2, y) else like(SELU_BELOW, y) * (expm1(y) - y)
    return above if y > c.zero else below


@formula
def selu_legendre(y: Any, a: Any) -> Any:
    c = constants(y)
    above = like(0.5 * SELU_ABOVE, y) * y * y
    near = (like(SELU_BELOW, y) * y) * (y * (c.one - horner(y, c.exp_terms) * (c.one - y)))
    m = expm1(y)
    far = like(SELU_BELOW, y) * (clipped(y, c.exp_reach) * (m + c.one) - m)
    return above if y > c.zero else (near if y > like(-0.5 * LN2, y) else far)


@formula
def selu_inverse(v: Any, a: Any) -> Any:
    below = log1p(v * like(1.0 / SELU_BELOW, v))
    return v * like(1.0 / SELU_ABOVE, v) if v > like(0.0, v) else below


# --- Gaussian: g = e^{−y²} --------------------------------------------------------------------------------------------


@formula
def gaussian_g(y: Any, a: Any) -> Any:
    return gaussian(y)


@formula
def gaussian_slope(y: Any, a: Any) -> Any:
    m, t = gaussian_parts(y)
    return scale(like(-2.0, y) * clipped(y, constants(y).half_gaussian_most) * m, t)


@formula
def gaussian_lagrangian(y: Any, a: Any) -> Any:
    return like(0.5 * ROOT_PI, y) * erf(y)


@formula
def gaussian_legendre(y: Any, a: Any) -> Any:
    return like(-2.0, y) * gaussian_moment(y)


# --- power n = 2, 3, …: g = y^{n−1}; rectified: g = r^{n−1}, r = max(y, 0) --------------------------------------------


@kernel
def _power(y: Any, factor: Any, power: int, out: Any) -> None:
    """Write factor · y^power, power ≥ 0, by squaring: a pass for every binary digit of the power."""
    wide_vectors()
    for e in range(y.size):
        out[e] = y[e] if power > 0 or y[e] != y[e] else factor
    digit = 1
    while 2 * digit <= power:
        digit *= 2
    one = like(1.0, factor)
    while digit > 1:
        digit //= 2
        odd = (power // digit) % 2 == 1
        last = factor if digit == 1 else one
        for e in range(y.size):
            # The factor joins before a square that it keeps from overflow or underflow.
            square = out[e] * (out[e] * last)
            out[e] = square * y[e] if odd else square
    if power == 1 and factor != one:
        for e in range(y.size):
            out[e] *= factor


@kernel
def _rectified_power(y: Any, factor: Any, power: int, out: Any) -> None:
    """Write factor · r^power, and 0 at and below 0 also for the power 0."""
    wide_vectors()
    _power(y, factor, power, out)
    for e in range(y.size):
        out[e] = like(0.0, factor) if y[e] <= like(0.0, factor) else out[e]


@formula
def rectified_power_inverse(v: Any, a: Any) -> Any:
    # v = m 2^k and k = i (n − 1) + j: the logarithm that is divided is as small as can be.
    c = constants(v)
    small = v < c.least_normal
    x = v * c.lift if small else v
    k = binade(x)
    m = scale(x, c.shifter - k)
    k = k - c.lifted if small else k
    t = k / (a - c.one) + c.shifter
    j = k - (t - c.shifter) * (a - c.one)
    root = scale(exp((j * like(LN2, v) + log1p(m - c.one)) / (a - c.one)), t)
    root = root if v < c.infinity else v
    return root if v > c.zero else c.nan


@formula
def power_inverse(v: Any, a: Any) -> Any:
    # For odd powers n − 1; an even one has no inverse.
    root = rectified_power_inverse(abs(v), a)
    return root if v > like(0.0, v) else (-root if v < like(0.0, v) else v)


# --- hard tanh: g = y within ±1, ±1 beyond ----------------------------------------------------------------------------


@formula
def hard_tanh_g(y: Any, a: Any) -> Any:
    g = like(1.0, y) if y > like(1.0, y) else y
    return like(-1.0, y) if y < like(-1.0, y) else g


@formula
def hard_tanh_slope(y: Any, a: Any) -> Any:
    x = abs(y)
    return like(1.0, y) if x < like(1.0, y) else (like(0.0, y) if x >= like(1.0, y) else y)


@formula
def hard_tanh_lagrangian(y: Any, a: Any) -> Any:
    g = hard_tanh_g(y, a)
    return g * (y - like(0.5, y) * g)


@formula
def hard_tanh_legendre(y: Any, a: Any) -> Any:
    g = hard_tanh_g(y, a)
    return like(0.5, y) * g * g


@formula
def hard_tanh_inverse(v: Any, a: Any) -> Any:
    return v if abs(v) < like(1.0, v) else like(np.nan, v)


# --- soft threshold a: g = 0 within ±a, y ∓ a beyond ------------------------------------------------------------------


@formula
def soft_threshold_g(y: Any, a: Any) -> Any:
    g = y - a if y > a else (y + a if y < -a else like(0.0, y))
    return g if y == y else y


@formula
def soft_threshold_slope(y: Any, a: Any) -> Any:
    x = abs(y)
    return like(1.0, y) if x > a else (like(0.0, y) if x <= a else y)


@formula
def soft_threshold_lagrangian(y: Any, a: Any) -> Any:
    g = soft_threshold_g(y, a)
    return like(0.5, y) * g * g


@formula
def soft_threshold_legendre(y: Any, a: Any) -> Any:
    return like(0.5, y) * abs(soft_threshold_g(y, a)) * (abs(y) + a)


@formula
def soft_threshold_inverse(v: Any, a: Any) -> Any:
    return v + a if v > like(0.0, v) else (v - a if v < like(0.0, v) else like(np.nan, v))


# --- a whole state: `lanes` numbers a neuron, flat; `out` must not overlap what is read -------------------------------


@kernel
def activate(layers: Any, parameters: Any, state: Any, out: Any, lanes: int) -> None:
    """Write g of `state`."""
    wide_vectors()
    for layer in range(layers.shape[0]):
        first, last = layers[layer, 0] * lanes, layers[layer, 1] * lanes
        code, a, eps = layers[layer, 2], parameters[layer, 0], parameters[layer, 1]
        y, g = state[first:last], out[first:last]
        if code == TANH:
            for e in range(y.size):
                g[e] = tanh_g(y[e], a)
        elif code == SIGMOID:
            for e in range(y.size):
                g[e] = sigmoid_g(y[e], a)
        elif code == RELU:
            for e in range(y.size):
                g[e] = relu_g(y[e], a)
        elif code == LEAKY_RELU:
            for e in range(y.size):
                g[e] = leaky_relu_g(y[e], a)
        elif code == SMOOTH_LEAKY_RELU:
            for e in range(y.size):
                g[e] = smooth_leaky_relu_g(y[e], a)
        elif code == SOFTPLUS:
            for e in range(y.size):
                g[e] = softplus_g(y[e], a)
        elif code == EXP:
            for e in range(y.size):
                g[e] = exp_g(y[e], a)
        elif code == GELU:
            for e in range(y.size):
                g[e] = gelu_g(y[e], a)
        elif code == SILU:
            for e in range(y.size):
                g[e] = silu_g(y[e], a)
        elif code == SELU:
            for e in range(y.size):
                g[e] = selu_g(y[e], a)
        elif code == GAUSSIAN:
            for e in range(y.size):
                g[e] = gaussian_g(y[e], a)
        elif code == RECTIFIED_POWER:
            _rectified_power(y, like(1.0, a), int(a) - 1, g)
        elif code == POWER:
            _power(y, like(1.0, a), int(a) - 1, g)
        elif code == HARD_TANH:
            for e in range(y.size):
                g[e] = hard_tanh_g(y[e], a)
        elif code == SOFT_THRESHOLD:
            for e in range(y.size):
                g[e] = soft_threshold_g(y[e], a)
        elif code == SOFTMAX:
            softmax_g(y, a, g, lanes)
        elif code == LAYER_NORM or code == SPHERE:
            normal_g(y, a, eps, code == LAYER_NORM, g, lanes)


@kernel
def slope(layers: Any, parameters: Any, state: Any, out: Any, lanes: int) -> None:
    """Write the diagonal of Λ at `state`."""
    wide_vectors()
    for layer in range(layers.shape[0]):
        first, last = layers[layer, 0] * lanes, layers[layer, 1] * lanes
        code, a, eps = layers[layer, 2], parameters[layer, 0], parameters[layer, 1]
        y, lam = state[first:last], out[first:last]
        if code == TANH:
            for e in range(y.size):
                lam[e] = tanh_slope(y[e], a)
        elif code == SIGMOID:
            for e in range(y.size):
                lam[e] = sigmoid_slope(y[e], a)
        elif code == RELU:
            for e in range(y.size):
                lam[e] = relu_slope(y[e], a)
        elif code == LEAKY_RELU:
            for e in range(y.size):
                lam[e] = leaky_relu_slope(y[e], a)
        elif code == SMOOTH_LEAKY_RELU:
            for e in range(y.size):
                lam[e] = smooth_leaky_relu_slope(y[e], a)
        elif code == SOFTPLUS:
            for e in range(y.size):
                lam[e] = softplus_slope(y[e], a)
        elif code == EXP:
            for e in range(y.size):
                lam[e] = exp_g(y[e], a)
        elif code == GELU:
            for e in range(y.size):
                lam[e] = gelu_slope(y[e], a)
        elif code == SILU:
            for e in range(y.size):
                lam[e] = silu_slope(y[e], a)
        elif code == SELU:
            for e in range(y.size):
                lam[e] = selu_slope(y[e], a)
        elif code == GAUSSIAN:
            for e in range(y.size):
                lam[e] = gaussian_slope(y[e], a)
        elif code == RECTIFIED_POWER:
            _rectified_power(y, a - like(1.0, a), int(a) - 2, lam)
        elif code == POWER:
            _power(y, a - like(1.0, a), int(a) - 2, lam)
        elif code == HARD_TANH:
            for e in range(y.size):
                lam[e] = hard_tanh_slope(y[e], a)
        elif code == SOFT_THRESHOLD:
            for e in range(y.size):
                lam[e] = soft_threshold_slope(y[e], a)
        elif code == SOFTMAX:
            softmax_slope(y, a, lam, lanes)
        elif code == LAYER_NORM or code == SPHERE:
            normal_slope(y, a, eps, code == LAYER_NORM, lam, lanes)


@kernel
def lagrangian(layers: Any, parameters: Any, state: Any, out: Any, lanes: int) -> None:
    """Write the Lagrangian of every neuron; L is their sum. Block-wise layers have theirs on the first neuron."""
    wide_vectors()
    for layer in range(layers.shape[0]):
        first, last = layers[layer, 0] * lanes, layers[layer, 1] * lanes
        code, a, eps = layers[layer, 2], parameters[layer, 0], parameters[layer, 1]
        y, total = state[first:last], out[first:last]
        if code == TANH:
            for e in range(y.size):
                total[e] = tanh_lagrangian(y[e], a)
        elif code == SIGMOID:
            for e in range(y.size):
                total[e] = sigmoid_lagrangian(y[e], a)
        elif code == RELU:
            for e in range(y.size):
                total[e] = relu_lagrangian(y[e], a)
        elif code == LEAKY_RELU:
            for e in range(y.size):
                total[e] = leaky_relu_lagrangian(y[e], a)
        elif code == SMOOTH_LEAKY_RELU:
            for e in range(y.size):
                total[e] = smooth_leaky_relu_lagrangian(y[e], a)
        elif code == SOFTPLUS:
            for e in range(y.size):
                total[e] = softplus_lagrangian(y[e], a)
        elif code == EXP:
            for e in range(y.size):
                total[e] = exp_g(y[e], a)
        elif code == GELU:
            for e in range(y.size):
                total[e] = gelu_lagrangian(y[e], a)
        elif code == SILU:
            for e in range(y.size):
                total[e] = silu_lagrangian(y[e], a)
        elif code == SELU:
            for e in range(y.size):
                total[e] = selu_lagrangian(y[e], a)
        elif code == GAUSSIAN:
            for e in range(y.size):
                total[e] = gaussian_lagrangian(y[e], a)
        elif code == RECTIFIED_POWER:
            _rectified_power(y, like(1.0, a) / a, int(a), total)
        elif code == POWER:
            _power(y, like(1.0, a) / a, int(a), total)
        elif code == HARD_TANH:
            for e in range(y.size):
                total[e] = hard_tanh_lagrangian(y[e], a)
        elif code == SOFT_THRESHOLD:
            for e in range(y.size):
                total[e] = soft_threshold_lagrangian(y[e], a)
        elif code == SOFTMAX:
            softmax_lagrangian(y, a, total, lanes)
        elif code == LAYER_NORM or code == SPHERE:
            normal_total(y, a, eps, code == LAYER_NORM, False, total, lanes)


@kernel
def legendre(layers: Any, parameters: Any, state: Any, out: Any, lanes: int) -> None:
    """Write the Legendre term φ = y g − L of every neuron, in the form that does not cancel in saturated tails."""
    wide_vectors()
    for layer in range(layers.shape[0]):
        first, last = layers[layer, 0] * lanes, layers[layer, 1] * lanes
        code, a, eps = layers[layer, 2], parameters[layer, 0], parameters[layer, 1]
        y, phi = state[first:last], out[first:last]
        if code == TANH:
            for e in range(y.size):
                phi[e] = tanh_legendre(y[e], a)
        elif code == SIGMOID:
            for e in range(y.size):
                phi[e] = sigmoid_legendre(y[e], a)
        elif code == RELU:
            for e in range(y.size):
                phi[e] = relu_lagrangian(y[e], a)
        elif code == LEAKY_RELU:
            for e in range(y.size):
                phi[e] = leaky_relu_lagrangian(y[e], a)
        elif code == SMOOTH_LEAKY_RELU:
            for e in range(y.size):
                phi[e] = smooth_leaky_relu_legendre(y[e], a)
        elif code == SOFTPLUS:
            for e in range(y.size):
                phi[e] = softplus_legendre(y[e], a)
        elif code == EXP:
            for e in range(y.size):
                phi[e] = exp_legendre(y[e], a)
        elif code == GELU:
            for e in range(y.size):
                phi[e] = gelu_legendre(y[e], a)
        elif code == SILU:
            for e in range(y.size):
                phi[e] = silu_legendre(y[e], a)
        elif code == SELU:
            for e in range(y.size):
                phi[e] = selu_legendre(y[e], a)
        elif code == GAUSSIAN:
            for e in range(y.size):
                phi[e] = gaussian_legendre(y[e], a)
        elif code == RECTIFIED_POWER:
            _rectified_power(y, like(1.0, a) - like(1.0, a) / a, int(a), phi)
        elif code == POWER:
            _power(y, like(1.0, a) - like(1.0, a) / a, int(a), phi)
        elif code == HARD_TANH:
            for e in range(y.size):
                phi[e] = hard_tanh_legendre(y[e], a)
        elif code == SOFT_THRESHOLD:
            for e in range(y.size):
                phi[e] = soft_threshold_legendre(y[e], a)
        elif code == SOFTMAX:
            softmax_legendre(y, a, phi, lanes)
        elif code == LAYER_NORM or code == SPHERE:
            normal_total(y, a, eps, code == LAYER_NORM, True, phi, lanes)


@kernel
def invert(layers: Any, parameters: Any, values: Any, out: Any, lanes: int) -> None:
    """Write a y with g(y) = `values`, NaN where there is none or more than one; block-wise see `blockwise`."""
    wide_vectors()
    for layer in range(layers.shape[0]):
        first, last = layers[layer, 0] * lanes, layers[layer, 1] * lanes
        code, a, eps = layers[layer, 2], parameters[layer, 0], parameters[layer, 1]
        v, y = values[first:last], out[first:last]
        if code == TANH:
            for e in range(v.size):
                y[e] = tanh_inverse(v[e], a)
        elif code == SIGMOID:
            for e in range(v.size):
                y[e] = sigmoid_inverse(v[e], a)
        elif code == RELU:
            for e in range(v.size):
                y[e] = relu_inverse(v[e], a)
        elif code == LEAKY_RELU:
            for e in range(v.size):
                y[e] = leaky_relu_inverse(v[e], a)
        elif code == SMOOTH_LEAKY_RELU:
            for e in range(v.size):
                y[e] = smooth_leaky_relu_guess(v[e], a)
            for _ in range(6):
                for e in range(v.size):
                    y[e] = smooth_leaky_relu_newton(v[e], y[e], a)
        elif code == SOFTPLUS:
            for e in range(v.size):
                y[e] = softplus_inverse(v[e], a)
        elif code == EXP:
            for e in range(v.size):
                y[e] = exp_inverse(v[e], a)
        elif code == SELU:
            for e in range(v.size):
                y[e] = selu_inverse(v[e], a)
        elif code == RECTIFIED_POWER:
            for e in range(v.size):
                y[e] = rectified_power_inverse(v[e], a)
        elif code == POWER:
            for e in range(v.size):
                y[e] = power_inverse(v[e], a)
        elif code == HARD_TANH:
            for e in range(v.size):
                y[e] = hard_tanh_inverse(v[e], a)
        elif code == SOFT_THRESHOLD:
            for e in range(v.size):
                y[e] = soft_threshold_inverse(v[e], a)
        elif code == SOFTMAX:
            softmax_inverse(v, a, y)
        elif code == LAYER_NORM or code == SPHERE:
            normal_inverse(v, a, eps, code == LAYER_NORM, y, lanes)
        else:
            y[:] = like(np.nan, a)


@kernel
def apply_blockwise(code: int, a: Any, eps: Any, y: Any, x: Any, out: Any, lanes: int) -> bool:
    """Write Λ(y) x where the neurons of the layer depend on each other, and return whether they do."""
    if code == SOFTMAX:
        softmax_apply(y, a, x, out, lanes)
    elif code == LAYER_NORM or code == SPHERE:
        normal_apply(y, a, eps, code == LAYER_NORM, x, out, lanes)
    else:
        return False
    return True


@kernel
def apply_slope(layers: Any, parameters: Any, state: Any, x: Any, out: Any, lanes: int) -> None:
    """Write Λ(state) x, which for elementwise layers is a product with the diagonal."""
    wide_vectors()
    for layer in range(layers.shape[0]):
        first, last = layers[layer, 0] * lanes, layers[layer, 1] * lanes
        code, a, eps = layers[layer, 2], parameters[layer, 0], parameters[layer, 1]
        y, v, product = state[first:last], x[first:last], out[first:last]
        if not apply_blockwise(code, a, eps, y, v, product, lanes):
            slope(layers[layer : layer + 1], parameters[layer : layer + 1], state, out, lanes)
            for e in range(v.size):
                product[e] *= v[e]
