"""Losses of a layer that is read out, with their gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy import special


def squared(z: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """½ |z − t|² of every sample, and z − t."""
    apart = z - target
    return (apart * apart).sum(axis=1) / 2, apart


def logistic(z: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Σ ln(1 + e^{−t z}) for targets ±1, and −t/(1 + e^{t z})."""
    return np.logaddexp(0, -target * z).sum(axis=1), -target * special.expit(-target * z)


def cross_entropy(z: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """−Σ t ln softmax(z) for targets that are shares of 1, and softmax(z) − t."""
    return -(target * special.log_softmax(z, axis=1)).sum(axis=1), special.softmax(z, axis=1) - target


class Loss(NamedTuple):
    """A loss: of every sample with its gradient, both float64, and what a target must be."""

    of: Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]
    fits: Callable[[np.ndarray], bool]
    meant: str


LOSSES = {
    "squared": Loss(squared, lambda target: True, "finite"),
    "logistic": Loss(logistic, lambda target: bool((np.abs(target) == 1).all()), "1 or −1"),
    "cross_entropy": Loss(
        cross_entropy,
        lambda target: bool((target >= 0).all() and np.allclose(target.sum(axis=1), 1)),
        "at least 0 with sum 1, as one-hot rows are",
    ),
}
