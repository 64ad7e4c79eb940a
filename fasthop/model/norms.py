"""Extreme eigenvalues of weights, as far as the choice of a step needs them."""

from __future__ import annotations

import numpy as np

from fasthop.model.weights import Weights
from fasthop.runtime import one_blas_thread

#: Lanczos steps. The error of an extreme Ritz value falls like exp(−4 · steps · √gap), and the step bound needs only
#: two digits; the residual is subtracted, so that what is missing makes the step smaller and never larger.
_STEPS = 24


def generic_direction(neurons: int) -> np.ndarray:
    """Return a direction, always the same, that nothing with a structure is blind to: multiples of the golden ratio.

    An irrational rotation fills (−½, ½), so that no symmetry, sum or part of the neurons has it.
    """
    return np.asarray(np.modf((np.arange(neurons) + 1) * 0.6180339887498949)[0] - 0.5)


def smallest_eigenvalue(weights: Weights, *, sign: float = 1.0) -> np.ndarray:
    """Return an estimate from below of the smallest eigenvalue of sign · W for symmetric weights.

    Exact (LAPACK) up to N = 32; Lanczos above, less the residual of its lowest Ritz pair.

    Parameters
    ----------
    weights : Weights
        Symmetric.
    sign : float
        1 or −1; with −1 the result is minus the largest eigenvalue of W.

    Returns
    -------
    float64 array, shape (K,)
    """
    with one_blas_thread():
        if weights.neurons <= 32:
            dense = weights.to_dense().reshape(-1, weights.neurons, weights.neurons)
            return np.asarray(np.linalg.eigvalsh(sign * dense)[:, 0])
        return _lanczos(weights, sign)


def norm(weights: Weights) -> np.ndarray:
    """Return an estimate from above of ‖W‖₂, shape (K,): of both ends of a symmetric spectrum, else of that of WᵀW."""
    if not weights.symmetric:
        with one_blas_thread():
            return np.asarray(np.sqrt(np.maximum(-_lanczos(Squared(weights), -1.0), 0.0)))
    return np.asarray(np.maximum(-smallest_eigenvalue(weights), -smallest_eigenvalue(weights, sign=-1.0)))


class Squared:
    """WᵀW, as far as Lanczos needs it.

    Parameters
    ----------
    weights : Weights
    """

    def __init__(self, weights: Weights) -> None:
        self.neurons, self.stored = weights.neurons, weights.stored
        self._weights = weights
        self._mirrored = Weights(weights.neurons, weights.count, weights.mirror.tolist(), weights.stored, False)

    def apply(self, x: np.ndarray) -> np.ndarray:
        """Return WᵀW x for one vector of each matrix, shape (K, N) to (K, N)."""
        return self._mirrored.apply(self._weights.apply(x))


class Framed:
    """D W D for symmetric weights and a diagonal D, as far as Lanczos needs it.

    Parameters
    ----------
    weights : Weights
        Symmetric.
    diagonal : float64 array, shape (K, N)
    """

    def __init__(self, weights: Weights, diagonal: np.ndarray) -> None:
        self.neurons, self.stored = weights.neurons, weights.stored
        self._weights, self._diagonal = weights, diagonal

    def apply(self, x: np.ndarray) -> np.ndarray:
        """Return D W D x for one vector of each matrix, shape (K, N) to (K, N)."""
        return np.asarray(self._diagonal * self._weights.apply(self._diagonal * x))


def framed_norm(weights: Weights, diagonal: np.ndarray) -> np.ndarray:
    """Return an estimate from above of ‖D W D‖₂ for symmetric weights, shape (K,), from both ends of its spectrum."""
    framed = Framed(weights, diagonal)
    with one_blas_thread():
        return np.asarray(np.maximum(-_lanczos(framed, 1.0), -_lanczos(framed, -1.0)))


def _lanczos(weights: Weights | Squared | Framed, sign: float) -> np.ndarray:
    count, n = len(weights.stored), weights.neurons
    steps = min(_STEPS, n)
    basis = np.zeros((count, steps + 1, n))
    start = generic_direction(n)
    basis[:, 0] = start / np.linalg.norm(start)
    tridiagonal = np.zeros((count, steps, steps))
    beta, scale = np.zeros(count), np.zeros(count)
    for j in range(steps):
        image = sign * weights.apply(basis[:, j])
        scale = np.maximum(scale, np.linalg.norm(image, axis=1))
        tridiagonal[:, j, j] = np.einsum("kn,kn->k", basis[:, j], image)
        for _ in range(2):  # twice is enough to keep the basis orthogonal to rounding
            overlap = np.matmul(basis[:, : j + 1], image[..., None])
            image = image - np.matmul(np.swapaxes(basis[:, : j + 1], 1, 2), overlap)[..., 0]
        beta = np.linalg.norm(image, axis=1)
        beta[beta < 1e-13 * scale] = 0.0  # an invariant subspace: the Ritz values are eigenvalues
        basis[:, j + 1] = image / np.where(beta > 0, beta, 1.0)[:, None]
        if j + 1 < steps:
            tridiagonal[:, j, j + 1] = tridiagonal[:, j + 1, j] = beta
    values, vectors = np.linalg.eigh(tridiagonal)
    return np.asarray(values[:, 0] - beta * np.abs(vectors[:, -1, 0]))
