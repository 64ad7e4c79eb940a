"""∂g/∂θ for the parameters θ of every activation: what a gradient with respect to gains is made of.

Source: the derivatives of the closed forms of `fasthop.model.activations`, arXiv 2410.13866, section 2.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fasthop.model.activations import Activation


def _gain(kind: Any, x: np.ndarray) -> dict[str, np.ndarray]:
    """g(βx) has ∂g/∂β = Λx/β, elementwise or not."""
    return {"beta": kind.apply_slope(x, x) / kind.beta}


def _softplus(kind: Any, x: np.ndarray) -> dict[str, np.ndarray]:
    return {"beta": (x * kind.slope(x) - kind.g(x)) / kind.beta}


def _leaky(kind: Any, x: np.ndarray) -> dict[str, np.ndarray]:
    return {"slope_below": np.minimum(x, 0)}


def _threshold(kind: Any, x: np.ndarray) -> dict[str, np.ndarray]:
    return {"threshold": -np.sign(kind.g(x))}


def _layer_norm(kind: Any, x: np.ndarray) -> dict[str, np.ndarray]:
    g = kind.g(x)
    square = x.var(axis=-1, keepdims=True) + kind.epsilon
    return {"gamma": g / kind.gamma, "epsilon": -g / (2 * square)}


def _sphere(kind: Any, x: np.ndarray) -> dict[str, np.ndarray]:
    return {"epsilon": -kind.g(x) / (2 * ((x * x).sum(axis=-1, keepdims=True) + kind.epsilon))}


_SLOPES: dict[str, Callable[[Any, np.ndarray], dict[str, np.ndarray]]] = {
    "tanh": _gain,
    "sigmoid": _gain,
    "softmax": _gain,
    "softplus": _softplus,
    "leaky_relu": _leaky,
    "soft_threshold": _threshold,
    "layer_norm": _layer_norm,
    "sphere": _sphere,
}


def parameter_slopes(kind: Activation, x: np.ndarray) -> dict[str, np.ndarray]:
    """Return ∂g/∂θ at x for every parameter θ that is not a whole number, by name.

    Parameters
    ----------
    kind : Activation
    x : float64 array, shape (B, n)
        Arguments of the n neurons of a layer.

    Returns
    -------
    dict of float64 arrays, shape (B, n)
    """
    return _SLOPES[kind.name](kind, x) if kind.name in _SLOPES else {}
