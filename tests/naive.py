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
    return (np.abs(slope(W, b, g, y)) / np.maximum(1, np.abs(y))).max(axis=1)


def settle(W, b, g, y, h, tolerance, most_steps, method):
    """State and steps of one trajectory at the first step whose residual is at most the tolerance.

    Where that is so because |y| is large, the residual must also have fallen by a hundredth in the last step.
    """
    before = 0
    for steps in range(most_steps + 1):
        size = np.abs(slope(W, b, g, y[None])).max()
        if residual(W, b, g, y[None])[0] <= tolerance and (size <= tolerance or size <= 0.99 * before):
            return y, steps
        before = size
        y = method(lambda x: slope(W, b, g, x[None])[0], y, h, 1)
    return y, most_steps


# --- energies -------------------------------------------------------------------------------------------------------


def lagrangian(name, y, a=1.0):
    """L(y) = ∫g of every entry."""
    x = 3 * y / 8
    return {
        "tanh": lambda: np.logaddexp(a * y, -a * y) / a - np.log(2) / a,
        "sigmoid": lambda: np.logaddexp(0, a * y) / a,
        "relu": lambda: np.where(y > 0, y, 0) ** 2 / 2,
        "leaky_relu": lambda: np.where(y > 0, y, a * y) * y / 2,
        "smooth_leaky_relu": lambda: (
            5 * y**2 / 16 + 8 / 3 * ((x**2 / 2 - 1 / 4) * special.erf(x) + x * np.exp(-(x**2)) / (2 * np.sqrt(np.pi)))
        ),
    }[name]()


def derivative(name, y, a=1.0):
    """Λ(y), the derivative of g."""
    return {
        "tanh": lambda: a / np.cosh(a * y) ** 2,
        "sigmoid": lambda: a * special.expit(a * y) * special.expit(-a * y),
        "relu": lambda: (y > 0) * 1.0,
        "leaky_relu": lambda: np.where(y > 0, 1.0, a),
        "smooth_leaky_relu": lambda: (
            (5 + 3 * special.erf(3 * y / 8)) / 8 + 9 * y * np.exp(-9 * y**2 / 64) / (32 * np.sqrt(np.pi))
        ),
    }[name]()


def energy(W, b, g, L, y):
    """Energy (2) of one state as it is printed, E = (y − b)·g − L − ½ gᵀW g, with g and L of every neuron."""
    return (y - b) @ g - np.sum(L) - g @ W @ g / 2
