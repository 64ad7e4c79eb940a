"""Every g in plain NumPy and SciPy, of complex numbers, so that complex steps find Λ; no code of fasthop's kernels."""

import numpy as np
from scipy import special

from fasthop.activations import as_activation

STEP = 1e-30


def expit(x):
    e = np.exp(np.where(x.real > 0, -x, x))
    return np.where(x.real > 0, 1, e) / (1 + e)


def softplus(x, a):
    return np.where(x.real > 0, x, 0) + np.log1p(np.exp(-a * np.where(x.real > 0, x, -x))) / a


def softmax(x, a):
    # 1/Σ e^{a (x_j − x_i)}, whose derivative keeps its digits where one neuron has nearly all.
    apart = a * (x[..., None, :] - x[..., :, None])
    return 1 / np.exp(np.minimum(apart.real, 700) + 1j * apart.imag).sum(axis=-1)


def layer_norm(x, gamma, eps):
    d = x - x.mean(axis=-1, keepdims=True)
    return gamma * d / np.sqrt((d * d).mean(axis=-1, keepdims=True) + eps)


C, ALPHA = 1.0507009873554804934, 1.6732632423543772848
G = {
    "identity": lambda x: x,
    "tanh": lambda x, a=1.0: np.tanh(a * x),
    "sigmoid": lambda x, a=1.0: expit(a * x),
    "relu": lambda x: np.where(x.real > 0, x, 0),
    "leaky_relu": lambda x, a=0.01: np.where(x.real > 0, x, a * x),
    "smooth_leaky_relu": lambda x: x * (5 + 3 * special.erf(3 * x / 8)) / 8,
    "softplus": lambda x, a=1.0: softplus(x, a),
    "exp": lambda x: np.exp(x),
    "gelu": lambda x: x * special.erfc(-x / np.sqrt(2)) / 2,
    "silu": lambda x: x * expit(x),
    "selu": lambda x: C * np.where(x.real > 0, x, ALPHA * (np.exp(np.where(x.real > 0, 0, x)) - 1)),
    "gaussian": lambda x: np.exp(-x * x),
    "rectified_power": lambda x, n=3: np.where(x.real > 0, x, 0) ** (n - 1),
    "power": lambda x, n=3: x ** (n - 1),
    "hard_tanh": lambda x: np.where(np.abs(x.real) < 1, x, np.sign(x.real)),
    "soft_threshold": lambda x, t=1.0: np.where(np.abs(x.real) > t, x - t * np.sign(x.real), 0),
    "softmax": lambda x, a=1.0: softmax(x, a),
    "layer_norm": lambda x, gamma=1.0, eps=1e-5: layer_norm(x, gamma, eps),
    "sphere": lambda x, eps=0.0: x / np.sqrt((x * x).sum(axis=-1, keepdims=True) + eps),
}


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
