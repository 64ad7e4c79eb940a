"""Activations g = ∇L, their derivative Λ, Lagrangian L and Legendre term φ = y·g − L, in closed form.

Each is written with q = e^{−|x|} or e^{−2|x|}, so that nothing overflows and the tails keep their relative accuracy.
The code of an activation is looked up once per layer, outside the loop over lanes.

Source of the definitions: arXiv 2410.13866, section 2 and Example 7; Krotov and Hopfield, arXiv 2008.06996.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fasthop_kernels.bits import like
from fasthop_kernels.elementary import erf, exp, log1p, sigmoid, tanh
from fasthop_kernels.jit import formula, kernel
from fasthop_kernels.lanes import wide_vectors

TANH, SIGMOID, RELU, LEAKY_RELU, SMOOTH_LEAKY_RELU = range(5)

LN2 = float(np.log(2.0))
ROOT_PI = float(np.sqrt(np.pi))


# --- tanh, gain a: g = tanh(a y) ------------------------------------------------------------------------------------


@formula
def tanh_g(y: Any, a: Any) -> Any:
    return tanh(a * y)


@formula
def tanh_slope(y: Any, a: Any) -> Any:
    q = exp(like(-2.0, y) * abs(a * y))
    r = like(1.0, y) + q
    return a * (like(4.0, y) * q / (r * r))


@formula
def tanh_lagrangian(y: Any, a: Any) -> Any:
    x = abs(a * y)
    return (x + log1p(exp(like(-2.0, y) * x)) - like(LN2, y)) / a


@formula
def tanh_legendre(y: Any, a: Any) -> Any:
    x = abs(a * y)
    q = exp(like(-2.0, y) * x)
    return (like(LN2, y) - log1p(q) - x * (like(2.0, y) * q / (like(1.0, y) + q))) / a


# --- logistic sigmoid, gain a: g = 1 / (1 + e^{−a y}) ---------------------------------------------------------------


@formula
def sigmoid_g(y: Any, a: Any) -> Any:
    return sigmoid(a * y)


@formula
def sigmoid_slope(y: Any, a: Any) -> Any:
    q = exp(-abs(a * y))
    r = like(1.0, y) + q
    return a * (q / (r * r))


@formula
def sigmoid_lagrangian(y: Any, a: Any) -> Any:
    x = a * y
    return ((like(0.0, y) if x <= like(0.0, y) else x) + log1p(exp(-abs(x)))) / a


@formula
def sigmoid_legendre(y: Any, a: Any) -> Any:
    x = abs(a * y)
    q = exp(-x)
    return -(x * q / (like(1.0, y) + q) + log1p(q)) / a


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
    return a * y if y <= like(0.0, y) else y


@formula
def leaky_relu_slope(y: Any, a: Any) -> Any:
    return like(1.0, y) if y > like(0.0, y) else (a if y <= like(0.0, y) else y)


@formula
def leaky_relu_lagrangian(y: Any, a: Any) -> Any:
    return like(0.5, y) * y * leaky_relu_g(y, a)


# --- smooth leaky ReLU (Example 7): g = y (5 + 3 erf(3y/8)) / 8 -----------------------------------------------------


@formula
def smooth_leaky_relu_g(y: Any, a: Any) -> Any:
    return y * (like(0.625, y) + like(0.375, y) * erf(like(0.375, y) * y))


@formula
def smooth_leaky_relu_slope(y: Any, a: Any) -> Any:
    x = like(0.375, y) * y
    return like(0.625, y) + like(0.375, y) * erf(x) + like(0.75 / ROOT_PI, y) * x * exp(-x * x)


@formula
def smooth_leaky_relu_lagrangian(y: Any, a: Any) -> Any:
    # With x = 3y/8: L = 5y²/16 + (8/3)(x² erf(x)/2 + x e^{−x²}/(2√π) − erf(x)/4).
    x = like(0.375, y) * y
    bend = (like(0.5, y) * x * x - like(0.25, y)) * erf(x) + like(0.5 / ROOT_PI, y) * x * exp(-x * x)
    return like(0.3125, y) * y * y + like(8.0 / 3.0, y) * bend


@formula
def smooth_leaky_relu_legendre(y: Any, a: Any) -> Any:
    return y * smooth_leaky_relu_g(y, a) - smooth_leaky_relu_lagrangian(y, a)


# --- a whole state: `lanes` numbers a neuron, flat -------------------------------------------------------------------


@kernel
def activate(layers: Any, parameters: Any, state: Any, out: Any, lanes: int) -> None:
    """Write g of `state`."""
    wide_vectors()
    for layer in range(layers.shape[0]):
        first, last = layers[layer, 0] * lanes, layers[layer, 1] * lanes
        code, a = layers[layer, 2], parameters[layer]
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
        else:
            for e in range(y.size):
                g[e] = smooth_leaky_relu_g(y[e], a)


@kernel
def differentiate(layers: Any, parameters: Any, state: Any, out: Any, lanes: int) -> None:
    """Write the diagonal of Λ at `state`."""
    wide_vectors()
    for layer in range(layers.shape[0]):
        first, last = layers[layer, 0] * lanes, layers[layer, 1] * lanes
        code, a = layers[layer, 2], parameters[layer]
        y, slope = state[first:last], out[first:last]
        if code == TANH:
            for e in range(y.size):
                slope[e] = tanh_slope(y[e], a)
        elif code == SIGMOID:
            for e in range(y.size):
                slope[e] = sigmoid_slope(y[e], a)
        elif code == RELU:
            for e in range(y.size):
                slope[e] = relu_slope(y[e], a)
        elif code == LEAKY_RELU:
            for e in range(y.size):
                slope[e] = leaky_relu_slope(y[e], a)
        else:
            for e in range(y.size):
                slope[e] = smooth_leaky_relu_slope(y[e], a)


@kernel
def integrate(layers: Any, parameters: Any, state: Any, out: Any, lanes: int) -> None:
    """Write the Lagrangian of every neuron; L is their sum."""
    wide_vectors()
    for layer in range(layers.shape[0]):
        first, last = layers[layer, 0] * lanes, layers[layer, 1] * lanes
        code, a = layers[layer, 2], parameters[layer]
        y, lagrangian = state[first:last], out[first:last]
        if code == TANH:
            for e in range(y.size):
                lagrangian[e] = tanh_lagrangian(y[e], a)
        elif code == SIGMOID:
            for e in range(y.size):
                lagrangian[e] = sigmoid_lagrangian(y[e], a)
        elif code == RELU:
            for e in range(y.size):
                lagrangian[e] = relu_lagrangian(y[e], a)
        elif code == LEAKY_RELU:
            for e in range(y.size):
                lagrangian[e] = leaky_relu_lagrangian(y[e], a)
        else:
            for e in range(y.size):
                lagrangian[e] = smooth_leaky_relu_lagrangian(y[e], a)


@kernel
def transform(layers: Any, parameters: Any, state: Any, out: Any, lanes: int) -> None:
    """Write the Legendre term φ = y g − L of every neuron, in the form that does not cancel in saturated tails."""
    wide_vectors()
    for layer in range(layers.shape[0]):
        first, last = layers[layer, 0] * lanes, layers[layer, 1] * lanes
        code, a = layers[layer, 2], parameters[layer]
        y, phi = state[first:last], out[first:last]
        if code == TANH:
            for e in range(y.size):
                phi[e] = tanh_legendre(y[e], a)
        elif code == SIGMOID:
            for e in range(y.size):
                phi[e] = sigmoid_legendre(y[e], a)
        elif code == RELU:  # φ = L for functions that are linear on either side of 0
            for e in range(y.size):
                phi[e] = relu_lagrangian(y[e], a)
        elif code == LEAKY_RELU:
            for e in range(y.size):
                phi[e] = leaky_relu_lagrangian(y[e], a)
        else:
            for e in range(y.size):
                phi[e] = smooth_leaky_relu_legendre(y[e], a)


@kernel
def apply_slope(layers: Any, parameters: Any, state: Any, x: Any, out: Any, lanes: int) -> None:
    """Write Λ(state) x."""
    wide_vectors()
    differentiate(layers, parameters, state, out, lanes)
    for e in range(layers[layers.shape[0] - 1, 1] * lanes):
        out[e] *= x[e]
