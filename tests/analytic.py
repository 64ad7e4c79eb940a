"""g of every activation for complex arguments, in plain NumPy and SciPy: what a complex step differentiates."""

import numpy as np
from scipy import special


def above(x, value, other):
    return np.where(x.real > 0, value, other)


def normalised(x, centre, n, epsilon):
    d = x - centre
    return d / np.sqrt((d * d).sum(axis=-1, keepdims=True) / n + epsilon)


#: name → (parameters, g for complex x with the neurons on the last axis)
G = {
    "identity": ({}, lambda x: x),
    "tanh": ({"beta": 1.3}, lambda x, beta: np.tanh(beta * x)),
    "sigmoid": ({"beta": 1.7}, lambda x, beta: 1 / (1 + np.exp(-beta * x))),
    "relu": ({}, lambda x: above(x, x, 0 * x)),
    "leaky_relu": ({"slope_below": 0.2}, lambda x, slope_below: above(x, x, slope_below * x)),
    "smooth_leaky_relu": ({}, lambda x: x * (5 + 3 * special.erf(3 * x / 8)) / 8),
    "softplus": ({"beta": 1.4}, lambda x, beta: np.log(1 + np.exp(beta * x)) / beta),
    "exp": ({}, np.exp),
    "gelu": ({}, lambda x: x * (1 + special.erf(x / np.sqrt(2))) / 2),
    "silu": ({}, lambda x: x / (1 + np.exp(-x))),
    "selu": ({}, lambda x: 1.0507009873554805 * above(x, x, 1.6732632423543772 * (np.exp(x) - 1))),
    "gaussian": ({}, lambda x: np.exp(-x * x)),
    "rectified_power": ({"n": 3}, lambda x, n: above(x, x**2, 0 * x)),
    "power": ({"n": 4}, lambda x, n: x**3),
    "hard_tanh": ({}, lambda x: np.where(abs(x.real) < 1, x, np.sign(x.real))),
    "soft_threshold": (
        {"threshold": 0.3},
        lambda x, threshold: np.where(abs(x.real) > 0.3, x - threshold * np.sign(x.real), 0 * x),
    ),
    "softmax": (
        {"beta": 1.6},
        lambda x, beta: np.exp(beta * x) / np.exp(beta * x).sum(axis=-1, keepdims=True),
    ),
    "layer_norm": (
        {"gamma": 0.8, "epsilon": 0.3},
        lambda x, gamma, epsilon: gamma * normalised(x, x.mean(axis=-1, keepdims=True), x.shape[-1], epsilon),
    ),
    "sphere": ({"epsilon": 0.4}, lambda x, epsilon: normalised(x, 0, 1, epsilon)),
}
