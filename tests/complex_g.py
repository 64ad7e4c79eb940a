"""Every g in plain NumPy and SciPy, of complex numbers, so that complex steps find Λ; no code of fasthop's kernels."""

import numpy as np
from scipy import special

from fasthop.model.activations import as_activation

STEP = 1e-30


def expit(x):
    e = np.exp(np.where(x.real > 0, -x, x))
    return np.where(x.real > 0, 1, e) / (1 + e)


def softplus(x, a):
    return np.where(x.real > 0, x, 0) + np.log1p(np.exp(-a * np.where(x.real > 0, x, -x))) / a


def softmax(x, a):
    # 1/Σ e^{a (x_j − x_i)}, whose derivative keeps its digits where one neuron has nearly all.
    apart = a * (x[..., None, :] - x[..., :, None])
    capped = np.minimum(apart.real, 700)
    return 1 / np.exp(capped + 1j * apart.imag if np.iscomplexobj(apart) else capped).sum(axis=-1)


def layer_norm(x, gamma, eps):
    d = x - x.mean(axis=-1, keepdims=True)
    return gamma * d / np.sqrt((d * d).mean(axis=-1, keepdims=True) + eps)


C, ALPHA = 1.0507009873554804934, 1.6732632423543772848
G = {
    "identity": lambda x: x,
    "tanh": lambda x, beta=1.0: np.tanh(beta * x),
    "sigmoid": lambda x, beta=1.0: expit(beta * x),
    "relu": lambda x: np.where(x.real > 0, x, 0),
    "leaky_relu": lambda x, slope_below=0.01: np.where(x.real > 0, x, slope_below * x),
    "smooth_leaky_relu": lambda x: x * (5 + 3 * special.erf(3 * x / 8)) / 8,
    "softplus": lambda x, beta=1.0: softplus(x, beta),
    "exp": lambda x: np.exp(x),
    "gelu": lambda x: x * special.erfc(-x / np.sqrt(2)) / 2,
    "silu": lambda x: x * expit(x),
    "selu": lambda x: C * np.where(x.real > 0, x, ALPHA * (np.exp(np.where(x.real > 0, 0, x)) - 1)),
    "gaussian": lambda x: np.exp(-x * x),
    "rectified_power": lambda x, n=3: np.where(x.real > 0, x, 0) ** (n - 1),
    "power": lambda x, n=3: x ** (n - 1),
    "hard_tanh": lambda x: np.where(np.abs(x.real) < 1, x, np.sign(x.real)),
    "soft_threshold": lambda x, threshold=1.0: np.where(
        np.abs(x.real) > np.real(threshold), x - threshold * np.sign(x.real), 0
    ),
    "softmax": lambda x, beta=1.0: softmax(x, beta),
    "layer_norm": lambda x, gamma=1.0, epsilon=1e-5: layer_norm(x, gamma, epsilon),
    "sphere": lambda x, epsilon=0.0: x / np.sqrt((x * x).sum(axis=-1, keepdims=True) + epsilon),
}

#: Parameters other than those by default, for activations that have some.
EXAMPLES = {
    "tanh": {"beta": 1.3},
    "sigmoid": {"beta": 1.7},
    "leaky_relu": {"slope_below": 0.2},
    "softplus": {"beta": 1.4},
    "rectified_power": {"n": 4},
    "power": {"n": 4},
    "soft_threshold": {"threshold": 0.3},
    "softmax": {"beta": 1.6},
    "layer_norm": {"gamma": 0.8, "epsilon": 0.3},
    "sphere": {"epsilon": 0.4},
}


def example(name):
    """An activation by its parameters, and its g."""
    theta = EXAMPLES.get(name, {})
    return {"name": name, **theta}, lambda x: G[name](x, **theta)


def g_of(memory, x):
    at, parts = 0, []
    for layer in memory.layers:
        kind, span = as_activation(layer.activation), slice(at, at + layer.neurons)
        numbers = (p for name, p in kind.to_dict().items() if name != "name")
        parts.append(G[kind.name](x[..., span], *numbers))
        at = span.stop
    return np.concatenate(parts, axis=-1)


def curvature(memory, x):
    """Λ at states in rows, shape (B, N, N)."""
    return np.stack([g_of(memory, x + 1j * STEP * e).imag / STEP for e in np.eye(memory.neurons)], axis=-1)
