"""The equations of arXiv 2410.13866 in plain NumPy and SciPy; nothing here shares code with fasthop."""

import numpy as np
from scipy import special


def tanh(y, beta=1.0):
    return np.tanh(beta * y)


def sigmoid(y, beta=1.0):
    return special.expit(beta * y)


def relu(y):
    return np.where(y > 0, y, 0.0)


def leaky_relu(y, slope_below=0.01):
    return np.where(y > 0, y, slope_below * y)


def smooth_leaky_relu(y):
    return y * (5 + 3 * special.erf(3 * y / 8)) / 8


ACTIVATIONS = {f.__name__: f for f in (tanh, sigmoid, relu, leaky_relu, smooth_leaky_relu)}


def slope(W, b, g, y):
    """System (1) for states in rows."""
    return g(y) @ W.T - y + b


def euler(f, y, h, steps):
    for _ in range(steps):
        y = y + h * f(y)
    return y


def rk4(f, y, h, steps):
    for _ in range(steps):
        k1 = f(y)
        k2 = f(y + h / 2 * k1)
        k3 = f(y + h / 2 * k2)
        k4 = f(y + h * k3)
        y = y + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    return y


METHODS = {"euler": euler, "rk4": rk4}


def residual(W, b, g, y):
    return np.abs(slope(W, b, g, y)).max(axis=1) / np.maximum(1, np.abs(y).max(axis=1))


def settle(W, b, g, y, h, tolerance, most_steps, method):
    """State and steps of one trajectory at the first step whose residual is at most the tolerance."""
    for steps in range(most_steps + 1):
        if residual(W, b, g, y[None])[0] <= tolerance:
            return y, steps
        y = method(lambda x: slope(W, b, g, x[None])[0], y, h, 1)
    return y, most_steps
